"""The law of harness/removal.py: whoever else removes something removes what its own process made, and says so here."""

from __future__ import annotations

import ast
import re
from typing import Final

import pytest

from tests.repo.tree import ROOT

REMOVES: Final = frozenset({"rmtree", "unlink", "rmdir", "remove", "removedirs"})
MOVES: Final = frozenset({"rename", "renames", "replace", "move"})

ALLOWED: Final = {
    "harness/agent/trace.py": "instances of tracefs, in the guest: no files, and a guest is thrown away",
    "harness/plugin/lab/guests.py": "the console of a clone that this process made, under a name of its own",
    "harness/plugin/soak/loop.py": "files that this soak's own rounds wrote, below a results folder that is claimed",
    "harness/results.py": "files of a claimed results folder, and those in an `earlier` that carries our marker",
    "lab/debian/archive.py": "packages that were downloaded, and a tree that was unpacked, a moment ago",
    "lab/cache/unpacked.py": "a list that was written a moment ago, in place of an older one",
    "lab/cache/store.py": "an entry that was built, or looked at, a moment ago, on its way through removal.py",
    "lab/prepared.py": "what this process has just written, in a folder of its own run",
    "lab/template/freeze.py": "what a first attempt left in a folder that the caller made for this",
    "lab/guest/guest.py": "the console of a guest that this process started",
    "lab/qemu/memory.py": "a page that QEMU wrote a moment ago, into the guest's own run folder",
}
"""Files that remove or move something themselves, each with the reason why it may."""


def removing_calls(source: str) -> list[str]:
    """Calls that remove files, or move them over others; text and dataclasses have a `replace`, too."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        name, of = node.func.attr, ast.unparse(node.func.value)
        one_path = len(node.args) == 1 and not node.keywords
        by_module = of in ("os", "shutil") and name in REMOVES | MOVES
        if by_module or name in REMOVES - {"remove"} or (name in ("rename", "replace") and one_path):
            found.append(f"{node.lineno}: {of}.{name}")
    return found


def test_only_the_allowed_remove_files_themselves() -> None:
    calls = {}
    for package in ("harness", "lab", "cdefs"):
        for path in sorted((ROOT / package).glob("**/*.py")):
            if str(path.relative_to(ROOT)) != "harness/removal.py" and (
                found := removing_calls(path.read_text())
            ):
                calls[str(path.relative_to(ROOT))] = found
    assert calls.keys() - ALLOWED.keys() == set(), "let harness/removal.py do it, or give a reason here"
    assert ALLOWED.keys() - calls.keys() == set(), "these remove nothing any more"
    assert all(ALLOWED.values())


def test_scripts_remove_by_the_same_law() -> None:
    """`rm` with -r is for what carries the marker; single files are the script's own stamp and marker.

    What is renamed was looked at before, by that law.
    """
    found = {
        f"{path.name}: {line.strip()}"
        for path in (ROOT / "lab").iterdir()
        if path.is_file() and path.suffix in ("", ".sh")
        for line in path.read_text().splitlines()
        if re.search(r"\b(rm|rmdir|find .* -delete|mv)\b ", line.partition(" #")[0])
        and not re.search(r"[Tt]ype: rm", line)
    }
    assert found == {
        'setup.sh: find "$1" -xdev -depth -mindepth 1 ! -path "$1/$lab_marker" -delete &&',
        'setup.sh: rm -f -- "$1/$lab_marker" && rmdir -- "$1" || lab_give_up "cannot remove $1"',
        'setup.sh: rm -f -- "$lab_stamp"',
        'setup.sh: mv -f -- "$lab_stamp.new" "$lab_stamp"',
        'setup.sh: lab_rename() { mv -- "$1" "$2" || lab_give_up "cannot rename $1 to $2"; }',
    }


@pytest.mark.parametrize(
    "call",
    ["shutil.rmtree(x)", "os.remove(x)", "os.rename(x, y)", "Path(x).unlink()", "x.rmdir()", "x.replace(y)"],
)
def test_a_removal_is_seen(call: str) -> None:
    assert removing_calls(f"def f(x, y):\n    {call}\n") == [f"2: {call.partition('(')[0]}"] or "Path" in call
    assert removing_calls("text.replace(a, b); replace(record, x=1); names.remove(x)") == []

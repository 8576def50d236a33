"""docs/write-a-model.md as written: run by its own command, and its test notices a model that is broken."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.guest.invocation import ROOT, Invocation, environment, harness, red

_TEXT = (ROOT / "docs" / "write-a-model.md").read_text()
_FILES = dict(re.findall(r"(?m)^`(\S+\.py)`:\n\n```python\n(.*?)^```$", _TEXT, re.DOTALL))
_COMMANDS = re.findall(r"(?m)^```sh\n(.*)\n```$", _TEXT)
_LOG = re.findall(r"(?m)^```text\n(.*?)^```$", _TEXT, re.DOTALL)[0].splitlines()

_FOREVER_S = 600
_LOOKED_FOR = """\
    def read(self, *access):  # by the kernel, which asks for the vendor
        return 1 / 0 if access == (7, 0, 4) else super().read(*access)

"""


def as_typed(
    folder: Path, broken: tuple[str, str] = ("", ""), *, test: tuple[str, str] = ("", "")
) -> Invocation:
    """Make the document's files, model and test with one text in place of another, and type its first command."""
    for name, (before, after) in {"mychip.py": broken, "test_mychip.py": test}.items():
        assert before in _FILES[name]
        (folder / name).write_text(_FILES[name].replace(before, after) if before else _FILES[name])
    for name in _FILES.keys() - {"mychip.py", "test_mychip.py"}:
        (folder / name).write_text(_FILES[name])
    program, *arguments = shlex.split(_COMMANDS[0])
    assert program == "harness"
    return harness(*arguments, cwd=folder)


def without_time(lines: list[str]) -> list[list[str]]:
    """What rows tell, but for when, and for which reset since power on it was."""
    rows = [line.split()[2:] for line in lines]
    return [row[:1] if row[0] == "FLR" else row for row in rows]


def test_the_model_takes_less_than_sixty_lines() -> None:
    assert 0 < len(_FILES["mychip.py"].splitlines()) < 60


@pytest.mark.usefixtures("place")
def test_it_works_as_written_and_its_log_shows_what_the_document_shows(tmp_path: Path) -> None:
    run = as_typed(tmp_path)
    assert run.status == 0, run.said
    assert not red(run.report())
    program, script, *_ = shlex.split(_COMMANDS[1])
    assert program == "python"
    (history,) = (tmp_path / "hil-results" / "att").glob("*.history.zip")
    command = [sys.executable, "-P", script, str(history)]
    shown = subprocess.run(
        command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True
    )
    rows = without_time([line for line in shown.stdout.splitlines() if "READ" not in line])
    assert rows[: len(_LOG)] == without_time(_LOG)


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (
            ('meaning="a write rings it"', "sticky=True"),
            r"resource0 \+ 0x4 reads 0x7 \(kept\), promised is cleared",
        ),
        (("Ns(50 * MS)", "Ns(5000 * MS)"), r"assert \[\] == \[1\]"),
    ],
    ids=["flr forgets nothing", "busy for too long"],
)
def test_a_model_that_is_broken_is_noticed(tmp_path: Path, broken: tuple[str, str], said: str) -> None:
    run = as_typed(tmp_path, broken)
    assert run.status == 1, run.said
    (failure,) = red(run.report())
    assert re.search(said, f"{failure.get('message')} {failure.text}"), run.said


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (('bar["busy"] = 1', 'bar["bzy"] = 1'), "it raised KeyError: 'bzy'"),
        (
            ("    def stored(", "    def read(self, *access): return 1 / 0\n\n    def stored("),
            "it raised ZeroDivision",
        ),
        (("    def stored(", f"{_LOOKED_FOR}    def stored("), "it raised ZeroDivision"),
    ],
    ids=["in a stage", "when it is plugged", "when the kernel looks for it"],
)
def test_a_mistake_in_a_model_is_told_once_and_blames_nobody_else(
    tmp_path: Path, broken: tuple[str, str], said: str
) -> None:
    # A dead function is waited for: the kernel for a minute, the stage until its deadline.
    run = as_typed(tmp_path, broken, test=('dut.reads("sysfs"))', 'dut.reads("sysfs"), deadline="2s")'))
    assert run.status == 125, run.said
    (error,) = red(run.report())
    assert (error.tag, error.get("type")) == ("error", "hil.model")
    assert said in (error.get("message") or "")
    assert re.search(r'mychip\.py", line \d+', error.text or "")


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("mychip0=absent.py:mychip", r"no file \S+absent\.py. Name one: mychip0="),
        ("mychip0=mychip.py:absent", r"no attribute 'absent'. It is called with a clock"),
        ("igb0=mychip.py:mychip", r"there is a function igb0 already. Choose another alias"),
    ],
    ids=["no file", "no callable", "alias taken"],
)
def test_a_model_that_cannot_be_served_is_told_before_anything_is_fetched(
    tmp_path: Path, model: str, said: str
) -> None:
    (tmp_path / "mychip.py").write_text(_FILES["mychip.py"])
    cache = tmp_path / "cache"
    run = harness("run", "--model", model, cwd=tmp_path, variables={"VFIO_HARNESS_CACHE": str(cache)})
    assert run.status == 2, run.said
    (line,) = run.errors.splitlines()
    assert re.match(f"harness: model '{re.escape(model)}': .*{said}", line), run.said
    assert red(run.report()), "the report of a run that could not begin must be red"
    assert not [path for path in cache.rglob("*") if path.is_file() and path.name != "CACHEDIR.TAG"]


def test_one_that_loops_while_it_is_loaded_is_told_before_anything_is_fetched(tmp_path: Path) -> None:
    (tmp_path / "mychip.py").write_text(f"{_FILES['mychip.py']}\nwhile True: pass\n")
    cache = tmp_path / "cache"
    model = "mychip0=mychip.py:mychip"
    run = harness("run", "--model", model, cwd=tmp_path, variables={"VFIO_HARNESS_CACHE": str(cache)})
    assert run.status == 125, run.said
    line = len(_FILES["mychip.py"].splitlines()) + 2
    assert f"line {line} of mychip.py" in run.errors.splitlines()[-1]
    assert ("error", "hil.model") in [(error.tag, error.get("type")) for error in red(run.report())]
    assert not [path for path in cache.rglob("*") if path.is_file() and path.name != "CACHEDIR.TAG"]


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("body", "said", "evidence"),
    [
        ("while True: pass", r"mychip0 .*not returned from a write of 4 bytes at 0x4 of BAR 0", "in stored"),
        (
            "import os; os._exit(0)",
            r"mychip0 .*ended the program with status 0 in a write of 4 bytes at 0x4",
            "",
        ),
    ],
    ids=["never returns", "ends the program"],
)
def test_a_model_that_says_nothing_any_more_in_a_stage_is_told_at_once(
    tmp_path: Path, body: str, said: str, evidence: str
) -> None:
    begun = time.monotonic()
    run = as_typed(
        tmp_path,
        ('bar["busy"] = 1', body),
        test=('dut.reads("sysfs"))', f'dut.reads("sysfs"), deadline="{_FOREVER_S}s")'),
    )
    assert time.monotonic() - begun < _FOREVER_S, "nobody waits for the stage's deadline"
    assert run.status == 125, run.said
    (error,) = red(run.report())
    assert (error.tag, error.get("type")) == ("error", "hil.model")
    assert re.search(said, error.get("message") or ""), run.said
    assert evidence in (error.text or "")

"""Try bad inputs one after another in this process, and tell which of them the harness did not take well.

    PYTHONPATH=. .venv/bin/python -P -m tests.fuzz.bad_input.tried SEED KIND=COUNT ...

prints one JSON object.  A seed and a number give the same input again.  An input is taken well when nothing is told in
Python's words, the exit status says what it was, and it took no longer than :data:`MOST_SECONDS` of this processor.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

from harness import cli
from harness.contract import load
from harness.errors import HarnessError
from harness.history.container import from_bytes
from harness.results import JOURNAL, JUNIT
from tests.fuzz.bad_input.arguments import ONLY_PARSED, arguments
from tests.fuzz.bad_input.contracts import contract
from tests.fuzz.bad_input.corpus import HISTORIES, JOURNALS
from tests.fuzz.bad_input.histories import history
from tests.fuzz.bad_input.journals import journal
from tests.fuzz.bad_input.streams import heard, stream

GOOD, BAD, USAGE, NOTHING_SAID = 0, 1, 2, 125
MOST_SECONDS: Final = 2.0
Complaint = str
Try = Callable[[Random, Path], Complaint]


def judged(data: bytes, scratch: Path) -> Complaint:
    """Judge, draw and replay a file that claims to be a history."""
    path = scratch / "some.history.zip"
    path.write_bytes(data)
    try:
        from_bytes(data)
    except HarnessError:
        told = spoken("replay", str(path), among=(USAGE, NOTHING_SAID))
        return told or spoken("judge", str(path), among=(USAGE, NOTHING_SAID))
    return spoken(
        "judge", "--timeline", "--svg", str(scratch / "x.svg"), str(path), among=(GOOD, BAD, NOTHING_SAID)
    )


def reported(data: bytes, scratch: Path) -> Complaint:
    """Make the report of a folder whose journal is anything."""
    (scratch / JOURNAL).write_bytes(data)
    (scratch / JUNIT).unlink(missing_ok=True)
    return spoken("report", str(scratch), among=(GOOD, BAD, USAGE, NOTHING_SAID))


def agreed(files: dict[str, bytes], scratch: Path) -> Complaint:
    """Load a contract."""
    folder = scratch / "contract"
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    with contextlib.suppress(HarnessError):
        load(folder)
    return ""


def asked(words: list[str]) -> Complaint:
    """Ask something of the command."""
    if words[0] in ONLY_PARSED:
        return parsed(words)
    told = any(word in words for word in ("-h", "--help", "--version"))
    return spoken(*words, among=(GOOD, USAGE) if told else (USAGE, NOTHING_SAID))


def parsed(words: list[str]) -> Complaint:
    """Let the command understand something, and not do it."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            cli._parser().parse_known_args(words)
        except SystemExit as end:
            return "" if end.code in (GOOD, USAGE) else f"status {end.code}"
    return ""


def spoken(*words: str, among: tuple[int, ...]) -> Complaint:
    """Run one command here; what was wrong with how it ended."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = cli.main(list(words))
        except SystemExit as end:  # argparse
            status = int(end.code or 0)
    said = out.getvalue() + err.getvalue()
    for python in ("Traceback (most recent", "The checker "):
        if python in said:
            return said[said.index(python) :][-1500:]
    out.getvalue().encode()  # standard error takes any text, standard output does not
    return "" if status in among else f"status {status}: {said[:300]}"


KINDS: Final[dict[str, Try]] = {
    "history": lambda random, scratch: judged(history(random), scratch),
    "journal": lambda random, scratch: reported(journal(random), scratch),
    "contract": lambda random, scratch: agreed(contract(random), scratch),
    "arguments": lambda random, scratch: asked(arguments(random, scratch)),
    "stream": lambda random, scratch: heard(stream(random), scratch),
}


def one(kind: str, seed: int, number: int, scratch: Path) -> tuple[Complaint, float]:
    """Try one input: what was wrong, and how long it took of this processor, in seconds."""
    return timed(lambda: KINDS[kind](Random(f"{kind} {seed} {number}"), scratch))  # noqa: S311 - the same again


def timed(attempt: Callable[[], Complaint]) -> tuple[Complaint, float]:
    """Try something: what was wrong, and how long it took of this processor, in seconds."""
    begun = time.process_time()
    try:
        complaint = attempt()
    except Exception:  # noqa: BLE001 - whatever it is, it is what we look for
        complaint = traceback.format_exc()[-1500:]
    spent = time.process_time() - begun
    if not complaint and spent > MOST_SECONDS:
        complaint = f"it took {spent:.1f} s"
    return complaint, spent


def main(seed: int, counts: dict[str, int]) -> None:
    """Try the corpus, then so many of each kind."""
    wrong, longest, spent = [], 0.0, {}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        load()  # what is imported and compiled once is no input's fault
        for try_, makes in ((judged, HISTORIES), (reported, JOURNALS)):
            for make in makes:
                data = make()
                complaint, seconds = timed(partial(try_, data, Path(folder)))
                longest = max(longest, seconds)
                if complaint:
                    wrong.append(f"{make.__name__}: {complaint}")
        for kind, count in counts.items():
            begun = time.process_time()
            for number in range(count):
                complaint, seconds = one(kind, seed, number, Path(folder))
                longest = max(longest, seconds)
                if complaint:
                    wrong.append(f"{kind} {seed} {number}: {complaint}")
            spent[kind] = round(time.process_time() - begun, 2)
    peak = _peak_mib()
    print(json.dumps({"wrong": wrong, "longest_s": longest, "peak_mib": peak, "spent_s": spent}))  # noqa: T201


def _peak_mib() -> float:
    """Of this program alone: `ru_maxrss` is that of whoever started it, if that had more (fs/exec.c, `exec_mmap()`)."""
    (peak,) = re.findall(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(peak) / 1024


if __name__ == "__main__":
    main(
        int(sys.argv[1]),
        {kind: int(count) for kind, _, count in (word.partition("=") for word in sys.argv[2:])},
    )

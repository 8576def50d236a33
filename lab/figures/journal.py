"""`journal`: what writing every test down at once costs a test, beside pytest's own `--junit-xml`.

Both are what a run of trivial tests takes longer than without any report, a test.  pytest writes one file at its end;
the journal is on the disk before a test begins and when it has ended.  What waiting for the disk costs is the
difference to a journal in memory (/dev/shm).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from harness.lab.figures.row import Row, median
from harness.lab.place import Place

_TESTS: Final = 2_000
_ROUNDS: Final = 3
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a tmpfs is what is wanted
_SOURCE: Final = f"""
import pytest

@pytest.mark.parametrize("number", range({_TESTS}))
def test_trivial(number):
    pass
"""


def measure(_: Place, folder: Path) -> list[Row]:
    """The same tests without a report, with pytest's and with ours on disk and in memory, in turns."""
    with (
        tempfile.TemporaryDirectory(prefix="journal-", dir=folder) as disk,
        tempfile.TemporaryDirectory(prefix="journal-", dir=_MEMORY) as memory,
    ):
        tests = Path(disk, "test_trivial.py")
        tests.write_text(_SOURCE)
        ways: dict[str, Sequence[str]] = {
            "nothing": (),
            "pytest": (f"--junit-xml={disk}/pytest.xml",),
            "disk": (f"--hil-results={disk}/results",),
            "memory": (f"--hil-results={memory}/results",),
        }
        took: dict[str, list[float]] = {name: [] for name in ways}
        for _round in range(_ROUNDS):
            for name, options in ways.items():
                took[name].append(_ms_a_test(tests, options))
    ms = {name: median(found) for name, found in took.items()}
    return [
        Row(
            name="journal",
            ours=ms["disk"] - ms["nothing"],
            peer=ms["pytest"] - ms["nothing"],
            peer_name="pytest --junit-xml",
            better="low",
            unit="ms a test",
        ),
        Row(
            name="journal_fsync",
            ours=ms["disk"] - ms["memory"],
            peer=None,
            peer_name="two a test, part of the above",
            better="low",
            unit="ms a test",
        ),
        Row(
            name="journal_run",
            ours=ms["disk"],
            peer=ms["nothing"],
            peer_name="pytest without a report",
            better="low",
            unit="ms a test",
        ),
    ]


def _ms_a_test(tests: Path, options: Sequence[str]) -> float:
    """One run of pytest from beginning to end."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, str(tests)]
    begin = time.perf_counter()
    subprocess.run(command, cwd=tests.parent, capture_output=True, check=True)
    return (time.perf_counter() - begin) * 1e3 / _TESTS

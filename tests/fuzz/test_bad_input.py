"""Whatever a file or an argument is, the harness says so: no traceback, the right status, little memory and time."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Final

import pytest

from harness.errors import HarnessError
from harness.history.container import from_bytes
from harness.results import JOURNAL
from tests.fuzz.bad_input.arguments import ONLY_PARSED, arguments
from tests.fuzz.bad_input.corpus import HISTORIES, JOURNALS
from tests.fuzz.bad_input.histories import history
from tests.fuzz.bad_input.journals import journal

REPOSITORY: Final = Path(__file__).parents[2]
SEED: Final = 1
COUNTS: Final = {"history": 600, "journal": 700, "contract": 1000, "arguments": 1200, "stream": 500}
MOST_MIB, MOST_SECONDS = 300, 2.0
HUNDRED: Final = ("arguments",) * 40 + ("journal",) * 30 + ("history",) * 30


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", *words],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        check=False,
        timeout=600,
    )


def test_the_corpus_has_ten_and_four_thousand_are_tried() -> None:
    assert len(HISTORIES) + len(JOURNALS) >= 10
    assert sum(COUNTS.values()) == 4000


def test_four_thousand_bad_inputs_are_taken_well() -> None:
    """In one process of their own, whose peak memory is theirs."""
    counts = (f"{kind}={count}" for kind, count in COUNTS.items())
    done = command("tests.fuzz.bad_input.tried", str(SEED), *counts)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["wrong"] == []
    assert told["longest_s"] < MOST_SECONDS
    assert told["peak_mib"] < MOST_MIB


def test_a_hundred_more_are_taken_well_by_the_commands(tmp_path: Path) -> None:
    random = Random(SEED)  # noqa: S311 - the same again
    for number, kind in enumerate(HUNDRED):
        among: tuple[int, ...] = (2, 125)
        match kind:
            case "history":
                data = history(random)
                path = tmp_path / f"{number}.history.zip"
                path.write_bytes(data)
                words = ["judge", str(path)]
                try:
                    from_bytes(data)
                    among = (0, 1, 125)
                except HarnessError:
                    pass
            case "journal":
                folder = tmp_path / str(number)
                folder.mkdir()
                (folder / JOURNAL).write_bytes(journal(random))
                words, among = ["report", str(folder)], (0, 1, 2, 125)
            case _:
                words = arguments(random, tmp_path)
                while words[0] in ONLY_PARSED or any("\0" in word for word in words):
                    words = arguments(random, tmp_path)
                if any(word in words for word in ("-h", "--help", "--version")):
                    among = (0, 2)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = command("harness.cli", *words)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        where = f"{kind} {number}: {words}"
        assert "Traceback" not in done.stdout + done.stderr, where
        assert "The checker " not in done.stdout, where
        assert done.returncode in among, f"{where}: {done.returncode}\n{done.stderr}"
        assert spent < MOST_SECONDS, where


@pytest.mark.parametrize("make", HISTORIES, ids=lambda make: make.__name__)
def test_what_was_once_taken_badly_is_refused(make: object) -> None:
    data = make() if callable(make) else b""
    if "many_digits" not in getattr(
        make, "__name__", ""
    ):  # a history may name any kernel; nothing is promised for it
        with pytest.raises(HarnessError):
            from_bytes(data)

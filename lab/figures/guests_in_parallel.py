"""`guests_in_parallel`: scenarios a minute with several guests at once, beside one guest in the same run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from harness.errors import HarnessError
from harness.lab.capacity import GUEST_BYTES, WORKER_BYTES, look
from harness.lab.figures.row import Row
from harness.lab.place import Place
from harness.lab.progress import note

_GUESTS: Final = (1, 2, 4, 8)
_EACH: Final = 6
"""Scenarios that each guest stages, so that every worker is at work until the end."""
_SCENARIO: Final = """
import pytest

@pytest.mark.parametrize("number", range({count}))
def test_readers_meet_a_reset(functions, stage, number):
    igb0 = functions("igb0")
    stage(igb0.reads("sysfs", actors=2), igb0.resets("flr", at="50ms"), lasting="300ms", meets=1)
"""


def measure(_: Place, __: Path) -> list[Row]:
    """As many as the memory holds; more than the cores bear are measured, and the note says how many starved."""
    room = look()
    holds = room.memory_bytes // (GUEST_BYTES + WORKER_BYTES)
    if holds < max(_GUESTS):
        note(f"guests_in_parallel: memory holds {holds} guests at once")
    if room.guests() < max(_GUESTS):
        note(f"guests_in_parallel: {room.cores:g} cores bear {room.guests()} guests without sharing")
    rates = {guests: _per_minute(guests) for guests in _GUESTS if guests <= max(1, holds)}
    return [
        Row(
            name=f"guests_in_parallel/{guests}",
            ours=rate,
            peer=rates[1],
            peer_name=f"one guest; {os.cpu_count()} cores",
            better="high",
            unit="1/min",
        )
        for guests, rate in rates.items()
    ]


def _per_minute(guests: int) -> float:
    """Scenarios with a verdict a minute, from the first that began to the last that ended."""
    with tempfile.TemporaryDirectory() as folder:
        test = Path(folder, "test_readers.py")
        test.write_text(_SCENARIO.format(count=guests * _EACH))
        done = subprocess.run(
            [
                sys.executable,
                "-P",
                "-m",
                "harness.cli",
                "run",
                "-n",
                str(guests),
                test.name,
                "--results=results",
            ],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            check=False,
            capture_output=True,
            text=True,
        )
        journal = Path(folder, "results", "journal.jsonl")
        lines = journal.read_text().splitlines() if journal.exists() else ()
        records = [json.loads(line) for line in lines]
    began = [one["at_ns"] for one in records if one["record"] == "test-start"]
    ended = [one["at_ns"] for one in records if one["record"] == "test-finish"]
    judged = [one for one in records if one["record"] == "stage" and one["verdict"] != "UNKNOWN"]
    if not began or not ended or not judged:
        raise HarnessError(
            f"measuring guests_in_parallel with {guests}", said="nothing was judged", evidence=done.stdout
        )
    starved = sum(one["record"] == "attempt" for one in records)
    note(
        f"guests_in_parallel: {guests} at once: {len(judged)} judged, {starved} stages starved and staged again"
    )
    return float(len(judged) * 60e9 / (max(ended) - min(began)))

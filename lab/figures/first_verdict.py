"""`first_verdict`: seconds from `./lab/run` to the first verdict, with a warm cache."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from pathlib import Path

from harness.errors import HarnessError
from harness.lab.figures.row import Row, median
from harness.lab.place import Place

_RUNS = 3
_RUN = Path(__file__).parents[1] / "run"


def measure(_: Place, __: Path) -> list[Row]:
    """The journal says when the first stage was judged, on the clock that we read before the start."""
    return [
        Row(
            name="first_verdict",
            ours=median([_once() for _ in range(_RUNS)]),
            peer=None,
            peer_name="",
            better="low",
            unit="s",
        )
    ]


def _once() -> float:
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder, "journal.jsonl")
        begin = time.monotonic_ns()
        subprocess.run(
            [_RUN, f"--results={folder}", "-k", "test_nobody_waits_without_a_window"],
            check=False,
            capture_output=True,
        )
        for line in journal.read_text().splitlines() if journal.exists() else ():
            record = json.loads(line)
            if record["record"] == "stage":
                return float(record["at_ns"] - begin) / 1e9
    raise HarnessError("measuring first_verdict", said="lab/run judged nothing", hint="Run it by hand.")

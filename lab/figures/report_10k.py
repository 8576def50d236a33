"""`report_10k`: ten thousand cases from their journal to JUnit, seconds and peak memory.

The cases are such as a lab has: stages with findings, latencies and provenance, output, attachments; one in twenty has
failed, with its findings and a picture in text.  The peer is what one writes first with junitparser, a loop of
`add_testcase` over the same session.  That one counts all cases again for each: it gets a fifth of them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from harness.lab.figures.row import Row
from harness.lab.place import Place

_MANY: Final = 10_000
_FEW: Final = 2_000


def measure(_: Place, folder: Path) -> list[Row]:
    """A process of its own for each, so that its peak memory is its own."""
    with tempfile.TemporaryDirectory(prefix="report-", dir=folder) as scratch:
        few, many = Path(scratch, "few"), Path(scratch, "many")
        _program("journal", _FEW, few)
        _program("journal", _MANY, many)
        ours_few, plain_few = _program("ours", _FEW, few), _program("plain", _FEW, few)
        ours_many = _program("ours", _MANY, many)
    return [
        Row(
            name="report_2k",
            ours=ours_few["seconds"],
            peer=plain_few["seconds"],
            peer_name="add_testcase in a loop, 2,000 cases",
            better="low",
            unit="s",
        ),
        Row(
            name="report_10k",
            ours=_MANY / ours_many["seconds"],
            peer=_FEW / ours_few["seconds"],
            peer_name="itself on a fifth of them",
            better="high",
            unit="cases/s",
        ),
        Row(
            name="report_10k_memory",
            ours=ours_many["peak"],
            peer=ours_few["peak"],
            peer_name="itself on a fifth of them",
            better="low",
            unit="MiB, peak",
        ),
    ]


def _program(what: str, count: int, folder: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "harness.lab.figures.cases", what, str(count), str(folder)],
        capture_output=True,
        text=True,
        check=True,
    )
    result: dict[str, float] = json.loads(done.stdout)
    return result

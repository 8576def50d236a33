"""`judge`: operations judged a second, all checkers, on a history of a million; and that it is linear."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from lab.figures.row import Row
from lab.place import Place

_PROGRAM: Final = """
import json, resource, sys, time
from harness.contract import load
from harness.history.container import from_bytes, to_bytes
from harness.judge import judge
from harness.judge.synthetic import synthetic
count = int(sys.argv[1])
history = from_bytes(to_bytes(synthetic(count)))
terms = load().terms_of(history)
begin = time.perf_counter()
judgement = judge(history, terms)
seconds = time.perf_counter() - begin
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"rate": len(history.operations) / seconds, "peak": peak, "verdict": judgement.verdict.name}))
"""


def measure(_: Place, __: Path) -> list[Row]:
    """A process of its own for each size, so that its peak memory is its own."""
    small, large = _judged(100_000), _judged(1_000_000)
    return [
        Row(
            name="judge",
            ours=large["rate"],
            peer=small["rate"],
            peer_name="itself on a tenth of them",
            better="high",
            unit="operations/s",
        ),
        Row(name="judge_memory", ours=large["peak"], peer=None, peer_name="", better="low", unit="MiB, peak"),
    ]


def _judged(operations: int) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(operations)], capture_output=True, text=True, check=True
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result

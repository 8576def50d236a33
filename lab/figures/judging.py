"""`judge`: what all checkers take on histories of growing size, each beside a smaller one: that it is linear.

Seconds are of processor time, for others may use the machine, and the best of five.  The many functions and lines are
more than a file of a history may hold: those histories never were one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from harness.lab.figures.row import Row
from harness.lab.place import Place

_PROGRAM: Final = """
import gc, json, resource, sys, time
from harness.contract import load
from harness.history.container import from_bytes, to_bytes
from harness.judge import judge
from harness.lab.figures.synthetic import logged, synthetic
made = {
    "operations": lambda count: from_bytes(to_bytes(synthetic(count))),
    "functions": lambda count: synthetic(1600, functions=count, free=4),
    "lines": lambda count: logged(count, count),
}[sys.argv[1]]
histories = [made(int(count)) for count in sys.argv[2:]]
terms, taken = [load().terms_of(history) for history in histories], [[] for _ in histories]
for _ in range(5):
    for one, seconds in zip(zip(histories, terms), taken):
        gc.collect()
        begin = time.process_time()
        judge(*one)
        seconds.append(time.process_time() - begin)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
rate = len(histories[-1].operations) / min(taken[-1])
print(json.dumps({"seconds": [min(seconds) for seconds in taken], "rate": rate, "peak": peak}))
"""
_READING: Final = """
import json, sys, time
from pathlib import Path
from harness.contract import load
from harness.history.container import from_bytes
from harness.judge import judge
files, contract, read, judged = [Path(name).read_bytes() for name in sys.argv[1:]], load(), [], []
for _ in range(5):
    begin = time.process_time()
    histories = [from_bytes(data) for data in files]
    read.append(time.process_time() - begin)
    terms = [contract.terms_of(history) for history in histories]
    begin = time.process_time()
    for one in zip(histories, terms):
        judge(*one)
    judged.append(time.process_time() - begin)
print(json.dumps({"read": len(files) / min(read), "judged": len(files) / min(judged)}))
"""
_GOLDEN: Final = Path(__file__).parents[2] / "tests" / "golden" / "history"


def measure(_: Place, folder: Path) -> list[Row]:
    """A process of its own for each size, so that its peak memory is its own."""
    small, large = (_run(_PROGRAM, "operations", str(count)) for count in (100_000, 1_000_000))
    files = sorted(folder.glob("att/*.history.zip")) or sorted(_GOLDEN.glob("*.history.zip"))
    recorded = _run(_READING, *map(str, files))
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
        Row(
            name="judge_recorded",
            ours=recorded["judged"],
            peer=recorded["read"],
            peer_name=f"reading them, {len(files)} of a run",
            better="high",
            unit="histories/s",
        ),
        _doubled("judge_windows", "functions", (8, 16, 32, 64, 128)),
        _doubled("judge_log", "lines", (2_500, 5_000, 10_000, 20_000)),
    ]


def _doubled(name: str, what: str, sizes: Sequence[int]) -> Row:
    """The doubling that costs most."""
    taken = zip(sizes, _run(_PROGRAM, what, *map(str, sizes))["seconds"], strict=True)
    (_, less), (size, more) = max(pairwise(taken), key=lambda pair: pair[1][1] / pair[0][1])
    return Row(
        name=name,
        ours=more,
        peer=less,
        peer_name=f"itself on half of {size:,} {what}, the worst doubling from {sizes[0]:,} to {sizes[-1]:,}",
        better="low",
        unit="s",
    )


def _run(program: str, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result

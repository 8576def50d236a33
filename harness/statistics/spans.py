"""How long each operation of a history took, by its word."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from harness.history.history import History
from harness.model.operation import RENDEZVOUS, SET_UP, WAIT, Operation

_NO_LATENCY: Final = (WAIT, RENDEZVOUS, SET_UP)
"""Their length was asked for, or is nobody's concern."""


def spans(history: History) -> Iterator[tuple[Operation, npt.NDArray[np.int64]]]:
    """Word and times from call to return, nanoseconds, of all operations that returned; each word once, in order."""
    done = history.operations[history.operations["end_ns"] > 0]
    times: npt.NDArray[np.int64] = done["end_ns"] - done["begin_ns"]
    places: dict[Operation, list[tuple[int, int]]] = {}
    for actor, plan in enumerate(history.plan.actors):
        for step, what in enumerate(plan.steps):
            if what.means not in _NO_LATENCY:
                places.setdefault(what.means, []).append((actor, step))
    for means, steps in sorted(places.items()):
        chosen = np.zeros(len(done), dtype=np.bool_)
        for actor, step in steps:
            chosen |= (done["actor"] == actor) & (done["step"] == step)
        if chosen.any():
            yield means, times[chosen]

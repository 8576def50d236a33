"""How long each operation of a history took, by its word."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from harness.history.gaps import gaps
from harness.history.steps import Rows, Steps, together
from harness.model.operation import RENDEZVOUS, SET_UP, WAIT, Operation

_NO_LATENCY: Final = frozenset({WAIT, RENDEZVOUS, SET_UP})
"""Their length was asked for, or is nobody's concern."""


Times = npt.NDArray[np.int64]


def spans(steps: Steps) -> Iterator[tuple[Operation, Times, Times]]:
    """Of all operations that returned: word, times from call to return in nanoseconds, and how many took each.

    Each word comes once, in order.  Accesses that were left out count as long as the row after them.
    """
    found = gaps(steps.history)
    stands_for = np.ones(len(steps.history.operations), dtype=np.int64)
    stands_for[found.after] += found.count
    alike: dict[Operation, list[Rows | None]] = {}
    for number, (_, step) in enumerate(steps.numbered):
        alike.setdefault(step.means, []).append(steps.rows_of.get(number))
    for means in sorted(alike.keys() - _NO_LATENCY):
        rows = together(alike[means])
        rows = rows[steps.history.operations["end_ns"][rows] > 0]
        if len(rows):
            done = steps.history.operations[rows]
            yield means, done["end_ns"] - done["begin_ns"], stands_for[rows]

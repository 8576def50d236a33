"""How long each operation of a history took, by its word."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from harness.history.steps import Rows, Steps, together
from harness.model.operation import RENDEZVOUS, SET_UP, WAIT, Operation

_NO_LATENCY: Final = frozenset({WAIT, RENDEZVOUS, SET_UP})
"""Their length was asked for, or is nobody's concern."""


def spans(steps: Steps) -> Iterator[tuple[Operation, npt.NDArray[np.int64]]]:
    """Word and times from call to return, nanoseconds, of all operations that returned; each word once, in order."""
    alike: dict[Operation, list[Rows | None]] = {}
    for number, (_, step) in enumerate(steps.numbered):
        alike.setdefault(step.means, []).append(steps.rows_of.get(number))
    for means in sorted(alike.keys() - _NO_LATENCY):
        done = steps.history.operations[together(alike[means])]
        if (returned := done["end_ns"] > 0).any():
            yield means, (done["end_ns"] - done["begin_ns"])[returned]

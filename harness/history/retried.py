"""Which operations were refused and tried again: several attempts at one and the same thing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.history.history import History

Rows = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Retried:
    """Attempts that failed and were made again, and what became of each.

    Attributes:
        rows: of `History.operations`, ascending.
        answers: for each of them the last attempt of the same actor, step and round: the answer that stands.
    """

    rows: Rows
    answers: Rows


def retried(history: History) -> Retried:
    """Find the attempts of one actor at one step in one round; only steps with retries have more than one."""
    operations = history.operations
    may = np.zeros(len(operations), dtype=np.bool_)
    for actor, plan in enumerate(history.plan.actors):
        for step, what in enumerate(plan.steps):
            if what.retries is not None:
                may |= (operations["actor"] == actor) & (operations["step"] == step)
    rows = np.flatnonzero(may)
    if not len(rows):
        return Retried(rows, rows)
    keys = [operations[name][rows] for name in ("step", "round", "actor")]
    order = np.lexsort((rows, *keys))  # attempts side by side, in the order of time
    ends = np.append(np.any([key[order][1:] != key[order][:-1] for key in keys], axis=0), True)
    rows = rows[order]
    answers = rows[np.flatnonzero(ends)[np.cumsum(ends) - ends]]
    again = ~ends & (operations["error"][rows] != 0)
    found = np.argsort(rows[again], kind="stable")
    return Retried(rows[again][found], answers[again][found])

"""Which operations were refused and tried again: several attempts at one and the same thing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.history.steps import Rows, Steps


@dataclass(frozen=True, slots=True)
class Retried:
    """Attempts that failed and were made again, and what became of each.

    Attributes:
        rows: of `History.operations`, ascending.
        answers: for each of them the last attempt of the same actor, step and round: the answer that stands.
    """

    rows: Rows
    answers: Rows


def retried(steps: Steps) -> Retried:
    """Find the attempts of one actor at one step in one round; only steps with retries have more than one."""
    operations, rows = steps.history.operations, steps.rows(lambda step: step.retries is not None)
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

"""Which rows of what models saw tell of something."""

from __future__ import annotations

import numpy as np

from harness.history.history import History
from harness.judge.evidence.steps import Rows
from harness.model.served import Happened


def served_rows(history: History, alias: str, *kinds: Happened, value: int | None = None) -> Rows:
    """Rows of `History.served` about one function, in order of their time.

    Args:
        history: that holds them.
        alias: of the function.
        kinds: what they tell, at least one.
        value: what they hold, or None for any.
    """
    served = history.served
    fits = np.isin(served["what"], kinds) & (served["function"] == history.plan.functions.index(alias))
    if value is not None:
        fits &= served["value"] == value
    return np.flatnonzero(fits)


def in_time(history: History, rows: Rows) -> Rows:
    """Those of them that came before the stage was over."""
    kept: Rows = rows[history.served["time_ns"][rows] <= history.end_ns]
    return kept

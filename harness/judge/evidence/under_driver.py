"""Resets of a function under a bound driver: until when one is bound, and which of them it performed itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from harness.history.reading import OfFunction
from harness.history.windows import DriverReset, ResetSpan
from harness.model.operation import REMOVE, UNBIND
from harness.model.units import Ns

CALLBACKS_KNOWN: Final = frozenset({"ipr", "nvme"})
"""Drivers whose callbacks the trace shows, if they have any (Linux drivers/scsi/ipr.c, `ipr_err_handler`;
drivers/nvme/host/pci.c, `nvme_err_handler`); the contract says whether these are told."""
_LETS_GO: Final = (UNBIND, REMOVE)


def bound_until(function: OfFunction) -> Ns:
    """When an operation of the plan may first have taken the driver away."""
    history, rows = function.whole.history, function.rows(*_LETS_GO)
    begins = history.operations["begin_ns"][rows]
    return Ns(int(begins.min())) if len(rows) else history.end_ns


def by_driver(span: ResetSpan, own: Sequence[DriverReset]) -> bool:
    """Whether the thread in which the driver started its own reset performed this one as a part of that."""
    return any(
        reset.begin_ns <= span.begin_ns <= reset.end_ns
        and (step := reset.start) is not None
        and step.tid == span.tid
        for reset in own
    )

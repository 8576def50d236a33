"""Did a driver that reset its function give it its config space back?

The driver saves it when it is bound and writes it back after each reset of its own, and after one that recovers the
function from an error of the link.  Nobody else does: what it forgets stays as the reset left it.

Source: Linux drivers/scsi/ipr.c, `ipr_reset_restore_cfg_space()`, `ipr_pci_slot_reset()`; drivers/pci/pci.c,
`pci_restore_state()`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from harness.history.windows import DriverReset, driver_doubts
from harness.judge import findings
from harness.judge.evidence import Evidence
from harness.judge.evidence.config_bits import differing
from harness.model.operation import REMOVE, UNBIND
from harness.model.served import RESETS
from harness.model.terms import Terms
from harness.model.verdict import Blame, Finding

NAME: Final = "driver_restored"
SOURCE: Final = (
    "Linux drivers/scsi/ipr.c, ipr_reset_restore_cfg_space(): pci_restore_state() after each reset"
)
_DRIVER: Final = "ipr"
_LETS_GO: Final = (UNBIND, REMOVE)


def driver_restored(evidence: Evidence, terms: Terms) -> tuple[Finding, ...]:
    """Compare config space after the stage with before, for each function that its driver was the last to reset."""
    last = {reset.function: reset for reset in evidence.driver_resets}
    return tuple(
        finding
        for number, reset in last.items()
        if reset.done and not _since(evidence, reset)
        for finding in _judge(evidence, terms, evidence.of(number).alias, reset)
    )


def _since(evidence: Evidence, reset: DriverReset) -> bool:
    """Whether somebody else reset the function meanwhile or later, or took the driver away."""
    function = evidence.of(reset.function)
    return (
        len(function.rows(*_LETS_GO)) > 0
        or any(removal.struck.incident.function == function.alias for removal in evidence.removals)
        or any(function.alias in call.resets and call.end_ns > reset.begin_ns for call in evidence.calls)
    )


def _judge(evidence: Evidence, terms: Terms, alias: str, reset: DriverReset) -> Iterator[Finding]:
    function = evidence.of(alias).record
    before, after = function.config_before, function.config_after
    if not before or len(before) != len(after) or not after.strip(b"\xff"):
        return  # somebody is stuck, or the function is dead, and another checker says so
    missing, places = differing(before, after, evidence.compared(alias, terms.volatile))
    if not missing:
        yield findings.passed(
            NAME,
            f"Config space of {alias} ({len(before)} bytes) is what it was before its driver reset it.",
            source=SOURCE,
            met=1,
        )
        return
    events, changed = findings.kernel(reset.steps[-1].row), f"{len(missing)} bytes differ ({places})"
    if reasons := driver_doubts(evidence.history, _DRIVER):
        yield findings.unknown(
            NAME,
            f"Whether the driver of {alias} was the last to reset it is not certain, and {changed}: "
            f"{'; '.join(reasons)}.",
            events=events,
        )
        return
    if (row := _taken_again(evidence, alias, reset)) is not None:
        yield findings.unknown(
            NAME,
            f"{alias} was reset once more after its own driver had restored config space, by nobody of the plan, and "
            f"{changed}.",
            events=[findings.served(row)],
        )
        return
    yield findings.failed(
        NAME,
        Blame.RESET_FAILED,
        f"The driver of {alias} did not restore config space after its own reset: {changed}.",
        events=events,
        source=SOURCE,
        met=1,
    )


def _taken_again(evidence: Evidence, alias: str, reset: DriverReset) -> int | None:
    """The row in which the function tells of a reset after its driver was done with its own; None without one."""
    history, rows = evidence.history, evidence.of(alias).served_in_time(*RESETS)
    later = rows[history.served["time_ns"][rows] > reset.end_ns + history.served_error_ns]
    return int(later[0]) if len(later) else None

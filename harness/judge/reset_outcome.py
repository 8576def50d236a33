"""Did resets end as promised: at once where the function was free, after waiting where it was locked?

A reset that finds the function locked must wait for its turn; its own method must not begin before the
other's window has closed.

Source: Linux drivers/pci/pci.c, `pci_reset_function()`.
"""

from __future__ import annotations

import errno
from typing import Final

from harness.history.history import History
from harness.history.windows import TRACE_RESOLUTION, doubts
from harness.judge import findings, words
from harness.judge.findings import Aspect
from harness.judge.reset_operations import ResetOperation, reset_operations
from harness.model.operation import FLR_BIT, Operation
from harness.model.promise import Promise, WindowKind
from harness.model.terms import Terms
from harness.model.units import as_text
from harness.model.verdict import Blame, Finding

NAME: Final = "reset_outcome"


def reset_outcome(history: History, terms: Terms) -> tuple[Finding, ...]:
    """Hold the outcome of every sysfs reset against its promise; a raw FLR is judged as an access."""
    groups: dict[tuple[str, Operation, tuple[WindowKind, ...]], list[ResetOperation]] = {}
    for reset in reset_operations(history):
        if reset.returned and reset.operation != FLR_BIT:
            groups.setdefault((reset.alias, reset.operation, reset.kinds), []).append(reset)
    reasons = doubts(history)
    return tuple(_judge(resets, terms, reasons) for resets in groups.values())


def _judge(resets: list[ResetOperation], terms: Terms, reasons: tuple[str, ...]) -> Finding:
    one = resets[0]
    what = f"{one.operation} on {one.alias}"
    promises = one.promises(terms)
    if not promises:
        return findings.unknown(
            NAME,
            f"The contract says nothing on {what} in window {one.kinds[0]!s}, met by {len(resets)} resets.",
            events=[findings.operation(one.row)],
        )
    allowed = {words.number_of(promise.outcome) for promise in promises}
    edge = len(one.kinds) > 1
    wrong = [reset for reset in resets if _shown(reset) not in allowed and not (edge and reset.succeeded)]
    certain = [reset for reset in wrong if not reset.succeeded]  # an errno needs no trace to be believed
    if reasons and not certain:
        return findings.unknown(
            NAME, f"Whether {what} met a lock is not certain: {'; '.join(reasons)}.", promise=promises[0]
        )
    if wrong:
        return _broken((certain or wrong), promises[0], what)
    met = len(resets) if one.window else 0
    how = "waited for the lock that another held, then reset" if met else "succeeded"
    return findings.passed(
        NAME,
        f"{len(resets)} {what} {how}.",
        promise=promises[0],
        met=len(resets),
        weakness=findings.weak(promises[0], Aspect.OUTCOME),
    )


def _shown(reset: ResetOperation) -> int:
    """The outcome as :mod:`~harness.judge.words` numbers it."""
    if reset.error:
        name = errno.errorcode.get(reset.error)
        return reset.error if name in words.ERRNO_NAMES else words.REFUSED
    if reset.window is None:
        return words.PROMPT
    inside = reset.window.closed_ns - TRACE_RESOLUTION
    return words.PROMPT if any(span.begin_ns < inside for span in reset.spans) else words.WAITED


def _broken(wrong: list[ResetOperation], promise: Promise, what: str) -> Finding:
    first = wrong[0]
    took = as_text(first.end_ns - first.begin_ns)
    if first.error:
        name = errno.errorcode.get(first.error, str(first.error))
        said = f"the write to reset returned {name} after {took}"
    elif first.window:
        said = "it began while another thread held the config lock, and reset inside that window"
    else:
        said = f"it returned after {took}, and no other thread held the lock"
    window = findings.kernel(first.window.opened_row) if first.window else ()
    return findings.failed(
        NAME,
        Blame.RESET_FAILED if first.error else Blame.MISMATCH,
        f"{len(wrong)} {what} did not keep the promise {promise.outcome!s}: {said}.",
        events=[findings.operation(first.row), *window, *(findings.operation(r.row) for r in wrong[1:4])],
        promise=promise,
        met=len(wrong),
        weakness=findings.weak(promise, Aspect.OUTCOME),
    )

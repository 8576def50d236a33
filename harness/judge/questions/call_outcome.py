"""Did calls end as promised: at once where the function was free; after waiting, refused or in vain where it was not?

A call that must wait may do nothing to the function, nor return, before the other's window has closed.  One that
should not mind a window may still return after its close when that is what it takes: what counts then is
how long it took inside, see :mod:`~harness.judge.questions.call_time`.

Source: Linux drivers/pci/pci.c, `pci_reset_function()` waits, `pci_try_reset_function()` refuses;
drivers/vfio/pci/vfio_pci_core.c, `vfio_pci_core_disable()` skips.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Final

from harness.history.windows import TRACE_RESOLUTION
from harness.judge import findings
from harness.judge.evidence import Evidence, words
from harness.judge.evidence.calls import Call, trace_doubts
from harness.judge.evidence.situations import Situation, Window
from harness.judge.findings import Aspect
from harness.model.cause import Cause
from harness.model.operation import RAW_RESETS, Operation, is_reset
from harness.model.outcome import Outcome
from harness.model.promise import Promise, WindowKind
from harness.model.terms import Terms
from harness.model.units import MS, Ns, as_text
from harness.model.verdict import Blame, Finding

NAME: Final = "call_outcome"

TRIES_WITHIN: Final = Ns(50 * MS)
"""A call that tries for a lock does so this soon after its begin; when the lock was given back in between, it finds
it free, however certain it is that it began inside the window."""


def call_outcome(evidence: Evidence, terms: Terms) -> tuple[Finding, ...]:
    """Hold the outcome of every call against its promise; a raw reset is judged as an access."""
    groups: dict[tuple[str, Operation, Operation, tuple[tuple[WindowKind, bool], ...]], list[Call]] = {}
    for call in evidence.calls:
        if call.returned and not call.excused and call.operation not in RAW_RESETS:
            met = tuple((situation.kind, situation.certain) for situation in call.situations)
            groups.setdefault((call.alias, call.operation, call.promised_as, met), []).append(call)
    return tuple(_judge(evidence, group, terms) for group in groups.values())


def _judge(evidence: Evidence, group: Sequence[Call], terms: Terms) -> Finding:
    one = group[0]
    what = f"{one.operation} on {one.alias}{' after its removal' if one.removed else ''}"
    promises = one.promises(terms)
    silent = next((met.kind for met, promise in one.promised(terms) if promise is None), None)
    wrong = [call for call in group if not _kept(call, terms)]
    if silent is not None and (wrong or not promises):
        return findings.unknown(
            NAME,
            f"The contract says nothing on {what} in window {silent!s}, "
            f"{'met' if one.window else 'perhaps met'} by {len(group)} calls.",
            events=[findings.operation((wrong or group)[0].row)],
        )
    reasons = (*evidence.doubts, *evidence.device_doubts)
    if any(promise.outcome is Outcome.SKIPPED for promise in promises):
        reasons = tuple(dict.fromkeys((*reasons, *trace_doubts(evidence, one))))
    # An errno that no window explains needs no trace to be believed.
    certain = [call for call in wrong if call.error and not _promised_somewhere(call, terms)]
    if reasons and not certain:
        return findings.unknown(
            NAME, f"Whether {what} met a lock is not certain: {'; '.join(reasons)}.", promise=promises[0]
        )
    if wrong:
        return _broken(certain or wrong, promises, what)
    promise = promises[0] if len(promises) == 1 else None
    return findings.passed(
        NAME,
        f"{len(group)} {what} {_how(one, promise)}.",
        promise=promise,
        met=len(group) if one.window else 0,
        weakness=findings.weak(promise, Aspect.OUTCOME) if promise else "",
    )


def _kept(call: Call, terms: Terms) -> bool:
    """Whether a call did what is promised for one of the situations that it may have been in."""
    return any(promise is not None and keeps(call, met, promise) for met, promise in call.promised(terms))


def keeps(call: Call, met: Situation, promise: Promise) -> bool:
    """Whether a call that returned showed the outcome that is promised for one situation."""
    number = words.number_of(promise.outcome)
    if call.error:
        name = errno.errorcode.get(call.error)
        return number == (call.error if name in words.ERRNO_NAMES else words.REFUSED)
    if met.window and number not in (words.PROMPT, words.WAITED) and _tried_late(call, met.window):
        return True
    if promise.outcome is Outcome.SKIPPED:
        return not call.performed or bool(met.window and _tried_late(call, met.window))
    if number not in (words.PROMPT, words.WAITED):
        return False
    if not met.certain:
        return True  # at the edge of a window a success may be prompt as well as late
    window = window_of(met, promise)
    if window is None:
        return number == words.PROMPT
    if number == words.WAITED:
        return _waited(call, window)
    # A bound on the time inside the window tells who waited from who was merely slow.
    slow = promise.at_most is not None and not is_reset(call.operation)
    return slow or not _waited(call, window)


def window_of(met: Situation, promise: Promise) -> Window | None:
    """The window that a promise is about; None when the operation does not mind the one that it met."""
    return None if promise.window is WindowKind.NONE else met.window


def _waited(call: Call, window: Window) -> bool:
    inside = window.closed_ns - TRACE_RESOLUTION
    return call.end_ns >= inside and not any(span.begin_ns < inside for span in call.spans)


def _tried_late(call: Call, window: Window) -> bool:
    """Whether a call may have tried for the lock only after it had been given back."""
    return _waited(call, window) and window.closed_ns - call.begin_ns < TRIES_WITHIN


def _promised_somewhere(call: Call, terms: Terms) -> bool:
    """Whether the contract knows this errno of this operation at all."""
    entries = (terms.promise(call.alias, call.promised_as, kind) for kind in WindowKind)
    return any(words.number_of(entry.outcome) == call.error for entry in entries if entry is not None)


def _how(call: Call, promise: Promise | None) -> str:
    if promise is None:
        return f"met the edge of a window, and ended as promised for {' or '.join(call.kinds)}"
    match promise.outcome:
        case Outcome.BLOCKED_AND_RESET:
            return "waited for the lock that another held, then reset"
        case Outcome.BLOCKED:
            return "waited for the lock that another held, then succeeded"
        case Outcome.SKIPPED:
            return "reported success and skipped the reset: a known weakness"
        case Outcome.OK:
            return "did not mind the lock that another held" if call.window else "succeeded"
        case _:
            return f"returned {promise.outcome!s}" + (", for another held a lock" if call.window else "")


def _broken(wrong: Sequence[Call], promises: Sequence[Promise], what: str) -> Finding:
    first, promise = wrong[0], promises[0]
    wanted = " or ".join(dict.fromkeys(str(promise.outcome) for promise in promises))
    took = as_text(first.end_ns - first.begin_ns)
    if first.error:
        name = errno.errorcode.get(first.error, str(first.error))
        said = f"it returned {name} after {took}"
    elif first.window:
        inside = [span for span in first.spans if span.begin_ns < first.window.closed_ns]
        how = "and reset inside that window" if inside else f"and returned after {took}"
        if not _waited(first, first.window):
            how += " without waiting for its end"
        met = "began" if first.begin_ns > first.window.opened_ns else "waited"
        said = f"it {met} inside a window of another thread ({first.window.kind!s}), {how}"
    else:
        free = "" if first.removed else ", and no other thread held the lock"
        said = f"it returned after {took}{free}"
    window = findings.kernel(first.window.opened_row) if first.window else ()
    hasty = not first.error and words.number_of(promise.outcome) == words.WAITED
    return findings.failed(
        NAME,
        Blame.RESET_FAILED if first.error and is_reset(first.operation) else Blame.MISMATCH,
        f"{len(wrong)} {what} did not keep the promise {wanted}: {said}.",
        events=[
            findings.operation(first.row),
            *window,
            *(findings.operation(call.row) for call in wrong[1:4]),
        ],
        promise=promise,
        met=len(wrong),
        weakness=findings.weak(promise, Aspect.OUTCOME),
        cause=Cause.DID_NOT_WAIT if hasty else Cause.NOTHING,
    )

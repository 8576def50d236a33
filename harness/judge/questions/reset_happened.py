"""Did every reset that reported success really reset?

Two witnesses.  The kernel's trace must show that a reset ran in the resetting thread and returned 0, by the
method asked for where one was.  And where the plan marks an oracle register, the register must read afterwards what
the promise says: neither the return code nor the trace proves that the function forgot its state.

Such a round is read out of a history by :mod:`~harness.judge.evidence.oracle_rounds`.

What a reset does to state is a matter of its method.  Where the kernel chose it, as it does for VFIO, the method
that the trace shows is held to its own promise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from harness.judge import findings
from harness.judge.evidence import Evidence
from harness.judge.evidence.calls import Call, trace_doubts, traced
from harness.judge.evidence.oracle_rounds import OracleRound
from harness.judge.findings import Aspect
from harness.model.operation import reset
from harness.model.outcome import Outcome
from harness.model.promise import DeviceState, Promise, WindowKind
from harness.model.terms import Terms
from harness.model.verdict import Blame, Finding

NAME: Final = "reset_happened"


def reset_happened(evidence: Evidence, terms: Terms) -> tuple[Finding, ...]:
    """Hold every successful reset against the trace, and every oracle round against its promise."""
    return (*_traced(evidence, terms), *_forgotten(evidence, terms))


def _traced(evidence: Evidence, terms: Terms) -> Iterator[Finding]:
    groups: dict[tuple[str, str], list[Call]] = {}
    for call in evidence.successful_resets:
        # An entry may promise that the reset is skipped in silence; then there is nothing to be seen.
        skips = any(promise.outcome is Outcome.SKIPPED for promise in call.promises(terms))
        if traced(call.operation) and not skips:
            groups.setdefault((call.alias, call.operation), []).append(call)
    for group in groups.values():
        one = group[0]
        what = f"{one.operation} on {one.alias}"
        if reasons := trace_doubts(evidence, one):
            yield findings.unknown(
                NAME, f"Whether {what} was performed is not certain: {'; '.join(reasons)}."
            )
            continue
        silent = [call for call in group if not call.performed]
        if silent:
            ran = ", ".join(f"{span.name} returned {span.result}" for span in silent[0].spans) or "none ran"
            yield findings.failed(
                NAME,
                Blame.RESET_FAILED,
                f"{len(silent)} of {len(group)} {what} reported success, but the trace shows no such reset "
                f"(methods in its thread: {ran}).",
                events=[findings.operation(call.row) for call in silent[:4]],
                met=len(silent),
            )
        else:
            how = ", ".join(dict.fromkeys(call.performed[-1].name for call in group))
            yield findings.passed(
                NAME, f"The kernel performed {how} for each of {len(group)} {what}.", met=len(group)
            )


def _forgotten(evidence: Evidence, terms: Terms) -> Iterator[Finding]:
    groups: dict[tuple[str, str], list[tuple[Promise, OracleRound]]] = {}
    for round_ in evidence.oracle_rounds:
        promise = _state_promise(round_.call, terms)
        if promise is None:
            what = f"{round_.call.operation} on {round_.call.alias}"
            yield findings.unknown(NAME, f"The contract promises no state after {what}.")
        else:
            groups.setdefault((round_.oracle.function, promise.id), []).append((promise, round_))
    for group in groups.values():
        yield _judge(group)


def _state_promise(call: Call, terms: Terms) -> Promise | None:
    """The entry that says what a successful reset did to the state of its function."""
    promises = call.promises(terms)
    if traced(call.operation):
        skipped = not call.performed
        promises = tuple(p for p in promises if (p.outcome is Outcome.SKIPPED) is skipped) or promises
    named = [promise for promise in promises if promise.state is not None]
    if named:
        return named[0] if len({promise.state for promise in promises}) == 1 else None
    chosen = call.performed[-1].method if call.method is None and call.performed else None
    method = terms.promise(call.alias, reset(chosen), WindowKind.NONE) if chosen else None
    return method if method is not None and method.state is not None else None


def _judge(group: Sequence[tuple[Promise, OracleRound]]) -> Finding:
    promise, first = group[0]
    what = f"{first.call.operation} on {first.oracle.function}"
    wrong, doubtful, muted = [], [], []
    for _, round_ in group:
        if round_.muted:
            muted.append(round_)
        elif _doubt(round_):
            doubtful.append(round_)
        elif _state(round_) is not promise.state:
            wrong.append(round_)
    if wrong:
        bad = wrong[0]
        return findings.failed(
            NAME,
            Blame.DEVICE_LOST if _all_ones(bad) else Blame.RESET_FAILED,
            f"After {len(wrong)} of {len(group)} {what} the oracle register at {bad.oracle.resource} + "
            f"{bad.oracle.offset:#x} reads {bad.value:#x} "
            f"({_state(bad) or 'neither mark nor cleared'}), promised is {promise.state!s}.",
            events=[findings.operation(row) for row in (bad.call.row, bad.check_row, bad.mark_row)],
            promise=promise,
            met=len(wrong),
            weakness=findings.weak(promise, Aspect.STATE),
        )
    if doubtful:
        return findings.unknown(
            NAME,
            f"{len(doubtful)} of {len(group)} oracle rounds of {what} say nothing: {_doubt(doubtful[0])}.",
            promise=promise,
            events=[findings.operation(doubtful[0].check_row)],
        )
    if len(muted) == len(group):
        return findings.unknown(
            NAME,
            f"All {len(group)} oracle rounds of {what} say nothing: {muted[0].muted}.",
            promise=promise,
            events=[findings.operation(muted[0].check_row)],
        )
    spoke = len(group) - len(muted)
    weakness = findings.weak(promise, Aspect.STATE)
    return findings.passed(
        NAME,
        f"After {spoke} {what} the oracle register was {promise.state!s}"
        + (": a known weakness." if weakness else ".")
        + (f"  {len(muted)} more say nothing: {muted[0].muted}." if muted else ""),
        promise=promise,
        met=spoke,
        weakness=weakness,
    )


def _state(round_: OracleRound) -> DeviceState | None:
    mask = round_.oracle.mask
    if (round_.value ^ round_.oracle.cleared) & mask == 0:
        return DeviceState.CLEARED
    return DeviceState.KEPT if (round_.value ^ round_.oracle.marker) & mask == 0 else None


def _all_ones(round_: OracleRound) -> bool:
    ones = (1 << 8 * round_.oracle.width) - 1
    return round_.value & ones == ones and round_.oracle.cleared != ones


def _doubt(round_: OracleRound) -> str:
    """Why a round is no evidence, or nothing."""
    mask = round_.oracle.mask
    if round_.failed:
        return "the register could not be read"
    if round_.held is None:
        return "no check between mark and reset shows that the mark held"
    if (round_.held ^ round_.oracle.marker) & mask:
        return f"the mark did not hold, the register read {round_.held:#x} before the reset"
    return round_.doubt

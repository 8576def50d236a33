"""Did every reset that reported success really reset?

Two witnesses.  The kernel's trace must show that the named method ran in the resetting thread and returned 0.
And where the plan marks an oracle register, the register must read afterwards what the promise says: neither
the return code nor the trace proves that the function forgot its state.

An oracle round is `oracle/mark`, `oracle/check`, reset, `oracle/check`, by one actor in one round.  The first
check shows that the mark held; without it a register that ignores writes would look like a perfect reset.
A round whose register was touched while somebody held the function's config lock says nothing: registers do not
decode during a reset.  Such rounds are left out, as long as another one speaks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from harness.history.history import History
from harness.history.windows import LockWindow, lock_windows, reset_doubts
from harness.judge import findings
from harness.judge.findings import Aspect
from harness.judge.reset_operations import ResetOperation, reset_operations
from harness.judge.steps import Steps, steps_of
from harness.model.operation import CHECK, FLR_BIT, MARK, verb
from harness.model.outcome import Outcome
from harness.model.pci import COMMAND
from harness.model.plan import Oracle, Step
from harness.model.promise import DeviceState, Promise
from harness.model.terms import Terms
from harness.model.verdict import Blame, Finding

NAME: Final = "reset_happened"
_MEMORY_SPACE_ENABLE: Final = 0x02  # of Command, PCIe r6.0 §7.5.1.1.3


def reset_happened(history: History, terms: Terms) -> tuple[Finding, ...]:
    """Hold every successful reset against the trace, and every oracle round against its promise."""
    resets = reset_operations(history)
    return (*_traced(history, terms, resets), *_forgotten(history, terms, resets))


def _traced(history: History, terms: Terms, resets: Sequence[ResetOperation]) -> Iterator[Finding]:
    groups: dict[tuple[str, str], list[ResetOperation]] = {}
    for reset in resets:
        # An entry may promise that the reset is skipped in silence; then there is nothing to be seen.
        skips = any(promise.outcome is Outcome.SKIPPED for promise in reset.promises(terms))
        if reset.succeeded and reset.method is not None and not skips:
            groups.setdefault((reset.alias, reset.operation), []).append(reset)
    for group in groups.values():
        one = group[0]
        what = f"{one.operation} on {one.alias}"
        if one.method is not None and (reasons := reset_doubts(history, one.method)):
            yield findings.unknown(
                NAME, f"Whether {what} was performed is not certain: {'; '.join(reasons)}."
            )
            continue
        silent = [r for r in group if not any(s.method is r.method and s.result == 0 for s in r.spans)]
        if silent:
            ran = ", ".join(f"{span.method} returned {span.result}" for span in silent[0].spans) or "none ran"
            yield findings.failed(
                NAME,
                Blame.RESET_FAILED,
                f"{len(silent)} of {len(group)} {what} reported success, but the trace shows no such reset "
                f"(methods in its thread: {ran}).",
                events=[findings.operation(r.row) for r in silent[:4]],
                met=len(silent),
            )
        else:
            yield findings.passed(
                NAME, f"The kernel performed {one.method} for each of {len(group)} {what}.", met=len(group)
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Round:
    """One oracle round: rows and values."""

    reset: ResetOperation
    oracle: Oracle
    mark_row: int
    held: int | None
    check_row: int
    value: int
    failed: bool
    eclipsed: bool
    doubt: str


def _forgotten(history: History, terms: Terms, resets: Sequence[ResetOperation]) -> Iterator[Finding]:
    groups: dict[tuple[str, str], list[tuple[Promise, _Round]]] = {}
    for round_ in _rounds(history, resets):
        states = {p.state for p in round_.reset.promises(terms)}
        promise = next((p for p in round_.reset.promises(terms) if p.state is not None), None)
        if promise is not None and len(states) == 1:
            groups.setdefault((round_.reset.alias, promise.id), []).append((promise, round_))
        else:
            what = f"{round_.reset.operation} on {round_.reset.alias}"
            yield findings.unknown(NAME, f"The contract promises no state after {what}.")
    for group in groups.values():
        yield _judge(group)


def _judge(group: list[tuple[Promise, _Round]]) -> Finding:
    promise, first = group[0]
    reset = first.reset
    what = f"{reset.operation} on {reset.alias}"
    wrong, doubtful, eclipsed = [], [], []
    for _, round_ in group:
        if round_.eclipsed:
            eclipsed.append(round_)
            continue
        doubt = _doubt(round_)
        if doubt:
            doubtful.append((doubt, round_))
        elif _state(round_) is not promise.state:
            wrong.append(round_)
    if wrong:
        return findings.failed(
            NAME,
            Blame.DEVICE_LOST if _all_ones(wrong[0]) else Blame.RESET_FAILED,
            f"After {len(wrong)} of {len(group)} {what} the oracle register at {wrong[0].oracle.resource} + "
            f"{wrong[0].oracle.offset:#x} reads {wrong[0].value:#x} "
            f"({_state(wrong[0]) or 'neither mark nor cleared'}), promised is {promise.state!s}.",
            events=[
                findings.operation(row) for r in wrong[:1] for row in (r.reset.row, r.check_row, r.mark_row)
            ],
            promise=promise,
            met=len(wrong),
            weakness=findings.weak(promise, Aspect.STATE),
        )
    if doubtful:
        return findings.unknown(
            NAME,
            f"{len(doubtful)} of {len(group)} oracle rounds of {what} say nothing: {doubtful[0][0]}.",
            promise=promise,
            events=[findings.operation(doubtful[0][1].check_row)],
        )
    if len(eclipsed) == len(group):
        return findings.unknown(
            NAME,
            f"All {len(group)} oracle rounds of {what} say nothing: the function was being reset while the register "
            "was marked or checked.",
            promise=promise,
            events=[findings.operation(eclipsed[0].check_row)],
        )
    spoke = len(group) - len(eclipsed)
    weakness = findings.weak(promise, Aspect.STATE)
    return findings.passed(
        NAME,
        f"After {spoke} {what} the oracle register was {promise.state!s}"
        + (": a known weakness." if weakness else ".")
        + (f"  {len(eclipsed)} more were checked during another reset and say nothing." if eclipsed else ""),
        promise=promise,
        met=spoke,
        weakness=weakness,
    )


def _state(round_: _Round) -> DeviceState | None:
    mask = round_.oracle.mask
    if (round_.value ^ round_.oracle.cleared) & mask == 0:
        return DeviceState.CLEARED
    return DeviceState.KEPT if (round_.value ^ round_.oracle.marker) & mask == 0 else None


def _all_ones(round_: _Round) -> bool:
    ones = (1 << 8 * round_.oracle.width) - 1
    return round_.value & ones == ones and round_.oracle.cleared != ones


def _doubt(round_: _Round) -> str:
    """Why a round is no evidence, or nothing."""
    mask = round_.oracle.mask
    if round_.failed:
        return "the register could not be read"
    if round_.held is None:
        return "no check between mark and reset shows that the mark held"
    if (round_.held ^ round_.oracle.marker) & mask:
        return f"the mark did not hold, the register read {round_.held:#x} before the reset"
    return round_.doubt


def _rounds(history: History, resets: Sequence[ResetOperation]) -> Iterator[_Round]:
    if not history.plan.oracles:
        return
    steps = steps_of(history)
    marks = _by_round(history, steps.rows(lambda step: step.means == MARK).tolist())
    checks = _by_round(history, steps.rows(lambda step: step.means == CHECK).tolist())
    table = history.operations
    windows = lock_windows(history)
    for reset in resets:
        key = (reset.actor, reset.round)
        if not reset.succeeded or key not in marks or key not in checks:
            continue
        before = [r for r in checks[key] if table["end_ns"][r] <= reset.begin_ns]
        after = [r for r in checks[key] if table["begin_ns"][r] >= reset.end_ns]
        mark = next((r for r in reversed(marks[key]) if table["end_ns"][r] <= reset.begin_ns), None)
        if mark is None or not after:
            continue
        check = after[0]
        oracle = _oracle(history, steps.numbered[steps.of_row[check]][1], int(table["value"][mark]))
        if oracle is None or oracle.function != reset.alias:
            continue
        held = next((r for r in reversed(before) if table["begin_ns"][r] >= table["end_ns"][mark]), None)
        yield _Round(
            reset=reset,
            oracle=oracle,
            mark_row=mark,
            held=None if held is None else int(table["value"][held]),
            check_row=check,
            value=int(table["value"][check]),
            failed=bool(table["error"][check] != 0 or table["end_ns"][check] == 0),
            eclipsed=any(_in_window(history, windows, reset.function, row) for row in (mark, held, check)),
            doubt=_interfered(history, resets, reset, mark, check) or _dark(history, steps, reset, check),
        )


def _in_window(history: History, windows: Sequence[LockWindow], function: int, row: int | None) -> bool:
    if row is None:
        return False
    begin, end = int(history.operations["begin_ns"][row]), int(history.operations["end_ns"][row])
    return any(
        window.function == function and window.opened_ns <= end and begin <= window.closed_ns
        for window in windows
    )


def _interfered(
    history: History, resets: Sequence[ResetOperation], reset: ResetOperation, mark: int, check: int
) -> str:
    """Another reset of the function may have cleared the register, by a method that promises otherwise."""
    since, until = int(history.operations["begin_ns"][mark]), int(history.operations["end_ns"][check])
    for other in resets:
        if other.row == reset.row or other.function != reset.function or other.operation == reset.operation:
            continue
        if other.begin_ns <= until and other.end_ns >= since:
            return f"{other.operation} by {history.plan.actors[other.actor].name} came between mark and check"
    return ""


def _dark(history: History, steps: Steps, reset: ResetOperation, check: int) -> str:
    """After a raw FLR memory decode is off: a register cannot be read before it is on again."""
    if reset.operation != FLR_BIT:
        return ""
    table = history.operations
    rows = steps.rows(lambda step: verb(step.means) == "config-write" and _enables_memory(step))
    rows = rows[(rows > reset.row) & (rows < check)]
    if ((table["actor"][rows] == reset.actor) & (table["error"][rows] == 0)).any():
        return ""
    return "memory decode was off after the raw FLR, nothing turned it on before the check"


def _enables_memory(step: Step) -> bool:
    at = COMMAND - step.offset
    return 0 <= at < len(step.value) and bool(step.value[at] & _MEMORY_SPACE_ENABLE)


def _by_round(history: History, rows: list[int]) -> dict[tuple[int, int], list[int]]:
    found: dict[tuple[int, int], list[int]] = {}
    for row in rows:
        found.setdefault(
            (int(history.operations["actor"][row]), int(history.operations["round"][row])), []
        ).append(row)
    return found


def _oracle(history: History, step: Step, marked: int) -> Oracle | None:
    fitting = [
        oracle
        for oracle in history.plan.oracles
        if step.file is not None
        and (oracle.function, oracle.resource, oracle.offset)
        == (step.file.function, step.file.role, step.offset)
    ]
    same = [oracle for oracle in fitting if oracle.marker == marked]
    return next(iter(same or fitting), None)

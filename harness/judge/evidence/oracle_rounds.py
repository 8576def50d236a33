"""Oracle rounds: a register that only a reset clears was marked before a reset, and read after it.

A round is `oracle/mark`, `oracle/check`, a reset by any way, `oracle/check`, by one actor in one round, through sysfs
`resourceN` or VFIO's region of the same BAR.  The first check shows that the mark held; without it a register that
ignores writes would look like a perfect reset.  A round is muted when its register was touched while somebody
reset the function, for registers do not decode then, or when another's reset by another method came between.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from harness.history.history import History
from harness.history.reading import Reading
from harness.history.steps import Steps
from harness.history.windows import LockWindow, ResetSpan
from harness.judge.evidence.calls import Call
from harness.model.operation import CHECK, MARK, RAW_RESETS, SUBORDINATE_RESET, verb
from harness.model.pci import COMMAND, MEMORY_SPACE
from harness.model.plan import Oracle, Step

_VFIO_BAR: Final = "vfio-bar"  # the same registers as in resourceN
_RESOURCE: Final = "resource"


@dataclass(frozen=True, slots=True, kw_only=True)
class OracleRound:
    """One oracle round.

    Attributes:
        call: the reset.
        oracle: the register.
        mark_row, check_row: rows of `History.operations`: the mark, and the check after the reset.
        held: what the check before the reset read; None without one.
        value: what the check after it read.
        failed: the check after it did not come back with a value.
        doubt: why it is no evidence although it should be, or empty.
        muted: why others kept it from being evidence, or empty.
    """

    call: Call
    oracle: Oracle
    mark_row: int
    held: int | None
    check_row: int
    value: int
    failed: bool
    doubt: str
    muted: str


def oracle_rounds(reading: Reading, successful: Sequence[Call]) -> Iterator[OracleRound]:
    """The rounds of a history, one for each reset that stands between a mark and a check.

    Args:
        reading: of the history.
        successful: its successful resets.
    """
    history, steps = reading.history, reading.steps
    if not history.plan.oracles:
        return
    marks = _by_round(history, steps.rows(lambda step: step.means == MARK).tolist())
    checks = _by_round(history, steps.rows(lambda step: step.means == CHECK).tolist())
    table = history.operations
    others = _Others(reading, successful)
    for call in successful:
        key = (call.actor, call.round)
        if key not in marks or key not in checks:
            continue
        before = [r for r in checks[key] if table["end_ns"][r] <= call.begin_ns]
        after = [r for r in checks[key] if table["begin_ns"][r] >= call.end_ns]
        mark = next((r for r in reversed(marks[key]) if table["end_ns"][r] <= call.begin_ns), None)
        if mark is None or not after:
            continue
        check = after[0]
        oracle = _oracle(history, steps.behind(check), int(table["value"][mark]))
        if oracle is None or oracle.function not in call.resets:
            continue
        held = next((r for r in reversed(before) if table["begin_ns"][r] >= table["end_ns"][mark]), None)
        yield OracleRound(
            call=call,
            oracle=oracle,
            mark_row=mark,
            held=None if held is None else int(table["value"][held]),
            check_row=check,
            value=int(table["value"][check]),
            failed=bool(table["error"][check] != 0 or table["end_ns"][check] == 0),
            doubt=_dark(steps, call, check),
            muted=others.mute(call, reading.of(oracle.function).number, (mark, held, check)),
        )


class _Others:
    """What else reset functions in a history, beside the call whose round is looked at."""

    def __init__(self, reading: Reading, calls: Sequence[Call]) -> None:
        self._reading, self._history = reading, reading.history
        self._unseen = [call for call in calls if call.operation == SUBORDINATE_RESET]
        self._names = {actor.tid: actor.name for actor in reading.history.actors}
        self._resetting: dict[int, list[LockWindow]] = {}
        for window in reading.windows:
            if any(self._within(span, window) for span in reading.resets_by.get(window.tid, ())):
                self._resetting.setdefault(window.function, []).append(window)

    def mute(self, call: Call, function: int, rows: tuple[int, int | None, int]) -> str:
        """Why a round of mark, first check and last check says nothing about `call`, or nothing."""
        table = self._history.operations
        for row in rows:
            if row is not None and self._is_reset(
                function, int(table["begin_ns"][row]), int(table["end_ns"][row])
            ):
                return "the function was being reset while the register was marked or checked"
        since, until = int(table["begin_ns"][rows[0]]), int(table["end_ns"][rows[2]])
        for span in self._reading.resets:
            if span.begin_ns <= until and span.end_ns >= since and self._clears(span, call, function):
                who = self._names.get(span.tid, f"thread {span.tid}")
                return f"a {span.name} reset by {who} came between mark and check"
        alias = self._history.plan.functions[function]
        for other in self._unseen:
            between = other.begin_ns <= until and other.end_ns >= since
            if between and other.row != call.row and alias in other.resets:
                return f"{other.operation} by {self._names[self._tid(other)]} came between mark and check"
        return ""

    def _clears(self, span: ResetSpan, call: Call, function: int) -> bool:
        """Whether a reset that is not the call's may have cleared the register by another method."""
        if span in call.spans or span.result == -errno.EAGAIN:
            return False
        asked = self._history.plan.functions[span.function]
        on = self._reading.beside[asked] if span.method is None else (span.function,)
        return function in on and span.method not in {own.method for own in call.performed}

    def _is_reset(self, function: int, begin: int, end: int) -> bool:
        """Whether somebody held the config lock of the function in order to reset it."""
        held = self._resetting.get(function, ())
        return any(window.opened_ns <= end and begin <= window.closed_ns for window in held)

    def _tid(self, call: Call) -> int:
        return self._history.actors[call.actor].tid

    @staticmethod
    def _within(span: ResetSpan, window: LockWindow) -> bool:
        return window.opened_ns <= span.end_ns and span.begin_ns <= window.closed_ns


def _dark(steps: Steps, call: Call, check: int) -> str:
    """After a raw reset memory decode is off: a register cannot be read before it is on again."""
    if call.operation not in RAW_RESETS:
        return ""
    table = steps.history.operations
    rows = steps.rows(lambda step: verb(step.means) == "config-write" and _enables_memory(step))
    rows = rows[(rows > call.row) & (rows < check)]
    if ((table["actor"][rows] == call.actor) & (table["error"][rows] == 0)).any():
        return ""
    return "memory decode was off after the raw reset, nothing turned it on before the check"


def _enables_memory(step: Step) -> bool:
    at = COMMAND - step.offset
    return 0 <= at < len(step.value) and bool(step.value[at] & MEMORY_SPACE)


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
        == (step.file.function, step.file.role.replace(_VFIO_BAR, _RESOURCE), step.offset)
    ]
    same = [oracle for oracle in fitting if oracle.marker == marked]
    return next(iter(same or fitting), None)

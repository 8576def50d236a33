"""What reads of registers in a BAR gave: data, or what the root port or QEMU made up in its place.

Nobody recorded the registers before the stage, so what they hold is what they gave before the first window, and before
anything that was staged to go wrong.  Only made-up data is judged: all-ones, or QEMU's zero.  Three rules:

* While memory decode is off a read gives made-up data.  A reset through sysfs turns it off shortly after its window has
  opened and on again shortly before it closes; so where made-up data is promised, an access inside the window,
  or at its edge, may show either that or data, but no other kind of made-up data.
* Everywhere else made-up data convicts, unless the register held it before the first window.
* After a reset zero is no longer told from what the reset left; nor in a register that the plan writes.  After
  something that may leave decode off (a raw reset, a write to COMMAND, a driver or VFIO user that goes) nothing is.

Source: Linux drivers/pci/pci.c, `pci_dev_save_and_disable()`, `pci_dev_restore()`; PCIe r6.0 §2.3.2 (completions);
QEMU system/memory.c, an address that nothing is mapped to reads as zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from harness.history.reading import OfFunction
from harness.history.windows import LockWindow
from harness.judge import findings
from harness.judge.evidence import Evidence
from harness.judge.evidence.accesses import KINDS, Accesses, Mask
from harness.judge.evidence.link_errors import lost_since
from harness.judge.findings import Aspect
from harness.model.operation import BIND, MARK, RAW_RESETS, REMOVE, UNBIND, VFIO_CLOSE, verb
from harness.model.outcome import Outcome
from harness.model.pci import COMMAND, MEMORY_SPACE
from harness.model.plan import Step
from harness.model.promise import Promise, WindowKind
from harness.model.served import Happened
from harness.model.terms import Terms
from harness.model.verdict import Blame, Finding

NAME: Final = "values_sane"
_RESETTING: Final = (
    WindowKind.SYSFS_RESET,
    WindowKind.VFIO_RESET,
    WindowKind.HOT_RESET,
    WindowKind.VFIO_OPEN,
)
_LEAVE_DECODE_OFF: Final = frozenset({*RAW_RESETS, BIND, UNBIND, REMOVE, VFIO_CLOSE})
_MADE_UP: Final = {Outcome.ALL_ONES: "all-ones", Outcome.ZERO: "zero"}


@dataclass(frozen=True, slots=True)
class _Register:
    """A place in a BAR."""

    bar: str
    offset: int
    width: int

    @classmethod
    def of(cls, step: Step) -> _Register:
        return cls(step.file.role[-1] if step.file else "", step.offset, step.width or len(step.value))

    def overlaps(self, other: _Register) -> bool:
        return (
            self.bar == other.bar
            and self.offset < other.offset + other.width
            and other.offset < self.offset + self.width
        )

    def __str__(self) -> str:
        return f"register {self.offset:#x} of BAR {self.bar}"


def register_values(evidence: Evidence, terms: Terms) -> tuple[Finding, ...]:
    """Hold the data of all reads of registers against what the registers held before the first window."""
    if not len(evidence.steps.rows(lambda step: verb(step.means) == "bar-read")):
        return ()
    if reasons := evidence.window_doubts:
        return (
            findings.unknown(
                NAME, f"When registers may read as made up is not certain: {'; '.join(reasons)}."
            ),
        )
    found: list[Finding] = []
    for group in evidence.accesses:
        if verb(group.operation) == "bar-read":
            function = evidence.of(group.alias)
            until = min(_decoding_until(function), lost_since(evidence, terms, group.alias))
            numbers = evidence.steps.of_row[group.rows]
            registers: dict[_Register, list[int]] = {}
            for number in np.unique(numbers).tolist():
                register = _Register.of(evidence.steps.numbered[number][1])
                registers.setdefault(register, []).append(number)
            for register in sorted(registers, key=str):
                here = np.isin(numbers, registers[register]) & (group.end < until)
                found.extend(_judge(function, terms, group, register, here))
    return tuple(found)


def _judge(
    function: OfFunction, terms: Terms, group: Accesses, register: _Register, here: Mask
) -> Iterator[Finding]:
    got = here & (group.error == 0)
    what = f"{group.operation} of {register} of {group.alias}"
    if (got & group.short).any():
        rows = group.rows[got & group.short]
        yield findings.failed(
            NAME,
            Blame.MISMATCH,
            f"{len(rows)} {what} were short: the first got "
            f"{group.history.operations['result'][rows[0]]} of {register.width} bytes.",
            events=[findings.operation(row) for row in rows[:4]],
            met=len(rows),
        )
        return
    if not got.any():
        return
    value = group.history.operations["value"][group.rows]
    first = min(_first_window(group), _first_wrong(function))
    held = np.unique(value[got & (group.end < first)])
    promises = {kind: terms.promise(group.alias, group.operation, kind) for kind in WindowKind}
    ones = (1 << 8 * min(register.width, 8)) - 1
    told = {Outcome.ALL_ONES: got & (value == ones), Outcome.ZERO: got & (value == 0)}
    if ones in held:
        told[Outcome.ALL_ONES][:] = False
    if 0 in held or _is_written(function, register):
        told[Outcome.ZERO][:] = False
    told[Outcome.ZERO] &= group.begin < _first_reset_over(function)
    for outcome, name in _MADE_UP.items():
        allowed = _allowed(group, promises, outcome)
        wrong = told[outcome] & ~allowed
        if wrong.any() and not len(held):
            yield findings.unknown(
                NAME,
                f"{wrong.sum()} {what} gave {name}, and what the register holds is not known: nobody read it before "
                "the first window, and before something went wrong.",
                events=[findings.operation(row) for row in group.rows[wrong][:4]],
            )
            return
        if wrong.any():
            yield _wrong(group, what, name, wrong)
            return
    shown = [
        (promise, mask)
        for kind, promise in promises.items()
        if promise is not None
        and promise.outcome in _MADE_UP
        and (mask := told[promise.outcome] & _in_window(group, kind)).any()
    ]
    for promise, mask in shown:
        yield findings.passed(
            NAME,
            f"{mask.sum()} {what} gave {_MADE_UP[promise.outcome]}, as they may while decode is off.",
            promise=promise,
            met=int(mask.sum()),
            weakness=findings.weak(promise, Aspect.OUTCOME),
        )
    data = int(got.sum()) - sum(int(mask.sum()) for _, mask in shown)
    yield findings.passed(
        NAME, f"{data} {what} gave data.", met=data, source="PCIe r6.0 §2.3.2; Linux drivers/pci/pci.c"
    )


def _wrong(group: Accesses, what: str, name: str, wrong: Mask) -> Finding:
    rows = group.rows[wrong]
    number = int(np.argmax(wrong))
    touched = group.config.touched[number]
    actor = group.history.plan.actors[int(group.history.operations["actor"][rows[0]])].name
    where = f"in a window ({group.windows[touched].kind})" if touched >= 0 else "while nobody held a lock"
    return findings.failed(
        NAME,
        Blame.DEVICE_LOST if name == "all-ones" and wrong[-1] else Blame.MISMATCH,
        f"{wrong.sum()} {what} gave {name}: {actor} {where}.",
        events=[
            findings.operation(rows[0]),
            *(findings.kernel(group.windows[touched].opened_row) if touched >= 0 else ()),
            *(findings.operation(row) for row in rows[1:3]),
        ],
        met=int(wrong.sum()),
        source="PCIe r6.0 §2.3.2; Linux drivers/pci/pci.c, pci_dev_save_and_disable()",
    )


def _in_window(group: Accesses, kind: WindowKind) -> Mask:
    """Accesses inside a window of this kind, or that may have touched one."""
    inside: Mask = group.kind == KINDS.index(kind)
    return inside | group.touched(kind)


def _allowed(group: Accesses, promises: dict[WindowKind, Promise | None], outcome: Outcome) -> Mask:
    mask = np.zeros(len(group.rows), dtype=np.bool_)
    for kind, promise in promises.items():
        if promise is not None and promise.outcome is outcome:
            mask |= _in_window(group, kind)
    return mask


def _first_window(group: Accesses) -> int:
    """Since when the function may have been locked for the first time."""
    windows = group.windows[:1]
    return min((w.asked_ns or w.opened_ns for w in windows), default=np.iinfo(np.int64).max)


def _first_wrong(function: OfFunction) -> int:
    """Since when the function may have done what it was staged to do wrong, or something may have been done to it."""
    history = function.whole.history
    rows = function.served(Happened.FAULT_BEGINS, Happened.INCIDENT_BEGINS)
    times = history.served["time_ns"][rows]
    return int(times.min()) - history.served_error_ns if len(times) else np.iinfo(np.int64).max


def _first_reset_over(function: OfFunction) -> int:
    """When the first reset of the function was over."""
    over = [window.closed_ns for window in function.windows if window.kind in _RESETTING]
    for span in function.resets:
        around = (window for window in function.windows if _covers(window, span.begin_ns))
        over.append(next((window.closed_ns for window in around), span.end_ns))
    return min(over, default=np.iinfo(np.int64).max)


def _covers(window: LockWindow, moment: int) -> bool:
    return window.opened_ns <= moment <= window.closed_ns


def _decoding_until(function: OfFunction) -> int:
    """When the plan's own doing may first have turned memory decode off, to leave it so."""
    steps = function.whole.steps
    rows = steps.on(function.alias, _may_end_decoding)
    return int(steps.history.operations["begin_ns"][rows[0]]) if len(rows) else np.iinfo(np.int64).max


def _may_end_decoding(step: Step) -> bool:
    if verb(step.means) == "config-write" and step.offset <= COMMAND < step.offset + len(step.value):
        return not step.value[COMMAND - step.offset] & MEMORY_SPACE
    return step.means in _LEAVE_DECODE_OFF


def _is_written(function: OfFunction, register: _Register) -> bool:
    return any(
        (verb(step.means) == "bar-write" or step.means == MARK) and register.overlaps(_Register.of(step))
        for _, step in function.whole.steps.numbers(function.alias)
    )

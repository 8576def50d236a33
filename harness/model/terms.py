"""The part of the contract that applies to one history."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field

from harness.model.operation import Operation
from harness.model.promise import Promise, WindowKind


@dataclass(frozen=True, slots=True, kw_only=True)
class VolatileField:
    """Bits of config space that may differ between two reads of a healthy function.

    Attributes:
        function: alias of the function, resolved from the platform.
        offset: in bytes from the start of config space.
        value: mask of the volatile bits, `width` bytes little-endian at `offset`.
        width: in bytes: 1, 2 or 4.
        source: why they may differ.
    """

    function: str
    offset: int
    width: int
    value: int
    source: str


class LogClass(enum.StrEnum):
    """What an event of the kernel log is.  What each of them means for a verdict is the judge's business."""

    WARN = "warn"
    """The kernel warns of its own state: WARN()."""
    BUG = "bug"
    """The kernel found that it is wrong: BUG(), `BUG: scheduling while atomic`."""
    OOPS = "oops"
    """An illegal access, instruction or trap inside the kernel."""
    CORRUPTION = "corruption"
    """A list or a reference count is damaged."""
    SANITIZER = "sanitizer"
    """KASAN, KCSAN, KFENCE, KMSAN, UBSAN."""
    LOCKDEP = "lockdep"
    """A rule of locking was broken, whether or not it led to a deadlock."""
    RCU_STALL = "rcu-stall"
    """A grace period does not end."""
    SOFT_LOCKUP = "soft-lockup"
    """A processor schedules nobody else."""
    HARD_LOCKUP = "hard-lockup"
    """A processor takes no interrupt."""
    PANIC = "panic"
    """The kernel stopped itself."""
    MACHINE_CHECK = "machine-check"
    """The processor or the firmware reports an error of the hardware."""
    IOMMU_FAULT = "iommu-fault"
    """The IOMMU refused an access of a function."""
    HUNG_TASK = "hung-task"
    """A task was blocked for longer than the kernel tolerates."""
    RESET_FAILED = "reset-failed"
    """A reset did not bring the function back, or did not happen."""
    LOST = "lost"
    """The function does not answer any more."""
    AER_UNCORRECTABLE = "aer-uncorrectable"
    """An error of the link that lost a transaction."""
    DPC = "dpc"
    """A port cut its link to contain an error."""
    GIVEN_UP = "given-up"
    """A driver lost its function, gave it up, or waits for it in vain."""
    AER_CORRECTABLE = "aer-correctable"
    """An error of the link that the link itself put right."""
    CORRECTED = "corrected"
    """An error of the hardware that the hardware itself put right."""
    SLOW = "slow"
    """The function took its time to come back."""
    DEGRADED = "degraded"
    """Something was done although its conditions were not met, or was not put back."""
    PM_FAULT = "pm-fault"
    """The function did not change its power state."""
    BLOCKED = "blocked"
    """Somebody waits until the user of the function lets go."""
    REFUSED = "refused"
    """The kernel would not do what it was asked to."""
    WARNING = "warning"
    """Worth reading, no breach."""
    INFO = "info"
    """Part of normal work."""
    DETAIL = "detail"
    """A line in the middle of a report: registers, a call trace.  It belongs to the event before it."""
    HELPER = "helper"
    """No line: a function that reports, waits or works for others.  Whose doing a report is, stands above it."""


def nameless(pattern: str) -> str:
    """The pattern of a rule, without the names of its groups: beside another it may use them, too."""
    return re.sub(r"\(\?P<\w+>", "(?:", pattern)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRule:
    """How to read one kind of line of the kernel log.

    Attributes:
        pattern: regular expression, searched for in the text of a line.  Named groups tell more: `symbol`, a kernel
            function; `frame`, one of a call trace; `handler`, of an interrupt; `place`, file and line; `comm` and
            `pid` of the thread that was at work; `lock`, a class of locks, and `link`, its number in a chain of them;
            `bdf`, the function that another one tells of, and `sid`, the same as the hexadecimal number by which an
            IOMMU knows it; `driver`, whose words these are, where no address stands before them.
            Of class `helper`: searched for in the name of a kernel function, as `mutex_lock`.
        kind: what such a line tells.
        meaning: half a sentence for people.
        source: who prints it.
    """

    pattern: str
    kind: LogClass
    meaning: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Promises and data of the contract, chosen for one kernel and for the functions of one history.

    Attributes:
        promises: for each alias, the entries that apply to its platform on this kernel.
        perhaps: what would apply instead if the kernel were locked down, where nobody could read whether it is.
        volatile: bits not to compare.
        unrestored: bits that no reset restores, so that a difference after a reset breaks no promise.
        log_rules: how to read the kernel log; the first rule that matches a line counts.
    """

    promises: dict[str, tuple[Promise, ...]]
    volatile: tuple[VolatileField, ...] = ()
    unrestored: tuple[VolatileField, ...] = ()
    log_rules: tuple[LogRule, ...] = ()
    perhaps: dict[str, tuple[Promise, ...]] = field(default_factory=dict)

    def promise(self, function: str, operation: Operation, window: WindowKind) -> Promise | None:
        """The entry for one operation on `function` in one window; None when the contract is silent.

        Where no entry speaks of a window by name, that of the wider kind applies.
        """
        return _speaks(self.promises.get(function, ()), operation, window)

    def if_locked_down(self, function: str, operation: Operation, window: WindowKind) -> Promise | None:
        """The entry that would apply instead if the kernel were locked down; None where it is known whether it is."""
        promise = _speaks(self.perhaps.get(function, ()), operation, window)
        return promise if promise is not None and promise.lockdown else None


def _speaks(promises: tuple[Promise, ...], operation: Operation, window: WindowKind) -> Promise | None:
    kind: WindowKind | None = window
    while kind is not None:
        for promise in promises:
            if promise.operation == operation and promise.window is kind:
                return promise
        kind = kind.wider
    return None

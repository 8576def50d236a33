"""What a driver did to its own function: the steps of its reset, and the calls by which the PCI core tells it of one.

A driver that resets its adapter does so as a job: steps that timers and interrupts carry on, with no thread of its own.
The kernel's trace shows the functions that make them up.

Source: Linux drivers/scsi/ipr.c, `ipr_reset_ioa_job()`; drivers/nvme/host/pci.c, `nvme_err_handler`.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from harness.history.columns import Edge
from harness.history.history import History
from harness.history.windows.locks import KINDS
from harness.history.windows.threads import NOBODY, Threads
from harness.history.windows.trace import TRYLOCK, hits, missing
from harness.model.operation import TRY_CONFIG
from harness.model.probe import NO_SUCH_FUNCTION
from harness.model.promise import WindowKind
from harness.model.units import Ns


class DriverStep(enum.StrEnum):
    """One step of a driver's own reset, in the order in which they come."""

    ASKED = "asked"
    """It was asked for, or the one before has failed and is tried again."""
    SHUTDOWN = "shutdown"
    """The adapter is told, so that it saves what it keeps."""
    ALERT = "alert"
    """The adapter is told that a reset comes, and asked whether it may; then the config lock is tried for."""
    SELF_TEST = "self-test"
    """The reset itself: the built-in self-test is started."""
    WARM_RESET = "warm-reset"
    """The same by a reset of the slot."""
    TESTED = "tested"
    """The time that it may take is over; the config lock is given back."""
    RESTORE = "restore"
    """Config space is written back."""
    BRING_UP = "bring-up"
    """The firmware is started, and told where its queues are."""
    DONE = "done"


class Callback(enum.StrEnum):
    """How the PCI core tells a driver of a reset that the driver did not ask for."""

    PREPARE = "reset_prepare"
    DONE = "reset_done"


DRIVER_STEPS: Final[dict[str, DriverStep]] = {
    "_ipr_initiate_ioa_reset": DriverStep.ASKED,
    "ipr_reset_shutdown_ioa": DriverStep.SHUTDOWN,
    "ipr_reset_alert": DriverStep.ALERT,
    "ipr_reset_start_bist": DriverStep.SELF_TEST,
    "ipr_reset_slot_reset": DriverStep.WARM_RESET,
    "ipr_reset_bist_done": DriverStep.TESTED,
    "ipr_reset_restore_cfg_space": DriverStep.RESTORE,
    "ipr_reset_enable_ioa": DriverStep.BRING_UP,
    "ipr_ioa_reset_done": DriverStep.DONE,
}
"""Kernel functions that are steps of a driver's reset."""
CALLBACKS: Final[dict[str, Callback]] = {
    "nvme_reset_prepare": Callback.PREPARE,
    "nvme_reset_done": Callback.DONE,
    "ipr_reset_prepare": Callback.PREPARE,
    "ipr_reset_done": Callback.DONE,
}
"""Kernel functions by which drivers are told."""
PROPOSED: Final = frozenset({"ipr_reset_prepare", "ipr_reset_done"})
"""Those that no stock driver has, and a patched one may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTaken:
    """One step.

    Attributes:
        step: which.
        time_ns: when it began.
        row: of `History.kernel`.
        tid: thread, or INTERRUPT.
    """

    step: DriverStep
    time_ns: Ns
    row: int
    tid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverReset:
    """One try of a driver to reset its function.

    Attributes:
        function: index into `Plan.functions`.
        begin_ns, end_ns: first step and last; one that was not done ends where the next begins, or with the stage.
        steps: in order of time, without repetition of a step that is polled.
        done: whether it came to its end.
    """

    function: int
    begin_ns: Ns
    end_ns: Ns
    steps: tuple[StepTaken, ...]
    done: bool

    @property
    def start(self) -> StepTaken | None:
        """The reset itself; None: it did not come so far."""
        return self.first(DriverStep.SELF_TEST, DriverStep.WARM_RESET)

    @property
    def bare(self) -> tuple[int, int] | None:
        """From the reset itself until its driver had written config space back; None: it never came so far.

        The lock is given back before that: whoever reads then may see what the reset left.
        """
        if (begun := self.start) is None:
            return None
        over = self.first(DriverStep.BRING_UP)
        return int(begun.time_ns), int(over.time_ns if over else self.end_ns)

    def first(self, *steps: DriverStep) -> StepTaken | None:
        """The first of these steps; None when it took none of them."""
        return next((taken for taken in self.steps if taken.step in steps), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """One call by which the PCI core told a driver of a reset.

    Attributes:
        function: index into `Plan.functions`.
        what: before it, or after.
        time_ns: of the call.
        row: of `History.kernel`.
        tid: thread that resets.
    """

    function: int
    what: Callback
    time_ns: Ns
    row: int
    tid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LockTry:
    """One call by which a driver asked for the config lock without waiting for it.

    Attributes:
        function: index into `Plan.functions`.
        asked_ns: of the call.
        taken: whether it got the lock.
    """

    function: int
    asked_ns: Ns
    taken: bool


def lock_tries(history: History, threads: Threads) -> tuple[LockTry, ...]:
    """All calls of trylock that drivers made for their own resets, in order of time.

    Those of an actor whose operation takes the lock for itself, such as a reset through VFIO, are another's.
    """
    asking: dict[int, list[tuple[int, Ns]]] = {}  # tid -> function and time of what it asks, innermost last
    found: list[LockTry] = []
    for _, (_, edge), tid, function, time, value in hits(history, (TRYLOCK,)):
        if edge is Edge.ENTRY:
            asking.setdefault(tid, []).append((function, time))
        elif asking.get(tid):
            asked, since = asking[tid].pop()
            if asked >= 0 and _for_its_driver(history, threads.at(tid, since)):
                # The answer is a bool: only its low byte is defined.
                found.append(LockTry(function=asked, asked_ns=since, taken=value & 0xFF != 0))
    return tuple(found)


def _for_its_driver(history: History, row: int) -> bool:
    if row == NOBODY:
        return True
    event = history.operations[row]
    means = history.means(int(event["actor"]), int(event["step"]))
    return means != TRY_CONFIG and KINDS.get(means, WindowKind.DRIVER_RESET) is WindowKind.DRIVER_RESET


def driver_resets(history: History) -> tuple[DriverReset, ...]:
    """All resets of the plan's functions by their own drivers, sorted by beginning; each try is one."""
    taken: dict[int, list[list[StepTaken]]] = {}
    for row, (symbol, edge), tid, function, time, _ in hits(history, DRIVER_STEPS):
        if function < 0 or edge is not Edge.ENTRY:
            continue
        step = DRIVER_STEPS[symbol]
        tries = taken.setdefault(function, [[]])
        if tries[-1] and (step is DriverStep.ASKED or tries[-1][-1].step is DriverStep.DONE):
            tries.append([])
        if not tries[-1] or tries[-1][-1].step is not step:
            tries[-1].append(StepTaken(step=step, time_ns=time, row=row, tid=tid))
    found = [one for function, tries in taken.items() for one in _tries(history, function, tries)]
    return tuple(sorted(found, key=lambda one: one.begin_ns))


def tellings(history: History) -> tuple[Telling, ...]:
    """All calls by which drivers of the plan's functions were told of resets, in order of time."""
    return tuple(
        Telling(function=function, what=CALLBACKS[symbol], time_ns=time, row=row, tid=tid)
        for row, (symbol, edge), tid, function, time, _ in hits(history, CALLBACKS)
        if function >= 0 and edge is Edge.ENTRY
    )


def driver_doubts(history: History, driver: str) -> tuple[str, ...]:
    """Reasons why the trace may not show what this driver did; empty when it does.

    A callback that only a patched driver has is missed by nobody where the driver has none.

    Args:
        history: whose probes are asked.
        driver: its name: `ipr`, `nvme`.
    """
    symbols = [
        symbol for symbol in (*DRIVER_STEPS, *CALLBACKS) if symbol.lstrip("_").startswith(driver + "_")
    ]
    asked = {probe.symbol: probe for probe in history.probes if probe.edge is Edge.ENTRY}
    lacking = {
        symbol
        for symbol in PROPOSED
        if (probe := asked.get(symbol)) is None or (not probe.present and NO_SUCH_FUNCTION in probe.reason)
    }
    return missing(history, [(symbol, Edge.ENTRY) for symbol in symbols if symbol not in lacking])


def _tries(history: History, function: int, tries: list[list[StepTaken]]) -> Iterator[DriverReset]:
    for number, steps in enumerate(tries):
        done = steps[-1].step is DriverStep.DONE
        later = tries[number + 1][0].time_ns if number + 1 < len(tries) else history.end_ns
        yield DriverReset(
            function=function,
            begin_ns=steps[0].time_ns,
            end_ns=steps[-1].time_ns if done else later,
            steps=tuple(steps),
            done=done,
        )

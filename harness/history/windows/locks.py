"""Config lock windows, and who broke the rules of the lock.

A window opens when `pci_cfg_access_lock` *returns* (or `pci_cfg_access_trylock` returns true) and closes when
`pci_cfg_access_unlock` is *entered*: a probe on the lock's entry fires before the lock is taken.  Return
probes carry no function, so the entry of the same thread says which one it was.

The lock is one bit without an owner: whoever unlocks clears it, and the kernel warns only of an unlock that finds
it clear.  A driver that takes it by trylock, because it may not sleep, gives it back from whatever timer, interrupt or
worker ends its reset: that is no theft.  But whoever is no driver and unlocks what a driver has taken is a thief, and
so is a driver that unlocks what another has tried for.

Source: Linux drivers/pci/access.c, `pci_cfg_access_lock()`, `pci_wait_cfg()`, `pci_cfg_access_unlock()`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import Final

from harness.history.columns import INTERRUPT, Edge
from harness.history.history import History
from harness.history.windows.threads import NOBODY, Threads
from harness.history.windows.trace import LOCK, TRYLOCK, UNLOCK, WAIT, Hit, hits, missing
from harness.model import operation as words
from harness.model.operation import Operation
from harness.model.pci import ResetMethod
from harness.model.promise import WindowKind
from harness.model.units import Ns

EVIDENCE: Final = (
    (LOCK, Edge.ENTRY),
    (LOCK, Edge.RETURN),
    (TRYLOCK, Edge.ENTRY),
    (TRYLOCK, Edge.RETURN),
    (UNLOCK, Edge.ENTRY),
    (WAIT, Edge.ENTRY),
)
"""Probes without which no window can be certain: every way to take the lock, the one to give it back, and waiting."""

KINDS: Final[dict[Operation, WindowKind]] = {
    **{words.reset(method): WindowKind.SYSFS_RESET for method in ResetMethod},
    words.SUBORDINATE_RESET: WindowKind.SYSFS_RESET,
    words.VFIO_RESET: WindowKind.VFIO_RESET,
    words.VFIO_FLR_BIT: WindowKind.VFIO_RESET,
    words.HOT_RESET: WindowKind.HOT_RESET,
    words.VFIO_OPEN: WindowKind.VFIO_OPEN,
    words.VFIO_CLOSE: WindowKind.VFIO_OPEN,
    words.ENABLE_VFS: WindowKind.SRIOV,
    words.DISABLE_VFS: WindowKind.SRIOV,
    words.HOST_RESET: WindowKind.DRIVER_RESET,
    words.DIAGNOSTICS: WindowKind.DRIVER_RESET,
    words.REVIVAL: WindowKind.DRIVER_RESET,
}
"""What the holder does, if it is an actor → kind of its window."""

_IN_THE_DRIVER: Final = ("adapter-reset", "driver", "topology")
"""Verbs of calls in which the function's own driver works in the thread of its caller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockWindow:
    """User config access to one function was blocked; closed interval, CLOCK_MONOTONIC.

    Attributes:
        function: index into `Plan.functions`.
        opened_ns, closed_ns: edges, each within :data:`~harness.history.windows.TRACE_RESOLUTION` of the truth.  A
            window still open when the trace ended closes at the end of the stage and has `closed_row` -1.
        tid: thread that took the lock.
        opened_row, closed_row: rows of `History.kernel`; `closed_row` may be of another thread, which stole it.
        asked_ns: entry of the locking function: the lock may have been taken since then; None: not seen.
        released_ns: return of the unlocking function: the lock is certainly gone; None: no such probe.
        tried: taken by trylock.
        kind: what the holder was doing when it took the lock.
        holder: row of `History.operations` in which that thread was then; -1: no actor's.
    """

    function: int
    opened_ns: Ns
    closed_ns: Ns
    tid: int
    opened_row: int
    closed_row: int
    asked_ns: Ns | None = None
    released_ns: Ns | None = None
    tried: bool = False
    kind: WindowKind = WindowKind.CONFIG_LOCK
    holder: int = NOBODY


class FaultKind(enum.StrEnum):
    """How the lock was misused."""

    STOLEN = "stolen"
    """Unlocked by another thread than the one that held it, or that was just taking it."""
    UNLOCKED_TWICE = "unlocked-twice"
    """Unlocked while nobody held it."""
    NEVER_UNLOCKED = "never-unlocked"
    """Still held when the stage ended."""
    UNSEEN = "unseen"
    """Taken while the trace shows it held by another: an unlock is missing in the trace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockFault:
    """One misuse of a config lock.

    Attributes:
        function: index into `Plan.functions`.
        kind: how.
        time_ns: when: the wrong unlock, or for `never-unlocked` and `unseen` the lock.
        tid: thread that did it.
        owner: thread that held the lock, for `unlocked-twice` the last that did; None when the trace shows none.
        rows: of `History.kernel`: the lock that was misused first, when it was seen, then the wrong unlock, then
            unlocks that went wrong because of it.
        until_ns: for `stolen`: when the owner gave back what it did not have any more; else `time_ns`.  The end of the
            stage when it never did.
    """

    function: int
    kind: FaultKind
    time_ns: Ns
    tid: int
    owner: int | None
    rows: tuple[int, ...]
    until_ns: Ns


def doubts(history: History) -> tuple[str, ...]:
    """Reasons why windows of this history are not certain; empty when they are.

    Only a window that the kernel's own trace shows can convict: lost events, missed or absent probes leave
    UNKNOWN.
    """
    return missing(history, EVIDENCE)


def locks_taken(history: History, threads: Threads) -> tuple[tuple[LockWindow, ...], tuple[LockFault, ...]]:
    """Follow the config locks of the plan's functions through the trace, hit by hit.

    Returns:
        Windows, sorted by opening: one whose lock was stolen ends where the thief unlocked; of one whose lock was
        unlocked while it was being taken no part is certain, and it closes as it opens.  And all misuses, sorted by
        time: they are certain only where :func:`doubts` has none, and two kinds want more.  A lock that is still held
        may be held rightly by a thread that is still at work, and a lock that nobody took may have been taken before
        the trace began.
    """
    followed = _follow(history, threads)
    followed.windows.sort(key=lambda window: (window.opened_ns, window.function))
    followed.faults.sort(key=lambda fault: (fault.time_ns, fault.function))
    through_vfio = _through_vfio(history)
    held = ((window, threads.at(window.tid, window.opened_ns)) for window in followed.windows)
    windows = (replace(one, holder=row, kind=_kind(history, one, row, through_vfio)) for one, row in held)
    return tuple(windows), tuple(followed.faults)


def _through_vfio(history: History) -> frozenset[int]:
    """The threads of actors that use a function through VFIO."""
    return frozenset(
        record.tid
        for actor, record in zip(history.plan.actors, history.actors, strict=False)
        if any(step.file and step.file.role.startswith("vfio") for step in actor.steps)
    )


def _kind(history: History, window: LockWindow, row: int, through_vfio: frozenset[int]) -> WindowKind:
    if row != NOBODY:
        event = history.operations[row]
        means = history.means(int(event["actor"]), int(event["step"]))
        return KINDS.get(means, WindowKind.CONFIG_LOCK)
    if window.tried and window.tid == INTERRUPT:
        return WindowKind.DRIVER_RESET  # nothing else takes it where it may not sleep
    # An actor that ends closes what it had open, and the last close resets.
    return WindowKind.VFIO_OPEN if window.tid in through_vfio else WindowKind.CONFIG_LOCK


@dataclass(slots=True)
class _Locks:
    """The locks of all functions as the trace tells of them, one hit after the other."""

    history: History
    threads: Threads
    windows: list[LockWindow]
    faults: list[LockFault]
    asking: dict[int, list[tuple[int, Ns]]]  # tid -> functions it is about to lock, innermost last
    held: dict[int, LockWindow]  # function -> its open window
    last: dict[int, LockWindow]  # function -> its last window that was closed
    robbed: dict[tuple[int, int], int]  # function and tid that believes to hold its lock -> fault
    unsure: dict[
        tuple[int, int], int
    ]  # function and tid that was taking its lock when another unlocked it -> fault
    releasing: dict[int, int]  # tid that is in unlock -> index of the window that it closes

    def ask(self, hit: Hit) -> None:
        _, _, tid, function, time, _ = hit
        self.asking.setdefault(tid, []).append((function, time))

    def answer(self, hit: Hit, *, taken: bool, tried: bool = False) -> None:
        row, _, tid, _, time, _ = hit
        if not self.asking.get(tid):
            return
        function, asked = self.asking[tid].pop()
        robbery = self.unsure.pop((function, tid), None)
        if function < 0 or not taken:
            return
        before = self.held.pop(function, None)
        if before is not None:
            # When it was given back is not known: from its opening on it may have been free.
            self._close(replace(before, closed_ns=before.opened_ns, released_ns=time), -1)
            self._fault(FaultKind.UNSEEN, hit, before)
        self.robbed.pop((function, tid), None)
        if robbery is not None:
            fault = self.faults[robbery]
            self.faults[robbery] = replace(fault, rows=(row, *fault.rows))
            self.robbed[function, tid] = robbery
        self.held[function] = LockWindow(
            function=function,
            opened_ns=time,
            closed_ns=self.history.end_ns,
            tid=tid,
            opened_row=row,
            closed_row=-1,
            asked_ns=asked,
            tried=tried,
        )

    def unlock(self, hit: Hit) -> None:
        row, _, tid, function, time, _ = hit
        if function < 0:
            return
        window = self.held.pop(function, None)
        robbery = self.robbed.pop((function, tid), None)
        if window is not None:
            self.releasing[tid] = len(self.windows)
            if robbery is not None and window.tid == tid:
                window = replace(window, closed_ns=window.opened_ns, released_ns=time)
            else:
                window = replace(window, closed_ns=time)
            self._close(window, row)
        if robbery is not None:
            fault = self.faults[robbery]
            until = time if tid == fault.owner else fault.until_ns
            self.faults[robbery] = replace(fault, rows=(*fault.rows, row), until_ns=until)
            if window is not None and window.tid != tid:
                self.robbed[function, window.tid] = robbery
        elif window is None:
            self._unlock_free(hit)
        elif window.tid != tid and not self._gives_back(window, tid, time):
            self.robbed[function, window.tid] = len(self.faults)
            self._fault(FaultKind.STOLEN, hit, window)

    def _gives_back(self, window: LockWindow, tid: int, time: Ns) -> bool:
        """Whether an unlock by another thread is the holder's own: that of a driver, in another of its contexts."""
        if not window.tried or INTERRUPT not in (window.tid, tid):
            return False
        return self._is_driver(window.tid, window.opened_ns) and self._is_driver(tid, time)

    def _is_driver(self, tid: int, time: Ns) -> bool:
        """Whether a thread does a driver's work: in an interrupt, as the kernel's own, or for whoever calls it."""
        row = self.threads.at(tid, time)
        if row != NOBODY:
            event = self.history.operations[row]
            return words.verb(self.history.means(int(event["actor"]), int(event["step"]))) in _IN_THE_DRIVER
        return all(actor.tid != tid for actor in self.history.actors)

    def _unlock_free(self, hit: Hit) -> None:
        """An unlock of a lock that the trace shows free: whoever is just taking it may have had it already."""
        _, _, tid, function, _, _ = hit
        askers = [
            asker
            for asker, wanted in self.asking.items()
            if asker != tid and any(other == function for other, _ in wanted)
        ]
        if not askers:
            self._fault(FaultKind.UNLOCKED_TWICE, hit, self.last.get(function))
            return
        self.unsure.update({(function, asker): len(self.faults) for asker in askers})
        self._fault(FaultKind.STOLEN, hit, None, owner=askers[0])

    def unlocked(self, hit: Hit) -> None:
        _, _, tid, _, time, _ = hit
        if tid in self.releasing:
            number = self.releasing.pop(tid)
            self.windows[number] = replace(self.windows[number], released_ns=time)

    def finish(self) -> None:
        """What is open now stays open to the end of the stage."""
        for window in self.held.values():
            if (window.function, window.tid) in self.robbed:
                shaky = replace(window, closed_ns=window.opened_ns, released_ns=self.history.end_ns)
                self._close(shaky, NOBODY)
                continue
            self.windows.append(window)
            taken = (
                window.opened_row,
                (LOCK, Edge.RETURN),
                window.tid,
                window.function,
                window.opened_ns,
                0,
            )
            self._fault(FaultKind.NEVER_UNLOCKED, taken, window)

    def _close(self, window: LockWindow, row: int) -> None:
        closed = replace(window, closed_row=row)
        self.windows.append(closed)
        self.last[window.function] = closed

    def _fault(
        self, kind: FaultKind, hit: Hit, window: LockWindow | None, *, owner: int | None = None
    ) -> None:
        """Note a fault that shows at `hit`; `window` is that of the lock which it misused, or `owner` was taking it."""
        row, _, tid, function, time, _ = hit
        self.faults.append(
            LockFault(
                function=window.function if window else function,
                kind=kind,
                time_ns=time,
                tid=tid,
                owner=window.tid if window else owner,
                rows=tuple(dict.fromkeys((window.opened_row, row) if window else (row,))),
                until_ns=self.history.end_ns if kind is FaultKind.STOLEN else time,
            )
        )


def _follow(history: History, threads: Threads) -> _Locks:
    locks = _Locks(history, threads, [], [], {}, {}, {}, {}, {}, {})
    for hit in hits(history, (LOCK, TRYLOCK, UNLOCK)):
        match hit[1]:
            case (symbol, Edge.ENTRY) if symbol != UNLOCK:
                locks.ask(hit)
            case (symbol, Edge.RETURN) if symbol == LOCK:
                locks.answer(hit, taken=True)
            case (symbol, Edge.RETURN) if symbol == TRYLOCK:
                locks.answer(
                    hit, taken=hit[-1] & 0xFF != 0, tried=True
                )  # a bool: only the low byte is defined
            case (_, Edge.ENTRY):
                locks.unlock(hit)
            case _:
                locks.unlocked(hit)
    locks.finish()
    return locks

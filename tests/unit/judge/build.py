"""Histories written by hand, a line an event: what the judge's tests are made of.

Times are in microseconds since the stage began; everything else is as in the history itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from harness.contract import Contract, load
from harness.history.columns import INTERRUPT, KERNEL, OPERATION, Edge
from harness.history.history import ActorRecord, FunctionRecord, History, LogLine, Probe
from harness.history.windows import (
    CALLBACKS,
    DRIVER_STEPS,
    HOLD_DEVICE_LOCK,
    LOCK,
    RESET_FUNCTIONS,
    TRYLOCK,
    UNLOCK,
    UNREGISTER,
    WAIT,
    Callback,
    DriverStep,
)
from harness.history.windows.trace import SAVE
from harness.model.kernel import KernelVersion
from harness.model.operation import (
    ATTRIBUTE_READ,
    BAR_READ,
    CHECK,
    FLR_BIT,
    HEARTBEAT,
    MARK,
    SYSFS_MAPPED_READ,
    Operation,
    config_read,
    config_write,
    reset,
    way,
)
from harness.model.pci import AccessPath, ResetMethod
from harness.model.plan import Actor, File, Op, Oracle, Plan, Step
from harness.model.terms import Terms
from harness.model.units import MS, SECOND, US, Ns
from harness.model.verdict import Finding, Verdict

BEGIN = 10 * SECOND
_DEADLINE = Ns(5 * SECOND)
ALIAS = "disk"
KERNEL_612 = KernelVersion(6, 12, 117)
CONTRACT: Contract = load()

SPEAK_OF_A_RESET = frozenset(
    {
        "lock_discipline",
        "kernel_log",
        "finished",
        "access_outcome",
        "values_sane",
        "call_outcome",
        "reset_happened",
        "reset_time",
        "config_restored",
        "collided",
    }
)
"""Checkers that have something to say of a reset and readers beside it, when nothing goes wrong; no others have."""

READ = config_read(AccessPath.SYSFS)
PROC_READ = config_read(AccessPath.PROC)
WRITE = config_write(AccessPath.SYSFS)
FLR = reset(ResetMethod.FLR)
PM = reset(ResetMethod.PM)

PROBES = (
    *((LOCK, edge) for edge in Edge),
    *((UNLOCK, edge) for edge in Edge),
    (WAIT, Edge.ENTRY),
    *((symbol, edge) for symbol in RESET_FUNCTIONS for edge in Edge),
    *((symbol, edge) for symbol in (TRYLOCK, UNREGISTER, HOLD_DEVICE_LOCK) for edge in Edge),
    *((symbol, Edge.ENTRY) for symbol in (*DRIVER_STEPS, *CALLBACKS, SAVE)),
)


def config_space(size: int = 256) -> bytes:
    """A type 0 function with an Express capability at 0x40, memory decode and bus mastering on."""
    config = bytearray(size)
    config[0x00:0x04] = bytes.fromhex("361b1000")
    config[0x04:0x08] = bytes.fromhex("06001000")
    config[0x10:0x18] = bytes.fromhex("040000fe00000000")
    config[0x34] = 0x40
    config[0x40:0x44] = bytes.fromhex("10000200")
    return bytes(config)


def at(us: float) -> Ns:
    """Microseconds since the stage began as a time stamp."""
    return Ns(BEGIN + round(us * US))


@dataclass
class Stage:
    """A history under construction: one function, actors with thread ids from 100 on."""

    platform: str = "nvme"
    meets: int = 0
    lasting_ns: Ns = SECOND
    deadline_ns: Ns = _DEADLINE
    before: bytes = field(default_factory=config_space)
    after: bytes | None = None
    oracle: Oracle | None = None
    unlock_return: bool = True
    _actors: list[Actor] = field(default_factory=list)
    _ends: dict[int, dict[str, Any]] = field(default_factory=dict)
    _operations: list[tuple[int, int, int, int, int, int, int, int]] = field(default_factory=list)
    _kernel: list[tuple[int, int, int, int, int]] = field(default_factory=list)
    _log: list[LogLine] = field(default_factory=list)

    def actor(self, name: str, *steps: Step) -> int:
        """Add an actor; returns its index."""
        self._actors.append(Actor(name=name, steps=steps))
        return len(self._actors) - 1

    def reader(self, name: str = "reader", *, means: str = READ, offset: int = 4, width: int = 4) -> int:
        role = "vendor" if means == ATTRIBUTE_READ else "config"
        if way(Operation(means)).startswith("vfio"):
            role = "vfio-config"
        step = Step(op=Op.READ, means=means, file=File(function=ALIAS, role=role), offset=offset, width=width)  # type: ignore[arg-type]
        return self.actor(name, step)

    def writer(self, offset: int, value: bytes, *, means: Operation = WRITE) -> int:
        step = Step(
            op=Op.WRITE, means=means, file=File(function=ALIAS, role="config"), offset=offset, value=value
        )
        return self.actor(f"writer-{len(self._actors)}", step)

    def resetter(self, name: str = "resetter", *, means: str = FLR) -> int:
        step = Step(op=Op.WRITE, means=means, file=File(function=ALIAS, role="reset"), value=b"1")  # type: ignore[arg-type]
        return self.actor(name, step)

    def heartbeat(self, *, late_at: float | None = None, late_ms: int = 100, until_us: float = 2e6) -> None:
        """A heartbeat every 10 ms, on time but for one beat."""
        me = self.actor("heartbeat", Step(op=Op.PAUSE, means=HEARTBEAT, time_ns=Ns(10 * MS)))
        for number in range(1, round(until_us / 10_000) + 1):
            planned = 10_000 * number
            delay = late_ms * 1000 if late_at is not None and abs(planned - late_at) < 5_000 else 50
            self.op(
                me, planned - 10_000, planned + delay, value=int(at(planned)), result=0, round_=number - 1
            )

    def op(
        self,
        actor: int,
        begin: float,
        end: float | None,
        *,
        step: int = 0,
        value: int | None = None,
        result: int | None = None,
        error: int = 0,
        round_: int | None = None,
    ) -> int:
        """One operation; data and result are right unless said otherwise.  Returns its actor."""
        what = self._actors[actor].steps[step]
        size = what.width or len(what.value)
        if value is None:
            read = what.op in (Op.READ, Op.LOAD)
            value = int.from_bytes(
                self.before[what.offset : what.offset + size][:8] if read else what.value[:8], "little"
            )
        number = sum(1 for row in self._operations if row[5] == actor) if round_ is None else round_
        done = (-1 if error else size) if result is None else result
        self._operations.append(
            (int(at(begin)), 0 if end is None else int(at(end)), value, done, error, actor, step, number)
        )
        return actor

    def probe(
        self, us: float, symbol: str, edge: Edge, tid: int, *, value: int = 0, function: int = 0
    ) -> None:
        """One hit of a probe."""
        rounded = round(int(at(us)) / US) * US
        self._kernel.append((rounded, value, tid, PROBES.index((symbol, edge)), function))

    def does(self, name: str, means: str, role: str = "windows", *, op: Op = Op.WRITE) -> int:
        """Add an actor that does one thing to a file of the function."""
        file = File(function=ALIAS, role=role)
        return self.actor(name, Step(op=op, means=Operation(means), file=file, value=b"1"))

    def register_reader(self, means: str, *, offset: int = 8, width: int = 4, bar: int = 0) -> int:
        """Add an actor that reads a register."""
        mapped = means != BAR_READ
        role = f"resource{bar}" if means == SYSFS_MAPPED_READ else f"vfio-bar{bar}"
        step = Step(
            op=Op.LOAD if mapped else Op.READ,
            means=Operation(means),
            file=File(function=ALIAS, role=role),
            offset=offset,
            width=width,
        )
        return self.actor(f"register-{len(self._actors)}", step)

    def held_by(self, actor: int, begin: float, end: float | None, *, opened: float, closed: float) -> None:
        """An operation of an actor that holds the config lock for a while."""
        self.op(actor, begin, end)
        self.window(opened, closed, tid=100 + actor)

    def device_window(
        self, opened: float, closed: float, *, tid: int = 900, symbol: str = HOLD_DEVICE_LOCK
    ) -> None:
        """device_lock of the function is held."""
        self.probe(opened, symbol, Edge.ENTRY, tid)
        self.probe(closed, symbol, Edge.RETURN, tid, function=-1)

    def unlock(self, us: float, tid: int) -> None:
        """A thread clears the config lock, whoever took it."""
        self.probe(us, UNLOCK, Edge.ENTRY, tid)
        self.probe(us + 2, UNLOCK, Edge.RETURN, tid, function=-1)

    def window(
        self, opened: float, closed: float | None, *, tid: int = 900, asked: float | None = None
    ) -> None:
        """A config lock window of the function."""
        self.probe(opened - 1 if asked is None else asked, LOCK, Edge.ENTRY, tid)
        self.probe(opened, LOCK, Edge.RETURN, tid, function=-1)
        if closed is not None:
            self.probe(closed, UNLOCK, Edge.ENTRY, tid)
            if self.unlock_return:
                self.probe(closed + 2, UNLOCK, Edge.RETURN, tid, function=-1)

    def takes(self, step: DriverStep, us: float, *, tid: int = INTERRUPT) -> None:
        """The function's driver takes a step of its own reset."""
        symbol = next(symbol for symbol, means in DRIVER_STEPS.items() if means is step)
        self.probe(us, symbol, Edge.ENTRY, tid)

    def told(self, what: Callback, us: float, *, tid: int) -> None:
        """The PCI core tells the function's driver of a reset."""
        symbol = next(symbol for symbol, means in CALLBACKS.items() if means is what)
        self.probe(us, symbol, Edge.ENTRY, tid)

    def tries(self, us: float, *, taken: bool, tid: int = INTERRUPT) -> None:
        """The config lock is tried for."""
        self.probe(us - 1, TRYLOCK, Edge.ENTRY, tid)
        self.probe(us, TRYLOCK, Edge.RETURN, tid, value=int(taken), function=-1)

    def wait(self, us: float, actor: int) -> None:
        """The actor begins to wait for the config lock."""
        self.probe(us, WAIT, Edge.ENTRY, 100 + actor)

    def performed(
        self, begin: float, end: float, *, tid: int, symbol: str = "pcie_flr", result: int = 0
    ) -> None:
        """A reset method at work."""
        self.probe(begin, symbol, Edge.ENTRY, tid)
        self.probe(end, symbol, Edge.RETURN, tid, value=result, function=-1)

    def reset(
        self,
        actor: int,
        begin: float,
        took: float = 101_000,
        *,
        waits: float = 0,
        round_: int | None = None,
        step: int = 0,
    ) -> float:
        """A whole sysfs reset with window and method; returns when it was over."""
        tid, lock = 100 + actor, begin + 20 + waits
        means = self._actors[actor].steps[step].means
        symbol = next(name for name, method in RESET_FUNCTIONS.items() if method == way(means))
        self.window(lock, lock + took + 20, tid=tid)
        self.performed(lock + 10, lock + 10 + took, tid=tid, symbol=symbol)
        end = lock + took + 50
        self.op(actor, begin, end, step=step, round_=round_)
        return end

    def ends(self, actor: int, **how: Any) -> None:
        """What became of an actor, as fields of ActorRecord."""
        self._ends[actor] = how

    def log(self, text: str, level: int = 4) -> None:
        """A line of the kernel log."""
        self._log.append(LogLine(time_us=len(self._log), level=level, text=text))

    def history(self, **changes: Any) -> History:
        """The finished history; `changes` replace fields of it."""
        history = History(
            plan=Plan(
                title="by hand",
                functions=(ALIAS,),
                actors=tuple(self._actors),
                lasting_ns=self.lasting_ns,
                deadline_ns=self.deadline_ns,
                oracles=(self.oracle,) if self.oracle else (),
                meets=self.meets,
            ),
            begin_ns=Ns(BEGIN),
            end_ns=at(7e6),
            operations=np.array(sorted(self._operations), dtype=OPERATION),
            kernel=np.array(sorted(self._kernel, key=lambda row: row[0]), dtype=KERNEL),
            probes=tuple(Probe(symbol=symbol, edge=edge) for symbol, edge in PROBES),
            actors=tuple(
                ActorRecord(name=actor.name, tid=100 + number, **self._ends.get(number, {}))
                for number, actor in enumerate(self._actors)
            ),
            functions=(
                FunctionRecord(
                    alias=ALIAS,
                    platform=self.platform,
                    bdf="0000:01:00.0",
                    vendor=0x1B36,
                    device=0x10,
                    config_before=self.before,
                    config_after=self.before if self.after is None else self.after,
                ),
            ),
            log=tuple(self._log),
            provenance={"kernel.release": "6.12.117+deb12-amd64"},
        )
        return replace(history, **changes)

    def oracle_rounds(self, means: str = FLR) -> int:
        """An actor that marks, checks, resets and checks; its steps are numbered 0, 1, 2, 3."""
        oracle = self.oracle
        assert oracle is not None
        file = File(function=ALIAS, role=oracle.resource)
        check = Step(op=Op.LOAD, means=CHECK, file=file, offset=oracle.offset, width=oracle.width)
        marker = oracle.marker.to_bytes(oracle.width, "little")
        role = "config" if means == FLR_BIT else "reset"
        return self.actor(
            "resetter",
            Step(op=Op.STORE, means=MARK, file=file, offset=oracle.offset, value=marker),
            check,
            Step(op=Op.WRITE, means=means, file=File(function=ALIAS, role=role), value=b"1"),  # type: ignore[arg-type]
            check,
            Step(
                op=Op.WRITE,
                means=WRITE,
                file=File(function=ALIAS, role="config"),
                offset=4,
                value=b"\x06\x00",
            ),
        )


def terms(history: History, contract: Contract = CONTRACT) -> Terms:
    """The shipped contract for a history."""
    return contract.terms(KERNEL_612, history.functions)


def worst(findings: tuple[Finding, ...]) -> Verdict | None:
    """What some findings add up to; None when nothing was said."""
    return max((finding.verdict for finding in findings), default=None)

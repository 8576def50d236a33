"""For every entry a history that keeps it: made from the entry alone.

Times are in microseconds since the stage began.  Whoever holds a lock does so from `OPENED` to `CLOSED`; the
call or access begins inside.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from harness.history.columns import INTERRUPT, SERVED, Edge
from harness.history.history import FunctionRecord, History
from harness.history.windows import (
    HOLD_DEVICE_LOCK,
    LOCK,
    RESET_FUNCTIONS,
    TRYLOCK,
    UNLOCK,
    UNREGISTER,
    DriverStep,
)
from harness.model import operation as words
from harness.model.fault import OF_A_REGISTER, Fault, Incident, IncidentKind, Misbehaviour, PlannedFault
from harness.model.kernel import KernelVersion
from harness.model.operation import Operation, is_reset, verb, way
from harness.model.outcome import Outcome
from harness.model.plan import File, Op, Oracle, Retries, Step
from harness.model.promise import DeviceState, Promise, WindowKind
from harness.model.served import NO_REGION, Happened
from harness.model.units import MS, SECOND, US, Ns
from tests.unit.judge.build import ALIAS, CONTRACT, Stage, at, config_space
from tests.unit.judge.machine import astray, interrupted

PORT = f"{ALIAS}.port"
SIBLING = "sibling"
FUNCTION, PORT_NUMBER, SIBLING_NUMBER = 0, 1, 2
OPENED, BEGUN, CLOSED = 100_000, 200_000, 1_300_000
ORACLE = next(oracle for oracle in CONTRACT.oracles if "nvme" in oracle.platforms).on(ALIAS)
RELEASES = ("6.12.117", "6.1.192", "7.0.0")
HOT = "pci_reset_bus"

_OPS = {
    words.VFIO_RESET: (Op.RESET_DEVICE, "vfio"),
    words.HOT_RESET: (Op.HOT_RESET, "vfio"),
    words.VFIO_OPEN: (Op.OPEN_DEVICE, "vfio"),
    words.VFIO_REOPEN: (Op.OPEN_DEVICE, "vfio"),
    words.VFIO_LATE_OPEN: (Op.OPEN_DEVICE, "vfio"),
    words.VFIO_CLOSE: (Op.CLOSE, "vfio"),
    words.VFIO_DROP: (Op.CLOSE, "vfio"),
    words.VFIO_FLR_BIT: (Op.WRITE, "vfio-config"),
    words.HOT_RESET_NOT_OWNED: (Op.HOT_RESET, "vfio"),
    words.HOT_RESET_IMPOSSIBLE: (Op.HOT_RESET, "vfio"),
    words.UNPRIVILEGED_OPEN: (Op.OPEN, "reset"),
    words.VFIO_INFO: (Op.INFO, "vfio"),
}
ACCESSES = (
    "config-read",
    "config-write",
    "attribute-read",
    "attribute-write",
    "bar-read",
    "bar-write",
    "info",
)
_ROLES = {
    "sysfs": "config",
    "proc": "proc",
    "vfio": "vfio-config",
    "vfio-copy": "vfio-config",
    "vfio-command": "vfio-config",
    "unprivileged": "config",
    "kept": "config",
}
_REGISTER = 0x1234
_HOLDERS = {
    WindowKind.SYSFS_RESET: Operation("reset/bus"),
    WindowKind.VFIO_RESET: words.VFIO_RESET,
    WindowKind.HOT_RESET: words.HOT_RESET,
    WindowKind.VFIO_OPEN: words.VFIO_OPEN,
    WindowKind.SRIOV: words.DISABLE_VFS,
    WindowKind.DEVICE_LOCK: words.HOLD_DEVICE,
    WindowKind.UNBIND: words.UNBIND,
    WindowKind.PORT_LOCK: words.HOLD_PORT,
}
_LOCKS_PORT = {
    words.port_lock(op): op
    for op in (
        *(Operation(f"reset/{m}") for m in ("flr", "af_flr", "pm", "bus", "device_specific")),
        *(words.VFIO_RESET, words.VFIO_FLR_BIT, words.VFIO_OPEN, words.VFIO_CLOSE, words.HOT_RESET),
    )
}


@dataclass
class CallStage(Stage):
    """A stage of calls: the function, and where wanted its port (function 1) and a sibling (function 2)."""

    release: str = "6.12.117"
    port: bool = False
    sibling: bool = False
    oracles: tuple[Oracle, ...] = field(default=())

    def caller(
        self, means: str, name: str = "", *, alias: str = ALIAS, retries: Retries | None = None
    ) -> int:
        """An actor that makes one call again and again, between a mark and two checks if there is an oracle."""
        op, role = _OPS.get(Operation(means), (Op.WRITE, "reset"))
        step = Step(
            op=op,
            means=Operation(means),
            file=File(function=alias, role=role),
            value=b"1" if op is Op.WRITE else b"",
            retries=retries,
        )
        return self.actor(name or f"caller-{len(self._actors)}", step)

    def accessor(self, means: Operation) -> int:
        """An actor that accesses config space, an attribute or a register again and again."""
        role = _ROLES.get(way(means), "vendor") if verb(means) != "attribute-write" else "reset_method"
        role = "vfio-bar0" if verb(means) in ("bar-read", "bar-write") else role
        file = File(function=ALIAS, role="resource0" if means == words.SYSFS_MAPPED_READ else role)
        offset = {words.UNPRIVILEGED_READ: 0x80, words.KEPT_READ: 0x80, words.VFIO_COPY_READ: 0}.get(means, 8)
        if means == words.VFIO_INFO:
            return self.actor("accessor", Step(op=Op.INFO, means=means, file=file))
        mapped = "mapped" in way(means)
        if verb(means).endswith("-read"):
            op = Op.LOAD if mapped else Op.READ
            return self.actor("accessor", Step(op=op, means=means, file=file, offset=offset, width=4))
        value, offset = (b"\x06\x00", 4) if means == words.VFIO_COMMAND else (b"\x00", 0x0C)
        op = Op.STORE if mapped else Op.WRITE
        return self.actor("accessor", Step(op=op, means=means, file=file, offset=offset, value=value))

    def rounds(self, means: str, *, alias: str = ALIAS, through: str = "vfio-bar0") -> int:
        """An actor that marks, checks, calls and checks; its steps are numbered 0, 1, 2, 3."""
        op, role = _OPS.get(Operation(means), (Op.WRITE, "reset"))
        (oracle,) = self.oracles
        file = File(function=oracle.function, role=through)
        marker = oracle.marker.to_bytes(oracle.width, "little")
        check = Step(op=Op.READ, means=words.CHECK, file=file, offset=oracle.offset, width=oracle.width)
        return self.actor(
            f"rounds-{len(self._actors)}",
            Step(op=Op.WRITE, means=words.MARK, file=file, offset=oracle.offset, value=marker),
            check,
            Step(op=op, means=Operation(means), file=File(function=alias, role=role), value=b"1"),
            check,
        )

    def called(
        self, actor: int, begin: float, end: float | None, *, error: int = 0, step: int = 0, round_: int = 0
    ) -> None:
        """A call; it returns 0, or an errno."""
        self.op(actor, begin, end, step=step, result=-1 if error else 0, value=0, error=error, round_=round_)

    def holds(
        self, opened: float, closed: float, *, tid: int, function: int = FUNCTION, by: str = LOCK
    ) -> None:
        """A config lock window of any function."""
        self.probe(opened - 1, by, Edge.ENTRY, tid, function=function)
        self.probe(opened, by, Edge.RETURN, tid, value=1 if by == TRYLOCK else 0, function=-1)
        self.probe(closed, UNLOCK, Edge.ENTRY, tid, function=function)
        self.probe(closed + 2, UNLOCK, Edge.RETURN, tid, function=-1)

    def holds_device(
        self, opened: float, closed: float, *, tid: int, by: str = HOLD_DEVICE_LOCK, function: int = FUNCTION
    ) -> None:
        """A span in which device_lock is held."""
        self.probe(opened, by, Edge.ENTRY, tid, function=function)
        self.probe(closed, by, Edge.RETURN, tid, function=-1)

    def performs(
        self, begin: float, took: float, *, tid: int, by: str = "pcie_flr", result: int = 0, function: int = 0
    ) -> None:
        """A reset at work."""
        self.probe(begin, by, Edge.ENTRY, tid, function=function)
        self.probe(begin + took, by, Edge.RETURN, tid, value=result, function=-1)

    def resets(
        self, actor: int, begin: float, took: float = 101_000, *, by: str = "pcie_flr", port: bool = False
    ) -> float:
        """Lock, reset, unlock by an actor's thread; the port too if wanted.  Returns when all was given back."""
        tid, early = 100 + actor, 20 if by == HOT else 0  # which locks everything itself
        if port:
            self.holds(begin - 10, begin + took + 40, tid=tid, function=PORT_NUMBER, by=TRYLOCK)
        self.holds(begin, begin + took + 20, tid=tid, by=TRYLOCK)
        self.performs(begin + 10 - early - early, took + 4 * early, tid=tid, by=by)
        return begin + took + 50 + 4 * early

    def history(self, **changes: Any) -> History:
        """The finished history, with port, sibling and kernel."""
        history = super().history(**changes)
        functions, aliases, ports = list(history.functions), list(history.plan.functions), {}
        functions[0] = replace(functions[0], reset_methods=("flr", "pm", "bus"))
        if self.port or self.sibling:
            functions.append(_record(PORT, "root-port", "0000:00:03.0"))
            aliases.append(PORT)
        if self.port:
            ports[ALIAS] = PORT
        if self.sibling:
            functions.append(_record(SIBLING, self.platform, "0000:01:00.1"))
            aliases.append(SIBLING)
            ports = dict.fromkeys(ports, PORT) | ({SIBLING: PORT} if self.port else {})
        plan = replace(
            history.plan, functions=tuple(aliases), ports=ports, oracles=self.oracles or history.plan.oracles
        )
        return replace(
            history,
            plan=plan,
            functions=tuple(functions),
            provenance={"kernel.release": f"{self.release}-amd64"},
        )


def _record(alias: str, platform: str, bdf: str) -> FunctionRecord:
    config = config_space()
    return FunctionRecord(
        alias=alias,
        platform=platform,
        bdf=bdf,
        vendor=0x1B36,
        device=0x10,
        config_before=config,
        config_after=config,
    )


def witness(promise: Promise) -> History:
    """A history in which one call or access keeps `promise`, and every other promise is kept, too.

    A raw write of the FLR bit needs more than that.
    """
    match verb(promise.operation):
        case "interrupt":
            history = interrupted([1, 1, 1])
        case "dma":
            history = astray()
        case _ if promise.operation in (words.DRIVER_SELF_TEST, words.DRIVER_WARM_RESET):
            history = driver_resets_it(promise)
        case _ if promise.operation == words.DRIVER_LOCK:
            history = driver_locks(promise)
        case one if one in ACCESSES:
            history = _accessed(promise)
        case _:
            history = _called(promise)
    return goes_wrong(history, promise.faults[0]) if promise.faults else history


def driver_resets_it(promise: Promise) -> History:
    """A driver resets its function because a user asked for that, with or without success."""
    warm = promise.operation == words.DRIVER_WARM_RESET
    stage = CallStage()
    stage.heartbeat(until_us=4e6)
    user = stage.caller(words.HOST_RESET)
    stage.called(user, BEGUN, CLOSED + 200_000)
    stage.takes(DriverStep.ASKED, BEGUN + 10, tid=100 + user)
    stage.tries(BEGUN + 100, taken=True)
    stage.takes(DriverStep.WARM_RESET if warm else DriverStep.SELF_TEST, BEGUN + 200)
    stage.takes(DriverStep.TESTED, CLOSED - 10)
    stage.unlock(CLOSED, INTERRUPT)
    stage.takes(DriverStep.DONE, CLOSED + 100_000)
    served = np.zeros(1, dtype=SERVED)
    happened = promise.outcome is Outcome.OK
    reset = Happened.BUS_RESET if warm else Happened.SELF_TESTED
    served["time_ns"], served["region"] = at(BEGUN + 50_000), NO_REGION
    served["what"] = reset if happened else Happened.READ
    return replace(stage.history(), served=served)


def driver_locks(promise: Promise) -> History:
    """A driver resets its function with the config lock, or without it while another has it."""
    stage = CallStage(platform=promise.platforms[0].replace("*", "unknown"))
    stage.heartbeat(until_us=6e6)
    patience, free = (promise.at_least or 0) / US, promise.outcome is Outcome.FREE
    begins = BEGUN + patience + 1_000
    if free:
        stage.holds(OPENED, begins + CLOSED, tid=900)
    stage.takes(DriverStep.ASKED, BEGUN - 10)
    stage.tries(BEGUN, taken=not free)
    stage.takes(DriverStep.SELF_TEST, begins)
    if not free:
        stage.unlock(begins + CLOSED, INTERRUPT)
    stage.takes(DriverStep.TESTED, begins + CLOSED + 10)
    stage.takes(DriverStep.DONE, begins + CLOSED + 100_000)
    served = np.zeros(1, dtype=SERVED)
    served["time_ns"], served["region"] = at(begins + 50_000), NO_REGION
    served["what"] = Happened.SELF_TESTED
    return replace(stage.history(), served=served)


def goes_wrong(history: History, what: str) -> History:
    """The same with a fault, or an incident, that was staged, came and was met while the call was under way."""
    kinds = (Happened.FAULT_BEGINS, Happened.FAULT_MET)
    plan = history.plan
    if what in tuple(Misbehaviour):
        kind = Misbehaviour(what)
        fault = Fault(
            what=kind,
            register="command" if kind in OF_A_REGISTER else "",
            lasting_ns=None if kind is Misbehaviour.NEVER_READY else Ns(MS // 2),
        )
        plan = replace(plan, faults=(PlannedFault(function=ALIAS, fault=fault),))
    else:
        kinds = (Happened.INCIDENT_BEGINS, Happened.INCIDENT_ENDS)
        incident = Incident(
            function=ALIAS,
            kind=IncidentKind(what),
            at_ns=Ns(BEGUN * US),
            lasting_ns=Ns(MS) if what == IncidentKind.SERVER_STALLED else Ns(0),
            detail="DLP" if what == IncidentKind.LINK_ERROR else "",
        )
        plan = replace(plan, incidents=(incident,))
    served = np.zeros(len(kinds), dtype=SERVED)
    for row, (moment, happened) in zip(served, enumerate(kinds), strict=True):
        row["time_ns"], row["what"], row["region"] = at(BEGUN + 40 + moment), happened, NO_REGION
    return replace(history, plan=plan, served=served)


def _called(promise: Promise) -> History:
    question = verb(promise.operation) == words.LOCK_PORT
    operation = _LOCKS_PORT[promise.operation] if question else promise.operation
    below = operation == words.SUBORDINATE_RESET
    beside = operation == words.HOT_RESET and promise.window is WindowKind.VFIO_OPEN
    stage = CallStage(
        platform=promise.platforms[0].replace("*", "unknown"),
        release=next(one for one in RELEASES if KernelVersion.parse(one) in promise.kernels),
        port=question or below or promise.window is WindowKind.PORT_LOCK,
        sibling=beside,
        oracles=(ORACLE,) if promise.state else (),
        deadline_ns=Ns(5 * SECOND + 2 * (promise.at_least or 0)),
    )
    stage.heartbeat(until_us=4e6 + 2 * (promise.at_least or 0) / US)
    _hold(stage, promise.window, on=SIBLING_NUMBER if beside else FUNCTION)
    alias = PORT if below else ALIAS
    actor, step = stage.caller(operation, alias=alias), 0
    if promise.state:
        stage._actors.pop()
        actor, step = stage.rounds(operation, alias=alias), 2
        stage.called(actor, 10, 11, step=0)
        stage.op(actor, 20, 21, step=1, value=ORACLE.marker, round_=0)
    end = _call(stage, actor, step, operation, promise)
    if promise.state:
        value = ORACLE.cleared if promise.state is DeviceState.CLEARED else ORACLE.marker
        stage.op(actor, end + 50_000, end + 50_010, step=3, value=value, round_=0)
    return with_marks(stage)


def _accessed(promise: Promise) -> History:
    operation = promise.operation
    stage = CallStage(
        platform=promise.platforms[0].replace("*", "unknown"),
        release=next(one for one in RELEASES if KernelVersion.parse(one) in promise.kernels),
    )
    stage.heartbeat(until_us=4e6)
    _hold(stage, promise.window, on=FUNCTION)
    actor = stage.accessor(operation)
    begin, end, error, value = BEGUN, BEGUN + 30, 0, None
    match promise.outcome:
        case Outcome.BLOCKED:
            end = CLOSED + 3_000
            if verb(operation) in ("config-read", "config-write"):
                stage.wait(begin + 5, actor)
        case Outcome.ALL_ONES:
            value = 0xFFFF_FFFF
        case Outcome.ZERO:
            value = 0
        case Outcome.SIGBUS:
            error = -7
        case Outcome.EIO | Outcome.EPERM:
            error = getattr(errno, promise.outcome)
    result = 0 if promise.outcome is Outcome.TRUNCATED or operation == words.VFIO_INFO else None
    if verb(operation) == "bar-read":
        if not error:
            stage.op(actor, 10, 40, value=_REGISTER, round_=0)
        value = _REGISTER if value is None else value
    stage.op(actor, begin, end, value=value, error=error, result=result, round_=1)
    return stage.history()


def with_marks(stage: CallStage) -> History:
    """The finished history, in which every mark has the value that was written, and which ends after its calls."""
    history = stage.history()
    table = history.operations.copy()
    history = replace(history, end_ns=Ns(max(int(history.end_ns), int(table["end_ns"].max()))))
    for row in range(len(table)):
        if history.means(int(table["actor"][row]), int(table["step"][row])) == words.MARK:
            table["value"][row] = ORACLE.marker
    return replace(history, operations=table)


def _hold(stage: CallStage, window: WindowKind, *, on: int) -> None:
    """Somebody holds what makes a window of this kind, from OPENED to CLOSED."""
    if window is WindowKind.NONE:
        return
    if window is WindowKind.CONFIG_LOCK:
        stage.holds(OPENED, CLOSED, tid=900)
        return
    holder = stage.caller(_HOLDERS[window], "holder", alias=SIBLING if on == SIBLING_NUMBER else ALIAS)
    stage.called(holder, OPENED - 100, CLOSED + 100)
    tid = 100 + holder
    match window:
        case WindowKind.DEVICE_LOCK:
            stage.holds_device(OPENED, CLOSED, tid=tid)
        case WindowKind.UNBIND:
            stage.holds_device(OPENED, CLOSED, tid=tid, by=UNREGISTER)
        case WindowKind.PORT_LOCK:
            stage.holds(OPENED, CLOSED, tid=tid, function=PORT_NUMBER)
        case _:
            stage.holds(OPENED, CLOSED, tid=tid, function=on)
    if window in (WindowKind.SYSFS_RESET, WindowKind.VFIO_RESET, WindowKind.VFIO_OPEN):
        stage.performs(OPENED + 10, CLOSED - OPENED - 20, tid=tid, by="pci_reset_bus_function", function=on)
    elif window is WindowKind.HOT_RESET:
        stage.performs(OPENED + 10, CLOSED - OPENED - 20, tid=tid, by=HOT, function=on)


def _call(stage: CallStage, actor: int, step: int, operation: Operation, promise: Promise) -> float:
    """The call, as the promise wants it; returns its return."""
    begin = float(BEGUN)
    match promise.outcome:
        case Outcome.OK | Outcome.LOCKED | Outcome.FREE:
            end = _work(stage, actor, operation, promise, begin + 30)
        case Outcome.BLOCKED:
            end = CLOSED + 3_000
        case Outcome.BLOCKED_AND_RESET:
            end = _work(stage, actor, operation, promise, CLOSED + 200)
        case Outcome.SKIPPED:
            end = begin + 10_000
        case refusal:
            end = begin + max(500, (promise.at_least or 0) / US * 1.1)
            stage.called(actor, begin, end, step=step, error=getattr(errno, refusal))
            return end
    stage.called(actor, begin, end, step=step)
    return end


def _work(stage: CallStage, actor: int, operation: Operation, promise: Promise, begin: float) -> float:
    """What a call does once it may: reset, if that is what it is for."""
    took = max((promise.at_least or 0) / US * 1.1, 1_000)
    if not is_reset(operation) or operation == words.SUBORDINATE_RESET:
        return begin + took
    named = [
        s for s, m in RESET_FUNCTIONS.items() if m and verb(operation) == "reset" and m == way(operation)
    ]
    symbol = named[0] if named else HOT if operation == words.HOT_RESET else "pcie_flr"
    least = {"pcie_flr": 101_000, "pci_af_flr": 101_000, "pci_pm_reset": 21_000}
    took = max(took, least.get(symbol, 3_000))
    locked = stage.port and (
        promise.outcome is Outcome.LOCKED or (bool(named) and promise.outcome is not Outcome.FREE)
    )
    return stage.resets(actor, begin, took, by=symbol, port=locked)

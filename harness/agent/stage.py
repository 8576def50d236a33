"""Carry out one plan on this machine and bring back what happened.

Order matters: settings, then observers (trace, log, uevents), then actors; afterwards the observers are read
first and the settings are put back last, whatever happened in between.
"""

from __future__ import annotations

import enum
import errno
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from harness.agent.alarms import armed
from harness.agent.files import Files
from harness.agent.kernel_log import KernelLog
from harness.agent.machine import told
from harness.agent.nursery import ActorProcess, Nursery, wait_any
from harness.agent.program import RECORDED, compile_actor
from harness.agent.settings import DRIVER, applied
from harness.agent.trace import KernelTrace
from harness.agent.uevents import Uevents
from harness.bindings.actor import Code, Instruction, LaneState, SharedStage, now
from harness.errors import StagingError
from harness.model.pci import Bdf
from harness.model.plan import Plan, Privilege
from harness.model.taint import OOPS
from harness.model.units import SECOND, Ns
from harness.pci import functions, sysfs
from harness.pci.condition import taint

_LARGEST_LANE: Final = 600_000  # records, 24 MB: 1 us apart for 0.6 s, 10 us apart for 6 s
_SMALLEST_LANE: Final = 64
_FASTEST: Final = Ns(1_000)  # no config access takes less
_LEFT: Final[list[ExitStack]] = []  # what cannot be undone behind a stuck actor; dropping it would undo it
_ARRIVAL: Final = Ns(20 * SECOND)  # for opening files and meeting, on a slow machine
_BEAT: Final = Ns(1 * SECOND)

Tell = Callable[[dict[str, Any]], None]
"""Says something to the host before the answer."""


def untold(progress: dict[str, Any]) -> None:
    """Tell nobody."""


class Phase(enum.StrEnum):
    """What the agent is at, said when it begins: the last one that was heard tells where it got stuck."""

    SETTING_UP = "loading modules and putting settings in place"
    OPENING = "opening files and reading config space"
    OBSERVING = "setting probes and starting actors"
    RUNNING = "waiting for the actors"
    COLLECTING = "collecting what was seen"
    PUTTING_BACK = "reading config space and putting settings back"


def alarmed(patience_ns: Ns) -> KernelLog:
    """The log of this machine, whose alarms all ring until it is collected; see :func:`harness.agent.alarms.armed`."""
    return KernelLog(armed(patience_ns))


def carry_out(
    plan: Plan,
    addresses: Mapping[str, Bdf],
    nursery: Nursery,
    trace: KernelTrace,
    load_module: Callable[[str], object],
    *,
    tell: Tell = untold,
    listen: Callable[[Ns], KernelLog] = alarmed,
) -> dict[str, Any]:
    """Stage `plan` on the functions at `addresses`.

    When an actor is stuck in the kernel, or the kernel killed one in the middle of an operation, nothing is put back:
    whoever tries would get stuck behind it, or behind the locks that it left.

    The host is told before the answer, in dictionaries with some of these keys: `phase` (see :class:`Phase`),
    `stage` (id of the shared memory), `pages` (:meth:`SharedStage.pages`), `functions` (as in the result, without
    `config_after`), `taint` (before the stage) and, about once a second, `alive_ns` (CLOCK_MONOTONIC) and
    `release_ns`, both also as soon as the actors were released.

    The kernel log is what `listen` opens, which hears how long an operation may be blocked.

    Returns:
        Plain values, tables as bytes: `begin_ns`, `end_ns`, `records` (one bytes each actor), `actors`, `functions`,
        `trace`, `log`, `uevents`, `taint_before`, `taint_after`, `left` (settings that were not put back).

    Raises:
        KernelRefusal: a setting was refused.
        StagingError: an actor could not open its files.
    """
    tell({"phase": Phase.SETTING_UP.value})
    for module in plan.modules:
        load_module(module)
    seen: dict[str, Any] = {"taint_before": taint(), "left": []}
    about = {alias: functions.facts(bdf) for alias, bdf in addresses.items()}
    with ExitStack() as undo:
        for setting in plan.settings:
            undo.enter_context(applied(setting, addresses))
        for setting in plan.settings:
            if setting.attribute == DRIVER:
                about[setting.function]["driver"] = setting.value
        tell({"phase": Phase.OPENING.value})
        files = undo.enter_context(Files(plan, addresses))
        programs = [compile_actor(actor, files) for actor in plan.actors]
        # Only now: whoever wanted a disk has waited for it, and its driver has set the function up.
        before = {alias: sysfs.read_config(bdf) for alias, bdf in addresses.items()}
        memory = SharedStage(programs, plan.lasting_ns, [_room(p, plan.lasting_ns) for p in programs])
        undo.callback(memory.close)
        tell({"phase": Phase.OBSERVING.value})
        processes = nursery.borrow(len(programs))
        log = listen(Ns(plan.lasting_ns + plan.deadline_ns))
        undo.callback(log.leave)
        uevents = Uevents()
        undo.callback(uevents.leave)
        trace.begin(list(addresses.values()))
        tell(
            {
                "phase": Phase.RUNNING.value,
                "stage": memory.id,
                "pages": memory.pages(),
                "functions": [
                    {"alias": alias, **about[alias], "config_before": before[alias]} for alias in addresses
                ],
                "taint": seen["taint_before"],
                "alive_ns": now(),
            }
        )
        begun = now()
        try:
            for number, process in enumerate(processes):
                process.begin(memory, number, files.granted(plan.actors[number]))
            files.hand_over()
            ends = _wait(plan, programs, memory, processes, nursery, tell=tell, check=uevents.check)
        finally:
            memory.stop()
            tell({"phase": Phase.COLLECTING.value, "alive_ns": now()})
            seen["trace"] = trace.end()
            seen["uevents"] = uevents.collect()
            seen["log"] = log.collect()
        seen["begin_ns"] = memory.release_ns or begun
        seen["records"] = [memory.records(number) for number in range(len(programs))]
        seen["actors"] = [
            {"name": actor.name, **_lane_facts(memory, number), **ends[number]}
            for number, actor in enumerate(plan.actors)
        ]
        tell({"phase": Phase.PUTTING_BACK.value, "alive_ns": now()})
        killed = bool(taint() & ~seen["taint_before"] & OOPS) and any(end["end"] == "died" for end in ends)
        stuck = killed or any(end["end"] == "abandoned" for end in ends)
        if stuck:
            _LEFT.append(undo.pop_all())
            seen["left"] = [f"{one.attribute} of {one.function}" for one in plan.settings]
        # A function whose lock nobody gives back would take the agent with it: do not read it again.
        seen["functions"] = [
            {
                "alias": alias,
                **about[alias],
                "config_before": before[alias],
                "config_after": b""
                if stuck or not sysfs.is_there(sysfs.path_of(bdf, "config"))
                else sysfs.read_config(bdf),
            }
            for alias, bdf in addresses.items()
        ]
        seen["end_ns"] = now()
    seen["taint_after"] = taint()
    return seen


def _wait(
    plan: Plan,
    programs: list[list[Instruction]],
    memory: SharedStage,
    processes: list[ActorProcess],
    nursery: Nursery,
    *,
    tell: Tell = untold,
    check: Callable[[], None] = lambda: None,
) -> list[dict[str, str]]:
    """Wait for all actors, or until the deadline; how each of them ended.  What `check` raises ends it."""
    beat = _Beat(memory, tell)
    running = {process.pid: number for number, process in enumerate(processes)}
    ends: list[dict[str, str]] = [{} for _ in processes]
    arrival = now() + _ARRIVAL
    while running:
        if not memory.release_ns:
            until = arrival
            if _refused(memory, programs) or now() > arrival:
                memory.stop()
        else:
            until = memory.release_ns + plan.lasting_ns + plan.deadline_ns
        if now() > until + (0 if memory.release_ns else SECOND):
            break
        waiting = [process for process in processes if process.pid in running]
        step = min((until - now()) / SECOND, beat.left_s) if memory.release_ns else 0.05
        for process in wait_any(waiting, step):
            number = running.pop(process.pid)
            if process.ended():
                spent = plan.actors[number].privilege is not Privilege.ROOT
                (nursery.dismiss if spent else nursery.give_back)(process)
                ends[number] = {"end": "done"}
            else:
                ends[number] = {"end": "died", "detail": nursery.fate(process.pid)}
        check()
        beat.tell()
    memory.stop()
    refused = _refused(memory, programs)
    if refused:
        raise StagingError(f"actor {plan.actors[refused[0]].name!r}", said=refused[1], hint=refused[2])
    for pid, number in running.items():
        lane = memory.lane(number)
        ends[number] = {"end": "abandoned", **_where(lane.tid or pid)}
        if lane.state is LaneState.NEW:
            ends[number]["detail"] = _intention(programs[number], lane.at)
    return ends


class _Beat:
    """Says about once a second that the agent lives, and where the kernel has moved the pages to."""

    def __init__(self, memory: SharedStage, tell: Tell) -> None:
        self._memory, self._tell = memory, tell
        self._due = now() + _BEAT
        self._told_of_release = False

    @property
    def left_s(self) -> float:
        """Seconds until it is due: none when the actors were released since it was told last."""
        return 0.0 if self._released_untold else max(0.0, (self._due - now()) / SECOND)

    def tell(self) -> None:
        """Say it when it is due, and at once when the actors were released: the host counts from there."""
        if (at := now()) >= self._due or self._released_untold:
            self._told_of_release = bool(self._memory.release_ns)
            self._due = at + _BEAT
            self._tell({"alive_ns": at, "release_ns": self._memory.release_ns, "pages": self._memory.pages()})

    @property
    def _released_untold(self) -> bool:
        return bool(self._memory.release_ns) and not self._told_of_release


def _refused(memory: SharedStage, programs: list[list[Instruction]]) -> tuple[int, str, str] | None:
    """The first actor that could not set up: its number, what was refused, and what to do about it."""
    for number, program in enumerate(programs):
        lane = memory.lane(number)
        if lane.state is LaneState.REFUSED:
            name = errno.errorcode.get(lane.error, str(lane.error))
            hint = {
                "ENOENT": "The function has no such file on this kernel.",
                "EACCES": "Root may; the agent must run as root, and the actor must not have given that up.",
                "EPERM": "The kernel is locked down, or a driver owns the resource.",
                "EINVAL": "A driver owns this resource: a mapped register needs a function without driver.",
            }.get(name, "")
            return number, f"{_intention(program, lane.at)}: {name} ({os.strerror(lane.error)})", hint
    return None


def _intention(program: list[Instruction], at: int) -> str:
    """What instruction `at` of the set-up was to do, in words."""
    wanted = program[at]
    if wanted.op is Code.RENDEZVOUS:
        return "rehearsing its first read"
    if wanted.op is Code.DROP:
        return "becoming the user nobody"
    slot = wanted.width if wanted.op is Code.MAP else wanted.slot
    source = next(i for i in program if i.op in (Code.OPEN, Code.TAKE) and i.slot == slot)
    file = os.fsdecode(source.data) if source.op is Code.OPEN else "a VFIO device or group"
    return f"{'mapping' if wanted.op is Code.MAP else 'opening'} {file}"


def _lane_facts(memory: SharedStage, number: int) -> dict[str, int]:
    lane = memory.lane(number)
    return {"tid": lane.tid, "rounds": lane.rounds, "lost": lane.lost}


def _room(program: list[Instruction], lasting: Ns) -> int:
    """How many records an actor can need: its slowest possible pace is not known, its fastest is."""
    recorded = [i for i in program if i.op in RECORDED]
    most = len(recorded) + sum(i.times for i in program if i.op is Code.RETRY)  # records of one round
    times = program[-1].times
    if times:
        return min(max(times * most, _SMALLEST_LANE), _LARGEST_LANE)
    pause = sum(i.time_ns for i in recorded)
    rounds = lasting // (pause or _FASTEST * len(recorded)) + 2
    return min(max(rounds * most, _SMALLEST_LANE), _LARGEST_LANE)


def _where(tid: int) -> dict[str, str]:
    """Where in the kernel a thread sleeps."""
    return {name: told(Path(f"/proc/{tid}/{name}")) for name in ("wchan", "stack")}

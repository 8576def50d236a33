"""Carry out one plan on this machine and bring back what happened.

Order matters: settings, then observers (trace, log, uevents), then actors; afterwards the observers are read
first and the settings are put back last, whatever happened in between.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

from harness.agent.alarms import armed
from harness.agent.files import Files
from harness.agent.kernel_log import KernelLog
from harness.agent.machine import told
from harness.agent.nursery import ActorProcess, Nursery, wait_any
from harness.agent.program import compile_actor
from harness.agent.room import rooms
from harness.agent.settings import DRIVER, applied
from harness.agent.trace import KernelTrace
from harness.agent.uevents import Uevents
from harness.bindings.actor import Code, Instruction, LaneState, SharedStage, now
from harness.errors import StagingError
from harness.model.observation import (
    ActorRecord,
    Beat,
    Observation,
    Phase,
    Progress,
    Reached,
    Ready,
    StagedFunction,
)
from harness.model.pci import Bdf
from harness.model.plan import Plan, Privilege
from harness.model.taint import OOPS
from harness.model.units import SECOND, Ns
from harness.pci import functions, sysfs
from harness.pci.condition import taint
from harness.pci.neighbours import around, configs

_LEFT: Final[list[ExitStack]] = []  # what cannot be undone behind a stuck actor; dropping it would undo it
_ARRIVAL: Final = Ns(20 * SECOND)  # for opening files and meeting, on a slow machine
_BEAT: Final = Ns(1 * SECOND)
_NEIGHBOURS: Final = Ns(10 * SECOND)  # to look at functions that nobody of the plan touches

Tell = Callable[[Progress], None]
"""Says something to the host before the answer."""


def untold(progress: Progress) -> None:
    """Tell nobody."""


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
) -> Observation:
    """Stage `plan` on the functions at `addresses`.

    When an actor is stuck in the kernel, or the kernel killed one in the middle of an operation, nothing is put back:
    whoever tries would get stuck behind it, or behind the locks that it left.

    The host is told before the answer: of each phase, of what it must know should the target be lost, and about once a
    second, and as soon as the actors were released, that the agent lives.

    The kernel log is what `listen` opens, which hears how long an operation may be blocked.

    Raises:
        KernelRefusal: a setting was refused.
        StagingError: an actor could not open its files.
    """

    def reach(phase: Phase) -> None:
        tell(Reached(phase=phase, alive_ns=now()))

    reach(Phase.SETTING_UP)
    for module in plan.modules:
        load_module(module)
    tainted, left = taint(), tuple[str, ...]()
    about = {alias: functions.facts(bdf) for alias, bdf in addresses.items()}
    with ExitStack() as undo:
        for setting in plan.settings:
            undo.enter_context(applied(setting, addresses))
        for setting in plan.settings:
            if setting.attribute == DRIVER:
                about[setting.function] = replace(about[setting.function], driver=setting.value)
        reach(Phase.OPENING)
        files = undo.enter_context(Files(plan, addresses))
        programs = [compile_actor(actor, files) for actor in plan.actors]
        # Only now: whoever wanted a disk has waited for it, and its driver has set the function up.
        staged = tuple(
            StagedFunction(alias=alias, facts=about[alias], config_before=sysfs.read_config(bdf))
            for alias, bdf in addresses.items()
        )
        neighbours = _neighbours(addresses.values())
        told = trace.callbacks([one.facts.bdf for one in (*staged, *neighbours) if one.facts.driver])
        staged, neighbours = (
            tuple(replace(one, callbacks=told.get(one.facts.bdf)) for one in some)
            for some in (staged, neighbours)
        )
        offered = rooms(programs, plan.lasting_ns)
        memory = SharedStage(programs, plan.lasting_ns, offered)
        undo.callback(memory.close)
        reach(Phase.OBSERVING)
        processes = nursery.borrow(len(programs))
        log = listen(Ns(plan.lasting_ns + plan.deadline_ns))
        undo.callback(log.leave)
        uevents = Uevents()
        undo.callback(uevents.leave)
        trace.begin(list(addresses.values()))
        tell(Ready(stage=memory.id, pages=memory.pages(), functions=staged, taint=tainted))
        reach(Phase.RUNNING)
        begun = now()
        try:
            for number, process in enumerate(processes):
                process.begin(memory, number, files.granted(plan.actors[number]))
            files.hand_over()
            ends = _wait(plan, programs, memory, processes, nursery, tell=tell, check=uevents.check)
            if all(one.end == "done" for one in ends):  # behind one that is stuck nobody may look
                staged = tuple(
                    replace(one, config_open=_config(addresses[one.alias]))
                    if one.alias in files.kept
                    else one
                    for one in staged
                )
                files.let_go()  # now, so that trace and log tell of the last close
        finally:
            memory.stop()
            reach(Phase.COLLECTING)
            hits, events, lines = trace.end(), uevents.collect(), log.collect()
        released, records = memory.release_ns, tuple(map(memory.records, range(len(programs))))
        reach(Phase.PUTTING_BACK)
        killed = bool(taint() & ~tainted & OOPS) and any(one.end == "died" for one in ends)
        stuck = killed or any(one.end == "abandoned" for one in ends)
        if stuck:
            _LEFT.append(undo.pop_all())
            left = tuple(f"{one.attribute} of {one.function}" for one in plan.settings)
        else:  # a function whose lock nobody gives back would take the agent with it: do not read it again
            files.let_go()
            staged = tuple(replace(one, config_after=_config(addresses[one.alias])) for one in staged)
            after = configs([one.facts.bdf for one in neighbours], _NEIGHBOURS)
            neighbours = tuple(replace(one, config_after=after[one.facts.bdf]) for one in neighbours)
        ended = now()
    return Observation(
        begin_ns=Ns(released or begun),
        end_ns=ended,
        records=records,
        actors=ends,
        functions=staged,
        neighbours=neighbours,
        trace=hits,
        log=lines,
        uevents=events,
        taint_before=tainted,
        taint_after=taint(),
        left=left,
    )


def _wait(
    plan: Plan,
    programs: list[list[Instruction]],
    memory: SharedStage,
    processes: list[ActorProcess],
    nursery: Nursery,
    *,
    tell: Tell = untold,
    check: Callable[[], None] = lambda: None,
) -> tuple[ActorRecord, ...]:
    """Wait for all actors, or until the deadline; how each of them ended.  What `check` raises ends it."""
    beat = _Beat(memory, tell)
    running = {process.pid: number for number, process in enumerate(processes)}
    ends: dict[int, dict[str, str]] = {}
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
    return tuple(_record(actor.name, memory, at, ends[at]) for at, actor in enumerate(plan.actors))


def _record(name: str, memory: SharedStage, number: int, end: dict[str, str]) -> ActorRecord:
    lane = memory.lane(number)
    return ActorRecord(
        name=name,
        tid=lane.tid,
        rounds=lane.rounds,
        lost=lane.lost,
        lost_ns=lane.lost_ns,
        thinned=lane.thinned,
        thinned_ns=memory.rooms[number].thin_ns if lane.thinned else Ns(0),
        **end,
    )


def _config(bdf: Bdf) -> bytes:
    """Config space; empty of a function that has left."""
    return sysfs.read_config(bdf) if sysfs.is_there(sysfs.path_of(bdf, "config")) else b""


def _neighbours(bdfs: Collection[Bdf]) -> tuple[StagedFunction, ...]:
    """The functions around those of the plan, as they are now."""
    before = configs(around(bdfs), _NEIGHBOURS)
    return tuple(
        StagedFunction(alias=str(bdf), facts=functions.facts(bdf), config_before=config)
        for bdf, config in before.items()
    )


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
            self._tell(Beat(alive_ns=at, release_ns=self._memory.release_ns, pages=self._memory.pages()))

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


def _where(tid: int) -> dict[str, str]:
    """Where in the kernel a thread sleeps."""
    return {name: told(Path(f"/proc/{tid}/{name}")) for name in ("wchan", "stack")}

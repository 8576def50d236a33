"""The actor loop and the shared memory that it works in.

The agent creates a :class:`SharedStage`, actors run :func:`act` on a descriptor of it.  Everything an actor does
can be read from outside at any time, also while it sleeps in the kernel.
"""

from __future__ import annotations

import enum
import mmap
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from harness.bindings import _actor
from harness.errors import HarnessError
from harness.model.loss import InFlight
from harness.model.units import Ns

_ffi: Final[Any] = _actor.ffi
_lib: Final[Any] = _actor.lib

RECORD_BYTES: Final = int(_ffi.sizeof("struct hx_record"))
"""Size of one row of the table OPERATION."""

_PAGE: Final = mmap.PAGESIZE
_PAGEMAP: Final = Path("/proc/self/pagemap")
_PRESENT: Final = 1 << 63  # Linux Documentation/admin-guide/mm/pagemap.rst
_FRAME: Final = (1 << 55) - 1


class Code(enum.IntEnum):
    """`hx_step.op`: what the C loop can do (cdefs/actor.csrc.c)."""

    OPEN = _lib.HX_OPEN
    TAKE = _lib.HX_TAKE
    MAP = _lib.HX_MAP
    DROP = _lib.HX_DROP
    RENDEZVOUS = _lib.HX_RENDEZVOUS
    BEGIN = _lib.HX_BEGIN
    READ = _lib.HX_READ
    WRITE = _lib.HX_WRITE
    LOAD = _lib.HX_LOAD
    STORE = _lib.HX_STORE
    TRY_OPEN = _lib.HX_TRY_OPEN
    IOCTL = _lib.HX_IOCTL
    CLOSE = _lib.HX_CLOSE
    COUNT = _lib.HX_COUNT
    RETRY = _lib.HX_RETRY
    PAUSE = _lib.HX_PAUSE
    REPEAT = _lib.HX_REPEAT


class Alike(enum.IntEnum):
    """`hx_step.alike`: which accesses of a step are alike, of those that came to the same result and errno."""

    NEVER = _lib.HX_NEVER
    EQUAL = _lib.HX_EQUAL
    """Those with the same value."""
    DATA = _lib.HX_DATA
    """Those with the same value, and those that are neither all-zero nor all-ones."""
    ALWAYS = _lib.HX_ALWAYS


class LaneState(enum.IntEnum):
    """How far an actor is."""

    NEW = _lib.HX_NEW
    ARRIVED = _lib.HX_ARRIVED
    RUNNING = _lib.HX_RUNNING
    DONE = _lib.HX_DONE
    REFUSED = _lib.HX_REFUSED


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """One step of a program, as `struct hx_step`; the meaning of each field depends on `op`.

    Attributes:
        data: the path to open, or the bytes to write.
        step: number of the step in the plan.
        alike: of which accesses most are left out when the lane gets full.
    """

    op: Code
    slot: int = 0
    offset: int = 0
    width: int = 0
    time_ns: int = 0
    times: int = 0
    step: int = 0
    data: bytes = b""
    alike: Alike = Alike.NEVER


@dataclass(frozen=True, slots=True)
class Room:
    """For how many records a lane has room, and from when on it is thinned.

    Attributes:
        records: as many.
        thin_from: records begun before any is left out; as many as there are: none ever is.
        thin_ns: the longest from the call of the first to the return of the last of accesses that are alike, of which
            those between the two are left out.
    """

    records: int
    thin_from: int
    thin_ns: Ns


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """What an actor's lane says at this moment.

    Attributes:
        error: errno of the refused step, or 0.
        at: index of the instruction it is at.
        count: records begun; the last may be in flight.
        lost: operations done without room for a record.
        lost_ns: since when, CLOCK_MONOTONIC; 0: none was.
        thinned: operations whose record was left to another.
    """

    state: LaneState
    tid: int
    error: int
    at: int
    rounds: int
    count: int
    lost: int
    lost_ns: Ns
    thinned: int


def patience(first: Ns, longest: Ns, errnos: Sequence[int]) -> bytes:
    """The data of :attr:`Code.RETRY`, `struct hx_patience`: pauses, and up to 8 errnos that may be retried."""
    return bytes(
        _ffi.buffer(
            _ffi.new(
                "struct hx_patience *", {"first_ns": first, "longest_ns": longest, "errnos": list(errnos)}
            )
        )
    )


def now() -> Ns:
    """CLOCK_MONOTONIC, in nanoseconds."""
    return Ns(int(_lib.hx_now()))


def act(memory_fd: int, size: int, lane_at: int) -> None:
    """Run the program of one lane to its end; the GIL is released meanwhile.

    Raises:
        HarnessError: the shared memory cannot be mapped.  Everything else is told through the lane.
    """
    if _lib.hx_act(memory_fd, size, lane_at) != 0:
        raise HarnessError("mapping the memory of a stage", said=os.strerror(_ffi.errno))


class SharedStage:
    """The memory of one stage: header, and for each actor a lane, its program and room for its records.

    Owns a memfd; actors need `fd`, `size_bytes` and :meth:`lane_at`.
    """

    def __init__(self, programs: Sequence[Sequence[Instruction]], lasting: Ns, rooms: Sequence[Room]) -> None:
        """Lay out the memory and write all programs into it.

        Args:
            programs: one for each actor.
            lasting: how long rounds may begin after the release.
            rooms: for the records of each actor.
        """
        self.rooms: Final = tuple(rooms)
        lane_bytes = _ffi.sizeof("struct hx_lane")
        step_bytes = _ffi.sizeof("struct hx_step")
        at = _aligned(_ffi.sizeof("struct hx_stage"))
        layout = []
        for program, room in zip(programs, rooms, strict=True):
            data = b"".join(instruction.data + b"\0" for instruction in program)
            lane_at, steps_at = at, at + 64 * -(-lane_bytes // 64)
            data_at = steps_at + step_bytes * len(program)
            records_at = _aligned(data_at + len(data))
            at = _aligned(records_at + room.records * RECORD_BYTES)
            layout.append((lane_at, steps_at, data_at, records_at, data))
        self.size_bytes: Final = at
        self.fd: Final = os.memfd_create("hil-stage", os.MFD_CLOEXEC)
        os.ftruncate(self.fd, at)
        self._memory = mmap.mmap(self.fd, at)
        self._base = _ffi.from_buffer(self._memory)
        self._stage = _ffi.cast("struct hx_stage *", self._base)
        self.id: Final = int(now())
        """Tells this stage from every other of this machine."""
        self._mark(self._stage.mark, 0)
        self._stage.actors = len(programs)
        self._stage.lasting_ns = lasting
        self._lanes = []
        for number, (program, room) in enumerate(zip(programs, rooms, strict=True)):
            lane_at, steps_at, data_at, records_at, data = layout[number]
            lane = _ffi.cast("struct hx_lane *", self._base + lane_at)
            self._mark(lane.mark, lane_at)
            lane.actor, lane.capacity, lane.steps = number, room.records, len(program)
            lane.thin_from, lane.thin_ns = room.thin_from, room.thin_ns
            lane.steps_at, lane.data_at, lane.records_at = steps_at, data_at, records_at
            self._memory[data_at : data_at + len(data)] = data
            steps = _ffi.cast("struct hx_step *", self._base + steps_at)
            position = 0
            for index, instruction in enumerate(program):
                step = steps[index]
                step.op, step.slot, step.offset = instruction.op, instruction.slot, instruction.offset
                step.width, step.time_ns, step.times = (
                    instruction.width,
                    instruction.time_ns,
                    instruction.times,
                )
                step.step, step.data, step.alike = instruction.step, position, instruction.alike
                position += len(instruction.data) + 1
            self._lanes.append((lane_at, lane))
        for page in self._told():
            _lib.mlock(self._base + page, _PAGE)  # what is refused is told as absent, see pages()

    def pages(self) -> dict[int, int]:
        """Where the header and the lanes lie in physical memory, for whoever reads it from outside the machine.

        They are locked, so they are never swapped out.  The kernel may still move one (compaction, offlining of
        memory), and leaves the old content where it was: ask again now and then.

        Returns:
            offset in this memory to physical address, for each page of :data:`mmap.PAGESIZE` bytes that is known; empty
            without CAP_SYS_ADMIN.
        """
        base = int(_ffi.cast("uintptr_t", self._base))
        found: dict[int, int] = {}
        try:
            pagemap = _PAGEMAP.open("rb", buffering=0)
        except PermissionError:  # not root
            return found
        with pagemap:
            for at in self._told():
                entry = int.from_bytes(os.pread(pagemap.fileno(), 8, (base + at) // _PAGE * 8), "little")
                if entry & _PRESENT and entry & _FRAME:
                    found[at] = (entry & _FRAME) * _PAGE
        return found

    def _told(self) -> list[int]:
        return [0, *(at for at, _ in self._lanes)]

    def _mark(self, mark: Any, at: int) -> None:
        mark.magic, mark.stage, mark.at = _lib.HX_MAGIC, self.id, at

    def lane_at(self, actor: int) -> int:
        """Where the lane of an actor lies, in bytes from the start of the memory."""
        return self._lanes[actor][0]

    def lane(self, actor: int) -> Lane:
        """Read the lane of an actor; allowed at any time."""
        lane = self._lanes[actor][1]
        return Lane(
            state=LaneState(lane.state),
            tid=lane.tid,
            error=lane.error,
            at=lane.at,
            rounds=lane.rounds,
            count=lane.count,
            lost=lane.lost,
            lost_ns=Ns(int(lane.lost_ns)),
            thinned=int(lane.thinned),
        )

    def records(self, actor: int) -> bytes:
        """The rows that an actor has begun, :data:`RECORD_BYTES` each: oldest first, until the lane is thinned."""
        lane = self._lanes[actor][1]
        begin = int(lane.records_at)
        return self._memory[begin : begin + min(lane.count, lane.capacity) * RECORD_BYTES]

    @property
    def release_ns(self) -> Ns:
        """When all actors were released, CLOCK_MONOTONIC; 0 while one of them is still missing."""
        return Ns(int(self._stage.release_ns))

    def stop(self) -> None:
        """Let no further round begin and nobody wait for a release any more."""
        self._stage.stop = 1

    def close(self) -> None:
        """Give the memory back; actors that still run keep their own mapping."""
        self._lanes.clear()
        self._stage = None
        _ffi.release(self._base)
        self._memory.close()
        os.close(self.fd)


def _aligned(size: int) -> int:
    return -(-size // _PAGE) * _PAGE


def seen_from_outside(pages: Mapping[int, bytes], stage: int) -> tuple[Ns, tuple[InFlight, ...]]:
    """Read the pages of a stage (:meth:`SharedStage.pages`) whose machine may be gone.

    A page that is not marked as belonging to this stage and this offset is left out: the kernel has moved it.

    Args:
        pages: content by offset.
        stage: id of the stage.

    Returns:
        when the actors were released (0: not yet, or not known), and what each was doing.
    """
    release, found = 0, []
    for at, content in sorted(pages.items()):
        page = _ffi.from_buffer(content)
        if len(content) < _ffi.sizeof("struct hx_lane"):
            continue
        mark = _ffi.cast("struct hx_mark *", page)
        if (mark.magic, mark.stage, mark.at) != (_lib.HX_MAGIC, stage, at):
            continue
        if at == 0:
            release = int(_ffi.cast("struct hx_stage *", page).release_ns)
        else:
            found.append(_in_flight(_ffi.cast("struct hx_lane *", page)))
    return Ns(release), tuple(sorted(found, key=lambda one: one.actor))


def _in_flight(lane: Any) -> InFlight:
    doing, since = int(lane.doing), int(lane.since_ns)
    begun = bool(doing & (_lib.HX_FLYING | _lib.HX_LANDED))
    low = (1 << _lib.HX_TIME_BITS) - 1
    believed = begun and doing >> _lib.HX_TIME_AT & low == since & low
    return InFlight(
        actor=lane.actor,
        step=doing >> _lib.HX_STEP_AT & 0xFFFF if begun else None,
        tid=lane.tid,
        round=doing & 0xFFFF_FFFF,
        begin_ns=since if believed else 0,
        count=int(lane.count + lane.lost + lane.thinned),
        returned=not doing & _lib.HX_FLYING,
    )

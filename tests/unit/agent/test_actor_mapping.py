"""Mapped registers of the loop: which part of a file, and what happens when there is nothing behind it any more."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.agent.nursery import wait_any
from harness.bindings.actor import LaneState
from harness.model.units import MS
from tests.unit.agent.conftest import Watched
from tests.unit.agent.run import (
    Program,
    begin,
    load,
    mapping,
    opening,
    pause,
    program,
    read,
    rows,
    run,
    staged,
    store,
    until,
)

PAGE = 4096
GONE = -int(signal.SIGBUS)
"""What a record says of an access that had nothing behind it."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Two pages: the low bytes of all offsets, then the same inverted."""
    path = tmp_path / "resource0"
    path.write_bytes(bytes(range(256)) * 16 + bytes(range(255, -1, -1)) * 16)
    return path


def test_all_of_a_file_or_a_part_is_mapped(file: Path) -> None:
    opens = [opening(file, os.O_RDWR), mapping(0), mapping(1, offset=PAGE, size=PAGE)]
    steps = [load(PAGE + 0x10), load(0x10, slot=1), store(b"\x01\x02", 0x20, slot=1)]
    (table,) = run(program(steps, opens=opens))
    assert table["value"].tolist() == [0xECEDEEEF, 0xECEDEEEF, 0x0201]
    assert file.read_bytes()[PAGE + 0x20 : PAGE + 0x23] == b"\x01\x02\xdd"


def test_several_files_are_mapped_each_from_its_own_descriptor(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "resource2"
    other.write_bytes(b"\xaa" * PAGE)
    opens = [
        opening(file, os.O_RDWR, slot=0),
        opening(other, os.O_RDWR, slot=1),
        mapping(0, file=1),
        mapping(1, file=0),
    ]
    (table,) = run(program([load(0, 2), load(1, 2, slot=1)], opens=opens))
    assert table["value"].tolist() == [0xAAAA, 0x0201]


@pytest.mark.parametrize("slot", [16, 2**31])
def test_what_is_mapped_from_no_slot_refuses(file: Path, slot: int) -> None:
    opens = [opening(file, os.O_RDWR), mapping(0, file=slot, size=PAGE)]
    with staged(program([load()], opens=opens)) as stage:
        begin(stage, 0).join(20)
        lane = stage.lane(0)
    assert (lane.state, lane.error, lane.at) == (LaneState.REFUSED, errno.EINVAL, 1)


def test_what_is_mapped_from_a_closed_slot_refuses() -> None:
    with staged(program([load()], opens=[mapping(0, file=3, size=PAGE)])) as stage:
        begin(stage, 0).join(20)
        lane = stage.lane(0)
    assert (lane.state, lane.error, lane.at) == (LaneState.REFUSED, errno.EBADF, 0)


def vanishing(file: Path, *, start: int = 0, times: int = 1) -> Program:
    """Accesses of two mapped pages beyond the end of the file, between others that work."""
    steps = [
        load(4, step=0),
        load(2 * PAGE + 0x18 - start, step=1),
        read(0, 2, step=2),
        store(b"\x5a" * 8, 3 * PAGE + 0x28 - start, step=3),
        store(b"\x77", 5, step=4),
        load(4, step=5),
    ]
    opens = [opening(file, os.O_RDWR), mapping(0, offset=start, size=4 * PAGE - start)]
    return program(steps, opens=opens, times=times)


def test_an_access_with_nothing_behind_it_is_an_outcome_and_the_others_go_on(file: Path) -> None:
    before = file.read_bytes()
    (table,) = run(vanishing(file))
    assert table["step"].tolist() == [0, 1, 2, 3, 4, 5]
    assert table["result"].tolist() == [4, -1, 2, -1, 1, 4]
    assert table["error"].tolist() == [0, GONE, 0, GONE, 0, 0]
    assert table["value"].tolist() == [
        0x07060504,
        2 * PAGE + 0x18,
        0x0100,
        3 * PAGE + 0x28,
        0x77,
        0x07067704,
    ]
    assert (table["end_ns"] >= table["begin_ns"]).all()
    assert file.read_bytes() == before[:5] + b"\x77" + before[6:]


def test_the_offset_counts_from_the_start_of_the_mapping(file: Path) -> None:
    (table,) = run(vanishing(file, start=PAGE))
    assert table["value"][[1, 3]].tolist() == [PAGE + 0x18, 2 * PAGE + 0x28]


def test_it_happens_again_and_again(file: Path) -> None:
    """The signal is not blocked by the way out of its handler."""
    (table,) = run(vanishing(file, times=100), lasting=60_000 * MS)
    assert len(table) == 600
    assert table["error"].tolist() == [0, GONE, 0, GONE, 0, 0] * 100


@pytest.fixture
def disposition() -> Iterator[Callable[[], tuple[bytes, bytes]]]:
    """What this process does on SIGBUS, `struct sigaction` but for the end of its mask; first it is to ignore it."""
    libc, found = ctypes.CDLL(None), ctypes.create_string_buffer(512)
    assert libc.sigaction(signal.SIGBUS, None, found) == 0
    signal.signal(signal.SIGBUS, signal.SIG_IGN)

    def ask() -> tuple[bytes, bytes]:
        answer = ctypes.create_string_buffer(512)
        assert libc.sigaction(signal.SIGBUS, None, answer) == 0
        return answer.raw[:16], answer.raw[136:140]

    yield ask
    assert libc.sigaction(signal.SIGBUS, found, None) == 0


def test_the_handler_of_the_process_is_put_back(
    disposition: Callable[[], tuple[bytes, bytes]], file: Path, tmp_path: Path
) -> None:
    before = disposition()
    opens = [opening(file, os.O_RDWR), mapping(size=4 * PAGE)]
    with staged(program([load(2 * PAGE)], opens=opens, times=0), lasting=60_000 * MS) as stage:
        thread = begin(stage, 0)
        until(lambda: stage.lane(0).count > 0)
        assert disposition() != before
        stage.stop()
        thread.join(20)
        assert set(rows(stage, 0)["error"].tolist()) == {GONE}
    assert disposition() == before
    run(program([read()], opens=[opening(tmp_path / "absent")]))  # refused
    assert disposition() == before


@pytest.mark.parametrize("accessed", [0, 2 * PAGE])
def test_a_signal_that_no_access_caused_ends_the_process_as_ever(
    nursery: Watched, file: Path, accessed: int
) -> None:
    steps = [load(accessed), pause(20_000 * MS)]
    opens = [opening(file, os.O_RDWR), mapping(size=4 * PAGE)]
    with staged(program(steps, opens=opens), lasting=60_000 * MS) as stage:
        (actor,) = nursery.borrow(1)
        actor.begin(stage, 0)
        until(lambda: stage.lane(0).count == 2)
        os.kill(actor.pid, signal.SIGBUS)
        assert wait_any([actor], 10) == [actor]
        assert nursery.fate(actor.pid) == "killed by SIGBUS"

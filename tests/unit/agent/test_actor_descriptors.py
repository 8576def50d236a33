"""Descriptors that come and go while the loop runs: taken over, opened by a system call, closed, never had.

Namespaces and pseudo-terminals stand in for VFIO: their system calls, too, return descriptors and refuse.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.bindings.actor import Code, Instruction, LaneState
from harness.model.units import MS
from tests.unit.agent.run import (
    begin,
    close,
    descriptors,
    ioctl,
    opening,
    program,
    read,
    rows,
    run,
    staged,
    try_open,
    write,
)

NS_GET_USERNS = 0xB701  # Linux include/uapi/linux/nsfs.h
NS_GET_PARENT = 0xB702
NS_GET_NSTYPE = 0xB703
USER_NAMESPACE = 0x10000000  # CLONE_NEWUSER
NETWORK_NAMESPACE = 0x40000000

NAMESPACE = opening("/proc/self/ns/net")
OPENED = ioctl(NS_GET_USERNS, into=3, step=0)
REFUSED = ioctl(NS_GET_PARENT, into=3, step=0)  # EINVAL: network namespaces have no parents
USED = ioctl(NS_GET_NSTYPE, slot=3, step=1)
CLOSED = close(3, step=2)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config"
    path.write_bytes(b"\x86\x80\xd3\x10")
    return path


@pytest.fixture
def terminal() -> Iterator[int]:
    controller, terminal = os.openpty()
    yield terminal
    os.close(controller)
    os.close(terminal)


def test_a_descriptor_that_comes_with_the_order_is_used_and_closed(file: Path) -> None:
    given = fcntl.fcntl(os.open(file, os.O_RDONLY), fcntl.F_DUPFD_CLOEXEC, 200)
    (table,) = run(program([read(slot=5)], opens=[Instruction(op=Code.TAKE, slot=5, width=given)]))
    assert table["value"].tolist() == [0x10D38086]
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(given)


def test_a_descriptor_that_did_not_come_refuses() -> None:
    taking = Instruction(op=Code.TAKE, slot=0, width=913)
    with staged(program([read()], opens=[taking])) as stage:
        begin(stage, 0).join(20)
        lane = stage.lane(0)
    assert (lane.state, lane.error, lane.at) == (LaneState.REFUSED, errno.EBADF, 0)


def test_a_path_is_opened_and_closed_again_at_once(file: Path) -> None:
    before = descriptors()
    (table,) = run(
        program([try_open(file), try_open(file, os.O_WRONLY, step=1)], times=200), lasting=60_000 * MS
    )
    assert descriptors() == before
    assert len(table) == 400
    assert (table["result"] > 2).all()
    assert len(set(table["result"].tolist())) == 1  # the number was free again each time
    assert table["error"].tolist() == [0] * 400
    assert file.read_bytes() == b"\x86\x80\xd3\x10"


def test_a_path_that_cannot_be_opened_says_why(file: Path) -> None:
    steps = [try_open(file.with_name("absent")), try_open(file.parent, os.O_WRONLY), try_open(file)]
    (table,) = run(program(steps))
    assert table["result"][:2].tolist() == [-1, -1]
    assert table["error"].tolist() == [errno.ENOENT, errno.EISDIR, 0]


def test_an_argument_reaches_the_kernel(terminal: int) -> None:
    size = struct.pack("=4H", 43, 132, 0, 0)
    opens = [Instruction(op=Code.TAKE, width=os.dup(terminal))]
    (table,) = run(program([ioctl(termios.TIOCSWINSZ, size)], opens=opens))
    assert (table["result"][0], table["error"][0]) == (0, 0)
    assert os.get_terminal_size(terminal) == (132, 43)


def test_what_the_kernel_writes_into_an_argument_is_gone_in_the_next_round(terminal: int) -> None:
    """It gets a copy: a request with a size in it would otherwise be another one when it is made again."""
    argument = b"as it was before"
    opens = [Instruction(op=Code.TAKE, width=os.dup(terminal))]
    with staged(
        program([ioctl(termios.TIOCGWINSZ, argument)], opens=opens, times=2), lasting=60_000 * MS
    ) as stage:
        begin(stage, 0).join(20)
        assert rows(stage, 0)["result"].tolist() == [0, 0]
        assert argument in os.pread(stage.fd, stage.size_bytes, 0)


def test_a_request_that_the_file_does_not_know_is_refused(file: Path) -> None:
    (table,) = run(program([ioctl(termios.TIOCGWINSZ, bytes(8))], opens=[opening(file)]))
    assert (table["result"][0], table["error"][0]) == (-1, errno.ENOTTY)


def test_a_descriptor_that_a_request_returns_is_used_and_closed() -> None:
    before = descriptors()
    (table,) = run(program([OPENED, USED, CLOSED], opens=[NAMESPACE], times=50), lasting=60_000 * MS)
    assert descriptors() == before
    assert table["step"].tolist() == [0, 1, 2] * 50
    assert table["error"].tolist() == [0] * 150
    assert (table["result"][0::3] > 2).all()
    assert set(table["result"][1::3].tolist()) == {USER_NAMESPACE}
    assert set(table["result"][2::3].tolist()) == {0}
    assert len(set(table["result"][0::3].tolist())) == 1  # closed each time: the number was free again


def test_a_request_without_a_slot_for_it_leaves_the_slots_alone() -> None:
    steps = [ioctl(NS_GET_NSTYPE, step=0), ioctl(NS_GET_NSTYPE, step=1)]
    (table,) = run(program(steps, opens=[NAMESPACE]))
    assert table["result"].tolist() == [NETWORK_NAMESPACE] * 2


def test_a_descriptor_that_is_still_open_at_the_end_is_closed() -> None:
    before = descriptors()
    (table,) = run(program([OPENED, USED], opens=[NAMESPACE]))
    assert table["result"].tolist()[1:] == [USER_NAMESPACE]
    assert descriptors() == before


def test_a_descriptor_that_takes_the_place_of_another_closes_it() -> None:
    """An actor process lives on: what it forgot to close would keep a function open for ever."""
    before = descriptors()
    (table,) = run(program([OPENED, USED], opens=[NAMESPACE], times=20), lasting=60_000 * MS)
    assert table["error"].tolist() == [0] * 40
    assert descriptors() == before


def test_a_refusal_leaves_the_descriptor_that_was_had_before() -> None:
    before = descriptors()
    (table,) = run(program([OPENED, REFUSED, USED, CLOSED], opens=[NAMESPACE]))
    assert table["result"].tolist()[1:] == [-1, USER_NAMESPACE, 0]
    assert descriptors() == before


def test_what_needs_a_descriptor_that_was_refused_is_skipped(file: Path) -> None:
    needy = [
        USED,
        read(slot=3, step=2),
        write(b"1", slot=3, step=3),
        close(3, step=4),
    ]
    (table,) = run(program([REFUSED, *needy, read(slot=1, step=5)], opens=[NAMESPACE, opening(file, slot=1)]))
    assert table["step"].tolist() == [0, 5]
    assert table["result"].tolist() == [-1, 4]
    assert table["error"].tolist() == [errno.EINVAL, 0]


def test_what_comes_after_something_skipped_has_a_begin_of_its_own(file: Path) -> None:
    """Only operations that follow one another share a reading of the clock."""
    steps = [REFUSED, USED, read(slot=1, step=2)]
    (table,) = run(program(steps, opens=[NAMESPACE, opening(file, slot=1)]))
    assert table["begin_ns"][1] > table["end_ns"][0]


def test_an_eventfd_tells_how_often_it_was_signalled_and_refuses_when_it_was_not() -> None:
    eventfd = os.eventfd(5, os.EFD_NONBLOCK)
    given = fcntl.fcntl(eventfd, fcntl.F_DUPFD_CLOEXEC, 200)
    taking = Instruction(op=Code.TAKE, slot=5, width=given)
    count = Instruction(op=Code.COUNT, slot=5, width=8, step=1)
    (table,) = run(program([count, count, read(slot=5, width=8, step=2)], opens=[taking]))
    os.close(eventfd)
    assert table["value"].tolist() == [5, 0, 0]
    assert table["result"].tolist() == [8, -1, -1]
    assert table["error"].tolist() == [0, errno.EAGAIN, errno.ESPIPE], "a read with an offset is no way"


def test_after_its_close_a_descriptor_is_used_no_more(file: Path) -> None:
    steps = [read(step=0), close(step=1), read(step=2)]
    (table,) = run(program(steps, opens=[opening(file)], times=3), lasting=10_000 * MS)
    assert table["step"].tolist() == [0, 1]
    assert table["round"].tolist() == [0, 0]
    assert table["result"].tolist() == [4, 0]


def test_a_descriptor_that_was_closed_can_be_opened_again() -> None:
    steps = [OPENED, CLOSED, USED, OPENED, USED]
    (table,) = run(program(steps, opens=[NAMESPACE]))
    assert table["step"].tolist() == [0, 2, 0, 1]
    assert table["result"][3] == USER_NAMESPACE

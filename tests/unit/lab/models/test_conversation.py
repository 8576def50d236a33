"""A conversation: what QEMU says is answered, however the stream is cut, and no bytes break it."""

from __future__ import annotations

import errno
import gzip
import itertools
import struct
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import HistoryError
from harness.lab.models import wire
from harness.lab.models.conversation import Conversation
from harness.lab.models.endpoint import BAR_BYTES, endpoint
from harness.lab.models.function import Function
from harness.lab.models.interface import CONFIG_REGION, INTX, MSI, Told
from harness.lab.models.recording import FROM_CLIENT, TO_CLIENT, Frame, frames
from harness.lab.models.wire import Command, StreamLost
from harness.model.fault import Fault, Misbehaviour
from harness.model.served import RESETS, Happened
from tests.unit.lab.models import client

BAR = 0
RECORDING = Path(__file__).parents[3] / "golden" / "vfio_user" / "qemu-11-linux-6.12.stream.gz"


class Table:
    """Where interrupts go, as numbers."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int, int, tuple[int, ...]]] = []

    def connect(self, index: int, start: int, descriptors: Sequence[int]) -> None:
        self.told.append(("connect", index, start, tuple(descriptors)))

    def disable(self, index: int) -> None:
        self.told.append(("disable", index, 0, ()))


class Talk:
    """A conversation, what its function told, and what came out of it."""

    def __init__(self, *, greeted: bool = True) -> None:
        self.function: Function = endpoint(lambda: 0)
        self.table = Table()
        self.told: list[Told] = []
        self.function.tell = self.told.append
        self.conversation = Conversation(self.function, self.table)
        if greeted:
            assert self.say(client.greeting())

    def say(self, data: bytes, descriptors: Sequence[int] = ()) -> list[bytes]:
        return list(self.conversation.hear(data, descriptors))

    def refused(self, data: bytes) -> int:
        (answer,) = self.say(data)
        header = wire.read_header(answer)
        assert header.is_error
        assert header.size == wire.HEADER_BYTES
        return header.error


def payload(answers: list[bytes]) -> bytes:
    (answer,) = answers
    assert not wire.read_header(answer).is_error
    return answer[wire.HEADER_BYTES :]


def test_the_version_comes_first() -> None:
    talk = Talk(greeted=False)
    assert talk.refused(client.read(CONFIG_REGION, 0, 4)) == errno.EINVAL
    answer = payload(talk.say(client.greeting()))
    assert answer[:4] == bytes(4)
    assert answer.endswith(b"\0")
    assert b'"write_multiple":false' in answer, "a message of many writes would not be understood"


def test_what_qemu_asks_at_the_start() -> None:
    talk = Talk()
    info = payload(talk.say(client.message(Command.DEVICE_GET_INFO, struct.pack("=IIII", 16, 0, 0, 0))))
    assert struct.unpack("=IIII", info) == (16, 3, 9, 5)
    sizes = {}
    for index in range(9):
        asked = client.message(Command.DEVICE_GET_REGION_INFO, struct.pack("=IIIIQQ", 32, 0, index, 0, 0, 0))
        sizes[index] = struct.unpack("=IIIIQQ", payload(talk.say(asked)))[4]
    assert {index: size for index, size in sizes.items() if size} == {BAR: 4096, CONFIG_REGION: 4096}
    asked = client.message(Command.DEVICE_GET_IRQ_INFO, struct.pack("=IIII", 16, 0, MSI, 0))
    assert struct.unpack("=IIII", payload(talk.say(asked))) == (16, 9, MSI, 1)


def test_accesses_reach_the_function_which_tells_of_them() -> None:
    talk = Talk()
    assert payload(talk.say(client.read(CONFIG_REGION, 0, 4)))[16:] == b"\xf4\x1a\xf0\x10"
    assert payload(talk.say(client.write(CONFIG_REGION, 4, b"\x06\x00")))
    assert talk.say(client.write(BAR, 4, b"mark", flags=0x10)) == [], "nobody waits for it"
    assert payload(talk.say(client.read(BAR, 4, 4)))[16:] == b"mark"
    assert payload(talk.say(client.message(Command.DEVICE_RESET))) == b""
    assert [(one.what, one.region, one.address, one.width) for one in talk.told] == [
        (Happened.READ, CONFIG_REGION, 0, 4),
        (Happened.WRITTEN, CONFIG_REGION, 4, 2),
        (Happened.WRITTEN, BAR, 4, 4),
        (Happened.READ, BAR, 4, 4),
        (Happened.BUS_RESET, 255, 0, 0),
    ]


def test_what_the_function_refuses_is_an_error_reply() -> None:
    talk = Talk()
    talk.function.load([Fault(what=Misbehaviour.REFUSE_CONFIG)])
    assert talk.refused(client.read(CONFIG_REGION, 0, 4)) == errno.EIO
    assert talk.refused(client.write(CONFIG_REGION, 4, b"\0\0")) == errno.EIO
    talk.function.load([])
    assert payload(talk.say(client.read(CONFIG_REGION, 0, 4)))


def test_the_version_is_agreed_on_once() -> None:
    talk = Talk()
    assert talk.refused(client.greeting()) == errno.EINVAL
    assert payload(talk.say(client.read(CONFIG_REGION, 0, 4)))


@pytest.mark.parametrize(
    "said",
    [
        client.read(CONFIG_REGION, 4094, 4),
        client.read(1, 0, 4),
        client.read(9, 0, 4),
        client.write(BAR, BAR_BYTES, b"x"),
        client.dma_unmap(0x1000, 0x1000),
        client.set_irqs(0x24, MSI, 1, 1),
        client.set_irqs(0x24, 9, 0, 1),
        client.message(Command.DEVICE_GET_REGION_INFO, struct.pack("=IIIIQQ", 32, 0, 9, 0, 0, 0)),
    ],
)
def test_what_there_is_not_is_refused_and_the_talk_goes_on(said: bytes) -> None:
    talk = Talk()
    assert talk.refused(said)
    assert payload(talk.say(client.read(CONFIG_REGION, 0, 4)))


def test_maps_are_kept_and_taken_back() -> None:
    talk = Talk()
    assert payload(talk.say(client.dma_map(0x1000, 0x1000))) == b""
    assert talk.refused(client.dma_map(0x1800, 0x1000)) == errno.EEXIST
    assert payload(talk.say(client.dma_map(0x2000, 0x1000))) == b"", "beside it is free"
    assert talk.conversation.maps.ranges == {0x1000: 0x1000, 0x2000: 0x1000}
    assert talk.refused(client.dma_unmap(0x1000, 0x800)) == errno.ENOENT
    assert payload(talk.say(client.dma_unmap(0x1000, 0x1000)))
    assert talk.conversation.maps.ranges == {0x2000: 0x1000}


def asked_to_read(talk: Talk) -> int:
    number, asked = talk.conversation.ask_dma_read(0x1FF0, 4)
    header = wire.read_header(asked)
    assert (header.command, header.id, header.flags) == (Command.DMA_READ, number, 0)
    assert asked[wire.HEADER_BYTES :] == struct.pack("=QQ", 0x1FF0, 4)
    assert talk.conversation.dma_reply(number) is None
    return number


def test_what_we_ask_for_is_answered_once() -> None:
    talk = Talk()
    number = asked_to_read(talk)
    answer = struct.pack("=QQ", 0x1FF0, 4) + b"abcd"
    assert talk.say(client.message(Command.DMA_READ, answer, number=number, flags=1)) == []
    reply = talk.conversation.dma_reply(number)
    assert reply is not None
    assert (reply.error, reply.data) == (0, b"abcd")
    assert talk.conversation.dma_reply(number) is None


def test_a_write_of_ours_says_what_and_where() -> None:
    number, asked = Talk().conversation.ask_dma_write(0x1000, b"abc")
    assert wire.read_header(asked).id == number
    assert asked[wire.HEADER_BYTES :] == struct.pack("=QQ", 0x1000, 3) + b"abc"


@pytest.mark.parametrize(
    ("flags", "answer", "number"),
    [
        (0x21, b"", errno.EINVAL),  # refused by QEMU, see below for the number
        (0x01, b"", errno.EINVAL),  # says nothing
        (0x01, struct.pack("=QQ", 0x1FF0, 4) + b"abc", errno.EINVAL),  # too little
    ],
)
def test_an_answer_that_is_none_ends_the_wait_and_is_not_answered(
    flags: int, answer: bytes, number: int
) -> None:
    talk = Talk()
    asked = asked_to_read(talk)
    said = wire.HEADER.pack(asked, Command.DMA_READ, wire.HEADER_BYTES + len(answer), flags, errno.EINVAL)
    assert talk.say(said + answer) == []
    reply = talk.conversation.dma_reply(asked)
    assert reply is not None
    assert reply.error == number


def test_answers_to_what_was_not_asked_are_nobodys() -> None:
    talk = Talk()
    stray = struct.pack("=QQ", 0x1FF0, 4) + b"evil"
    assert talk.say(client.message(Command.DMA_READ, stray, number=1, flags=1)) == []
    assert talk.say(client.message(Command.REGION_READ, stray, number=1, flags=1)) == []
    assert talk.conversation.dma_reply(1) is None
    assert asked_to_read(talk) == 1
    assert payload(talk.say(client.read(CONFIG_REGION, 0, 4)))


def test_each_message_takes_its_own_descriptors() -> None:
    talk = Talk()
    # In one chunk: a map whose descriptor nobody wants; the kernel cuts behind it.
    talk.say(client.read(CONFIG_REGION, 0, 4) + client.dma_map(0x1000, 0x1000), [40])
    assert talk.conversation.unclaimed() == [40]
    talk.say(client.set_irqs(0x24, MSI, 0, 1), [41])
    assert talk.conversation.unclaimed() == []
    talk.say(client.set_irqs(0x21, MSI, 0, 0))
    assert talk.table.told == [("connect", MSI, 0, (41,)), ("disable", MSI, 0, ())]


def test_descriptors_that_do_not_match_their_vectors_are_given_back() -> None:
    talk = Talk()
    assert talk.refused(client.dma_unmap(0, 1)) == errno.ENOENT
    talk.say(client.dma_map(0x1000, 0x1000), [40])
    (answer,) = talk.say(client.set_irqs(0x24, MSI, 0, 1), [41, 42])
    assert wire.read_header(answer).error == errno.EINVAL
    assert talk.table.told == []
    talk.say(client.set_irqs(0x24, MSI, 0, 1), [43])
    assert talk.conversation.unclaimed() == [40, 41, 42], "what others brought stays the caller's"
    assert talk.table.told == [("connect", MSI, 0, (43,))]


def test_without_descriptors_each_vector_is_forgotten() -> None:
    talk = Talk()
    talk.function.vectors[2] = 8
    talk.say(client.set_irqs(0x24, 2, 3, 2))
    assert talk.table.told == [("connect", 2, 3, ()), ("connect", 2, 4, ())]


def test_masking_changes_nothing_here() -> None:
    talk = Talk()
    assert payload(talk.say(client.set_irqs(0x11, INTX, 0, 1))) == b""
    assert payload(talk.say(client.set_irqs(0x0C, INTX, 0, 1), [41])) == b""
    assert talk.table.told == []
    assert talk.conversation.unclaimed() == [41]


def test_descriptors_of_a_message_that_never_came_whole_are_left() -> None:
    talk = Talk()
    talk.say(client.set_irqs(0x24, MSI, 0, 1)[:10], [41])
    assert talk.conversation.unclaimed() == []
    assert talk.conversation.leave() == [41]
    assert talk.conversation.leave() == []


def test_a_descriptor_waits_for_the_rest_of_its_message() -> None:
    talk = Talk()
    said = client.set_irqs(0x24, MSI, 0, 1)
    assert talk.say(said[:10], [41]) == []
    assert talk.say(said[10:])
    assert talk.table.told == [("connect", MSI, 0, (41,))]


STREAM = b"".join(
    [
        client.greeting(),
        client.read(CONFIG_REGION, 0, 4096),
        client.write(CONFIG_REGION, 4, b"\x06\x00"),
        client.write(BAR, 4, b"mark", flags=0x10),
        client.read(BAR, 4, 4),
        client.dma_map(0, 0x1000),
        client.message(Command.DEVICE_RESET),
        client.read(CONFIG_REGION, 4, 2),
    ]
)


@given(cuts=st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_how_the_stream_is_cut_changes_nothing(cuts: list[int]) -> None:
    whole = Talk(greeted=False).say(STREAM)
    talk = Talk(greeted=False)
    ends = sorted({0, *cuts, len(STREAM)})
    pieces = [talk.say(STREAM[begin:end]) for begin, end in itertools.pairwise(ends)]
    assert list(itertools.chain.from_iterable(pieces)) == whole


@given(
    damage=st.lists(st.tuples(st.integers(0, len(STREAM) - 1), st.integers(0, 255)), min_size=1, max_size=8)
)
def test_no_damage_raises_anything_but_the_loss_of_the_stream(damage: list[tuple[int, int]]) -> None:
    stream = bytearray(STREAM)
    for at, byte in damage:
        stream[at] = byte
    talk = Talk(greeted=False)
    try:
        answers = talk.say(bytes(stream))
    except StreamLost:
        return
    for answer in answers:
        assert wire.read_header(answer).size == len(answer)


def recorded() -> list[Frame]:
    return list(frames(gzip.decompress(RECORDING.read_bytes())))


def test_what_qemu_said_is_answered_as_it_was_when_it_was_recorded() -> None:
    """QEMU 11 and Linux 6.12: plugged, reset by flr, pm and bus, opened and closed by VFIO."""
    talk = Talk(greeted=False)
    numbers = itertools.count(100)
    said = b""
    for frame in recorded():
        if frame.direction == FROM_CLIENT:
            said += b"".join(talk.say(frame.data, [next(numbers) for _ in range(frame.descriptors)]))
    assert said == b"".join(frame.data for frame in recorded() if frame.direction == TO_CLIENT)
    seen = {one.what for one in talk.told}
    assert seen >= {Happened.READ, Happened.WRITTEN, Happened.FLR, Happened.WAKE, Happened.BUS_RESET}
    assert sum(one.what in RESETS for one in talk.told) == talk.function.resets > 3
    assert not any(one.error for one in talk.told)


def test_a_recording_that_was_cut_off_is_read_up_to_there() -> None:
    whole = b"".join(frame.to_bytes() for frame in recorded()[:3])
    assert list(frames(whole)) == recorded()[:3]
    assert list(frames(whole[:-1])) == recorded()[:2]
    with pytest.raises(HistoryError):
        list(frames(b"?" * 40))

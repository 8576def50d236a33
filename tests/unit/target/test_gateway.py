"""A guest may be hostile: whatever bytes it sends, the host takes little, says what was wrong, and goes on."""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from execnet.gateway_base import dumps_internal
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import AgentError, AgentLost, HarnessError, UsageError
from harness.model.limits import LINE, MESSAGE, MESSAGE_TEXT, MESSAGE_VALUES, UNREAD, UNREAD_BYTES
from harness.model.observation import Failure
from harness.model.pci import Bdf
from harness.model.request import ReadClocks, ReadConfig
from harness.target.gateway import Refused, loads
from harness.target.port import Line
from tests.unit.target.hostile import CHANNEL, CLOSE_ERROR, DATA, frame, guest, in_full, peak, says

MIB = 1 << 20


def four(number: int) -> bytes:
    return struct.pack("!i", number)


BYTES = ReadConfig(bdf=Bdf(0, 1, 0, 0))


def failure(**more: Any) -> dict[str, Any]:
    """An error that the agent tells of, with something else in it."""
    return {**Failure.of(UsageError("x")).to_wire(), **more}


# --- one message ------------------------------------------------------------------------------------------

HONEST = [
    (1, {"result": [{"time_us": 1 << 40, "level": 6, "text": "é"}], "more": (True, None, 1.5, b"\0\xff")}),
    (2, {"progress": {"pages": {0: 4096, 4096: 1 << 52}}}),
    [],
    "x" * 5000,
    -(1 << 31),
]


@pytest.mark.parametrize("value", HONEST, ids=lambda value: type(value).__name__)
def test_what_an_honest_agent_says_arrives(value: Any) -> None:
    assert loads(dumps_internal(value)) == value


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(1 << 31), 1 << 64) | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    )
)
def test_every_plain_value_arrives(value: Any) -> None:
    assert loads(dumps_internal(value)) == value


TINY = {
    "a list of a gibibyte": (b"K" + four(1 << 27) + b"Q", "a list of 134,217,728 places"),
    "a list of less than nothing": (b"K" + four(-1) + b"Q", "a list of -1 places"),
    "a tuple of what is not there": (b"LL@" + four(3) + b"Q", "a tuple of 3 values where 2 are"),
    "a tuple of less than nothing": (b"LL@" + four(-1) + b"Q", "a tuple of -1 values"),
    "text of a length that is not there": (
        b"N" + four(1 << 30) + b"abQ",
        "1,073,741,824 bytes where 3 are left",
    ),
    "bytes of less than nothing": (b"A" + four(-5) + b"abcdefQ", "-5 bytes"),
    "a number that never ends": (b"H" + four(5000) + b"9" * 5000 + b"Q", "a number of 5,000 digits"),
    "a number that is none": (b"H" + four(2) + b"xxQ", "none of execnet's"),
    "text that is none": (b"N" + four(2) + b"\xff\xffQ", "none of execnet's"),
    "a key that crashes whoever hashes it": (
        b"J@" + four(0) + (b"@" + four(1)) * 9 + b"LPQ",
        "a key of type tuple",
    ),
    "a place in nothing": (b"LFaaaaLPQ", "none of execnet's"),
    "a place beyond a list": (b"K" + four(0) + b"F" + four(9) + b"LPQ", "none of execnet's"),
    "nothing to fill": (b"PQ", "none of execnet's"),
    "a set": (b"LO" + four(1) + b"Q", "a type that no agent sends"),
    "a channel": (b"B" + four(9) + b"Q", "a type that no agent sends"),
    "an opcode of nobody": (b"zQ", "unknown opcode"),
    "no end": (b"L", "1 bytes where 0 are left"),
    "two values": (b"LLQ", "none of execnet's"),
    "nothing": (b"", "1 bytes where 0 are left"),
}


@pytest.mark.parametrize("name", TINY)
def test_a_message_that_lies_is_refused_for_what_it_is(name: str, tmp_path: Path) -> None:
    data, why = TINY[name]
    with peak() as taken, pytest.raises(Refused, match=why):
        loads(data)
    assert taken.bytes < 2 * MIB
    with guest(tmp_path, in_full(frame(DATA, CHANNEL, data))) as agent:
        with pytest.raises(AgentLost, match=why):
            agent.ask(ReadClocks(), deadline_s=20)
        assert not agent.silent, "it said something: nobody need look at its kernel"


def test_many_small_values_are_bounded() -> None:
    """One byte makes a dictionary of 64."""
    with peak() as taken, pytest.raises(Refused, match=f"at most {MESSAGE_VALUES.most:,} are taken"):
        loads(b"J" * (MESSAGE_VALUES.most + 10) + b"@" + four(MESSAGE_VALUES.most) + b"Q")
    assert taken.bytes < 200 * MIB


def test_lists_that_share_what_follows_are_bounded() -> None:
    """Each is no longer than its message, and a thousand of them would be."""
    with peak() as taken, pytest.raises(Refused, match=f"at most {MESSAGE_VALUES.most:,} are taken"):
        loads((b"K" + four(MIB // 2)) * 1000 + bytes(MIB))
    assert taken.bytes < 20 * MIB


def test_text_is_bounded_for_it_grows() -> None:
    text = b"N" + four(MESSAGE_TEXT.most // 2) + b"x" * (MESSAGE_TEXT.most // 2)
    with pytest.raises(Refused, match=f"at most {MESSAGE_TEXT.most:,} are taken"):
        loads(text + text + b"N" + four(1) + b"x" + b"@" + four(3) + b"Q")


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    with suppress(Refused):
        loads(data)


def test_messages_that_were_honest_once_raise_nothing_else() -> None:
    chance = random.Random(13)  # noqa: S311 - the same every time
    for _ in range(3000):
        data = bytearray(dumps_internal(chance.choice(HONEST)))
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(len(data))] = chance.choice((0, 255, 127, chance.randrange(256)))
        with suppress(Refused):
            loads(bytes(data))


# --- a stream of them -------------------------------------------------------------------------------------


def lost(folder: Path, *frames: bytes) -> str:
    """What the host says of an agent that sends this."""
    with guest(folder, in_full(*frames)) as agent:
        begun = time.monotonic()
        with pytest.raises(AgentLost) as raised:
            agent.ask(ReadClocks(), deadline_s=60)
        assert time.monotonic() - begun < 30
        with pytest.raises(AgentLost, match="lost before"):
            agent.ask(ReadClocks())
    return str(raised.value)


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (frame(DATA, CHANNEL, b"", length=2**31 - 1), f"at most {MESSAGE.most:,} are taken"),
        (frame(DATA, 99, b"", length=2**31 - 1), f"at most {MESSAGE.most:,} are taken"),
        (frame(DATA, CHANNEL, b"", length=-5), "a message of -5 bytes"),
        (frame(0, CHANNEL, b""), "a message of kind 0"),
        (frame(1, 0, dumps_internal((True, True))), "a message of kind 1"),
        (frame(2, 0, b""), "a message of kind 2"),
        (frame(3, 7, dumps_internal(("1", None, None, {}))), "a message of kind 3"),
        (frame(-1, 7, b""), "a message of kind -1"),
        (frame(77, CHANNEL, b""), "a message of kind 77"),
        (frame(CLOSE_ERROR, CHANNEL, b"K" + four(1 << 27) + b"Q"), "a list of 134,217,728 places"),
        (frame(CLOSE_ERROR, CHANNEL, dumps_internal([1])), "ended with list in place of a traceback"),
    ],
)
def test_a_frame_that_no_agent_sends_ends_the_conversation_by_name(
    tmp_path: Path, header: bytes, why: str
) -> None:
    with peak() as taken:
        said = lost(tmp_path, header)
    assert why in said
    assert taken.bytes < 4 * MIB


class Flood:
    """A guest that sends one message again and again, until somebody hangs up or it is tired."""

    def __init__(self, message: bytes) -> None:
        self._message, self.over, self.sent = message, threading.Event(), 0

    def __call__(self, connection: socket.socket) -> None:
        with suppress(OSError):
            for _ in range(300):
                connection.sendall(self._message)
                self.sent += 1
        self.over.set()


def test_what_nobody_takes_is_bounded_in_bytes(tmp_path: Path) -> None:
    """As a guest did that sent 1.5 GiB between two questions."""
    flood = Flood(says((1, {"result": b"x" * MIB})))
    with peak() as taken, guest(tmp_path, flood) as agent:
        with pytest.raises(AgentLost, match="1,048,576 bytes, at most 4,096 are taken"):
            agent.ask(BYTES, deadline_s=20)
        assert flood.over.wait(60)
        # what was taken before comes first, unless the question can no longer be sent
        with pytest.raises(AgentLost, match=f"at most {UNREAD_BYTES.most:,} are taken|answer 1 to request 2"):
            agent.ask(BYTES, deadline_s=20)
    assert flood.sent < 100
    assert taken.bytes < 2 * UNREAD_BYTES.most + 16 * MIB  # as it came, and as it is read


def test_small_messages_that_nobody_takes_are_counted_for_what_they_cost(tmp_path: Path) -> None:
    flood = Flood(frame(DATA, CHANNEL, b"J" * 99_000 + b"@" + four(99_000) + b"Q"))
    with peak() as taken, guest(tmp_path, flood, asked=0) as agent:
        assert flood.over.wait(60)
        with pytest.raises(AgentLost, match=f"at most {UNREAD_BYTES.most:,} are taken"):
            agent.run_source("pass", deadline_s=20)
    assert flood.sent < 20
    assert taken.bytes < 150 * MIB


def test_messages_that_nobody_takes_are_bounded_in_number(tmp_path: Path) -> None:
    frames = says((1, {"progress": {}})) * (UNREAD.most + 10)
    with (
        guest(tmp_path, in_full(frames), asked=0) as agent,
        pytest.raises(AgentLost, match=f"{UNREAD.most:,}"),
    ):
        agent.run_source("pass", deadline_s=20)


def test_channels_that_nobody_opened_cost_nothing(tmp_path: Path) -> None:
    frames = b"".join(
        frame(kind, channel, dumps_internal("x" * 100))
        for kind in (4, 5, 6, 7)
        for channel in (9, 11, 2**31 - 1)
    )
    with guest(tmp_path, in_full(frames * 50, says((1, {"result": b"5"})))) as agent:
        assert agent.ask(BYTES, deadline_s=20) == b"5"


def test_nothing_of_a_guest_is_written_to_our_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Execnet warns on stderr of an end that nobody hears."""
    ends = [frame(CLOSE_ERROR, channel, dumps_internal("\x1b[2Jgone")) for channel in (9, CHANNEL)]
    with guest(tmp_path, in_full(*ends)) as agent, pytest.raises(AgentError) as raised:
        agent.ask(ReadClocks(), deadline_s=20)
    assert "\x1b" not in str(raised.value) + raised.value.evidence
    assert "gone" not in capfd.readouterr().err


# --- shapes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        None,
        "text",
        1,
        (),
        (1,),
        (1, 2),
        (1, None, None),
        ("1", {"result": 1}),
        (1.0, {"result": 1}),
        (None, {"error": {}}),
        [1, {"result": 1}],
        (1, {}),
        (1, {"surprise": 1}),
        (1, {"result": 1, "error": 2}),
        (1, {"progress": 5}),
        (1, {"progress": {}}),
        (1, {"progress": {"Beat": {}}}),
        (1, {"progress": {"Beat": {"alive_ns": 1, "release_ns": 0, "pages": {}, "surprise": 1}}}),
        (1, {"progress": {"Surprise": {}}}),
        (1, {"result": {"monotonic_ns": 1}}),
        (1, {"result": {"monotonic_ns": 1, "realtime_ns": 1, "surprise": 1}}),
        (1, {"progress": {}, "result": 5}),
        (1, {1: 2}),
        (1, {"error": None}),
        (1, {"error": []}),
        (1, {"error": {}}),
        (1, {"error": {"tried": "x"}}),
        (1, {"error": failure(kind=5)}),
        (1, {"error": failure(kind=["UsageError"])}),
        (1, {"error": failure(tried=None)}),
        (1, {"error": failure(said=b"x")}),
        (1, {"error": failure(surprise="x")}),
        (1, {"error": failure(errno="EBUSY")}),
        (1, {"error": failure(errno=1 << 80)}),
        (1, {"error": failure(errno=-1)}),
        (1, {"error": failure(errno=True)}),
    ],
    ids=repr,
)
def test_an_answer_of_a_wrong_shape_is_an_agent_that_is_lost(tmp_path: Path, value: Any) -> None:
    with guest(tmp_path, in_full(says(value))) as agent:
        with pytest.raises(AgentLost, match=r"^reading ") as raised:
            agent.ask(ReadClocks(), deadline_s=20)
        assert not agent.silent, "it said something: nobody need look at its kernel"
    assert "Traceback" not in str(raised.value)


@pytest.mark.parametrize(
    "name",
    ["os", "annotations", "ClassVar", "errno_names", "__name__", "Exception", "ClockError", "EmulatorLost"],
)
def test_an_error_class_is_of_a_closed_set(tmp_path: Path, name: str) -> None:
    answer = (1, {"error": failure(kind=name, tried="something")})
    with (
        guest(tmp_path, in_full(says(answer))) as agent,
        pytest.raises(HarnessError, match="something") as raised,
    ):
        agent.ask(ReadClocks(), deadline_s=20)
    assert type(raised.value) is HarnessError


def test_an_error_is_clean_and_short(tmp_path: Path) -> None:
    words = {name: f"\x1b[31m{name}\u202e\x9b" * 100_000 for name in ("tried", "said", "hint", "evidence")}
    with (
        guest(tmp_path, in_full(says((1, {"error": failure(**words)})))) as agent,
        pytest.raises(UsageError) as raised,
    ):
        agent.ask(ReadClocks(), deadline_s=20)
    assert not {"\x1b", "\u202e", "\x9b"} & set(str(raised.value))
    assert len(str(raised.value)) < 100_000
    assert len(raised.value.evidence) < 100_000


# --- before execnet ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"x" * (LINE.most + 70_000), f"at most {LINE.most:,} are taken"),
        (b"[" * 500_000 + b"\n", "it is no agent that says"),
        (b"[]\n", "tells no protocol"),
        (b"7\n", "tells no protocol"),
        (b"null\n", "tells no protocol"),
        (b'{"hello": ' + b"9" * 5000 + b"}\n", "it is no agent that says"),
        (b"\xff\xfe\n", "it is no agent that says"),
    ],
    ids=["long", "deep", "list", "number", "null", "digits", "bytes"],
)
def test_a_line_that_no_agent_writes(tmp_path: Path, line: bytes, why: str) -> None:
    ours, theirs = tmp_path / "port", socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with theirs:
        theirs.bind(str(ours))
        theirs.listen()

        def serve() -> None:
            connection, _ = theirs.accept()
            with connection, suppress(OSError):
                connection.recv(1000)
                connection.sendall(line)
                connection.recv(1000)

        thread = threading.Thread(target=serve)
        thread.start()
        with peak() as taken, pytest.raises(AgentLost, match=why):
            Line(ours, deadline_s=20)
        thread.join()
    assert taken.bytes < 20 * MIB

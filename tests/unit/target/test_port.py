"""Both ends of the wire: what the host asks, what the real worker and service answer, and what silence means."""

from __future__ import annotations

import json
import os
import platform
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from harness.agent import worker
from harness.agent.service import Service
from harness.agent.stage import Tell, untold
from harness.bindings.actor import now
from harness.errors import (
    AgentError,
    AgentLost,
    HarnessError,
    KernelRefusal,
    StagingError,
    TargetError,
    UsageError,
)
from harness.model.observation import Beat, Failure, Progress
from harness.model.pci import Bdf
from harness.model.policy import CONNECT
from harness.model.request import (
    AnyRequest,
    CloseFunction,
    DescribeMachine,
    LookAt,
    ReadClocks,
    ReadConfig,
    Request,
)
from harness.model.units import SECOND, Ns
from harness.model.wire import PROTOCOL, from_line, to_line
from harness.target import clock
from harness.target.agent import Agent, answer_to
from harness.target.attempts import attempting
from harness.target.port import Line, SocketIO, connect
from harness.target.silence import WAIT_S, Patience
from tests.unit.target.conftest import Peer, peers

NOWHERE = Bdf.parse("ffff:ff:1f.7")
Peers = Callable[[], Peer]


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """One for all that leave it as it was."""
    with peers(tmp_path_factory) as start, closing(connect(start()[0], deadline_s=20)) as connected:
        yield connected


@pytest.fixture
def spoilt(peer: Peers) -> Iterator[Agent]:
    """One that may be spoilt."""
    with closing(connect(peer()[0], deadline_s=20)) as connected:
        yield connected


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[tuple[Path, socket.socket]]:
    """A port that takes everything and never answers."""
    path = tmp_path / "port"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()
        yield path, listener


def test_a_line_says_hello_and_asks(peer: Peers) -> None:
    path, process = peer()
    line = Line(path, deadline_s=20)
    try:
        assert line.hello.protocol == PROTOCOL
        assert line.hello.pid == process.pid
        machine = line.ask(DescribeMachine())
        assert machine.release == platform.release()
        assert machine.cpus == os.cpu_count()
        with pytest.raises(AgentError, match="is not known: there are Warm"):
            line.ask(Surprise())
    finally:
        line.close()


def test_the_next_host_finds_the_same_agent(peer: Peers) -> None:
    path, process = peer()
    for _ in range(2):
        line = Line(path, deadline_s=20)
        assert line.hello.pid == process.pid
        line.close()
    agent = connect(path, deadline_s=20)
    assert agent.ask(DescribeMachine()).root == (os.geteuid() == 0)
    agent.close()
    process.wait(20)
    assert process.returncode == 0  # the host that asked for execnet has left, and so does the worker


def test_an_agent_answers_through_execnet(agent: Agent) -> None:
    before = now()
    clocks = agent.ask(ReadClocks())
    assert before < clocks.monotonic_ns < now()
    assert abs(clocks.realtime_ns - time.time_ns()) < 60 * 10**9


def test_one_clock_is_read_as_one_clock(agent: Agent) -> None:
    first, last = clock.read(agent.ask), clock.read(agent.ask)
    assert abs(first.offset_ns) <= first.error_ns
    assert clock.check(first, last, where="here").is_believable


def test_only_requests_can_be_asked(agent: Agent) -> None:
    with pytest.raises(AgentError, match="request 'Surprise' is not known: there are Warm") as raised:
        agent.ask(Surprise())
    assert raised.value.kind == "hil.agent"
    assert agent.ask(ReadClocks()).monotonic_ns


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({}, "ReadConfig.bdf is missing"),
        ({"bdf": 5}, "ReadConfig.bdf is 5, not the address"),
        ({"bdf": "somewhere"}, "ReadConfig.bdf is 'somewhere', not the address"),
        ({"bdf": str(NOWHERE), "surprise": 1}, "ReadConfig.surprise is not known"),
        ([], "ReadConfig is \\[\\], not an object"),
    ],
)
def test_a_request_that_was_damaged_on_its_way_is_refused_by_name(
    agent: Agent, fields: Any, why: str
) -> None:
    agent._channel.send((1, "ReadConfig", fields))
    _, answer = agent._channel.receive(20)
    with pytest.raises(AgentError, match=f"request 'ReadConfig': {why}"):
        answer_to(ReadClocks(), answer)


def test_an_error_of_the_agent_is_raised_as_what_it_was(agent: Agent) -> None:
    with pytest.raises(UsageError, match=r"closing ffff:ff:1f\.7: it was not opened"):
        agent.ask(CloseFunction(bdf=NOWHERE))
    with pytest.raises(KernelRefusal, match=r"reading .*config: ENOENT") as refused:
        agent.ask(ReadConfig(bdf=NOWHERE))
    assert refused.value.errno == 2
    assert agent.ask(DescribeMachine()).machine == platform.machine()  # and the agent is still there


def test_bytes_arrive_as_bytes(agent: Agent) -> None:
    assert agent.run_source("channel.send(channel.receive() * 3)", b"\0\xff") == b"\0\xff" * 3


def test_a_large_answer_arrives_whole(agent: Agent) -> None:
    """More than a virtio-serial port takes at once, and more than a socket buffers."""
    assert agent.run_source("channel.send(b'x' * channel.receive())", 5_000_000) == b"x" * 5_000_000


def test_source_that_raises_or_never_answers_is_told(agent: Agent) -> None:
    with pytest.raises(AgentError, match="ZeroDivisionError") as raised:
        agent.run_source("1 / 0")
    assert "Traceback (most recent call last)" in raised.value.evidence
    with pytest.raises(AgentLost, match="running source"):
        agent.run_source("channel.receive()", deadline_s=0.1)
    assert agent.ask(DescribeMachine()).cpus


def test_an_exception_that_nobody_expected_is_told_at_once_and_the_agent_goes_on(spoilt: Agent) -> None:
    spoilt.run_source("from harness.pci import condition\ncondition._TAINTED = None\nchannel.send(True)")
    begun = time.monotonic()
    with pytest.raises(AgentError, match=r"request 'LookAt': AttributeError") as raised:
        spoilt.ask(LookAt(functions=(), patience_ns=Ns(SECOND)))
    assert time.monotonic() - begun < 20
    assert "harness/agent/service.py" in raised.value.evidence
    assert not spoilt.lost
    assert spoilt.ask(DescribeMachine()).machine == platform.machine()


@pytest.mark.parametrize("tells", ["", "tell(type('X', (), {'to_wire': object})())\n    "])
def test_what_cannot_be_sent_is_told_at_once(spoilt: Agent, tells: str) -> None:
    spoilt.run_source(
        "from harness.agent import worker\n"
        "def carry(request, tell):\n"
        f"    {tells}return object()\n"
        "worker._service.carry = carry\n"
        "channel.send(True)"
    )
    begun = time.monotonic()
    with pytest.raises(AgentError, match="can't serialize") as raised:
        spoilt.ask(ReadClocks())
    assert time.monotonic() - begun < 20
    assert "Traceback" in raised.value.evidence
    assert not spoilt.silent, "nobody need look at its kernel"


def test_a_request_that_is_none_is_told_at_once(spoilt: Agent) -> None:
    spoilt._channel.send("no request")
    begun = time.monotonic()
    with pytest.raises(AgentError, match="ValueError: too many values to unpack"):
        spoilt.ask(DescribeMachine())
    assert time.monotonic() - begun < 20
    with pytest.raises(AgentLost, match="lost before: ValueError"):
        spoilt.ask(DescribeMachine())


def test_a_line_tells_of_an_exception_that_nobody_expected(peer: Peers) -> None:
    path, process = peer()
    line = Line(path, deadline_s=20)
    try:
        for nonsense in (b"nonsense", b"[]", b"{}", b'{"ask": 5}', b'{"ask": null, "with": 3}', b"\xff"):
            line._socket.sendall(nonsense + b"\n")
            with pytest.raises(HarnessError):
                answer_to(ReadClocks(), from_line(line._socket.makefile("rb").readline()))
        assert line.ask(DescribeMachine()).machine == platform.machine()
        assert process.poll() is None
    finally:
        line.close()


def test_an_agent_that_hangs_is_lost_in_time_and_stays_lost(peer: Peers) -> None:
    path, process = peer()
    agent = connect(path, deadline_s=20)
    process.send_signal(signal.SIGSTOP)
    try:
        before = time.monotonic()
        with pytest.raises(AgentLost, match="asking the agent for ReadClocks"):
            agent.ask(ReadClocks(), deadline_s=0.2)
        assert 0.2 <= time.monotonic() - before < 10
    finally:
        process.send_signal(signal.SIGCONT)
    with pytest.raises(AgentLost, match="lost before"):
        agent.ask(ReadClocks())
    agent.close()


def test_an_agent_that_dies_is_lost_at_once(peer: Peers) -> None:
    path, process = peer()
    agent = connect(path, deadline_s=20)
    process.kill()
    before = time.monotonic()
    with pytest.raises(AgentLost):
        agent.ask(ReadClocks(), deadline_s=60)
    assert time.monotonic() - before < 20
    agent.close()


def test_a_closed_agent_says_so(peer: Peers) -> None:
    path, _ = peer()
    agent = connect(path, deadline_s=20)
    agent.close()
    with pytest.raises(AgentLost, match="closed"):
        agent.ask(ReadClocks())


def test_nobody_at_the_socket_is_an_agent_lost_in_time(tmp_path: Path) -> None:
    before = time.monotonic()
    with pytest.raises(AgentLost, match=r"connecting to .*absent: No such file"):
        connect(tmp_path / "absent", deadline_s=0.2)
    assert 0.2 <= time.monotonic() - before < 10


def test_a_port_without_an_agent_is_an_agent_lost_in_time(silent: tuple[Path, socket.socket]) -> None:
    before = time.monotonic()
    with pytest.raises(AgentLost, match="hello: no answer in time"):
        connect(silent[0], deadline_s=0.2)
    assert 0.2 <= time.monotonic() - before < 10


def answering(listener: socket.socket, answer: bytes) -> threading.Thread:
    """Take one host, read its first line, say something, hang up."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


def test_a_port_that_is_closed_is_an_agent_lost_at_once(silent: tuple[Path, socket.socket]) -> None:
    thread = answering(silent[1], b'{"hello":')
    with pytest.raises(AgentLost, match="the port was closed"):
        connect(silent[0], deadline_s=20)
    thread.join()


@pytest.mark.parametrize("greeting", [{"hello": "hil-agent", "protocol": 1, "pid": 7}, {"protocol": 99}])
def test_another_protocol_means_a_stale_template(
    silent: tuple[Path, socket.socket], greeting: dict[str, Any]
) -> None:
    """Told in one sentence, whatever else has changed with it."""
    thread = answering(silent[1], json.dumps(greeting).encode() + b"\n")
    sentence = rf"it speaks protocol {greeting['protocol']}, we speak {PROTOCOL}\..*stale"
    with pytest.raises(AgentLost, match=sentence):
        Line(silent[0], deadline_s=20)
    thread.join()


def test_an_agent_says_which_protocol_its_host_speaks(capsys: pytest.CaptureFixture[str]) -> None:
    unfit = worker.Unfit(OSError())
    assert from_line(worker.answer_line(b'{"ask": "hello", "protocol": 1}', unfit))["protocol"] == PROTOCOL
    assert f"the host speaks protocol 1, this agent speaks {PROTOCOL}" in capsys.readouterr().err
    worker.answer_line(to_line({"ask": "hello", "protocol": PROTOCOL}), unfit)
    assert not capsys.readouterr().err


def test_what_is_no_json_is_no_agent(silent: tuple[Path, socket.socket]) -> None:
    """A guest whose console was put on this port, say."""
    thread = answering(silent[1], b"Welcome to Linux!\n")
    with pytest.raises(AgentLost, match="Welcome"):
        connect(silent[0], deadline_s=20)
    thread.join()


def test_a_stream_reads_exactly_and_ends_with_eof() -> None:
    ours, theirs = socket.socketpair()
    stream = SocketIO(ours)
    theirs.sendall(b"abc")
    assert stream.read(2) == b"ab"
    theirs.close()
    assert stream.read(1) == b"c"
    with pytest.raises(EOFError, match="expected 3 bytes, 3 are missing"):
        stream.read(3)
    stream.close()
    with pytest.raises(EOFError):
        stream.read(1)


def test_a_reader_that_waits_is_woken_by_close() -> None:
    ours, theirs = socket.socketpair()
    stream = SocketIO(ours)
    woken: list[str] = []

    def wait() -> None:
        try:
            stream.read(1)
        except EOFError as error:
            woken.append(str(error))

    thread = threading.Thread(target=wait)
    thread.start()
    stream.close_read()
    thread.join(10)
    assert woken
    stream.write(b"still writing")
    assert theirs.recv(100) == b"still writing"
    stream.close()
    theirs.close()


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (UsageError("a", said="b", hint="c"), UsageError, "a: b. c"),
        (StagingError("a", said="b"), StagingError, "a: b"),
        (TargetError("a"), TargetError, "a"),
        (KernelRefusal("writing x", errno=16, hint="h"), KernelRefusal, "writing x: EBUSY"),
    ],
)
def test_every_class_of_error_crosses_the_wire(
    error: HarnessError, kind: type[HarnessError], text: str
) -> None:
    class Failing(Service):
        def __init__(self) -> None:
            """No nursery, no trace: this one only fails."""

        def carry(self, request: AnyRequest, tell: Tell = untold) -> object:  # noqa: ARG002
            raise error

    answer = from_line(to_line(Failing().answer("ReadClocks", {})))
    with pytest.raises(kind) as raised:
        answer_to(ReadClocks(), answer)
    assert type(raised.value) is kind
    assert str(raised.value).startswith(text)
    assert str(raised.value) == str(error)
    assert getattr(raised.value, "errno", None) == getattr(error, "errno", None)


def test_an_error_of_a_class_that_we_do_not_know_is_still_an_error() -> None:
    told = replace(Failure.of(HarnessError("something new")), kind="FutureError")
    with pytest.raises(HarnessError, match="something new"):
        answer_to(ReadClocks(), {"error": told.to_wire()})


CHATTY = """
import select
from harness.agent import worker
from harness.model.observation import Beat, Clocks
from harness.model.request import ReadClocks

def chatty(times, every_s, then_s, answer):
    def carry(request, tell):
        for number in range(times):
            tell(Beat(alive_ns=number, release_ns=0, pages={}))
            select.select([], [], [], every_s)
        select.select([], [], [], then_s)
        return answer
    return carry

worker._service.carry = chatty(*channel.receive(), ANSWER)
channel.send(True)
"""
"""Has the agent talk, fall silent, and answer at length, whatever is asked."""


def chat(agent: Agent, times: int, every_s: float, then_s: float) -> Agent:
    agent.run_source(
        CHATTY.replace("ANSWER", "Clocks(monotonic_ns=1, realtime_ns=2)"), (times, every_s, then_s)
    )
    return agent


def test_an_agent_speaks_before_it_answers(spoilt: Agent) -> None:
    heard: list[Progress] = []
    chatty = chat(spoilt, 3, 0.01, 0.0)
    assert chatty.ask(ReadClocks(), observe=heard.append).realtime_ns == 2
    assert heard == [Beat(alive_ns=number, release_ns=0, pages={}) for number in range(3)]
    assert chatty.ask(ReadClocks()).monotonic_ns == 1  # nobody need listen


def test_who_speaks_is_not_given_up_before_the_deadline(spoilt: Agent) -> None:
    """Each pause is longer than a single wait for a word, and all of them are longer than the patience."""
    assert chat(spoilt, 3, WAIT_S + 0.25, 0.0).ask(ReadClocks(), patience=Patience(limit_s=2.0)).monotonic_ns


def test_who_falls_silent_is_given_up_long_before_the_deadline(spoilt: Agent) -> None:
    chatty, begun = chat(spoilt, 2, 0.1, 20.0), time.monotonic()
    with pytest.raises(AgentLost, match="ReadClocks: it has said nothing for 1 s"):
        chatty.ask(ReadClocks(), patience=Patience(limit_s=1.0))
    assert time.monotonic() - begun < 10
    assert "said nothing" in chatty.lost


def test_who_speaks_for_ever_is_given_up_at_the_deadline(spoilt: Agent) -> None:
    with pytest.raises(AgentLost, match="no answer in time"):
        chat(spoilt, 100, 0.2, 0.0).ask(ReadClocks(), deadline_s=2.0, patience=Patience(limit_s=1.5))


@pytest.mark.parametrize("speaks", [0, 100], ids=["silent", "speaking"])
def test_an_answer_that_is_of_no_use_any_more_is_not_waited_for(spoilt: Agent, speaks: int) -> None:
    chatty, begun = chat(spoilt, speaks, 0.2, 60.0), time.monotonic()

    def useless() -> None:
        if time.monotonic() > begun + 0.5:
            raise StagingError("stage it", said="it has no point")

    with pytest.raises(StagingError, match="no point"):
        chatty.ask(ReadClocks(), meanwhile=useless)
    assert time.monotonic() < begun + 15.0
    with pytest.raises(AgentLost, match="interrupted by StagingError"):
        chatty.ask(ReadClocks())


def test_a_long_answer_is_no_silence(peer: Peers) -> None:
    """It arrives in parts, through a line that is slower than the patience; every part counts."""
    path, _ = peer()
    with slowly(path, bytes_a_second=4_000_000) as slow:
        agent = connect(slow, deadline_s=20)
        agent.run_source(CHATTY.replace("ANSWER", "b'x' * 6_000_000"), (0, 0.0, 0.0))
        begun = time.monotonic()
        with pytest.raises(AgentLost, match="at most 4,096 are taken"):
            agent.ask(ReadConfig(bdf=NOWHERE), patience=Patience(limit_s=1.0))
        assert time.monotonic() - begun > 1.2
        agent.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Surprise(Request[None]):
    """Nobody knows it."""


@contextmanager
def slowly(far: Path, *, bytes_a_second: int) -> Iterator[Path]:
    """A line to the agent at `far` on which answers take their time."""
    near = far.with_name("slow")
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        listener.bind(str(near))
        listener.listen()

        def carry(source: socket.socket, sink: socket.socket, pause_a_byte: float) -> None:
            with suppress(OSError):
                while data := source.recv(100_000):
                    sink.sendall(data)
                    time.sleep(len(data) * pause_a_byte)
                sink.shutdown(socket.SHUT_WR)

        def serve() -> None:
            host, _ = listener.accept()
            with host, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as guest:
                attempting(CONNECT)(guest.connect, str(far))  # it may not listen yet
                ways = ((host, guest, 0.0), (guest, host, 1 / bytes_a_second))
                carriers = [threading.Thread(target=carry, args=way, daemon=True) for way in ways]
                for carrier in carriers:
                    carrier.start()
                for carrier in carriers:
                    carrier.join()

        server = threading.Thread(target=serve, daemon=True)
        server.start()
        stack.callback(server.join, 10)
        yield near

"""Actor processes, forked from a parent that has one thread, maps nothing and holds no device.

The agent itself runs execnet's threads and may hold VFIO mappings; a child of it would inherit both.  So the
first thing that the worker does is to start the nursery; whenever an actor is needed, the nursery forks one and
passes the agent a socket to it.  An idle actor waits on that socket; one that sleeps in the kernel for ever is
abandoned and never used again.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NoReturn

from harness.agent.mistake import HINT, traceback_of
from harness.bindings import actor
from harness.errors import AgentError, AgentLost

_ORDER: Final = struct.Struct("<QQ")  # size of the memory, offset of the lane
_NUMBER: Final = struct.Struct("<H")  # follows the order, for each descriptor that comes with it
_MOST_GRANTS: Final = 32
_DONE: Final = b"d"
_RAISED: Final = b"!"  # begins the last word of a process that raised; its traceback follows
_MOST_BYTES: Final = 1 << 17  # of a word
_FORK: Final = b"f"
_DYING_S: Final = 1.0  # a dying process closes its socket a moment before its parent can collect it


@dataclass(slots=True)
class ActorProcess:
    """One idle or running actor."""

    pid: int
    control: socket.socket

    def begin(
        self, stage: actor.SharedStage, number: int, granted: Mapping[int, int] = MappingProxyType({})
    ) -> None:
        """Let it run the program of lane `number`; returns at once.

        Args:
            stage: the shared memory.
            number: of the lane.
            granted: descriptors that it gets for as long as it runs: number there to descriptor here.
        """
        order = _ORDER.pack(stage.size_bytes, stage.lane_at(number))
        numbers = b"".join(map(_NUMBER.pack, granted))
        socket.send_fds(self.control, [order + numbers], [stage.fd, *granted.values()])

    def fileno(self) -> int:
        """For select: readable when the program has ended, or the process has."""
        return self.control.fileno()

    def ended(self) -> bool:
        """Take the word that the program ended: True; False when the process died instead.

        Raises:
            AgentError: it raised what nobody expected.
        """
        try:
            word = self.control.recv(_MOST_BYTES)
        except ConnectionError:
            return False
        _refuse_raised("running an actor", word)
        return word == _DONE


class Nursery:
    """The parent of all actors, and the actors that are idle."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._idle: list[ActorProcess] = []

    @classmethod
    def start(cls) -> Nursery:
        """Fork the nursery.  Call it before any thread is started and any device is opened."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if os.fork() == 0:
            ours.close()
            _live(_nurse, theirs)
        theirs.close()
        return cls(ours)

    def prepare(self, actors: int) -> None:
        """Have so many actors idle: forking takes 0.1 s in an emulated guest."""
        while len(self._idle) < actors:
            self._idle.append(self._fork())

    def borrow(self, actors: int) -> list[ActorProcess]:
        """Take idle actors out, forking what is missing; give back those that ended with :meth:`give_back`."""
        self.prepare(actors)
        taken, self._idle = self._idle[:actors], self._idle[actors:]
        return taken

    def give_back(self, process: ActorProcess) -> None:
        """Return an actor whose program has ended."""
        self._idle.append(process)

    def dismiss(self, process: ActorProcess) -> None:
        """Let an actor end that can never be used again, such as one that gave its privilege up."""
        process.control.close()
        self.fate(process.pid)

    def fate(self, pid: int) -> str:
        """How a dead actor died, in words; the nursery is its parent and knows."""
        return self._ask("asking how an actor ended", f"w{pid}".encode())[0].decode()

    def _fork(self) -> ActorProcess:
        answer, fds = self._ask("forking an actor", _FORK)
        if not fds:
            raise AgentLost("forking an actor", said=answer.decode())
        return ActorProcess(int(answer), socket.socket(fileno=fds[0]))

    def _ask(self, what: str, request: bytes) -> tuple[bytes, list[int]]:
        """Its answer, and the descriptors that came with it.

        Raises:
            AgentError: it raised what nobody expected.
            AgentLost: it is gone.
        """
        said = "the nursery is gone"
        with suppress(BrokenPipeError):  # its last word may still be there
            self._control.send(request)
        try:
            answer, fds, _, _ = socket.recv_fds(self._control, _MOST_BYTES, 1)
        except OSError as error:
            answer, fds, said = b"", [], str(error)
        if not answer:
            raise AgentLost(what, said=said)
        _refuse_raised(what, answer)
        return answer, fds


def _live(life: Callable[[socket.socket], None], control: socket.socket) -> NoReturn:
    """A forked process must never return into its copy of the parent, whatever happens to it."""
    try:
        life(control)
        os._exit(0)
    except BaseException as error:  # noqa: BLE001 - an interrupt, too
        told = traceback_of(error)
        sys.stderr.write(told)  # for the console, should nobody listen
        with suppress(OSError):
            control.send(_RAISED + told.encode(errors="backslashreplace"))
        os._exit(1)


def _refuse_raised(what: str, word: bytes) -> None:
    """Raise when a word is the last one of a process that raised."""
    if word.startswith(_RAISED):
        told = word[1:].decode()
        raise AgentError(what, said=told.strip().rpartition("\n")[2], hint=HINT, evidence=told)


def _nurse(control: socket.socket) -> None:
    """Life of the nursery: fork on request until the agent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while request := control.recv(100):
        if request != _FORK:
            control.send(_fate(int(request[1:])).encode())
            continue
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            pid = os.fork()
        except OSError as error:
            control.send(str(error).encode())
            continue
        if pid == 0:
            control.close()
            ours.close()
            _live(_act, theirs)
        theirs.close()
        socket.send_fds(control, [str(pid).encode()], [ours.fileno()])
        ours.close()


def _act(control: socket.socket) -> None:
    """Life of an actor: run programs until nobody can order any more."""
    while True:
        order, fds, _, _ = socket.recv_fds(
            control, _ORDER.size + _MOST_GRANTS * _NUMBER.size, 1 + _MOST_GRANTS
        )
        if not order:
            return
        size, lane_at = _ORDER.unpack_from(order)
        memory_fd, *granted = fds
        numbers = [number for (number,) in _NUMBER.iter_unpack(order[_ORDER.size :])]
        for number, fd in zip(numbers, granted, strict=True):
            os.dup2(fd, number, inheritable=False)
            os.close(fd)
        actor.act(memory_fd, size, lane_at)
        os.close(memory_fd)
        for number in numbers:
            with suppress(OSError):  # the program may have closed it
                os.close(number)
        control.send(_DONE)


def _fate(pid: int) -> str:
    alive = os.pidfd_open(pid)
    select.select([alive], [], [], _DYING_S)
    os.close(alive)
    done, status = os.waitpid(pid, os.WNOHANG)
    if not done:
        return "still there"
    if os.WIFSIGNALED(status):
        return f"killed by {signal.Signals(os.WTERMSIG(status)).name}"
    return f"exited with status {os.waitstatus_to_exitcode(status)}"


def wait_any(processes: list[ActorProcess], seconds: float) -> list[ActorProcess]:
    """Those of `processes` that ended or died, as soon as one did, or none after `seconds`."""
    ready, _, _ = select.select(processes, [], [], max(0.0, seconds))
    return list(ready)

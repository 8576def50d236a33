"""The agent as the host sees it: requests with deadlines, errors that arrive as what they were."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from execnet.gateway import Gateway
from execnet.gateway_base import RemoteError
from execnet.gateway_base import TimeoutError as ChannelTimeoutError

from harness.agent.mistake import HINT
from harness.errors import (
    AgentError,
    AgentLost,
    HarnessError,
    KernelRefusal,
    StagingError,
    TargetError,
    UsageError,
)
from harness.model.limits import SENTENCE, TRACEBACK
from harness.model.observation import Failure, Progress
from harness.model.plain import Misfit, shown
from harness.model.request import Request, read_progress
from harness.model.wire import Conversation
from harness.target.gateway import Refused
from harness.target.silence import WAIT_S, Patience, Silence

Answer = TypeVar("Answer")
Observer = Callable[[Progress], None]
"""Is told what an agent says before its answer."""

_RAISED: Final[Mapping[str, type[HarnessError]]] = {
    kind.__name__: kind
    for kind in (HarnessError, UsageError, TargetError, KernelRefusal, AgentLost, AgentError, StagingError)
}
"""What an agent may raise here, by name; of any other class only the words are believed."""


def ignored(progress: Progress) -> None:
    """Let an agent say what it likes."""


def undisturbed() -> None:
    """Nothing but the agent itself decides whether its answer is waited for."""


class Agent:
    """One agent behind one gateway.  Once lost it stays lost."""

    def __init__(
        self, gateway: Gateway, disconnect: Callable[[], None], heard: Callable[[], int] = lambda: 0
    ) -> None:
        """Begin the conversation.

        Args:
            gateway: to the agent.
            disconnect: ends the connection.
            heard: how many bytes have arrived so far.
        """
        self._gateway, self._disconnect, self._heard = gateway, disconnect, heard
        self._channel = self.open_channel(Conversation.SERVE)
        self._number = 0
        self._lost = ""
        self._silent = False

    def ask(
        self,
        request: Request[Answer],
        /,
        *,
        deadline_s: float = 60.0,
        observe: Observer = ignored,
        patience: Patience | None = None,
        meanwhile: Callable[[], None] = undisturbed,
    ) -> Answer:
        """Make a request.

        Args:
            request: one of :data:`~harness.model.request.AnyRequest`.
            deadline_s: for the answer, in seconds from now.
            observe: is told what the agent says before the answer, in the thread of the caller.
            patience: how long it may say nothing; as long as the deadline when None.
            meanwhile: is called before each wait, twice a second at least; what it raises ends the conversation.

        Raises:
            AgentLost: no answer in time, silence for too long, no answer that an agent gives, or the connection ended.
            AgentError: the agent raised what nobody expected.
            HarnessError: what the agent raised, of its own class.
        """
        what = asking(request)
        if self._lost:
            raise AgentLost(what, said=f"lost before: {self._lost}")
        self._number += 1
        try:
            self._channel.send((self._number, type(request).__name__, request.to_wire()))
            silence = Silence(patience or Patience(limit_s=deadline_s))
            until = time.monotonic() + deadline_s
            number, answer = self._receive(until, silence, meanwhile)
            while number == self._number and "progress" in answer:
                observe(_progress(answer["progress"]))
                number, answer = self._receive(until, silence, meanwhile)
        except RemoteError as error:
            raised = _raised(what, error)
            self._lost = raised.said
            raise raised from error
        except AgentLost as error:  # a shape that no agent sends
            self._lost = str(error)
            raise
        except (EOFError, OSError, ChannelTimeoutError) as error:
            self._lost = self._why(error)
            self._silent = self._refused is None
            raise AgentLost(what, said=self._lost, hint="Look at the console of the target.") from error
        except BaseException as error:  # Ctrl-C: the agent is still busy, and its answer will come to nobody
            self._lost = f"interrupted by {type(error).__name__}"
            raise
        if number != self._number:
            self._lost = f"answer {number} to request {self._number}"
            raise AgentLost(what, said=self._lost)
        return answer_to(request, answer)

    def _receive(
        self, until: float, silence: Silence, meanwhile: Callable[[], None]
    ) -> tuple[int, dict[str, Any]]:
        """The next message.

        Raises:
            AgentLost: it is none that an agent sends.
            ChannelTimeoutError: not by the deadline, or not before the patience was over.
            EOFError: the connection ended.
        """
        before = self._heard()
        while (left_s := until - time.monotonic()) > 0 and silence.left_s > 0:
            meanwhile()
            wait_s = min(left_s, WAIT_S)
            try:
                message = self._channel.receive(wait_s)
            except ChannelTimeoutError:
                silence.lasted(wait_s)
            else:
                silence.broken()
                return _numbered(message)
            heard = self._heard()
            if heard != before:  # a part of a long answer
                silence.broken()
            before = heard
        raise ChannelTimeoutError("no answer in time" if left_s <= 0 else str(silence))

    @property
    def lost(self) -> str:
        """Why it answers no more; empty while it does."""
        return self._lost

    @property
    def silent(self) -> bool:
        """Whether it was lost because it says no more, which its machine may tell why; not for what it said."""
        return self._silent

    def run_source(self, source: str, *values: Any, deadline_s: float = 60.0) -> Any:
        """Run Python source on the target, beside the agent: for measurements alone.

        Args:
            source: sees `channel`; `channel.receive()` gives `values` one by one, and what it sends first is returned.
            *values: plain values.
            deadline_s: for the answer, in seconds from now.

        Raises:
            AgentError: the source raised.
            AgentLost: no answer in time, or the connection ended.
        """
        channel = self.open_channel(source)
        try:
            for value in values:
                channel.send(value)
            return channel.receive(deadline_s)
        except RemoteError as error:
            raise _raised("running source on the target", error) from error
        except (EOFError, OSError, ChannelTimeoutError) as error:
            raise AgentLost("running source on the target", said=self._why(error)) from error
        finally:
            channel.close()

    def open_channel(self, purpose: str) -> Any:
        """Begin a :class:`~harness.model.wire.Conversation`; returns execnet's channel to it.

        Anything else is Python source, which the target runs: for measurements alone.

        Raises:
            AgentLost: the connection has ended.
        """
        try:
            return self._gateway.remote_exec(str(purpose))
        except OSError as error:
            raise AgentLost("talking to the target", said=self._why(error)) from error

    @property
    def _refused(self) -> Refused | None:
        """What the agent said that ended the connection, if that did."""
        ended = getattr(self._gateway, "_error", None)
        return ended if isinstance(ended, Refused) else None

    def _why(self, error: Exception) -> str:
        """Why nothing is heard any more, in a line."""
        said = str(self._refused or error).strip()
        return said.splitlines()[-1] if said else type(error).__name__

    def close(self) -> None:
        """Give the connection back; the agent is lost afterwards."""
        self._lost = self._lost or "closed"
        self._disconnect()
        self._gateway.join()


def asking(request: Request[Any]) -> str:
    """What the host does when it makes a request, for errors."""
    return f"asking the agent for {type(request).__name__}"


def answer_to(request: Request[Answer], said: object) -> Answer:
    """The result of an answer, or its error raised as the class that the agent raised.

    Raises:
        AgentLost: it is neither.
        HarnessError: what the agent raised.
    """
    match said:
        case {"result": result, **others} if not others:
            try:
                return request.read_answer(result)
            except Misfit as error:
                raise misread(f"the answer to {type(request).__name__}", str(error)) from error
        case {"error": told, **others} if not others:
            raise _told(told)
    raise misread(f"the answer to {type(request).__name__}", f"it is {shown(said)}, not a result or an error")


def misread(what: str, said: str) -> AgentLost:
    """The error for what no agent of this version says."""
    return AgentLost(
        f"reading {what}",
        said=said,
        hint="Whoever answers is no agent of this harness, or is out of its mind.",
    )


def _told(value: object) -> HarnessError:
    """The error that an agent tells of."""
    try:
        told = Failure.from_wire(value)
    except Misfit as error:
        raise misread("an error of the agent", str(error)) from error
    tried, said, hint = (words[: SENTENCE.most] for words in (told.tried, told.said, told.hint))
    kind = _RAISED.get(told.kind, HarnessError)
    if kind is KernelRefusal:
        return KernelRefusal(tried, errno=told.errno, hint=hint)
    return kind(tried, said=said, hint=hint, evidence=told.evidence[-TRACEBACK.most :])


def _progress(value: object) -> Progress:
    try:
        return read_progress(value)
    except Misfit as error:
        raise misread("what the agent tells before its answer", str(error)) from error


def _numbered(message: object) -> tuple[int, dict[str, Any]]:
    """A message as its number, and what it says: a result, an error, or how far the agent is.

    Raises:
        AgentLost: it is another thing.
    """
    if isinstance(message, tuple) and len(message) == 2:
        number, said = message
        if type(number) is int and isinstance(said, dict) and len(said) == 1:
            (name,) = said
            if name in ("result", "error", "progress"):
                return number, said
    raise misread("a message of the agent", f"it is {shown(message)}, not a number and what it answers")


def _raised(what: str, error: RemoteError) -> AgentError:
    """What ended a channel: an exception of the agent, with its traceback."""
    lines = error.formatted.strip().splitlines()
    return AgentError(
        what, said=lines[-1][-SENTENCE.most :] if lines else "", hint=HINT, evidence=error.formatted
    )

"""The agent as the host sees it: requests with deadlines, errors that arrive as what they were."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from execnet.gateway import Gateway
from execnet.gateway_base import TimeoutError as ChannelTimeoutError

from harness import errors
from harness.errors import AgentLost, HarnessError, KernelRefusal
from harness.target.silence import WAIT_S, Patience, Silence

Observer = Callable[[dict[str, Any]], None]
"""Is told what an agent says before its answer."""

_SERVE: Final = "from harness.agent.worker import serve_channel\nserve_channel(channel)"


def ignored(progress: dict[str, Any]) -> None:
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
        self._channel = gateway.remote_exec(_SERVE)
        self._number = 0
        self._lost = ""

    def ask(
        self,
        name: str,
        /,
        *,
        deadline_s: float = 60.0,
        observe: Observer = ignored,
        patience: Patience | None = None,
        meanwhile: Callable[[], None] = undisturbed,
        **arguments: Any,
    ) -> Any:
        """Make a request of :class:`~harness.agent.service.Service`.

        Args:
            name: of the method.
            deadline_s: for the answer, in seconds from now.
            observe: is told what the agent says before the answer, in the thread of the caller.
            patience: how long it may say nothing; as long as the deadline when None.
            meanwhile: is called before each wait, twice a second at least; what it raises ends the conversation.
            **arguments: plain values.

        Raises:
            AgentLost: no answer in time, silence for too long, or the connection ended.
            HarnessError: what the agent raised, of its own class.
        """
        what = f"asking the agent for {name!r}"
        if self._lost:
            raise AgentLost(what, said=f"lost before: {self._lost}")
        self._number += 1
        try:
            self._channel.send((self._number, name, arguments))
            silence = Silence(patience or Patience(limit_s=deadline_s))
            until = time.monotonic() + deadline_s
            number, answer = self._receive(until, silence, meanwhile)
            while number == self._number and "progress" in answer:
                observe(answer["progress"])
                number, answer = self._receive(until, silence, meanwhile)
        except (EOFError, OSError, ChannelTimeoutError, self._channel.RemoteError) as error:
            self._lost = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
            raise AgentLost(what, said=self._lost, hint="Look at the console of the target.") from error
        except BaseException as error:  # Ctrl-C: the agent is still busy, and its answer will come to nobody
            self._lost = f"interrupted by {type(error).__name__}"
            raise
        if number != self._number:
            self._lost = f"answer {number} to request {self._number}"
            raise AgentLost(what, said=self._lost)
        return self.unpack(answer)

    def _receive(
        self, until: float, silence: Silence, meanwhile: Callable[[], None]
    ) -> tuple[int, dict[str, Any]]:
        """The next message.

        Raises:
            ChannelTimeoutError: not by the deadline, or not before the patience was over.
            EOFError: the connection ended.
        """
        before = self._heard()
        while (left_s := until - time.monotonic()) > 0 and silence.left_s > 0:
            meanwhile()
            wait_s = min(left_s, WAIT_S)
            try:
                message: tuple[int, dict[str, Any]] = self._channel.receive(wait_s)
            except ChannelTimeoutError:
                silence.lasted(wait_s)
            else:
                silence.broken()
                return message
            heard = self._heard()
            if heard != before:  # a part of a long answer
                silence.broken()
            before = heard
        raise ChannelTimeoutError("no answer in time" if left_s <= 0 else str(silence))

    @property
    def lost(self) -> str:
        """Why it answers no more; empty while it does."""
        return self._lost

    def run_source(self, source: str, *values: Any, deadline_s: float = 60.0) -> Any:
        """Run Python source on the target, beside the agent: for measurements and for shells.

        Args:
            source: sees `channel`; `channel.receive()` gives `values` one by one, and what it sends first is returned.
            *values: plain values.
            deadline_s: for the answer, in seconds from now.

        Raises:
            AgentLost: no answer in time, or the source raised.
        """
        channel = self._gateway.remote_exec(source)
        try:
            for value in values:
                channel.send(value)
            return channel.receive(deadline_s)
        except (EOFError, OSError, ChannelTimeoutError, channel.RemoteError) as error:
            raise AgentLost("running source on the target", said=str(error)) from error
        finally:
            channel.close()

    def open_channel(self, source: str) -> Any:
        """Run Python source on the target that goes on talking; returns execnet's channel to it."""
        return self._gateway.remote_exec(source)

    def close(self) -> None:
        """Give the connection back; the agent is lost afterwards."""
        self._lost = self._lost or "closed"
        self._disconnect()
        self._gateway.join()

    @staticmethod
    def unpack(answer: dict[str, Any]) -> Any:
        """The result of an answer, or its error raised as the class that the agent raised."""
        error = answer.get("error")
        if error is None:
            return answer["result"]
        kind = getattr(errors, error["class"], HarnessError)
        if kind is KernelRefusal:
            raise KernelRefusal(error["tried"], errno=error["errno"], hint=error["hint"])
        raise kind(error["tried"], said=error.get("said", ""), hint=error.get("hint", ""))

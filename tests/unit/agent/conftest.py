"""A nursery for each test, and nobody left when it is over."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import select
import signal
from collections.abc import Iterator

import pytest
from _pytest.faulthandler import fault_handler_stderr_fd_key

from harness.agent.nursery import ActorProcess, Nursery


class Watched(Nursery):
    """A nursery that remembers whom it forked, so that a test can end them."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.forked: list[ActorProcess] = []

    def _fork(self) -> ActorProcess:
        process = super()._fork()
        self.forked.append(process)
        return process

    def end(self) -> None:
        """Kill every actor, stopped ones too, and close every socket."""
        for process in self.forked:
            process.control.close()
            with contextlib.suppress(ProcessLookupError):
                alive = os.pidfd_open(process.pid)
                signal.pidfd_send_signal(alive, signal.SIGKILL)
                select.select([alive], [], [], 5)
                os.close(alive)
        self._control.close()


@pytest.fixture
def nursery(request: pytest.FixtureRequest) -> Iterator[Watched]:
    """Forked from this process, as the worker does it; an actor that dies on purpose is not pytest's crash."""
    faulthandler.disable()
    made = Watched.start()
    assert isinstance(made, Watched)
    faulthandler.enable(request.config.stash.get(fault_handler_stderr_fd_key, 2))
    yield made
    made.end()

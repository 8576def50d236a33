"""Work that may get stuck in the kernel for ever, such as touching a function whose lock nobody gives back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from harness.bindings.actor import now
from harness.model.units import SECOND, Ns

Result = TypeVar("Result")


class Aside(Generic[Result]):
    """Work in a thread of its own, begun at once; a thread that is stuck is left behind."""

    def __init__(self, work: Callable[[], Result]) -> None:
        self._work = work
        self._results: list[Result] = []
        self._raised: list[Exception] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def results(self, until: Ns) -> list[Result]:
        """Wait for the result: a list of it alone, empty when it is not there at that time of CLOCK_MONOTONIC.

        Raises:
            Exception: what the work raised.
        """
        self._thread.join(max(0.0, (until - now()) / SECOND))
        for error in self._raised:
            raise error
        return self._results

    def _run(self) -> None:
        try:
            self._results.append(self._work())
        except Exception as error:  # noqa: BLE001 - raised where somebody hears it
            self._raised.append(error)

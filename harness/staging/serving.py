"""What the host does to functions that models of ours serve, while the agent carries out the stage."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Self

import numpy as np

from harness.errors import HarnessError, ModelError, UsageError
from harness.history.columns import SERVED, Table, empty
from harness.model.fault import Incident
from harness.model.plan import Plan
from harness.model.served import NO_REGION, Happened
from harness.model.units import SECOND
from harness.target.clock import ClockReading
from harness.target.served import Model

_COULD_NOT: Final = 5  # EIO, in the row of an incident that failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Witnessed:
    """What models saw, as :class:`~harness.history.history.History` keeps it.

    Attributes:
        table: of :data:`~harness.history.columns.SERVED`, in the target's time.
        error_ns: by how much its times may be wrong.
        lost: rows that found no room.
    """

    table: Table = field(default_factory=lambda: empty(SERVED))
    error_ns: int = 0
    lost: int = 0


class Serving:
    """Programmes are loaded when it is entered, and taken back when it is left; incidents come in between."""

    def __init__(self, plan: Plan, model_of: Callable[[str], Model | None]) -> None:
        """Do nothing yet.

        Args:
            plan: what is staged.
            model_of: the model that serves a function; None: none does.

        Raises:
            UsageError: a fault or an incident is planned for a function that no model serves.
        """
        self._plan: Final = plan
        self._models: Final[dict[str, Model]] = {}
        for alias in plan.functions:
            if (model := model_of(alias)) is not None:
                self._models[alias] = model
        for alias in (*(one.function for one in plan.faults), *(one.function for one in plan.incidents)):
            if alias not in self._models:
                raise UsageError(
                    f"stage {plan.title!r}",
                    said=f"{alias} is served by no model of ours: it can be made to do nothing wrong",
                    hint=f"Take one that is: {', '.join(self._models) or 'endpoint0'}.",
                )
        self._rows: Final[list[tuple[int, int, int, int]]] = []  # time, incident, what, error
        self._offset_ns = 0
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self.failed: HarnessError | None = None

    def __enter__(self) -> Self:
        for alias, model in self._models.items():
            model.load(self._plan.faults_of(alias))
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        for alias, model in self._models.items():
            try:
                model.load((), anew=False)
            except HarnessError as error:
                # One that nobody harmed has a mistake in it, and its history would blame the function.
                if isinstance(error, ModelError) or not self._harmed(alias):
                    self.failed = self.failed or error

    def check(self) -> None:
        """Look whether a model made a mistake: what comes after it says nothing of the function.

        Raises:
            ModelError: one did.
        """
        for model in self._models.values():
            if mistake := model.mistake():
                raise mistake

    def released(self, release_ns: int, clock: ClockReading) -> None:
        """The actors were released: timed faults and incidents count from here.

        Args:
            release_ns: CLOCK_MONOTONIC of the target.
            clock: of the target, against ours.
        """
        if self._thread is None and self._models:
            release = release_ns - clock.offset_ns
            self._thread = threading.Thread(target=self._run, args=(release,), name="incidents")
            self._thread.start()

    def witnessed(self, first: ClockReading, last: ClockReading) -> Witnessed:
        """Everything that models saw and incidents did.

        Args:
            first: the target's clock against ours, before the stage.
            last: after it.

        Raises:
            GuestError: a log cannot be read.
        """
        tables, lost = [empty(SERVED)], 0
        for alias, model in self._models.items():
            data, more = model.log()
            rows = np.frombuffer(data, dtype=SERVED).copy()
            rows["function"] = self._plan.functions.index(alias)
            tables.append(rows)
            lost += more
        tables.append(self._incident_rows())
        table: Table = np.concatenate(tables)
        table["time_ns"] += _offsets(table["time_ns"], first, last)
        drift = abs(last.offset_ns - first.offset_ns)
        error = max(first.error_ns, last.error_ns) // 2 + drift // 2
        table = table[np.argsort(table["time_ns"], kind="stable")]
        return Witnessed(table=table, error_ns=error, lost=lost)

    # --- inside -------------------------------------------------------------------------------------------

    def _run(self, release_ns: int) -> None:
        try:
            for alias, model in self._models.items():
                if self._plan.faults_of(alias):
                    model.release(release_ns)
            for number, incident in enumerate(self._plan.incidents):
                left_s = (release_ns + incident.at_ns - time.monotonic_ns()) / SECOND
                if left_s > 0 and self._over.wait(left_s):
                    return  # the stage ended before its time
                self._perform(number, incident)
        except HarnessError as error:
            self.failed = error

    def _perform(self, number: int, incident: Incident) -> None:
        self._rows.append((time.monotonic_ns(), number, Happened.INCIDENT_BEGINS, 0))
        error = _COULD_NOT
        try:
            self._models[incident.function].perform(incident)
            error = 0
        finally:
            self._rows.append((time.monotonic_ns(), number, Happened.INCIDENT_ENDS, error))

    def _incident_rows(self) -> Table:
        table = empty(SERVED, len(self._rows))
        for row, (at, number, what, error) in zip(table, self._rows, strict=True):
            row["time_ns"], row["value"], row["what"], row["error"] = at, number, what, error
            row["function"] = self._plan.functions.index(self._plan.incidents[number].function)
            row["region"] = NO_REGION
        return table

    def _harmed(self, alias: str) -> bool:
        """Whether something was planned that it may not have survived."""
        return any(one.function == alias for one in self._plan.incidents)


def _offsets(times: Any, first: ClockReading, last: ClockReading) -> Any:
    """What to add to times of ours, on the straight line between two readings of the target's clock."""
    begin, end = first.host_before_ns, last.host_after_ns
    part = np.clip((times - begin) / max(1, end - begin), 0.0, 1.0)
    return np.rint(first.offset_ns + part * (last.offset_ns - first.offset_ns)).astype(np.int64)

"""Which rows of a history are which operation on which function, without a loop over rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.history.history import History
from harness.model.operation import Operation
from harness.model.plan import Actor, Step

Rows = npt.NDArray[np.intp]
"""Indices of rows of `History.operations`, ascending."""


@dataclass(frozen=True, slots=True)
class Steps:
    """All steps of a plan, numbered through, and the number of the step behind each operation.

    Attributes:
        history: whose steps these are.
        numbered: actor and step by number.
        of_row: the number for each row of `History.operations`.
    """

    history: History
    numbered: tuple[tuple[Actor, Step], ...]
    of_row: Rows

    def column(self, value: Callable[[Step], Any], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """A value of each step, by number: index it with `of_row` to have it by row."""
        return np.array([value(step) for _, step in self.numbered], dtype=dtype)

    def rows(self, wanted: Callable[[Step], bool]) -> Rows:
        """The operations whose step is wanted."""
        return np.flatnonzero(self.column(wanted, np.bool_)[self.of_row])

    def groups(self, wanted: Callable[[Step], bool]) -> Iterator[tuple[int, Operation, Rows]]:
        """Operations that do the same to the same function: function, operation, rows; no empty ones."""
        keys = dict.fromkeys(
            (step.file.function, step.means)
            for _, step in self.numbered
            if step.file is not None and wanted(step)
        )
        for alias, means in keys:
            rows = self.rows(
                lambda step, alias=alias, means=means: (  # type: ignore[misc]
                    step.file is not None and step.file.function == alias and step.means == means
                )
            )
            if len(rows):
                yield self.history.plan.functions.index(alias), means, rows


def steps_of(history: History) -> Steps:
    """Number the steps of a history's plan.

    Raises:
        IndexError: an operation names an actor or a step that the plan does not have.
    """
    actors = history.plan.actors
    sizes = np.array([len(actor.steps) for actor in actors], dtype=np.intp)
    first = np.concatenate(([0], np.cumsum(sizes)[:-1])).astype(np.intp)
    operations = history.operations
    if len(operations) and (operations["step"] >= sizes[operations["actor"]]).any():
        raise IndexError("an operation names a step that the plan does not have")
    return Steps(
        history=history,
        numbered=tuple((actor, step) for actor in actors for step in actor.steps),
        of_row=first[operations["actor"]] + operations["step"],
    )

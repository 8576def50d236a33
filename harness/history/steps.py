"""Which rows of a history are which operation on which function, without a loop over rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.history.history import History
from harness.model.operation import Operation
from harness.model.plan import Actor, Step

Rows = npt.NDArray[np.intp]
"""Indices of rows of a table, ascending."""


def places(numbers: npt.NDArray[Any]) -> dict[int, Rows]:
    """Where each number of a column lies: the column is sorted once, however many numbers are asked for."""
    if numbers.min(initial=0) >= 0:  # sorting small numbers is several times as fast
        numbers = numbers.astype(np.min_scalar_type(int(numbers.max(initial=0))))
    order = np.argsort(numbers, kind="stable")
    values, first = np.unique(numbers[order], return_index=True)
    return dict(zip(values.tolist(), np.split(order, first)[1:], strict=True))


def together(parts: Iterable[Rows | None]) -> Rows:
    """The rows of all parts, ascending; None is a part without any."""
    found = [part for part in parts if part is not None]
    if len(found) == 1:
        return found[0]
    return np.sort(np.concatenate(found), kind="stable") if found else np.empty(0, dtype=np.intp)


@dataclass(frozen=True, eq=False)
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

    def behind(self, row: int) -> Step:
        """The step of an operation."""
        _, step = self.numbered[int(self.of_row[row])]
        return step

    def column(self, value: Callable[[Step], Any], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """A value of each step, by number: index it with `of_row` to have it by row."""
        return np.array([value(step) for _, step in self.numbered], dtype=dtype)

    def rows(self, wanted: Callable[[Step], bool]) -> Rows:
        """The operations whose step is wanted."""
        return np.flatnonzero(self.column(wanted, np.bool_)[self.of_row])

    def on(self, alias: str, wanted: Callable[[Step], bool]) -> Rows:
        """The operations on one function whose step is wanted."""
        return together(self.rows_of.get(number) for number, step in self.numbers(alias) if wanted(step))

    def of(self, alias: str, *means: Operation) -> Rows:
        """The operations on one function that are one of these."""
        return self.on(alias, lambda step: step.means in means)

    def numbers(self, alias: str) -> list[tuple[int, Step]]:
        """The steps on one function, with their numbers."""
        return self._numbers.get(alias, [])

    def apart(self, alias: str, rows: Rows) -> tuple[list[Step], Rows]:
        """The steps on one function, and which of them is behind each of some operations on it."""
        own = self.numbers(alias)
        return [step for _, step in own], np.searchsorted([number for number, _ in own], self.of_row[rows])

    def groups(self, wanted: Callable[[Step], bool]) -> Iterator[tuple[int, Operation, Rows]]:
        """Operations that do the same to the same function: function, operation, rows; no empty ones."""
        alike: dict[tuple[str, Operation], list[int]] = {}
        for number, (_, step) in enumerate(self.numbered):
            if step.file is not None and wanted(step):
                alike.setdefault((step.file.function, step.means), []).append(number)
        for (alias, means), numbers in alike.items():
            if len(rows := together(self.rows_of.get(number) for number in numbers)):
                yield self.history.plan.functions.index(alias), means, rows

    @cached_property
    def rows_of(self) -> dict[int, Rows]:
        """The operations of each step, by its number; a step that was never begun is not in it."""
        return places(self.of_row)

    @cached_property
    def _numbers(self) -> dict[str, list[tuple[int, Step]]]:
        found: dict[str, list[tuple[int, Step]]] = {}
        for number, (_, step) in enumerate(self.numbered):
            if step.file is not None:
                found.setdefault(step.file.function, []).append((number, step))
        return found


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

"""A history as it would be had its lanes been too small: what cdefs/actor.csrc.c does to rows, done to a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.agent.program import _alike
from harness.bindings.actor import Alike
from harness.history.columns import Table
from harness.history.history import History
from harness.model.units import Ns


def thinned(
    history: History, within_ns: int, *, thin_from: int = 0, stays: Sequence[bool] = (False,)
) -> History:
    """Leave out what is alike.

    Args:
        history: in which everything has a row.
        within_ns: the longest from the first to the last of accesses that are alike.
        thin_from: rows of each actor before any is left out.
        stays: whether what is left out keeps its row nevertheless, in turn: the last one does, until another comes.
    """
    table, gone = history.operations, []
    actors = list(history.actors)
    for number, actor in enumerate(history.plan.actors):
        spans: dict[int, tuple[int, int]] = {}
        left_out = 0
        for place, row in enumerate((table["actor"] == number).nonzero()[0].tolist()):
            step = int(table["step"][row])
            how = _alike(actor.steps[step])
            if place < thin_from or how is Alike.NEVER:
                continue
            first, last = spans.get(step, (-1, -1))
            if (
                first >= 0
                and table["end_ns"][row] - table["begin_ns"][first] <= within_ns
                and _like(table, first, row, how, actor.steps[step].width)
            ):
                if last >= 0 and not stays[left_out % len(stays)]:
                    gone.append(last)
                left_out += last >= 0
                spans[step] = first, row
            else:
                spans[step] = row, -1
        mine = sum(table["actor"][row] == number for row in gone)
        actors[number] = replace(actors[number], thinned=int(mine), thinned_ns=Ns(within_ns if mine else 0))
    kept = [row for row in range(len(table)) if row not in set(gone)]
    return replace(history, operations=table[kept], actors=tuple(actors))


def _like(table: Table, one: int, other: int, how: Alike, width: int) -> bool:
    if any(table[name][one] != table[name][other] for name in ("result", "error")):
        return False
    made_up, values = (0, (1 << 8 * width) - 1), [int(table["value"][row]) for row in (one, other)]
    alike = values[0] == values[1]
    return (
        alike or how is Alike.ALWAYS or (how is Alike.DATA and not any(value in made_up for value in values))
    )

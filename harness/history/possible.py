"""What cannot be: a history whose parts contradict each other.  Whoever judges and draws relies on this.

Every field for itself is checked where it is read (:mod:`harness.model.plain`); here are the rows of the tables, and
what one part says of another: whose actor, whose step, which function, what came first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

import numpy as np
import numpy.typing as npt

from harness.errors import HistoryError
from harness.history.columns import KERNEL, OPERATION, SERVED, Table
from harness.history.history import History
from harness.model.limits import CALLS, LONGEST_TIME, STEPS
from harness.model.operation import DISK_READ, DISK_WRITE, is_call
from harness.model.plain import shown
from harness.model.served import Happened

_NAMES: Final = {OPERATION: "operations.npy", KERNEL: "kernel.npy", SERVED: "served.npy"}


def refuse_impossible(history: History) -> None:
    """Refuse a history that tells what cannot be.

    Raises:
        HistoryError: names the first row or field, and its value.
    """
    wrong = next(chain(_names(history), _operations(history), _kernel(history), _served(history)), "")
    if wrong:
        raise HistoryError("history", said=f"impossible: {wrong}")


def _names(history: History) -> Iterator[str]:
    """What plan and records say of each other."""
    plan = history.plan
    if history.end_ns < history.begin_ns:
        yield f"it ends at {history.end_ns} ns and begins at {history.begin_ns} ns"
    yield from _alike(
        "actors", [one.name for one in history.actors], [one.name for one in plan.actors], history
    )
    yield from _alike("functions", [one.alias for one in history.functions], list(plan.functions), history)
    addresses = [one.alias for one in history.neighbours or ()]
    if strange := [
        one for one in addresses if addresses.count(one) > 1 or one in {f.bdf for f in history.functions}
    ]:
        yield f"the function {shown(strange[0])} is beside itself"
    ran, wanted = len(history.commands), len(plan.before)
    if ran > wanted or (ran < wanted and not history.lost):
        yield f"{ran} commands came to something, and the plan has {wanted}"
    if len(set(plan.functions)) != len(plan.functions):
        yield f"two functions of the plan share an alias: {shown(plan.functions)}"
    steps = [step for actor in plan.actors for step in actor.steps]
    if excess := STEPS.excess(len(steps)):
        yield f"its plan has {excess}"
    mentioned: dict[str, Iterable[str]] = {
        "a step": [step.file.function for step in steps if step.file is not None],
        "the owners of a step": [owner for step in steps for owner in step.owners],
        "a setting": [one.function for one in plan.settings if one.function],
        "an oracle": [one.function for one in plan.oracles],
        "a port": [*plan.ports, *plan.ports.values()],
        "a fault": [one.function for one in plan.faults],
        "an incident": [one.function for one in plan.incidents],
    }
    known = set(plan.functions)
    for where, aliases in mentioned.items():
        for alias in set(aliases) - known:
            yield f"{where} names the function {shown(alias)}, which takes no part"


def _alike(what: str, recorded: list[str], planned: list[str], history: History) -> Iterator[str]:
    """Records are in the plan's order, and all of them are there; of a lost target as many as could be told."""
    if history.lost:
        planned = [name for name in planned if name in set(recorded)]
    if recorded != planned:
        yield f"its {what} are {shown(recorded)}, those of its plan {shown(planned)}"


def _operations(history: History) -> Iterator[str]:
    rows, steps = history.operations, np.array([len(actor.steps) for actor in history.plan.actors])
    earliest = 0 if history.lost else history.begin_ns
    yield from _refused(rows, "actor", rows["actor"] >= len(steps), f"there are {len(steps)}")
    yield from _refused(rows, "step", rows["step"] >= steps[rows["actor"]], "its actor has fewer")
    yield from _refused(rows, "begin_ns", _outside(rows["begin_ns"], earliest), "not within the stage")
    yield from _refused(rows, "end_ns", _outside(rows["end_ns"], 0), "no time")
    ends_early = (rows["end_ns"] != 0) & (rows["end_ns"] < rows["begin_ns"])
    yield from _refused(rows, "end_ns", ends_early, "before it began")
    yield from _sorted(rows, "begin_ns")
    means = np.array(
        [
            is_call(step.means) or step.means in (DISK_READ, DISK_WRITE)
            for actor in history.plan.actors
            for step in actor.steps
        ]
    )
    if len(rows) and (
        excess := CALLS.excess(int(means[(np.cumsum(steps) - steps)[rows["actor"]] + rows["step"]].sum()))
    ):
        yield f"too much to judge: {excess}"


def _kernel(history: History) -> Iterator[str]:
    rows, functions = history.kernel, len(history.plan.functions)
    yield from _refused(
        rows, "probe", rows["probe"] >= len(history.probes), f"there are {len(history.probes)}"
    )
    strange = (rows["function"] < -1) | (rows["function"] >= functions)
    yield from _refused(rows, "function", strange, f"there are {functions}")
    yield from _refused(rows, "tid", rows["tid"] < 0, "no thread")
    yield from _refused(rows, "time_ns", _outside(rows["time_ns"], 0), "no time")
    yield from _sorted(rows, "time_ns")


def _served(history: History) -> Iterator[str]:
    rows, plan = history.served, history.plan
    strange = (rows["function"] < 0) | (rows["function"] >= len(plan.functions))
    yield from _refused(rows, "function", strange, f"there are {len(plan.functions)}")
    yield from _refused(rows, "what", ~np.isin(rows["what"], [*Happened]), "no word of what happened")
    # The clock of a target may have begun after that of its host.
    yield from _refused(rows, "time_ns", _outside(rows["time_ns"], -LONGEST_TIME.most), "no time")
    yield from _sorted(rows, "time_ns")
    programmes = np.array([len(plan.faults_of(alias)) for alias in plan.functions], dtype=np.uint64)
    faults = np.isin(rows["what"], [Happened.FAULT_BEGINS, Happened.FAULT_ENDS, Happened.FAULT_MET])
    beyond = faults & (rows["value"] >= programmes[rows["function"]]) if len(rows) else faults
    yield from _refused(rows, "value", beyond, "its function has fewer faults")
    incidents = np.isin(rows["what"], [Happened.INCIDENT_BEGINS, Happened.INCIDENT_ENDS])
    beyond = incidents & (rows["value"] >= len(plan.incidents))
    yield from _refused(rows, "value", beyond, f"there are {len(plan.incidents)} incidents")


def _outside(times: npt.NDArray[np.int64], earliest: int) -> npt.NDArray[np.bool_]:
    return (times < earliest) | (times > LONGEST_TIME.most)


def _sorted(rows: Table, column: str) -> Iterator[str]:
    late = np.append(False, rows[column][1:] < rows[column][:-1])
    yield from _refused(rows, column, late if len(rows) else late[:0], "before the row above")


def _refused(rows: Table, column: str, wrong: npt.NDArray[np.bool_], said: str) -> Iterator[str]:
    """A sentence on the first row that is wrong."""
    if wrong.any():
        row = int(wrong.argmax())
        yield f"{_NAMES[rows.dtype]} row {row}: {column} is {rows[column][row]}, {said}"

"""The host's part in a stage: models are told what to do, incidents come in time, logs become a table."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from harness.errors import GuestError, ModelError, UsageError
from harness.history.columns import SERVED
from harness.model.fault import (
    EARLIEST_INCIDENT,
    Fault,
    Incident,
    IncidentKind,
    Misbehaviour,
    Occasion,
    PlannedFault,
)
from harness.model.operation import HEARTBEAT
from harness.model.plan import Actor, Op, Plan, Step
from harness.model.served import NO_REGION, ROW, Happened
from harness.model.units import MS, SECOND, Ns
from harness.staging.serving import Serving
from harness.target.clock import ClockReading

SILENT = Fault(what=Misbehaviour.ALL_ONES_CONFIG)
LATER = Fault(what=Misbehaviour.NEVER_READY, when=Occasion.TIME, at_ns=Ns(5))
OFFSET = 7 * SECOND
"""The target's clock is that far ahead of ours."""


def row(at_ns: int, what: Happened = Happened.READ, value: int = 0) -> bytes:
    return ROW.pack(at_ns, value, 0, -1, what, NO_REGION, 4, 0)


@dataclass
class Fake:
    """A model: takes down what it is told."""

    rows: bytes = b""
    lost: int = 0
    told: list[tuple[object, ...]] = field(default_factory=list)
    fails_at: str = ""
    wrong: ModelError | None = None
    meanwhile: Callable[[], object] = lambda: None
    performed: threading.Event = field(default_factory=threading.Event)

    def load(self, faults: Sequence[Fault], *, anew: bool = True) -> None:
        self._hear("load", tuple(faults), anew)

    def release(self, release_ns: int) -> None:
        self._hear("release", release_ns)

    def perform(self, incident: Incident) -> None:
        try:
            self.meanwhile()
            self._hear("perform", incident.kind)
        finally:
            self.performed.set()

    def mistake(self) -> ModelError | None:
        return self.wrong

    def log(self) -> tuple[bytes, int]:
        self._hear("log")
        return self.rows, self.lost

    def _hear(self, *what: object) -> None:
        self.told.append(what)
        if self.wrong and what[0] == "load":
            raise self.wrong
        if what[0] == self.fails_at and what[1:] != ((), True):
            raise GuestError("tell it", said="it is gone")


def incident(
    at_ms: int = 100, function: str = "one", kind: IncidentKind = IncidentKind.SERVER_KILLED
) -> Incident:
    return Incident(function=function, kind=kind, at_ns=Ns(at_ms * MS))


def plan(
    faults: Sequence[PlannedFault] = (),
    incidents: Sequence[Incident] = (),
    functions: tuple[str, ...] = ("other", "one", "two"),
) -> Plan:
    beat = Actor(name="heartbeat", steps=(Step(op=Op.PAUSE, means=HEARTBEAT, time_ns=Ns(1000)),))
    return Plan(
        title="t",
        functions=functions,
        actors=(beat,),
        lasting_ns=Ns(SECOND),
        deadline_ns=Ns(SECOND),
        faults=tuple(faults),
        incidents=tuple(incidents),
    )


def planned(fault: Fault, function: str = "one") -> PlannedFault:
    return PlannedFault(function=function, fault=fault)


def reading(at_ns: int, *, error_ns: int = 0, offset_ns: int = OFFSET) -> ClockReading:
    return ClockReading(
        host_before_ns=at_ns - error_ns // 2,
        guest_ns=at_ns + offset_ns,
        host_after_ns=at_ns + error_ns // 2,
    )


def now_on_target(ago_ns: int = 0) -> int:
    return time.monotonic_ns() + OFFSET - ago_ns


@pytest.mark.parametrize("staged", [{"faults": [planned(SILENT)]}, {"incidents": [incident()]}], ids=str)
def test_a_function_that_no_model_serves_does_nothing_wrong(staged: dict[str, list[object]]) -> None:
    with pytest.raises(UsageError, match=r"one is served by no model of ours.*two"):
        Serving(plan(**staged), {"two": Fake()}.get)  # type: ignore[arg-type]


def test_each_model_is_given_its_own_programme_and_relieved_of_it() -> None:
    one, two, idle = Fake(), Fake(), Fake()
    staged = plan([planned(LATER, "two"), planned(SILENT), planned(SILENT, "two")])
    with Serving(staged, {"one": one, "two": two, "other": idle}.get) as serving:
        serving.released(now_on_target(), reading(0))
    assert serving.failed is None
    for model, faults in ((one, (SILENT,)), (two, (LATER, SILENT)), (idle, ())):
        first, *_, last = model.told
        assert (first, last) == (("load", faults, True), ("load", (), False))
    assert ("release" in [what for what, *_ in idle.told]) is False


def test_the_release_is_told_by_our_clock_and_once() -> None:
    one = Fake()
    with Serving(plan([planned(LATER)]), {"one": one}.get) as serving:
        serving.released(OFFSET + 12_345, reading(0))
        serving.released(OFFSET + 99_999, reading(0))
    assert [told for told in one.told if told[0] == "release"] == [("release", 12_345)]


def test_incidents_come_in_their_time_and_are_written_down() -> None:
    one, two = Fake(), Fake()
    staged = plan(incidents=[incident(100), incident(140, "two", IncidentKind.UNPLUGGED)])
    released = time.monotonic_ns()
    with Serving(staged, {"one": one, "two": two}.get) as serving:
        serving.released(released + OFFSET, reading(0))
        assert one.performed.wait(20)
        assert two.performed.wait(20)
    assert serving.failed is None
    assert ("perform", IncidentKind.SERVER_KILLED) in one.told
    assert ("perform", IncidentKind.UNPLUGGED) in two.told
    seen = serving.witnessed(reading(released), reading(time.monotonic_ns()))
    assert seen.table[["what", "value", "function", "region", "error"]].tolist() == [
        (Happened.INCIDENT_BEGINS, 0, 1, NO_REGION, 0),
        (Happened.INCIDENT_ENDS, 0, 1, NO_REGION, 0),
        (Happened.INCIDENT_BEGINS, 1, 2, NO_REGION, 0),
        (Happened.INCIDENT_ENDS, 1, 2, NO_REGION, 0),
    ]
    begun = seen.table["time_ns"][::2] - released - OFFSET
    assert (begun >= [EARLIEST_INCIDENT, 140 * MS]).all()


def test_an_incident_that_is_due_when_the_release_is_heard_comes_at_once() -> None:
    one = Fake()
    with Serving(plan(incidents=[incident()]), {"one": one}.get) as serving:
        serving.released(now_on_target(ago_ns=10 * SECOND), reading(0))
        assert one.performed.wait(20)
    assert ("perform", IncidentKind.SERVER_KILLED) in one.told


def test_what_would_come_after_the_end_does_not() -> None:
    one = Fake()
    begun = time.monotonic()
    with Serving(plan(incidents=[incident(120_000)]), {"one": one}.get) as serving:
        serving.released(now_on_target(), reading(0))
    assert time.monotonic() - begun < 60
    assert serving.failed is None
    assert not one.performed.is_set()
    assert not len(serving.witnessed(reading(0), reading(1)).table)


def test_without_a_release_nothing_is_done() -> None:
    one = Fake()
    with Serving(plan([planned(LATER)], [incident()]), {"one": one}.get):
        pass
    assert [told[0] for told in one.told] == ["load", "load"]


def test_the_end_waits_for_an_incident_that_has_begun() -> None:
    going, one = threading.Event(), Fake()
    serving = Serving(plan(incidents=[incident()]), {"one": one}.get)

    def meanwhile() -> None:
        going.set()
        serving._over.wait(20)

    one.meanwhile = meanwhile
    with serving:
        serving.released(now_on_target(ago_ns=SECOND), reading(0))
        assert going.wait(20)
    assert one.performed.is_set()
    assert len(serving.witnessed(reading(0), reading(1)).table) == 2


def test_an_incident_that_fails_is_told_and_the_next_does_not_come() -> None:
    one = Fake(fails_at="perform")
    two = Fake()
    with Serving(
        plan(incidents=[incident(100), incident(101, "two")]), {"one": one, "two": two}.get
    ) as serving:
        serving.released(now_on_target(ago_ns=SECOND), reading(0))
        assert one.performed.wait(20)
    assert isinstance(serving.failed, GuestError)
    assert not two.performed.is_set()
    assert serving.witnessed(reading(0), reading(1)).table["error"].tolist() == [0, 5]


def test_a_model_that_does_not_take_its_programme_stops_the_stage() -> None:
    with (
        pytest.raises(GuestError, match="it is gone"),
        Serving(plan([planned(SILENT)]), {"one": Fake(fails_at="load")}.get),
    ):
        pytest.fail("nothing was loaded")


@pytest.mark.parametrize("incidents", [[], [incident()]], ids=["nothing", "killed"])
def test_whoever_is_gone_at_the_end_was_killed_or_is_broken(incidents: list[Incident]) -> None:
    one = Fake()
    with Serving(plan([planned(SILENT)], incidents), {"one": one}.get) as serving:
        one.fails_at = "load"
    assert (serving.failed is None) is bool(incidents)


def test_rows_become_a_table_in_the_clock_of_the_target() -> None:
    one = Fake(rows=row(2000) + row(1000, Happened.FLR, 1), lost=2)
    two = Fake(rows=row(1500, Happened.WRITTEN), lost=3)
    serving = Serving(plan(), {"one": one, "two": two}.get)
    seen = serving.witnessed(reading(0, error_ns=600), reading(10_000, error_ns=400))
    assert seen.table.dtype == SERVED
    assert seen.table[["time_ns", "function", "what", "value"]].tolist() == [
        (OFFSET + 1000, 1, Happened.FLR, 1),
        (OFFSET + 1500, 2, Happened.WRITTEN, 0),
        (OFFSET + 2000, 1, Happened.READ, 0),
    ]
    assert (seen.error_ns, seen.lost) == (300, 5)


def test_a_clock_that_drifts_is_followed_and_widens_the_error() -> None:
    one = Fake(rows=b"".join(row(at) for at in (-5, 0, 500, 1000, 2000)))
    serving = Serving(plan(), {"one": one}.get)
    seen = serving.witnessed(reading(0), reading(1000, offset_ns=OFFSET + 200))
    assert (seen.table["time_ns"] - OFFSET).tolist() == [-5, 0, 600, 1200, 2200]
    assert seen.error_ns == 100


def test_two_readings_at_one_moment_divide_by_nothing() -> None:
    serving = Serving(plan(), {"one": Fake(rows=row(5))}.get)
    assert serving.witnessed(reading(0), reading(0)).table["time_ns"].tolist() == [OFFSET + 5]


def test_without_models_there_is_nothing() -> None:
    with Serving(plan(), lambda _: None) as serving:
        serving.released(now_on_target(), reading(0))
    seen = serving.witnessed(reading(0), reading(1))
    assert (len(seen.table), seen.error_ns, seen.lost) == (0, 0, 0)
    assert seen.table.dtype == SERVED
    assert np.array_equal(seen.table, np.zeros(0, SERVED))


def test_a_models_mistake_is_told_while_the_stage_runs_and_at_its_end_though_it_was_harmed() -> None:
    one, two = Fake(), Fake()
    with Serving(plan([planned(SILENT)], [incident()]), {"one": one, "two": two}.get) as serving:
        serving.check()
        one.wrong = ModelError("model one", said="it ended the program with status 0")
        with pytest.raises(ModelError, match="status 0"):
            serving.check()
    assert serving.failed is one.wrong, "an incident excuses that it is gone, not what it did"

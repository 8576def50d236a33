"""Parts, and the plan that they add up to."""

from __future__ import annotations

import pytest

from harness.errors import UsageError
from harness.model.fault import Fault, Incident, IncidentKind, Misbehaviour, Occasion, PlannedFault
from harness.model.operation import ATTRIBUTE_READ, HEARTBEAT, reset
from harness.model.pci import ResetMethod
from harness.model.plan import Actor, File, Op, Setting, Step
from harness.model.units import MS, SECOND, Ns
from harness.staging.acting import acting, pause
from harness.staging.part import DEADLINE, Part, plan_of
from tests.unit.staging.functions import ORACLE

STEP = Step(op=Op.READ, means=ATTRIBUTE_READ, file=File(function="igb0", role="vendor"), width=64)


def part(*names: str, functions: tuple[str, ...] = ("igb0",), settings: tuple[Setting, ...] = ()) -> Part:
    actors = tuple(Actor(name=name, steps=(STEP,)) for name in names)
    return Part(functions=functions, actors=actors, settings=settings)


def method(value: str, function: str = "igb0") -> Setting:
    return Setting(function=function, attribute="reset_method", value=value)


def names(*parts: Part) -> list[str]:
    return [actor.name for actor in plan_of(parts, title="t", lasting="1ms").actors]


def test_a_name_that_is_unique_is_kept() -> None:
    assert names(part("reader"), part("resetter")) == ["reader", "resetter", "heartbeat"]


def test_names_that_clash_are_numbered_over_all_parts() -> None:
    assert names(part("reader", "reader"), part("resetter"), part("reader")) == [
        "reader-1",
        "reader-2",
        "resetter",
        "reader-3",
        "heartbeat",
    ]


def test_a_heart_beats_in_every_stage() -> None:
    heart = plan_of([part("reader")], title="t", lasting="1ms").actors[-1]
    assert [(step.op, step.means, step.time_ns) for step in heart.steps] == [(Op.PAUSE, HEARTBEAT, 10 * MS)]
    assert (heart.times, heart.starts_ns) == (None, 0)


def test_durations_are_read_and_the_rest_is_passed_on() -> None:
    parts = [part("a", settings=(method("flr"),))]
    plan = plan_of(parts, title="title", lasting="1.5s", meets=3, deadline="250ms", seed=9)
    assert (plan.title, plan.lasting_ns, plan.deadline_ns) == ("title", 1500 * MS, 250 * MS)
    assert (plan.meets, plan.seed) == (3, 9)
    assert plan_of([part("a")], title="t", lasting=Ns(5_000)).deadline_ns == DEADLINE == 30 * SECOND


RESET = Step(op=Op.WRITE, means=reset(ResetMethod.FLR), file=File(function="igb0", role="reset"), value=b"1")


@pytest.mark.parametrize(
    "other",
    [
        Part(functions=("igb0",), actors=(Actor(name="resets", steps=(RESET,)),)),
        Part(functions=("igb0",), modules=("mine.ko",)),
        part("has a driver", settings=(Setting(function="igb0", attribute="driver", value="ipr"),)),
    ],
    ids=["resets", "brings a module", "has a driver"],
)
def test_windows_that_somebody_may_open_can_be_met(other: Part) -> None:
    assert plan_of([part("looks"), other], title="t", lasting="1s", meets=1).meets == 1


def test_windows_that_nobody_opens_cannot_be_met() -> None:
    with pytest.raises(UsageError, match=r"to be met \(1\), and nobody does anything that opens one\. Add a"):
        plan_of([part("looks"), part("looks, too")], title="t", lasting="1s", meets=1)


def test_functions_and_settings_are_listed_once_in_their_order() -> None:
    plan = plan_of(
        [
            part("a", functions=("igb1",), settings=(method("flr", "igb1"),)),
            part("b", settings=(method("pm"),)),
            part("c", functions=("igb1",), settings=(method("flr", "igb1"),)),
        ],
        title="t",
        lasting="1ms",
    )
    assert plan.functions == ("igb1", "igb0")
    assert plan.settings == (method("flr", "igb1"), method("pm"))


def test_one_method_at_a_time() -> None:
    with pytest.raises(UsageError, match="reset_method of igb0 cannot be both 'flr' and 'bus'"):
        plan_of(
            [part("a", settings=(method("flr"),)), part("b", settings=(method("bus"),))],
            title="t",
            lasting="1ms",
        )


def test_two_functions_may_differ() -> None:
    plan_of(
        [part("a", settings=(method("flr", "igb0"),)), part("b", settings=(method("bus", "igb1"),))],
        title="t",
        lasting="1ms",
    )


def test_oracles_are_listed_once() -> None:
    parts = [Part(functions=("igb0",), actors=(), oracles=oracles) for oracles in ((ORACLE,), (), (ORACLE,))]
    plan = plan_of([part("a"), *parts], title="t", lasting="1ms")
    assert (plan.oracles, plan.meets, plan.seed) == ((ORACLE,), 0, 0)


def test_modules_are_listed_once_in_their_order() -> None:
    parts = [Part(functions=("igb0",), actors=(), modules=modules) for modules in (("b", "a"), (), ("a",))]
    assert plan_of([part("a"), *parts], title="t", lasting="1ms").modules == ("b", "a")


@pytest.mark.parametrize(
    ("functions", "ports"),
    [
        (("igb0", "igb0.port"), {"igb0": "igb0.port"}),
        (("igb0.port", "igb0", "nvme0"), {"igb0": "igb0.port"}),
        (("igb0", "nvme0.port"), {}),
        (("igb0.port",), {}),
    ],
)
def test_a_port_belongs_to_its_function_when_both_take_part(
    functions: tuple[str, ...], ports: dict[str, str]
) -> None:
    parts = [part("a", functions=(alias,)) for alias in functions]
    plan = plan_of(parts, title="t", lasting="1ms")
    assert (plan.functions, plan.ports) == (functions, ports)


def acts(*steps: Step, starts: str = "0s", times: int | None = None) -> Part:
    return acting(("igb0",), "late", steps, starting=starts, times=times)


@pytest.mark.parametrize(
    "on_time",
    [
        acts(STEP, starts="99ms"),
        acts(*pause("50ms"), STEP, starts="49ms"),
        acts(STEP, *pause("300ms"), times=2),
        acts(*pause("300ms")),
        acts(STEP, *pause("99ms"), times=1),
    ],
)
def test_the_first_round_lies_within_the_stage(on_time: Part) -> None:
    plan_of([on_time], title="t", lasting="100ms")


@pytest.mark.parametrize(
    ("late", "when"),
    [
        (acts(STEP, starts="100ms"), "100 ms"),
        (acts(*pause("50ms"), STEP, starts="50ms"), "100 ms"),
        (acts(STEP, *pause("90ms"), STEP, *pause("90ms"), STEP, times=3), "180 ms"),
        (acts(STEP, *pause("250ms"), times=1), "250 ms"),
    ],
)
def test_what_would_come_after_the_end_is_a_mistake(late: Part, when: str) -> None:
    """It is never done, and a descriptor that was to be kept is closed at once."""
    with pytest.raises(
        UsageError, match=f"^stage 't' of 100 ms: late is not done before {when}. Let the stage last longer"
    ):
        plan_of([part("a"), late], title="t", lasting="100ms")


def test_a_stage_needs_a_part() -> None:
    with pytest.raises(UsageError, match="nobody acts"):
        plan_of([], title="t", lasting="1ms")


@pytest.mark.parametrize("lasting", ["soon", "10", Ns(-1)])
def test_a_stage_lasts_a_duration(lasting: str | Ns) -> None:
    with pytest.raises(UsageError, match="duration"):
        plan_of([part("a")], title="t", lasting=lasting)


def goes_wrong(at_ms: int = 0, function: str = "endpoint0") -> Part:
    when = {"when": Occasion.TIME, "at_ns": Ns(at_ms * MS)} if at_ms else {}
    fault = Fault(what=Misbehaviour.ALL_ONES_CONFIG, **when)  # type: ignore[arg-type]
    return Part(functions=(function,), faults=(PlannedFault(function=function, fault=fault),))


def is_struck(at_ms: int, function: str = "endpoint0") -> Part:
    struck = Incident(function=function, kind=IncidentKind.UNPLUGGED, at_ns=Ns(at_ms * MS))
    return Part(functions=(function,), incidents=(struck,))


def test_faults_keep_their_order_and_incidents_come_by_their_time() -> None:
    parts = [
        part("reader"),
        is_struck(500, "endpoint1"),
        goes_wrong(200),
        is_struck(300),
        goes_wrong(),
        is_struck(500),
    ]
    plan = plan_of(parts, title="t", lasting="1s")
    assert plan.functions == ("igb0", "endpoint1", "endpoint0")
    assert [one.fault.at_ns for one in plan.faults] == [200 * MS, 0]
    assert [(one.at_ns, one.function) for one in plan.incidents] == [
        (300 * MS, "endpoint0"),
        (500 * MS, "endpoint1"),
        (500 * MS, "endpoint0"),
    ]


@pytest.mark.parametrize("wrong", [goes_wrong(1000), is_struck(1000), is_struck(5000)], ids=str)
def test_what_goes_wrong_after_the_end_is_refused(wrong: Part) -> None:
    with pytest.raises(UsageError, match="when it is over"):
        plan_of([part("reader"), wrong], title="t", lasting="1s")


@pytest.mark.parametrize(
    ("driver", "asked"),
    [
        ("ipr", Setting(function="igb0", attribute="msi_bus", value="0")),
        ("vfio-pci", Setting(function="", attribute="module/vfio_pci/enable_sriov", value="Y")),
    ],
)
def test_what_a_driver_asks_for_when_it_is_bound_is_set_before_whoever_binds_it(
    driver: str, asked: Setting
) -> None:
    bound = Setting(function="igb0", attribute="driver", value=driver)
    parts = [part("a", settings=(bound,)), part("b", settings=(asked, bound))]
    assert plan_of(parts, title="t", lasting="1s").settings == (asked, bound)

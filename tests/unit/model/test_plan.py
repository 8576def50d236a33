"""A plan is data: it is written into every history and read back as it was."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given

from harness.errors import HarnessError, HistoryError, UsageError
from harness.model.fault import Fault, Incident, IncidentKind, Misbehaviour, PlannedFault
from harness.model.operation import HEARTBEAT, config_read, reset, verb, way
from harness.model.pci import AccessPath, ResetMethod
from harness.model.plan import Actor, Op, Plan, Privilege, Retries, Step
from harness.model.units import Ns
from tests.unit.model.strategies import PLANS

BEAT = Actor(name="heartbeat", steps=(Step(op=Op.PAUSE, means=HEARTBEAT, time_ns=Ns(1000)),))


def plan(*actors: Actor) -> Plan:
    return Plan(title="t", functions=(), actors=actors, lasting_ns=Ns(1), deadline_ns=Ns(1))


@given(PLANS)
def test_a_plan_survives_json_as_text(plan: Plan) -> None:
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_bytes_are_hexadecimal() -> None:
    actor = Actor(name="a", steps=(Step(op=Op.WRITE, means=reset(ResetMethod.FLR), value=b"1\n"),))
    assert plan(actor).to_json()["actors"][0]["steps"][0]["value"] == "310a"


def test_somebody_must_act() -> None:
    with pytest.raises(UsageError, match="nobody acts"):
        plan()


def test_names_of_actors_are_unique() -> None:
    with pytest.raises(UsageError, match="share a name"):
        plan(BEAT, BEAT)


OLD_STEP = plan(BEAT).to_json()["actors"][0]["steps"][0]
AGAIN = {"errnos": [11, 16], "attempts": 3, "first_ns": 1, "longest_ns": 2, "patience_ns": 3}


def test_what_an_actor_may_do_and_how_it_tries_again_is_read_back() -> None:
    step = OLD_STEP | {"owners": ["igb0", "igb1"], "retries": AGAIN}
    data = plan(BEAT).to_json() | {"ports": {"igb0": "igb0.port"}, "modules": ["vfio-pci"]}
    data["actors"] = [data["actors"][0] | {"privilege": "dropped", "steps": [step]}]
    read = Plan.from_json(data)
    (actor,) = read.actors
    assert actor.privilege is Privilege.DROPPED
    assert actor.steps[0].owners == ("igb0", "igb1")
    assert actor.steps[0].retries == Retries(
        errnos=(11, 16), attempts=3, first_ns=Ns(1), longest_ns=Ns(2), patience_ns=Ns(3)
    )
    assert (read.ports, read.modules) == ({"igb0": "igb0.port"}, ("vfio-pci",))


def test_what_a_later_harness_added_is_ignored() -> None:
    incident = {"function": "a", "kind": "unplugged", "at_ns": 10**9, "lasting_ns": 0, "detail": ""}
    data = plan(BEAT).to_json() | {"weather": "fine", "incidents": [incident | {"surprise": 1}]}
    data["actors"] = [data["actors"][0] | {"steps": [OLD_STEP | {"retries": AGAIN | {"hope": 1}}]}]
    read = Plan.from_json(data)
    assert len(read.incidents) == 1
    assert read.actors[0].steps[0].retries is not None


def test_plans_of_older_histories_lack_what_came_later() -> None:
    step = _without(OLD_STEP, "owners", "retries")
    data = _without(plan(BEAT).to_json(), *LATER)
    data["actors"] = [_without(data["actors"][0], "privilege") | {"steps": [step]}]
    assert Plan.from_json(data) == plan(BEAT)


@pytest.mark.parametrize(
    ("errnos", "attempts"), [((), 3), (tuple(range(1, 10)), 3), ((11, 0, 16), 3), ((-7,), 3), ((11,), 1)]
)
def test_retries_that_the_loop_cannot_carry_out_are_refused(errnos: tuple[int, ...], attempts: int) -> None:
    with pytest.raises(UsageError, match=r"1 to 8 errno numbers.*at least 2 attempts"):
        Retries(errnos=errnos, attempts=attempts, first_ns=Ns(1), longest_ns=Ns(1), patience_ns=Ns(1))


@pytest.mark.parametrize(
    "change",
    [
        {"privilege": "king"},
        {"steps": [OLD_STEP | {"retries": {"errnos": [11]}}]},
        {"steps": [OLD_STEP | {"retries": AGAIN | {"errnos": 11}}]},
        {"steps": [OLD_STEP | {"retries": AGAIN | {"errnos": []}}]},
        {"steps": [OLD_STEP | {"retries": 5}]},
        {"steps": [OLD_STEP | {"owners": 5}]},
    ],
    ids=str,
)
def test_an_actor_of_the_wrong_form_is_malformed_evidence(change: dict[str, Any]) -> None:
    data = plan(BEAT).to_json()
    data["actors"] = [data["actors"][0] | change]
    with pytest.raises(HistoryError, match="malformed"):
        Plan.from_json(data)


def _without(data: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name not in keys}


LATER = {"modules", "ports", "faults", "incidents", "before"}


@pytest.mark.parametrize("key", sorted({*plan(BEAT).to_json()} - LATER))
def test_a_missing_field_is_malformed_evidence(key: str) -> None:
    with pytest.raises(HistoryError, match="malformed"):
        Plan.from_json(_without(plan(BEAT).to_json(), key))


@pytest.mark.parametrize(
    "change",
    [
        {"actors": []},
        {"actors": None},
        {"actors": ["reader"]},
        {"actors": [plan(BEAT).to_json()["actors"][0] | {"steps": [{"op": "jump"}]}]},
        {"settings": [{"function": "igb0"}]},
        {"oracles": [{"surprise": 1}]},
        {"functions": 7},
        {"faults": 7},
        {"faults": [{"function": "endpoint0"}]},
        {"faults": [{"function": "endpoint0", "fault": {"what": "dances"}}]},
        {"faults": [{"function": "endpoint0", "fault": {"what": "never-ready", "lasting_ns": 5}}]},
        {"incidents": [{"function": "endpoint0", "kind": "unplugged"}]},
        {"incidents": [{"function": "endpoint0", "kind": "struck-by-lightning", "at_ns": 10**9}]},
        {"incidents": [{"function": "endpoint0", "kind": "unplugged", "at_ns": 5}]},
    ],
    ids=str,
)
def test_a_field_of_the_wrong_form_is_malformed_evidence(change: dict[str, Any]) -> None:
    with pytest.raises(HistoryError, match="malformed"):
        Plan.from_json(plan(BEAT).to_json() | change)


def test_what_goes_wrong_is_told_function_by_function() -> None:
    storm, deaf = Fault(what=Misbehaviour.INTERRUPT_STORM), Fault(what=Misbehaviour.LOSE_INTERRUPTS)
    late = Incident(function="b", kind=IncidentKind.UNPLUGGED, at_ns=Ns(10**9))
    staged = dataclasses.replace(
        plan(BEAT),
        functions=("a", "b"),
        faults=(
            PlannedFault(function="b", fault=storm),
            PlannedFault(function="a", fault=deaf),
            PlannedFault(function="b", fault=deaf),
        ),
        incidents=(late,),
    )
    assert staged.faults_of("b") == (storm, deaf)
    assert staged.wrongs("a") == {"lose-interrupts"}
    assert staged.wrongs("b") == {"interrupt-storm", "lose-interrupts", "unplugged"}
    assert staged.wrongs("c") == frozenset()


def test_operations_are_a_verb_and_a_way() -> None:
    assert (verb(reset(ResetMethod.FLR)), way(reset(ResetMethod.FLR))) == ("reset", "flr")
    assert config_read(AccessPath.PROC) == "config-read/proc"
    assert (verb(HEARTBEAT), way(HEARTBEAT)) == ("heartbeat", "")


def test_every_error_of_a_plan_is_one_of_ours() -> None:
    broken: tuple[Any, ...] = (None, [], "plan", 7, {})
    for one in broken:
        with pytest.raises(HarnessError):
            Plan.from_json(one)

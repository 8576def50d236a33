"""Faults and incidents are data: what contradicts itself is refused, the rest travels as JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from harness.errors import UsageError
from harness.model.fault import (
    ACTS,
    EARLIEST_INCIDENT,
    OF_A_REGISTER,
    OF_A_VALUE,
    Fault,
    Incident,
    IncidentKind,
    Misbehaviour,
    Occasion,
)
from harness.model.units import MS, Ns
from tests.unit.model.strategies import FAULTS

SILENT = Misbehaviour.ALL_ONES_CONFIG


@given(FAULTS)
def test_a_fault_travels_as_json(fault: Fault) -> None:
    assert Fault.from_json(json.loads(json.dumps(fault.to_json()))) == fault


def test_what_is_not_said_has_its_default() -> None:
    assert Fault.from_json({"what": "never-ready"}) == Fault(what=Misbehaviour.NEVER_READY)


def test_words_are_not_shared_by_faults_and_incidents() -> None:
    """The contract speaks of both in one field."""
    assert not {*map(str, Misbehaviour)} & {*map(str, IncidentKind)}
    assert Misbehaviour(SILENT) in Misbehaviour
    assert {*Misbehaviour} >= OF_A_REGISTER | OF_A_VALUE | ACTS


@pytest.mark.parametrize(
    ("what", "wrong"),
    [
        (SILENT, {"when": Occasion.ACCESSES}),
        (SILENT, {"after": -1}),
        (SILENT, {"after": 3}),
        (SILENT, {"after": 3, "when": Occasion.TIME}),
        (SILENT, {"at_ns": 5}),
        (SILENT, {"at_ns": -5, "when": Occasion.TIME}),
        (SILENT, {"register": "command"}),
        (SILENT, {"value": 1}),
        (SILENT, {"lasting_ns": 0}),
        (SILENT, {"lasting_ns": -1}),
        (SILENT, {"times": -1}),
        (Misbehaviour.WRONG_VALUE, {}),
        (Misbehaviour.WRONG_VALUE, {"register": "command", "value": -1}),
        (Misbehaviour.LOSE_WRITES, {}),
        (Misbehaviour.LOSE_WRITES, {"register": "command", "value": 1}),
        (Misbehaviour.NOT_READY, {}),
        (Misbehaviour.NEVER_READY, {"lasting_ns": 5}),
        (Misbehaviour.SELF_TEST_FAILS, {"value": 0}),
        (Misbehaviour.SELF_TEST_FAILS, {"value": 16}),
    ],
    ids=str,
)
def test_a_fault_that_contradicts_itself_is_refused(what: Misbehaviour, wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=what):
        Fault(what=what, **wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"what": "dances"},
        {"what": SILENT, "when": "never"},
        {"what": SILENT, "lasting_ns": "long"},
        {"what": SILENT, "value": "much"},
        {"what": SILENT, "times": None},
    ],
    ids=str,
)
def test_words_that_nobody_knows_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Fault.from_json(wrong)


def incident(kind: IncidentKind, **what: Any) -> Incident:
    return Incident(**{"function": "endpoint0", "kind": kind, "at_ns": EARLIEST_INCIDENT, **what})


@pytest.mark.parametrize("kind", IncidentKind)
def test_what_an_incident_must_say_depends_on_its_kind(kind: IncidentKind) -> None:
    ways: dict[IncidentKind, dict[str, object]] = {
        IncidentKind.SERVER_STALLED: {"lasting_ns": Ns(5 * MS)},
        IncidentKind.LINK_ERROR: {"detail": "DLP"},
    }
    right = ways.get(kind, {})
    assert incident(kind, **right).kind is kind
    for wrong in ({"lasting_ns": Ns(5 * MS)}, {"detail": "DLP"}):
        if wrong != right:
            with pytest.raises(UsageError, match=f"{kind} of endpoint0"):
                incident(kind, **wrong)
    if right:
        with pytest.raises(UsageError, match=f"{kind} of endpoint0"):
            incident(kind)


def test_an_incident_before_the_host_can_know_is_refused() -> None:
    with pytest.raises(UsageError, match="learns of the release"):
        incident(IncidentKind.UNPLUGGED, at_ns=EARLIEST_INCIDENT - 1)

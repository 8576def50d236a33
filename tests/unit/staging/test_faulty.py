"""What goes wrong, in verbs."""

from __future__ import annotations

from typing import Any

import pytest

from harness.errors import UsageError
from harness.model.fault import Fault, Incident, IncidentKind, Misbehaviour, Occasion, PlannedFault
from harness.model.units import MS, SECOND, Ns
from harness.staging.faulty import Faulty
from tests.unit.staging.functions import IGB

FAULTY = Faulty(IGB)
SILENT = Misbehaviour.ALL_ONES_CONFIG


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({}, {}),
        ({"after": "flr"}, {"when": Occasion.FLR}),
        ({"after": "bus", "passing": 2}, {"when": Occasion.BUS_RESET, "after": 2}),
        ({"after": "pm", "times": 1}, {"when": Occasion.WAKE, "times": 1}),
        ({"accesses": 7}, {"when": Occasion.ACCESSES, "after": 7}),
        ({"at": "1.5s"}, {"when": Occasion.TIME, "at_ns": 1500 * MS}),
        ({"lasting": "800ms"}, {"lasting_ns": 800 * MS}),
        ({"lasting": Ns(5_000)}, {"lasting_ns": 5_000}),
    ],
    ids=str,
)
def test_words_say_when_a_fault_begins_and_ends(words: dict[str, Any], expected: dict[str, Any]) -> None:
    part = FAULTY.fails(SILENT, **words)
    assert part.faults == (PlannedFault(function="igb0", fault=Fault(what=SILENT, **expected)),)
    assert (part.functions, part.actors, part.incidents) == (("igb0",), (), ())


def test_what_is_about_a_register_names_it() -> None:
    part = FAULTY.fails(Misbehaviour.WRONG_VALUE, register="revision", value=7)
    assert part.faults[0].fault == Fault(what=Misbehaviour.WRONG_VALUE, register="revision", value=7)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"after": "flr", "accesses": 3}, "after and accesses both say"),
        ({"after": "flr", "at": "1s"}, "after and at both say"),
        ({"accesses": 3, "at": "1s"}, "accesses and at both say"),
        ({"after": "acpi"}, "no model knows that reset"),
        ({"after": "hope"}, "hope"),
        ({"passing": 2}, "no reset makes it begin"),
        ({"passing": 2, "accesses": 3}, "no reset makes it begin"),
        ({"lasting": "0s"}, "lasting 0 ns"),
        ({"lasting": "long"}, "not understood"),
        ({"register": "command"}, "of register"),
        ({"value": 3}, "value 0x3"),
    ],
    ids=str,
)
def test_words_that_contradict_each_other_are_refused(words: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        FAULTY.fails(SILENT, **words)


AT = {"at": "2s"}


@pytest.mark.parametrize(
    ("part", "kind", "more"),
    [
        (FAULTY.is_killed(**AT), IncidentKind.SERVER_KILLED, {}),
        (FAULTY.stalls(lasting="50ms", **AT), IncidentKind.SERVER_STALLED, {"lasting_ns": Ns(50 * MS)}),
        (FAULTY.is_replaced(**AT), IncidentKind.SERVER_RESTARTED, {}),
        (FAULTY.is_unplugged(**AT), IncidentKind.UNPLUGGED, {}),
        (FAULTY.link_reports("DLP", **AT), IncidentKind.LINK_ERROR, {"detail": "DLP"}),
    ],
    ids=lambda value: str(value) if isinstance(value, IncidentKind) else "",
)
def test_each_verb_is_an_incident(part: Any, kind: IncidentKind, more: dict[str, Any]) -> None:
    assert part.incidents == (Incident(function="igb0", kind=kind, at_ns=Ns(2 * SECOND), **more),)
    assert (part.functions, part.actors, part.faults) == (("igb0",), (), ())


def test_each_kind_of_incident_has_a_verb() -> None:
    made = {
        FAULTY.is_killed(at="1s"),
        FAULTY.stalls(at="1s", lasting="1s"),
        FAULTY.is_replaced(at="1s"),
        FAULTY.is_unplugged(at="1s"),
        FAULTY.link_reports("DLP", at="1s"),
    }
    assert {one.incidents[0].kind for one in made} == set(IncidentKind)


def test_what_the_host_cannot_do_in_time_is_refused() -> None:
    with pytest.raises(UsageError, match="learns of the release"):
        FAULTY.is_killed(at="50ms")
    with pytest.raises(UsageError, match="lasting 0 ns"):
        FAULTY.stalls(at="1s", lasting="0s")
    with pytest.raises(UsageError, match="detail"):
        FAULTY.link_reports("", at="1s")

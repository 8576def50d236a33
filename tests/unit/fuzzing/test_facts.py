"""Facts on functions are plain data, and tell what a verb must know."""

from __future__ import annotations

import json

import pytest

from harness.errors import UsageError
from harness.fuzzing.facts import from_json, to_json
from tests.unit.fuzzing.facts import KNOWN


def test_facts_survive_their_journey() -> None:
    assert from_json(json.loads(json.dumps(to_json(KNOWN)))) == KNOWN


def test_what_are_no_facts_is_refused() -> None:
    with pytest.raises(UsageError, match="alias is missing"):
        from_json([{"port": None}])


def test_a_bus_reset_is_not_taken_where_there_is_a_sibling() -> None:
    """The kernel lists it for who was found first, and refuses it."""
    listed = KNOWN["duo0"].traits.reset_methods
    assert "bus" in listed
    assert "bus" not in KNOWN["duo0"].methods
    assert "bus" in KNOWN["endpoint0"].methods

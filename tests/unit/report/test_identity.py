from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.report.identity import identities, identity, slug


@pytest.mark.parametrize(
    ("node_id", "classname", "name"),
    [
        ("tests/test_a.py::test_b", "tests.test_a", "test_b"),
        ("tests/test_a.py::TestC::test_b[igb-flr]", "tests.test_a.TestC", "test_b[igb-flr]"),
        ("t.py::test_b[a::b/c|d]", "t", "test_b[a::b-c-d]"),
        ("harness/scenarios/test_flr.py::test_b", "harness.scenarios.test_flr", "test_b"),
        (
            ".venv/lib/python3.11/site-packages/harness/scenarios/test_flr.py::test_b",
            "harness.scenarios.test_flr",
            "test_b",
        ),
        ("../../opt/src/hil/harness/scenarios/test_flr.py::test_b", "harness.scenarios.test_flr", "test_b"),
        ("../other/test_a.py::test_b", "other.test_a", "test_b"),
        ("tests/test_a.py", "tests.test_a", "collection"),
    ],
)
def test_identity(node_id: str, classname: str, name: str) -> None:
    found = identity(node_id)
    assert (found.classname, found.name) == (classname, name)


@given(node_ids=st.lists(st.text(alphabet=st.characters(exclude_categories=())), unique=True, max_size=6))
def test_identities_and_slugs_are_unique_and_harmless(node_ids: list[str]) -> None:
    found = list(identities(node_ids).values())
    assert len(set(found)) == len(node_ids)
    for one in found:
        assert one.name
        assert len(one.name) <= 200
        assert not re.search(r"[/|\x00-\x20]", one.name)
    assert all(re.fullmatch(r"[A-Za-z0-9.-]+", slug(node_id)) for node_id in node_ids)
    assert len({slug(node_id) for node_id in node_ids}) == len(node_ids)

"""Rules that are asked together find what they would find one by one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.history.console import read_console
from harness.judge.evidence.log_lines import Rules, begins_lines
from harness.model.terms import LogClass
from tests.unit.judge.build import CONTRACT

GOLDEN = Path(__file__).parents[2] / "golden" / "kernel_log"


@pytest.mark.parametrize(
    ("pattern", "begins"),
    [
        ("^a", True),
        ("^a|^b", True),
        ("^(a|b)|^c[|]d", True),
        (r"^a\|b", True),
        ("a", False),
        ("^a|b", False),
        ("(?:^|x)a", False),
        ("^a|", False),
        ("", False),
    ],
)
def test_a_pattern_that_holds_only_where_a_line_begins(pattern: str, begins: bool) -> None:  # noqa: FBT001
    assert begins_lines(pattern) is begins


def test_rules_find_what_the_first_one_that_matches_finds() -> None:
    each = [rule for rule in CONTRACT.log_rules if rule.kind is not LogClass.HELPER]
    rules = Rules(CONTRACT.log_rules)
    for path in GOLDEN.glob("*.txt"):
        for line in read_console(path.read_text()).lines:
            for text in (line.text, f"x\n{line.text}"):
                first = next((rule for rule in each if re.search(rule.pattern, text, re.MULTILINE)), None)
                found = rules.find(text)
                assert (found and found[0]) == first, text

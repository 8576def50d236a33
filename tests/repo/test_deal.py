"""In which order `./lab/test` deals its files."""

from __future__ import annotations

from tests.gate.deal import dealt, evenly
from tests.repo.tree import ROOT


def test_each_row_keeps_its_order_and_is_spread_over_the_whole() -> None:
    assert evenly(["A", "B"], ["1", "2", "3", "4", "5"]) == ["1", "A", "2", "3", "4", "B", "5"]
    assert evenly([], ["1"]) == ["1"]
    assert evenly() == []


def test_what_waits_for_the_shipped_scenarios_comes_first_and_nothing_is_lost() -> None:
    files = [str(path.relative_to(ROOT)) for path in sorted((ROOT / "tests").glob("**/test_*.py"))]
    order = dealt(files, ROOT)
    assert sorted(order) == files
    assert order[:2] == ["tests/guest/test_scenarios.py", "tests/guest/test_scenarios_flipped.py"]
    half = order[: len(order) // 2]
    guests = [file for file in files if file.startswith("tests/guest/")]
    assert len(guests) / 3 < len(set(guests) & set(half)) < 2 * len(guests) / 3

"""What the taint of a kernel tells of a fault."""

from __future__ import annotations

import pytest

from harness.model.taint import faults_since


@pytest.mark.parametrize(
    ("before", "now", "says"),
    [
        (0, 0, ""),
        (1 << 12, 1 << 12 | 1 << 13, ""),  # modules: out of tree, unsigned
        (0, 1 << 9, "a kernel warning"),
        (1 << 9, 1 << 9, ""),
        (1 << 9, 1 << 9 | 1 << 7, "an oops or BUG"),
    ],
)
def test_only_a_fault_since_then_shakes_a_kernel(before: int, now: int, says: str) -> None:
    assert faults_since(before, now) == says

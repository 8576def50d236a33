"""Readers of config space sleep while somebody resets the function."""

from collections.abc import Callable

import pytest

from harness.model.pci import MethodWord
from harness.plugin.staging import Stage
from harness.staging.function import Function
from harness.staging.part import Part


@pytest.mark.dut("igb0")
@pytest.mark.parametrize("method", ["flr"])
def test_readers_sleep_through_a_reset(
    dut: Function, stage: Stage, readers: Callable[[], tuple[Part, ...]], method: MethodWord
) -> None:
    stage(*readers(), dut.resets(method, at="50ms"), lasting="300ms", meets=1)

"""What a real kernel shows of the functions around a plan, and of the callbacks of drivers that are bound."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.judge.remarks import UNTOLD
from harness.model.observation import Callbacks
from tests.guest.invocation import harness

SCENARIO = """
import pytest
from harness.staging.part import Part
from harness.staging.vfio_user import bound

@pytest.mark.dut("pair0")
def test_around(dut, stage):
    stage(dut.reads("sysfs"), lasting="50ms")

@pytest.mark.parametrize("driver", ["igb"])
@pytest.mark.dut("igb0")
def test_untold(dut, stage, driver):
    under = Part(functions=(dut.alias,), settings=(bound(dut, driver),), modules=(driver,))
    stage(under, dut.resets("flr", at="100ms"), dut.reads("sysfs", at=0x08), lasting="600ms", meets=1)

@pytest.mark.parametrize("driver", ["nvme"])
@pytest.mark.dut("nvme0")
def test_told(dut, stage, driver):
    under = Part(functions=(dut.alias,), settings=(bound(dut, driver),), modules=(driver,))
    stage(under, dut.resets("flr", at="100ms"), dut.reads("sysfs", at=0x08), lasting="600ms", meets=1)
"""


@pytest.mark.usefixtures("place")
def test_neighbours_are_read_and_callbacks_are_those_of_the_kernel(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(SCENARIO)
    run = harness("run", "test_mine.py", cwd=tmp_path)
    by_title = {one.plan.title.partition("[")[0]: one for one in run.histories().values()}

    around = by_title["test_around"]
    (own,), neighbours = around.functions, around.neighbours or ()
    port, sibling = neighbours
    assert (port.bdf, sibling.port, sibling.bdf) == (own.port, own.port, own.bdf[:-1] + "1")
    assert {len(one.config_before) for one in neighbours} == {4096}
    assert all(one.config_before[:4] == one.config_after[:4] for one in neighbours)

    assert by_title["test_untold"].functions[0].callbacks == Callbacks()
    assert by_title["test_told"].functions[0].callbacks == Callbacks("nvme_reset_prepare", "nvme_reset_done")
    stages = {entry.test: entry.stages for entry in run.session.entries}
    told = {test.partition("::")[2].partition("[")[0]: one.remarks for test, (one,) in stages.items()}
    (remark,) = (one for one in told["test_untold"] if one.kind == UNTOLD)
    assert remark.text == "igb was not told of 1 reset of igb0: it has no reset_prepare and no reset_done"
    assert not [one for name in ("test_around", "test_told") for one in told[name] if one.kind == UNTOLD]

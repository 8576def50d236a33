"""A model of one's own that does wrong by itself, while something else is staged to go wrong with it.

What was staged excuses its own effects and no others: fault `lose-interrupts` explains no DMA, `keep-scratch` may.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.guest.invocation import cases, harness

_MODEL = """\
from harness.lab.models.declared import MSI, PCI_EXPRESS, POWER_MANAGEMENT, UNCLASSIFIED, endpoint_header, memory_bar
from harness.lab.models.function import Function
from harness.lab.models.registers import Register, RegisterFile, config_space
from harness.model.units import MS, Ns


class Astray(Function):
    def __init__(self, clock):
        header = endpoint_header(vendor=0x1AF4, device=0x10FC, class_code=UNCLASSIFIED)
        config = config_space((*header, memory_bar(0, 0x1000)), (POWER_MANAGEMENT, MSI, PCI_EXPRESS))
        scratch = Register(name="scratch", offset=4, width=4, writable=0xFFFF_FFFF)
        super().__init__(config, {0: RegisterFile((scratch,), 0x1000)}, clock=clock)

    def forgotten(self):
        self.later(Ns(50 * MS), self._goes_astray)

    def _goes_astray(self):
        try:
            self.dma_write(0x5000_0000, b"by itself")
        except OSError:
            pass
"""
_TEST = """\
import pytest
from harness.model.fault import Misbehaviour
from harness.staging.faulty import Faulty

@pytest.mark.parametrize("fault", [Misbehaviour.LOSE_INTERRUPTS, Misbehaviour.KEEP_SCRATCH])
@pytest.mark.dut("astray0")
def test_astray(dut, stage, fault):
    stage(Faulty(dut).fails(fault), dut.resets("flr", at="100ms"), dut.reads("sysfs", at=8), lasting="600ms", meets=1)
"""


@pytest.mark.usefixtures("place")
def test_a_fault_that_explains_no_dma_excuses_none(tmp_path: Path) -> None:
    (tmp_path / "astray.py").write_text(_MODEL)
    (tmp_path / "test_astray.py").write_text(_TEST)
    run = harness("run", "--model", "astray0=astray.py:Astray", "test_astray.py", cwd=tmp_path)
    assert run.status == 1, run.said
    found = cases(run.report())
    bad = found["test_astray[astray0-lose-interrupts]"].find("failure")
    assert bad is not None
    assert bad.get("type") == "hil.mismatch"
    assert "wrote to bus address 0x50000000 and was refused" in str(bad.get("message"))
    open_ = found["test_astray[astray0-keep-scratch]"].find("error")
    assert open_ is not None
    assert open_.get("type") == "hil.unknown"
    assert "keep-scratch, which was staged, may be why" in str(open_.get("message"))

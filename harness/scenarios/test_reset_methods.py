"""Each advertised reset method resets, restores config space and takes the time it should.

Whether a reset happened is asked of a register that only a reset clears; where the emulated function is known not to
clear it, the contract says so and the test is expected to see just that.
"""

import pytest

from harness.model.pci import MethodWord, ResetMethod
from harness.plugin.staging import Stage
from harness.plugin.verdicts import refuse
from harness.staging.function import Function


@pytest.mark.parametrize("method", ["flr", "pm", "bus"])
@pytest.mark.dut("igb0", "e1000e0", "nvme0", "rng0")
def test_method_resets_and_restores(dut: Function, stage: Stage, method: MethodWord) -> None:
    """Mark the oracle register, reset, read it back; three times."""
    if ResetMethod(method) not in dut.reset_methods:
        refuse(f"the kernel offers no {method} reset for {dut.alias}, only: {', '.join(dut.reset_methods)}")
    stage(dut.resets_with_oracle(method, times=3), dut.reads("sysfs"), lasting="2s", meets=1)


@pytest.mark.parametrize("method", ["flr", "pm", "bus"])
@pytest.mark.dut("igb0", "e1000e0", "nvme0", "rng0")
def test_contended_method_resets_and_restores(dut: Function, stage: Stage, method: MethodWord) -> None:
    """The same while another resetter has the function: the second one waits, and then resets all the same."""
    if ResetMethod(method) not in dut.reset_methods:
        refuse(f"the kernel offers no {method} reset for {dut.alias}, only: {', '.join(dut.reset_methods)}")
    stage(
        dut.resets_with_oracle(method, times=3, holding="600ms"),
        dut.resets(method, at="580ms", times=3, every="600ms"),
        lasting="2400ms",
        meets=1,
    )


@pytest.mark.dut("igb0", "nvme0", "rng0")
def test_flr_bit_behind_the_kernels_back_restores_nothing(dut: Function, stage: Stage) -> None:
    """A raw write of Initiate FLR resets, and config space stays lost: a reset restores nothing it must not."""
    stage(dut.sets_flr_bit(at="20ms"), lasting="300ms")

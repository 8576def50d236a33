"""Root resets an adapter behind its driver's back, by config space: the harm stays with the adapter, and is named.

Nobody stops him: a write of config space through sysfs is what he asked for.  The driver keeps on thinking that all is
well, and its next own reset waits for an answer to a command that the adapter never saw: 10 minutes, of which a test
needs only a few seconds.  A guest in which that happens is thrown away.
"""

import pytest

from harness.model.operation import ONLINE_STATE
from harness.model.verdict import Blame, Verdict
from harness.plugin.lab import Functions
from harness.plugin.staging import Run, Stage
from harness.staging.adapter import Adapter
from harness.staging.function import Function

pytestmark = [pytest.mark.hil_ipr, pytest.mark.dut("ipr0")]

_ONLINE = int.from_bytes(b"online\n", "little")


def stays_with_the_adapter(run: Run, culprit: str) -> None:
    """The reset of the driver hangs, everything else goes on, and the driver has noticed nothing."""
    run.names(
        Blame.TIMEOUT, "host-resetter never returned from adapter-reset/host", "ipr_store_reset_adapter"
    )
    found = run.judgement.findings
    assert any(
        f"{culprit} came unannounced" in one.claim for one in found if one.checker == "persistent_state"
    )
    assert [one.verdict for one in found if one.checker == "kernel_log"] == [Verdict.PASS]
    history = run.history
    told = [row for row in history.operations if history.means(row["actor"], row["step"]) == ONLINE_STATE]
    assert {int(row["value"]) for row in told if row["end_ns"]} == {_ONLINE}


def test_the_bit_of_an_flr(dut: Function, functions: Functions, stage: Stage) -> None:
    """COMMAND is gone: no register of the adapter answers any more."""
    run = stage(
        dut.sets_flr_bit(at="200ms"),
        Adapter(dut).tells_its_state(),
        Adapter(dut).resets(at="600ms"),
        functions("nvme0").reads("sysfs", every="5ms"),
        lasting="1s",
        deadline="3s",
    )
    stays_with_the_adapter(run, "config-write/flr-bit by flr-bit")


def test_a_self_test(dut: Function, functions: Functions, stage: Stage) -> None:
    """It is passed, and afterwards the adapter has forgotten its queues."""
    run = stage(
        dut.tests_itself(at="200ms", waiting="2100ms"),
        Adapter(dut).tells_its_state(),
        Adapter(dut).resets(at="2700ms"),
        functions("nvme0").reads("sysfs", every="5ms"),
        lasting="3s",
        deadline="5s",
    )
    stays_with_the_adapter(run, "config-write/self-test by self-tester")
    (tested,) = (one for one in run.judgement.findings if one.checker == "self_test")
    assert tested.verdict is Verdict.PASS

"""Things happen to a function from outside: it is unplugged, its port reports an error, its server stalls or dies.

What Linux promises then is held against it; what it promises nothing for ends in a verdict that names the incident.
"""

import pytest

from harness.model.pci import REVISION_ID
from harness.model.verdict import Blame
from harness.plugin.staging import Stage
from harness.staging.faulty import Faulty
from harness.staging.function import Function
from harness.staging.vfio_user import VfioUser

PACE = "2ms"
"""Between two reads, in stages of several seconds: a removed function refuses a hundred thousand a second."""


@pytest.mark.dut("endpoint0")
def test_unplugged_under_its_readers(dut: Function, stage: Stage) -> None:
    """The kernel grants five seconds, then it lets go: whoever has a file open is refused from then on."""
    stage(
        Faulty(dut).is_unplugged(at="150ms"),
        dut.reads("sysfs", every=PACE),
        dut.reads("proc", every=PACE),
        dut.reads_attribute(every=PACE),
        lasting="7s",
    )


@pytest.mark.dut("endpoint0")
def test_unplugged_under_its_vfio_user(dut: Function, stage: Stage) -> None:
    """The removal waits until the user closes the function; until then it works for him, but for resets."""
    user = VfioUser(dut)
    stage(
        Faulty(dut).is_unplugged(at="150ms"),
        user.keeps_open("6300ms"),
        user.resets(at="6100ms"),
        dut.reads("sysfs", at=REVISION_ID, every=PACE),
        lasting="7200ms",
        meets=1,
    )


@pytest.mark.dut("endpoint0")
@pytest.mark.parametrize("error", ["RCVR", "POISON_TLP"])
def test_an_error_that_the_link_survives(dut: Function, stage: Stage, error: str) -> None:
    """A receiver error is corrected, a poisoned packet is not fatal: both are logged, and nobody is disturbed."""
    stage(
        Faulty(dut).link_reports(error, at="100ms"),
        VfioUser(dut).reads(),
        dut.reads("sysfs"),
        lasting="800ms",
    )


@pytest.mark.dut("endpoint0")
def test_recovered_by_aer_under_a_vfio_user(dut: Function, stage: Stage) -> None:
    """After a fatal error the bus is reset.  The kernel calls that a success, and nobody restores config space."""
    user = VfioUser(dut)
    stage(
        Faulty(dut).link_reports("DLP", at="150ms"),
        user.reads(),
        user.reads_register(),
        dut.reads("sysfs"),
        lasting="1s",
    )
    stage(user.reads(), dut.reads("sysfs"), lasting="200ms")


@pytest.mark.dut("endpoint0")
def test_aer_recovers_nothing_without_a_driver(dut: Function, stage: Stage) -> None:
    """Nobody answers for the function, so recovery fails, and yet its bus was reset: it answers with its state lost."""
    run = stage(Faulty(dut).link_reports("DLP", at="150ms"), dut.reads("sysfs"), lasting="1s")
    run.names(Blame.DEVICE_LOST, "AER did not recover endpoint0", "no error_detected callback")
    stage(dut.reads("sysfs"), lasting="200ms")


@pytest.mark.dut("endpoint0")
def test_a_server_that_stands_still(dut: Function, stage: Stage) -> None:
    """Whoever accesses the function waits as long, and the guest with him; then everything goes on."""
    run = stage(Faulty(dut).stalls(at="150ms", lasting="1500ms"), dut.reads("sysfs"), lasting="2s")
    run.names(Blame.TIMEOUT, "endpoint0 stood still for 1.5 s")
    stage(dut.resets_with_oracle("flr", at="20ms"), dut.reads("sysfs"), lasting="300ms", meets=1)


@pytest.mark.dut("endpoint0")
def test_a_server_that_is_killed(dut: Function, stage: Stage) -> None:
    """The function is dead from one read to the next; the guest is not."""
    run = stage(Faulty(dut).is_killed(at="150ms"), dut.reads("sysfs"), dut.reads("proc"), lasting="800ms")
    run.names(Blame.DEVICE_LOST, "all-ones", "its server was killed")


@pytest.mark.dut("endpoint0")
def test_a_server_that_is_replaced(dut: Function, stage: Stage) -> None:
    """A dead function is unplugged, a new one comes in its place, and works."""
    run = stage(Faulty(dut).is_replaced(at="150ms"), dut.reads("sysfs", every=PACE), lasting="8s")
    run.names(Blame.DEVICE_LOST, "all-ones", "its server was killed")
    stage(dut.resets_with_oracle("flr", at="20ms"), dut.reads("sysfs"), lasting="300ms", meets=1)

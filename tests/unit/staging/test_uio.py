"""The verb of a driver in user space by UIO."""

from __future__ import annotations

from harness.model import operation
from harness.model.pci import COMMAND, AccessPath
from harness.model.plan import Op, Setting
from harness.staging.uio import UioUser
from tests.unit.staging.functions import IGB


def test_it_waits_for_an_interrupt_and_lets_the_next_one_through_until_the_end() -> None:
    part = UioUser(IGB).handles_interrupts(every="2ms")
    (actor,) = part.actors
    wait, unmask, rest = actor.steps
    assert (wait.op, wait.means, wait.width) == (Op.READ, operation.UIO_WAIT, 4)
    assert wait.file is not None
    assert (wait.file.function, wait.file.role) == (IGB.alias, "uio")
    means = operation.config_write(AccessPath.SYSFS)
    assert (unmask.op, unmask.means, unmask.offset, unmask.value) == (Op.WRITE, means, COMMAND + 1, b"\0")
    assert (rest.op, rest.time_ns, actor.times) == (Op.PAUSE, 2_000_000, None)
    assert part.settings == (Setting(function=IGB.alias, attribute="driver", value="uio_pci_generic"),)
    assert part.modules == ("uio_pci_generic",)

"""Somebody resets a function that a driver in user space serves by UIO.

Its half in the kernel masks INTx in the interrupt handler, with a read and a write of COMMAND that ask for no config
lock: under a spinlock nobody can wait.  So it accesses a function that another has locked and is resetting.
"""

import numpy as np
import pytest

from harness.history.history import History
from harness.model.fault import Misbehaviour
from harness.model.pci import COMMAND
from harness.model.served import Happened
from harness.plugin.staging import Stage
from harness.staging.faulty import Faulty
from harness.staging.function import Function
from harness.staging.uio import UioUser

pytestmark = [pytest.mark.hil_ipr, pytest.mark.dut("endpoint0")]

_CONFIG_SPACE = 7  # number of the region
_MASKED_AND_DECODING = 0x0402  # of COMMAND; the kernel itself masks INTx before a reset, with decoding off
_LINK_CAPABILITIES = 0x0C  # in the PCI Express capability: no reset asks for them


def writes_inside(history: History, untouched: int) -> list[int]:
    """The rows of the model's log in which the handler writes COMMAND between a reset and the end of its restore.

    By order alone, so that no clock can be wrong: whoever restores still accesses the function afterwards, and only
    then comes the first read at `untouched`, which waited for the lock.
    """
    served = history.served
    resets = np.flatnonzero((served["what"] == Happened.FLR) & (served["time_ns"] >= history.begin_ns))
    config = np.isin(served["what"], (Happened.READ, Happened.WRITTEN)) & (served["region"] == _CONFIG_SPACE)
    command = (served["address"] == COMMAND) & (served["what"] == Happened.WRITTEN) & (served["width"] == 2)
    masks = command & ((served["value"] & _MASKED_AND_DECODING) == _MASKED_AND_DECODING)
    found: list[int] = []
    for reset in resets:
        after = np.flatnonzero(config)
        after = after[after > reset]
        addresses = served["address"][after]
        ended = int(np.flatnonzero(addresses == untouched)[0])
        restoring = np.flatnonzero(~np.isin(addresses[:ended], (COMMAND, COMMAND + 1)))
        locked = after[: restoring[-1]]
        found += locked[masks[locked]].tolist()
    return found


def test_its_interrupt_handler_writes_command_during_a_reset(dut: Function, stage: Stage) -> None:
    """It writes while the lock is held, its user's own writes wait, and afterwards config space is as it was.

    It must come between the restore of COMMAND and the two accesses that end a restore, which is chance: each reset is
    one, for the storm is over and INTx is on again before the next.
    """
    untouched = dut.express + _LINK_CAPABILITIES
    run = stage(
        Faulty(dut).fails(Misbehaviour.INTERRUPT_STORM, after="flr", lasting="250ms"),
        Faulty(dut).fails(Misbehaviour.INTERRUPT_STORM, at="2600ms"),  # or its user would wait for ever
        UioUser(dut).handles_interrupts(),
        dut.reads("sysfs", at=untouched),
        dut.resets("flr", at="200ms", times=5, every="500ms"),
        lasting="2700ms",
        meets=1,
    )
    run.enforce()
    assert writes_inside(run.history, untouched)

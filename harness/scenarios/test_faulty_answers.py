"""A function that answers wrongly: all-ones, errors, wrong values, capabilities that lie, a self-test, a lost record.

Linux passes on what it hears, at once and without an error, and lives; that the function is to blame is for the verdict
to say.  QEMU turns an error into all-ones, as a root port does with an access that nobody completes.
"""

import pytest

from harness.model.fault import Misbehaviour
from harness.model.kernel import KernelRange, KernelVersion
from harness.model.verdict import Blame
from harness.plugin.staging import Stage
from harness.staging.faulty import Faulty
from harness.staging.function import Function
from harness.staging.ownership import Ownership
from harness.staging.part import Part

SUBSYSTEM = 0x2C
REVISION = 0x08
SERIAL_NUMBER, DESIGNATED_VENDOR = 0x0003, 0x0023
"""Extended capabilities: Device Serial Number, DVSEC (PCIe r6.0 §7.9.3, §7.9.6)."""
COMMIT = 0x04
"""Register of the journal: what is stored there is written down, in 200 ms."""


@pytest.mark.parametrize("what", [Misbehaviour.ALL_ONES_CONFIG, Misbehaviour.REFUSE_CONFIG])
@pytest.mark.dut("endpoint0")
def test_config_that_falls_silent_is_a_function_lost(dut: Function, stage: Stage, what: Misbehaviour) -> None:
    """From a moment on nothing but all-ones comes, and every read of it is still prompt."""
    run = stage(Faulty(dut).fails(what, at="150ms"), dut.reads("sysfs"), lasting="800ms")
    run.names(Blame.DEVICE_LOST, "all-ones", "offset 0x4")


@pytest.mark.dut("endpoint0")
def test_config_that_is_silent_for_a_while_is_wrong_data(dut: Function, stage: Stage) -> None:
    """It comes back, so it was not lost."""
    silent = Faulty(dut).fails(Misbehaviour.ALL_ONES_CONFIG, at="150ms", lasting="200ms")
    run = stage(silent, dut.reads("sysfs"), lasting="800ms")
    run.names(Blame.MISMATCH, "all-ones", "offset 0x4")


@pytest.mark.dut("endpoint0")
def test_config_that_falls_silent_after_so_many_accesses(dut: Function, stage: Stage) -> None:
    """Some thousand accesses are those of the harness itself, which reads all of config space before the stage."""
    silent = Faulty(dut).fails(Misbehaviour.ALL_ONES_CONFIG, accesses=1500)
    run = stage(silent, dut.reads("sysfs"), lasting="1s")
    run.names(Blame.DEVICE_LOST, "all-ones")


@pytest.mark.parametrize("what", [Misbehaviour.ALL_ONES_MEMORY, Misbehaviour.REFUSE_MEMORY])
@pytest.mark.dut("endpoint0")
def test_registers_that_fall_silent_are_a_function_lost(
    dut: Function, stage: Stage, what: Misbehaviour
) -> None:
    """Config space still answers as it should, the registers behind the BAR do not."""
    run = stage(
        Faulty(dut).fails(what, at="150ms"),
        dut.loads_register(),
        dut.reads("sysfs"),
        lasting="800ms",
    )
    run.names(Blame.DEVICE_LOST, "register 0x0 of BAR 0", "all-ones")


@pytest.mark.dut("endpoint0")
def test_registers_that_are_silent_for_a_while_are_wrong_data(dut: Function, stage: Stage) -> None:
    """A mapping has no way to say that nobody answered: all-ones is all that there is."""
    silent = Faulty(dut).fails(Misbehaviour.ALL_ONES_MEMORY, at="150ms", lasting="200ms")
    run = stage(silent, dut.loads_register(), lasting="800ms")
    run.names(Blame.MISMATCH, "register 0x0 of BAR 0", "all-ones")


@pytest.mark.dut("endpoint0")
def test_a_register_with_all_bits_inverted_is_named_by_its_offset(dut: Function, stage: Stage) -> None:
    """Its neighbours read as they should."""
    wrong = Faulty(dut).fails(Misbehaviour.WRONG_VALUE, register="revision", at="150ms")
    run = stage(wrong, dut.reads("sysfs", at=REVISION, width=1), dut.reads("sysfs"), lasting="800ms")
    run.names(Blame.MISMATCH, "offset 0x8 gave 0xfe, not 0x1")


@pytest.mark.dut("endpoint0")
def test_a_register_with_another_value_is_named_by_its_offset(dut: Function, stage: Stage) -> None:
    """Read in the middle of a wider access, too."""
    wrong = Faulty(dut).fails(Misbehaviour.WRONG_VALUE, register="subsystem-vendor", value=0xBEEF, at="150ms")
    run = stage(wrong, dut.reads("sysfs", at=SUBSYSTEM), lasting="800ms")
    run.names(Blame.MISMATCH, "offset 0x2c gave 0x10f0beef, not 0x10f01af4")


@pytest.mark.parametrize(
    ("register", "value", "said"),
    [
        ("pm-id", 0x09, "capability 0x1 became capability 0x9"),
        ("express-device-capabilities", 0x8000, "pcie capability"),
    ],
)
@pytest.mark.dut("endpoint0")
def test_a_capability_that_lies_at_a_rescan(
    dut: Function, stage: Stage, register: str, value: int, said: str
) -> None:
    """Its id, or its body, is another one when Linux looks again: Linux believes it, and goes on."""
    lies = Faulty(dut).fails(Misbehaviour.WRONG_VALUE, register=register, value=value, at="100ms")
    run = stage(lies, Ownership(dut).removes_and_rescans(at="600ms"), lasting="900ms")
    run.names(Blame.MISMATCH, "is another function", said)


@pytest.mark.dut("endpoint0")
def test_an_honest_function_is_the_same_after_a_rescan(dut: Function, stage: Stage) -> None:
    """What the lies above are told from."""
    stage(Ownership(dut).removes_and_rescans(at="50ms"), lasting="400ms")


@pytest.mark.dut("chain0")
def test_capabilities_that_lead_back_to_themselves_stop_nobody(dut: Function, stage: Stage) -> None:
    """Two extended capabilities follow each other for ever: Linux counts its steps, finds the function and lives."""
    run = stage(*_loop(dut, SERIAL_NUMBER), lasting="900ms")
    run.names(Blame.MISMATCH, "loop, 0x100 → 0x140 → 0x100")


@pytest.mark.hil_slow
@pytest.mark.dut("chain0")
def test_vendor_capabilities_that_lead_back_to_themselves_stop_some_kernels(
    dut: Function, stage: Stage
) -> None:
    """Two vendor capabilities (DVSEC) that follow each other: 7.3.4 never returned from the rescan, 6.12.117 did.

    The cause is inferred, not proven: a search for all of one kind that begins anew behind each that it finds.
    """
    run = stage(*_loop(dut, DESIGNATED_VENDOR), lasting="900ms", deadline="10s")
    if KernelVersion.parse(run.history.provenance["kernel.release"]) in KernelRange(("7.3+",)):
        run.names(Blame.TIMEOUT, "never returned from topology/rescan on chain0")
    else:
        run.names(Blame.MISMATCH, "loop, 0x100 → 0x140 → 0x100")


@pytest.mark.dut("endpoint0")
def test_a_self_test_that_is_passed_leaves_a_function_that_forgot_everything(
    dut: Function, stage: Stage
) -> None:
    """The function answers nothing for 100 ms and is reset afterwards; nobody restores it."""
    stage(dut.tests_itself(at="50ms", waiting="600ms"), dut.reads("sysfs"), lasting="700ms")


@pytest.mark.dut("endpoint0")
def test_a_self_test_that_fails_is_named_by_its_code(dut: Function, stage: Stage) -> None:
    """It ends in time, with a completion code other than zero."""
    fails = Faulty(dut).fails(Misbehaviour.SELF_TEST_FAILS, value=3)
    run = stage(fails, dut.tests_itself(at="50ms", waiting="600ms"), dut.reads("sysfs"), lasting="700ms")
    run.names(Blame.MISMATCH, "completion code 3")


@pytest.mark.dut("endpoint0")
def test_a_self_test_that_takes_too_long_is_named(dut: Function, stage: Stage) -> None:
    """After the two seconds that it may take nothing answers yet."""
    slow = Faulty(dut).fails(Misbehaviour.SELF_TEST_SLOW, value=10_000)
    run = stage(slow, dut.tests_itself(at="50ms", waiting="2200ms"), lasting="2400ms")
    run.names(Blame.TIMEOUT, "not over", "nothing answers")


@pytest.mark.dut("journal0")
def test_a_reset_outside_a_critical_section_harms_nothing(dut: Function, stage: Stage) -> None:
    """The record is written in 200 ms, and the function is reset well after that."""
    stage(
        dut.stores_register(0x1234, at=COMMIT, starting="20ms"),
        dut.resets("flr", at="1s"),
        lasting="1100ms",
    )


@pytest.mark.dut("journal0")
def test_a_reset_inside_a_critical_section_corrupts_what_is_kept(dut: Function, stage: Stage) -> None:
    """Records are written one after another, so a reset is bound to come into one of them."""
    run = stage(
        dut.stores_register(0x1234, at=COMMIT, times=None, every="10ms"),
        dut.resets("flr", at="300ms"),
        lasting="600ms",
    )
    run.names(Blame.MISMATCH, "reset/flr by resetter came", "critical section", "corrupt")


def _loop(dut: Function, capability: int) -> tuple[Part, ...]:
    """Two extended capabilities of one kind that lead to each other, when the kernel looks at the function anew."""
    chain = Faulty(dut)
    links = {"first-header": 0x140, "second-header": 0x100}
    lies = [
        chain.fails(
            Misbehaviour.WRONG_VALUE,
            register=register,
            value=capability | 1 << 16 | following << 20,
            at="100ms",
        )
        for register, following in links.items()
    ]
    return (*lies, Ownership(dut).removes_and_rescans(at="600ms"))

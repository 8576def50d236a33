"""What is promised to users of VFIO, to holders of locks and to nobody is seen broken on kernels that break it.

The controls, the same stages on a healthy kernel, are the shipped scenarios.
"""

from __future__ import annotations

import errno

import pytest

from harness.lab.place import Place
from harness.model.operation import HOT_RESET_NOT_OWNED
from harness.model.verdict import Blame, Finding, Verdict
from harness.staging.function import Function
from harness.staging.locks import Locks
from harness.staging.ownership import Ownership
from harness.staging.part import Part, plan_of
from harness.staging.registers import NEVER_ZERO
from harness.staging.vfio_user import VfioUser
from tests.guest.surgery import Call, Cut, Outcome, Patient


@pytest.fixture
def igb0(patient: Patient) -> Function:
    return patient.function("igb0")


@pytest.fixture
def locks(place: Place, igb0: Function) -> Locks:
    if place.without_windows_module:
        pytest.skip(f"the kernel module for lock windows is missing: {place.without_windows_module}")
    return Locks(igb0)


def staged(patient: Patient, *parts: Part, lasting: str = "400ms") -> Outcome:
    return patient.stage(plan_of(parts, title="broken", lasting=lasting))


def broken(outcome: Outcome, checker: str, what: str) -> Finding:
    """The only finding of a checker that says FAIL about `what`, and there is no doubt about the verdict."""
    found = [one for one in outcome.failures(checker) if what in one.claim]
    assert len(found) == 1, outcome.judgement
    assert outcome.judgement.verdict is Verdict.FAIL
    return found[0]


# --- resets through VFIO ----------------------------------------------------------------------------------


def test_a_vfio_reset_that_is_not_even_tried(patient: Patient, igb0: Function) -> None:
    patient.cut(pci_try_reset_function=Cut.RETURN_ZERO)
    outcome = staged(patient, VfioUser(igb0).resets_with_oracle(times=2, holding="50ms"))
    claimed = broken(outcome, "reset_happened", "2 of 2 reset/vfio on igb0 reported success")
    assert claimed.blame is Blame.RESET_FAILED
    assert "the trace shows no such reset" in claimed.claim


def test_a_vfio_reset_that_only_claims_to_have_happened(patient: Patient, igb0: Function) -> None:
    """The kernel goes through all of it; only the register tells, and how short it was."""
    patient.cut(pcie_flr=Cut.RETURN_ZERO)
    outcome = staged(patient, VfioUser(igb0).resets_with_oracle(times=2, holding="50ms"))
    kept = broken(outcome, "reset_happened", "After 2 of 2 reset/vfio on igb0 the oracle register")
    assert kept.blame is Blame.RESET_FAILED
    broken(outcome, "reset_time", "reset/vfio on igb0 took less than")


def test_an_flr_bit_that_vfio_drops(patient: Patient, igb0: Function) -> None:
    patient.sever(Call("vfio_exp_config_write", "pci_try_reset_function", answer=0))
    outcome = staged(patient, VfioUser(igb0).sets_flr_bit(at="20ms"))
    broken(outcome, "reset_happened", "1 of 1 reset/vfio-flr-bit on igb0 reported success")


def test_a_vfio_reset_that_is_refused_although_the_function_is_free(patient: Patient, igb0: Function) -> None:
    patient.sever(Call("vfio_pci_core_ioctl", "pci_try_reset_function", answer=-errno.EAGAIN))
    outcome = staged(patient, VfioUser(igb0).resets(at="20ms", times=2))
    refused = broken(outcome, "call_outcome", "2 reset/vfio on igb0 did not keep the promise ok")
    assert refused.blame is Blame.RESET_FAILED
    assert "it returned EAGAIN" in refused.claim


def test_opens_and_closes_that_do_not_reset(patient: Patient, igb0: Function) -> None:
    """A close that could not lock the function would reset the bus instead, if it could."""
    patient.sever(
        Call("vfio_pci_core_enable", "pci_try_reset_function", answer=0),
        Call("vfio_pci_core_disable", "pci_dev_trylock", answer=0),
        Call("vfio_pci_core_disable", "pci_reset_bus", answer=-errno.EAGAIN),
    )
    outcome = staged(patient, VfioUser(igb0).opens(at="20ms", holding="200ms"))
    broken(outcome, "reset_happened", "1 of 1 open/vfio on igb0 reported success")
    broken(outcome, "reset_happened", "1 of 1 close/vfio on igb0 reported success")


def test_a_hot_reset_that_only_claims_to_have_happened(patient: Patient, igb0: Function) -> None:
    patient.cut(pci_reset_bus=Cut.RETURN_ZERO)
    outcome = staged(patient, VfioUser(igb0).hot_resets(at="20ms", times=4, every="20ms"))
    broken(outcome, "reset_time", "reset/hot on igb0 took less than 2 ms")


def test_a_hot_reset_that_hits_what_its_caller_does_not_own(patient: Patient) -> None:
    """Nobody looks whether the sibling, which is reset too, belongs to VFIO."""
    pair0, pair1 = (patient.function(alias) for alias in ("pair0", "pair1"))
    patient.cut(vfio_pci_is_device_in_set=Cut.RETURN_ZERO)
    outcome = staged(patient, VfioUser(pair0).hot_resets(at="20ms", means=HOT_RESET_NOT_OWNED), pair1.reads())
    done = broken(outcome, "call_outcome", "reset/hot-not-owned on pair0 did not keep the promise EINVAL")
    assert done.blame is Blame.MISMATCH


def test_a_hot_reset_that_gives_nothing_back_to_a_function_that_nobody_named(patient: Patient) -> None:
    pair0 = patient.function("pair0")
    patient.cut(vfio_pci_is_device_in_set=Cut.RETURN_ZERO, pci_restore_state=Cut.RETURN)
    outcome = staged(patient, VfioUser(pair0).hot_resets(at="20ms"), pair0.reads())
    lost = broken(outcome, "config_restored", ", beside pair0, was not restored after reset/hot by")
    assert lost.blame is Blame.RESET_FAILED


# --- accesses through VFIO --------------------------------------------------------------------------------


def test_config_reads_that_do_not_look_at_the_lock(patient: Patient, igb0: Function) -> None:
    """Through VFIO, and by nobody through what root has opened."""
    patient.cut(pci_user_read_config_dword=Cut.IGNORE_LOCK)
    readers = (VfioUser(igb0).reads(), igb0.reads_with_a_kept_descriptor())
    outcome = staged(patient, *readers, igb0.resets("flr", at="50ms"))
    for way in ("vfio", "kept"):
        inside = broken(outcome, "access_outcome", f"config-read/{way} on igb0")
        assert inside.blame is Blame.MISMATCH
        assert "did not keep the promise blocked" in inside.claim


def test_registers_that_are_read_in_the_middle_of_a_vfio_reset(patient: Patient, igb0: Function) -> None:
    patient.sever(
        Call("vfio_pci_core_do_io_rw", "down_read"),
        Call("vfio_pci_core_do_io_rw", "up_read"),
    )
    user = VfioUser(igb0)
    outcome = staged(patient, user.reads_register(at=NEVER_ZERO["igb"]), user.resets(at="50ms"))
    inside = broken(outcome, "access_outcome", "bar-read/vfio on igb0")
    assert "did not keep the promise blocked" in inside.claim


def test_registers_that_are_there_without_decode(patient: Patient, igb0: Function) -> None:
    patient.cut(__vfio_pci_memory_enabled=Cut.RETURN_ONE)
    outcome = staged(patient, VfioUser(igb0).touches_without_decode(at=NEVER_ZERO["igb"]))
    assert "did not keep the promise SIGBUS" in broken(outcome, "access_outcome", "undecoded-mapped").claim
    assert "did not keep the promise EIO" in broken(outcome, "access_outcome", "undecoded-vfio").claim


# --- locks ------------------------------------------------------------------------------------------------


def test_virtual_functions_come_and_go_behind_a_lock_that_does_not_lock(
    patient: Patient, igb0: Function
) -> None:
    patient.cut(pci_cfg_access_lock=Cut.RETURN)
    outcome = staged(
        patient,
        Ownership(igb0).makes_vfs(at="50ms", holding="300ms"),
        igb0.reads(),
        VfioUser(igb0).reads(),
        lasting="1500ms",
    )
    for way in ("sysfs", "vfio"):
        assert (
            "did not keep the promise blocked"
            in broken(outcome, "access_outcome", f"config-read/{way} on igb0").claim
        )


def test_a_reset_that_leaves_the_port_unlocked(patient: Patient, igb0: Function) -> None:
    patient.cut(pci_reset_function=Cut.IGNORE_PORT)
    port = patient.function(igb0.port)
    outcome = staged(patient, igb0.resets("flr", at="50ms"), port.reads(), igb0.reads())
    free = broken(outcome, "port_lock", "1 of 1 reset/flr on igb0 had igb0.port free, promised is locked")
    assert free.blame is Blame.MISMATCH
    assert outcome.failed() == {"port_lock"}


def test_a_reset_that_does_not_wait_for_a_driver(patient: Patient, igb0: Function, locks: Locks) -> None:
    patient.sever(Call("pci_reset_function", "mutex_lock"), Call("pci_reset_function", "mutex_unlock"))
    outcome = staged(
        patient,
        locks.holds("device", at="20ms", lasting="400ms"),
        igb0.resets("flr", at="100ms"),
        lasting="500ms",
    )
    inside = broken(outcome, "call_outcome", "reset/flr on igb0 did not keep the promise blocked-and-reset")
    assert "reset inside that window" in inside.claim


def test_a_lock_that_is_free_and_cannot_be_had(patient: Patient, igb0: Function, locks: Locks) -> None:
    """Nobody holds it, and who must not wait is refused: a driver, and a reset of all below a port."""
    patient.cut(pci_cfg_access_trylock=Cut.RETURN_ZERO)
    port = patient.function(igb0.port)
    outcome = staged(patient, locks.tries(at="20ms"), port.resets_all_below(at="100ms"))
    assert "it returned EBUSY" in broken(outcome, "call_outcome", "hold/try on igb0").claim
    assert "it returned EAGAIN" in broken(outcome, "call_outcome", "reset/subordinate on igb0.port").claim


# --- privilege --------------------------------------------------------------------------------------------


def test_nobody_sees_everything(patient: Patient, igb0: Function) -> None:
    patient.cut(file_ns_capable=Cut.RETURN_ONE)
    outcome = staged(patient, igb0.reads_without_privilege(), igb0.resets("flr", at="50ms"))
    assert [
        one for one in outcome.failures("access_outcome") if "did not keep the promise truncated" in one.claim
    ], outcome.judgement


def test_nobody_may_write_everything(patient: Patient, igb0: Function) -> None:
    patient.cut(generic_permission=Cut.RETURN_ZERO)
    roles = ("config", "proc", "reset")
    outcome = staged(patient, igb0.opens_without_privilege(*roles), lasting="100ms")
    allowed = broken(outcome, "call_outcome", "open/unprivileged on igb0 did not keep the promise EACCES")
    assert f"{len(roles)} open/unprivileged" in allowed.claim

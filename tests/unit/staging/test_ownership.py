"""Who owns a function: what an administrator writes where, and what is put in place before."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

import pytest

from harness.errors import UsageError
from harness.model import operation
from harness.model.plan import Op, Setting
from harness.model.units import MS
from harness.pci import sysfs
from harness.staging.ownership import Ownership
from harness.staging.part import Part, plan_of
from harness.staging.vfio_user import VfioUser
from tests.unit.staging.functions import FOLDER, IGB, compiled, only, opened, repeated

OWNERSHIP = Ownership(IGB)
BDF = str(IGB.bdf).encode()


def driver(value: str) -> Setting:
    return Setting(function="igb0", attribute="driver", value=value)


def override(value: str) -> Setting:
    return Setting(function="igb0", attribute="driver_override", value=value)


def test_an_unbind_writes_the_address_to_the_driver_that_owns_it() -> None:
    part = OWNERSHIP.unbinds(at="50ms")
    actor = only(part)
    assert (actor.name, actor.starts_ns, actor.times) == ("unbinder", 50 * MS, 1)
    assert [step.means for step in actor.steps] == [operation.UNBIND]
    assert part.settings == (driver("vfio-pci"),)
    assert opened(part) == [(f"{FOLDER}/driver/unbind", os.O_WRONLY)]
    assert [one.data for one in repeated(part)] == [BDF]


def test_another_driver_can_be_unbound() -> None:
    assert OWNERSHIP.unbinds(driver="igb").settings == (driver("igb"),)


@pytest.mark.parametrize("part", [OWNERSHIP.unbinds, OWNERSHIP.binds])
def test_a_driver_comes_with_its_module(part: Callable[..., Part]) -> None:
    assert part(driver="ipr").modules == ("ipr",)
    assert part().modules == ()  # vfio-pci is always there


def test_a_bind_asks_the_bus_to_probe_a_function_that_nobody_owns() -> None:
    part = OWNERSHIP.binds(at="120ms")
    actor = only(part)
    assert (actor.name, actor.starts_ns, actor.times) == ("binder", 120 * MS, 1)
    assert [step.means for step in actor.steps] == [operation.BIND]
    assert part.settings == (driver(""), override("vfio-pci"))
    assert opened(part) == [(f"{sysfs.DEVICES.parent}/drivers_probe", os.O_WRONLY)]
    assert [one.data for one in repeated(part)] == [BDF]


def test_the_override_that_is_written_is_the_one_in_place() -> None:
    """So that whoever probes meanwhile finds the same driver."""
    part = OWNERSHIP.writes_override(driver="pci-stub")
    actor = only(part)
    assert [(step.means, step.time_ns) for step in actor.steps] == [
        (operation.OVERRIDE, 0),
        (operation.WAIT, MS),
    ]
    assert (actor.name, actor.times) == ("overrider", None)
    assert part.settings == (override("pci-stub"),)
    assert opened(part) == [(f"{FOLDER}/driver_override", os.O_WRONLY)]
    assert repeated(part)[0].data == b"pci-stub"


def test_virtual_functions_are_made_kept_and_removed() -> None:
    part = OWNERSHIP.makes_vfs(2, at="20ms", holding="700ms")
    actor = only(part)
    assert [(step.op, step.means, step.value, step.time_ns) for step in actor.steps] == [
        (Op.WRITE, operation.ENABLE_VFS, b"2", 0),
        (Op.PAUSE, operation.WAIT, b"", 700 * MS),
        (Op.WRITE, operation.DISABLE_VFS, b"0", 0),
    ]
    assert (actor.name, actor.starts_ns, actor.times) == ("vf-maker", 20 * MS, 1)
    assert opened(part) == [(f"{FOLDER}/sriov_numvfs", os.O_WRONLY)]


@pytest.mark.parametrize(
    "part",
    [OWNERSHIP.unbinds(), OWNERSHIP.binds(), OWNERSHIP.makes_vfs(), OWNERSHIP.removes_and_rescans()],
)
def test_an_administrator_acts_once_and_at_once_unless_told_otherwise(part: Part) -> None:
    actor = only(part)
    assert (actor.starts_ns, actor.times) == (0, 1)
    assert operation.WAIT not in [step.means for step in actor.steps]


def test_one_virtual_function_is_enough() -> None:
    assert only(OWNERSHIP.makes_vfs()).steps[0].value == b"1"


def test_vfio_is_told_to_make_virtual_functions_before_it_owns_the_function() -> None:
    assert OWNERSHIP.makes_vfs().settings == (
        Setting(function="", attribute="module/vfio_pci/enable_sriov", value="Y"),
        driver("vfio-pci"),
    )


def test_a_function_is_removed_and_found_again() -> None:
    part = OWNERSHIP.removes_and_rescans(at="20ms", holding="100ms")
    actor = only(part)
    assert [step.means for step in actor.steps] == [operation.REMOVE, operation.WAIT, operation.RESCAN]
    assert (actor.name, actor.starts_ns, actor.times) == ("remover", 20 * MS, 1)
    assert part.settings == ()
    assert opened(part) == [
        (f"{FOLDER}/remove", os.O_WRONLY),
        (f"{sysfs.DEVICES.parent}/rescan", os.O_WRONLY),
    ]
    assert [one.data for one in repeated(part)] == [b"1", b"", b"1"]
    assert compiled(part)[-1].times == 1


@pytest.mark.parametrize(
    ("mistake", "answer"),
    [
        (
            lambda: OWNERSHIP.makes_vfs(0),
            "0 virtual functions of igb0: nothing happens. Use 1 or more.",
        ),
        (
            lambda: OWNERSHIP.makes_vfs(holding="a while"),
            "duration 'a while': not understood. Write a number",
        ),
        (lambda: OWNERSHIP.unbinds(at="-5ms"), "duration '-5ms': not understood"),
        (
            lambda: plan_of(
                [OWNERSHIP.binds(), VfioUser(IGB).keeps_open("1ms")], title="both", lasting="2ms"
            ),
            "stage 'both': driver of igb0 cannot be both '' and 'vfio-pci'. One value at a time",
        ),
    ],
)
def test_a_mistake_is_answered_when_it_is_made(mistake: Callable[[], object], answer: str) -> None:
    with pytest.raises(UsageError, match="^" + re.escape(answer)):
        mistake()

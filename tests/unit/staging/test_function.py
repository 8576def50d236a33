"""A function as a test author sees it: what its verbs make, and what they refuse."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from harness.bindings.actor import Code
from harness.errors import UsageError
from harness.model.attributes import FROM_CONFIG_SPACE
from harness.model.operation import (
    ATTRIBUTE_CONFIG_READ,
    ATTRIBUTE_READ,
    ATTRIBUTE_WRITE,
    CHECK,
    FLR_BIT,
    KEPT_READ,
    MARK,
    SELF_TEST,
    SELF_TEST_RESULT,
    SUBORDINATE_RESET,
    SYSFS_MAPPED_READ,
    SYSFS_MAPPED_WRITE,
    UNPRIVILEGED_OPEN,
    UNPRIVILEGED_READ,
    WAIT,
)
from harness.model.pci import ResetMethod
from harness.model.plan import File, Op, Privilege, Setting
from harness.model.units import MS, US
from harness.staging.function import Function
from harness.staging.part import plan_of
from tests.unit.staging.functions import (
    CONVENTIONAL,
    FOLDER,
    IGB,
    ORACLE,
    PORT,
    compiled,
    only,
    opened,
    repeated,
)


def test_reads_are_repeated_until_the_end() -> None:
    actor = only(IGB.reads())
    (step,) = actor.steps
    assert (step.op, step.means, step.file) == (
        Op.READ,
        "config-read/sysfs",
        File(function="igb0", role="config"),
    )
    assert (step.offset, step.width, actor.times, actor.starts_ns) == (4, 4, None, 0)


def test_reads_through_proc_use_its_file() -> None:
    part = IGB.reads("proc", at=0x08, width=2, actors=3, starting="5ms")
    assert len(part.actors) == 3
    (step,) = part.actors[0].steps
    assert (step.means, step.file, step.offset, step.width) == (
        "config-read/proc",
        File(function="igb0", role="proc"),
        8,
        2,
    )
    assert part.actors[0].starts_ns == 5 * MS


def test_a_cached_attribute_is_the_control() -> None:
    (step,) = only(IGB.reads_attribute("device")).steps
    assert (step.means, step.file) == (ATTRIBUTE_READ, File(function="igb0", role="device"))


@pytest.mark.parametrize("name", ["power_state", "aer_dev_fatal", "power/runtime_status", "reset_method"])
def test_what_comes_from_memory_is_promised_what_vendor_is(name: str) -> None:
    (step,) = only(IGB.reads_attribute(name)).steps
    assert (step.means, step.file) == (ATTRIBUTE_READ, File(function="igb0", role=name))


@pytest.mark.parametrize("name", sorted(FROM_CONFIG_SPACE))
def test_what_the_kernel_reads_from_config_space_has_a_promise_of_its_own(name: str) -> None:
    (step,) = only(IGB.reads_attribute(name)).steps
    assert (step.means, step.file) == (ATTRIBUTE_CONFIG_READ, File(function="igb0", role=name))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("vpd", "waits for the config lock"),
        ("rom", "expansion ROM"),
        ("config", "use reads()"),
        ("resource0", "use loads_register()"),
        ("sriov_numvfs", "device_lock"),
        ("uevent", "device_lock"),
        ("fw_version", "nobody promises"),
        ("../0000:01:00.0/vendor", "nobody promises"),
        ("", "nobody promises"),
    ],
)
def test_an_attribute_that_nobody_speaks_of_is_refused_by_name(name: str, why: str) -> None:
    with pytest.raises(UsageError, match=f"{re.escape(repr(name))}.*igb0.*{re.escape(why)}"):
        IGB.reads_attribute(name)


def test_on_a_kernel_that_is_locked_down_registers_go_through_vfio_or_are_refused() -> None:
    locked = Function(IGB.alias, lambda: replace(IGB.traits, locked_down=True))
    part = locked.resets_with_oracle("flr")
    (actor,) = part.actors
    through = {step.file.role for step in actor.steps if step.file is not None}
    assert through == {ORACLE.resource.replace("resource", "vfio-bar"), "reset"}
    assert {(one.attribute, one.value) for one in part.settings} == {
        ("reset_method", "flr"),
        ("driver", "vfio-pci"),
    }
    with pytest.raises(UsageError, match=r"resource0 of igb0.*locked down.*VfioUser"):
        locked.loads_register()
    with pytest.raises(UsageError, match=r"resource2 of igb0.*locked down"):
        locked.stores_register(1, 2, at=0)
    plain = {step.file.role for step in only(IGB.resets_with_oracle("flr")).steps if step.file is not None}
    assert plain == {ORACLE.resource, "reset"}


def test_readers_in_a_long_stage_may_take_their_time() -> None:
    for part in (IGB.reads(every="2ms"), IGB.reads_attribute(every="2ms")):
        read, wait = only(part).steps
        assert (read.op, wait.op, wait.means, wait.time_ns) == (Op.READ, Op.PAUSE, WAIT, 2 * MS)


def test_a_register_is_loaded_from_the_resource_with_decode_on() -> None:
    part = IGB.loads_register(2, at=0x10, width=2)
    step = only(part).steps[0]
    assert (step.op, step.means) == (Op.LOAD, SYSFS_MAPPED_READ)
    assert step.file == File(function="igb0", role="resource2")
    assert (step.offset, step.width) == (0x10, 2)
    assert part.settings == (Setting(function="igb0", attribute="enable", value="1"),)


def test_a_reset_writes_one_byte_while_its_method_alone_is_active() -> None:
    part = IGB.resets("pm", at="50ms", times=2)
    actor = only(part)
    (step,) = actor.steps
    assert (step.op, step.means, step.value) == (Op.WRITE, "reset/pm", b"1")
    assert step.file == File(function="igb0", role="reset")
    assert (actor.starts_ns, actor.times) == (50 * MS, 2)
    assert part.settings == (Setting(function="igb0", attribute="reset_method", value="pm"),)


def test_resets_with_a_pause_between_them() -> None:
    steps = only(IGB.resets("flr", every="20ms", times=None)).steps
    assert [(step.means, step.time_ns) for step in steps] == [("reset/flr", 0), (WAIT, 20 * MS)]


def test_an_oracle_is_marked_checked_reset_and_checked_again() -> None:
    part = IGB.resets_with_oracle("flr", times=3)
    actor = only(part)
    assert tuple(step.means for step in only(part).steps) == (MARK, CHECK, "reset/flr", CHECK)
    mark, check, _, _ = actor.steps
    assert (mark.op, mark.value, mark.offset) == (Op.STORE, b"\x5a\0\0\0", 0x5B50)
    assert (check.op, check.width, check.file) == (Op.LOAD, 4, File(function="igb0", role="resource0"))
    assert part.oracles == (ORACLE,)
    assert {setting.attribute: setting.value for setting in part.settings} == {
        "reset_method": "flr",
        "enable": "1",
    }


def test_the_flr_bit_is_set_and_nothing_else_of_device_control() -> None:
    part = IGB.sets_flr_bit(at="20ms")
    assert tuple(step.means for step in only(part).steps) == (FLR_BIT,)
    (write,) = only(part).steps
    assert (write.offset, write.value) == (0xA8, (0x2810 | 0x8000).to_bytes(2, "little"))
    assert part.settings == (Setting(function="igb0", attribute="enable", value="1"),)


def test_a_self_test_is_started_and_its_result_read_after_a_while() -> None:
    part = IGB.tests_itself(at="20ms", waiting="300ms")
    actor = only(part)
    start, pause, result = actor.steps
    assert (start.op, start.means, start.offset, start.value) == (Op.WRITE, SELF_TEST, 0x0F, b"\x40")
    assert (pause.op, pause.time_ns) == (Op.PAUSE, 300 * MS)
    assert (result.op, result.means, result.offset, result.width) == (Op.READ, SELF_TEST_RESULT, 0x0F, 1)
    assert (actor.starts_ns, actor.times) == (20 * MS, 1)
    assert part.settings == (Setting(function="igb0", attribute="enable", value="1"),)


def test_a_store_is_as_wide_as_it_is_said_to_be() -> None:
    part = IGB.stores_register(0x1234, 2, at=0x10, width=2, starting="20ms", times=None, every="10ms")
    actor = only(part)
    store, pause = actor.steps
    assert (store.op, store.means, store.file) == (
        Op.STORE,
        SYSFS_MAPPED_WRITE,
        File(function="igb0", role="resource2"),
    )
    assert (store.offset, store.value, pause.time_ns) == (0x10, b"\x34\x12", 10 * MS)
    assert (actor.starts_ns, actor.times) == (20 * MS, None)
    assert part.settings == (Setting(function="igb0", attribute="enable", value="1"),)


def test_writes_are_as_wide_as_their_value() -> None:
    actor = only(IGB.writes("sysfs", at=0x0C, value=b"\x10", times=5))
    (step,) = actor.steps
    assert (step.means, step.offset, step.value, actor.times) == ("config-write/sysfs", 0x0C, b"\x10", 5)


def test_parts_of_one_function_make_a_plan() -> None:
    plan = plan_of(
        [IGB.reads(actors=2), IGB.reads_attribute(), IGB.resets("flr", at="50ms")],
        title="t",
        lasting="400ms",
        meets=3,
    )
    assert [actor.name for actor in plan.actors] == [
        "reader-1",
        "reader-2",
        "control",
        "resetter",
        "heartbeat",
    ]
    assert plan.functions == ("igb0",)


def test_nobody_reads_what_only_root_may_see() -> None:
    actor = only(IGB.reads_without_privilege())
    step, apart = actor.steps
    assert (actor.name, actor.privilege, actor.times) == ("nobody", Privilege.NONE, None)
    assert (step.means, step.file, step.offset, step.width) == (
        UNPRIVILEGED_READ,
        File(function="igb0", role="config"),
        0x40,
        4,
    )
    assert apart.time_ns == 200 * US


def test_a_kept_descriptor_is_opened_before_privilege_is_given_up() -> None:
    actor = only(IGB.reads_with_a_kept_descriptor(at=0xFC, width=2))
    step = actor.steps[0]
    assert (actor.name, actor.privilege) == ("nobody-now", Privilege.DROPPED)
    assert (step.means, step.offset, step.width) == (KEPT_READ, 0xFC, 2)
    assert [one.op for one in compiled(IGB.reads_with_a_kept_descriptor())][:2] == [Code.OPEN, Code.DROP]
    assert [one.op for one in compiled(IGB.reads_without_privilege())][:2] == [Code.DROP, Code.OPEN]


def test_nobody_opens_for_writing_each_file_once() -> None:
    part = IGB.opens_without_privilege("config", "proc", "reset")
    actor = only(part)
    assert (actor.name, actor.privilege, actor.times) == ("nobody", Privilege.NONE, 1)
    assert {step.means for step in actor.steps} == {UNPRIVILEGED_OPEN}
    assert opened(part) == []
    assert [(one.op, one.data.decode(), one.width) for one in repeated(part)] == [
        (Code.TRY_OPEN, f"{FOLDER}/config", os.O_WRONLY),
        (Code.TRY_OPEN, "/proc/bus/pci/01/00.0", os.O_WRONLY),
        (Code.TRY_OPEN, f"{FOLDER}/reset", os.O_WRONLY),
    ]


def test_a_stage_without_reset_methods_has_no_actor_of_its_own_and_puts_them_back() -> None:
    part = IGB.without_reset_methods()
    assert part.settings == (Setting(function="igb0", attribute="reset_method", value=""),)
    assert (part.functions, part.actors) == (("igb0",), ())


def test_a_port_is_a_function_of_its_own() -> None:
    assert IGB.port == PORT.alias == "igb0.port"
    part = PORT.resets_all_below(at="150ms", times=3)
    actor = only(part)
    assert (actor.name, actor.starts_ns, actor.times) == ("port-resetter", 150 * MS, 3)
    assert part.functions == ("igb0.port",)
    assert [step.means for step in actor.steps] == [SUBORDINATE_RESET]
    assert opened(part) == [
        (str(FOLDER.with_name("0000:00:02.0") / "reset_subordinate"), os.O_WRONLY),
    ]
    assert [one.data for one in repeated(part)] == [b"1"]


def test_the_reset_method_that_is_written_is_the_one_in_place() -> None:
    part = IGB.writes_reset_method("pm")
    actor = only(part)
    step, apart = actor.steps
    assert (actor.name, actor.times) == ("method-writer", None)
    assert (step.means, step.file, step.value) == (
        ATTRIBUTE_WRITE,
        File(function="igb0", role="reset_method"),
        b"pm",
    )
    assert apart.time_ns == MS
    assert part.settings == IGB.resets("pm").settings


def test_the_oracle_is_that_of_the_method() -> None:
    assert IGB.oracle(ResetMethod.FLR) is ORACLE


@pytest.mark.parametrize(
    ("mistake", "answer"),
    [
        (lambda: IGB.reads("vfio"), "access path 'vfio': unknown"),  # type: ignore[arg-type]
        (lambda: IGB.reads(width=3), "A width is 1, 2 or 4 bytes"),  # type: ignore[arg-type]
        (lambda: IGB.reads(at=4093), "last offset for this width is 0xffc"),
        (lambda: IGB.reads(at=-1), "outside the 4096 bytes"),
        (lambda: CONVENTIONAL.reads(at=0x100), "outside the 256 bytes"),
        (lambda: IGB.reads(actors=0), "0 actors on igb0: nobody acts"),
        (lambda: IGB.reads(starting="later"), "duration 'later'"),
        (lambda: IGB.reads_attribute(actors=-1), "nobody acts"),
        (lambda: IGB.resets("flt"), "reset method 'flt': unknown to Linux"),  # type: ignore[arg-type]
        (
            lambda: IGB.resets("bus"),
            r"reset of igb0 \(0000:01:00.0\) by bus: the kernel offers only: flr, pm",
        ),
        (lambda: CONVENTIONAL.resets("flr"), "offers only: nothing"),
        (lambda: IGB.resets("flr", times=0), "0 rounds on igb0: nothing happens"),
        (lambda: IGB.resets("flr", at="-1ms"), "duration '-1ms'"),
        (
            lambda: IGB.resets_with_oracle("pm"),
            r"oracle register of igb0 \(igb\) for pm: the contract names none",
        ),
        (lambda: IGB.resets_with_oracle("flt"), "unknown to Linux"),  # type: ignore[arg-type]
        (
            lambda: CONVENTIONAL.sets_flr_bit(),
            r"reset of old0 \(0000:02:01.0\) by flr: the kernel offers only: nothing",
        ),
        (lambda: IGB.writes("sysfs", at=0, value=b""), "config access of 0 bytes"),
        (lambda: IGB.writes("sysfs", at=0, value=b"123"), "config access of 3 bytes"),
        (lambda: IGB.writes("sysfs", at=4094, value=b"1234"), "outside"),
        (lambda: IGB.writes("mmio", at=0, value=b"1"), "access path 'mmio'"),  # type: ignore[arg-type]
        (lambda: IGB.writes("sysfs", at=0, value=b"1", times=0), "0 rounds"),
        (
            lambda: IGB.oracle(ResetMethod.BUS),
            r"oracle register of igb0 \(igb\) for bus: the contract names none. Add one to ",
        ),
        (lambda: IGB.reads_without_privilege(width=3), "A width is 1, 2 or 4 bytes"),  # type: ignore[arg-type]
        (lambda: CONVENTIONAL.reads_with_a_kept_descriptor(at=0x100), "outside the 256 bytes"),
        (lambda: IGB.opens_without_privilege(), "nobody on igb0: nothing happens. Give it at least one"),
        (lambda: IGB.writes_reset_method("bus"), "by bus: the kernel offers only: flr, pm"),
        (lambda: IGB.writes_reset_method("flt"), "reset method 'flt': unknown to Linux. Choose one of: "),  # type: ignore[arg-type]
        (lambda: PORT.resets_all_below(times=0), r"0 rounds on igb0\.port: nothing happens"),
    ],
)
def test_a_mistake_is_answered_when_it_is_made(mistake: Callable[[], object], answer: str) -> None:
    with pytest.raises(UsageError, match=answer):
        mistake()

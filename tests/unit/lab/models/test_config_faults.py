"""Single registers of config space that are wrong: without a function, without a protocol."""

from __future__ import annotations

import pytest

from harness.errors import UsageError
from harness.lab.models import config_faults
from harness.lab.models.declared import (
    MSI,
    PCI_EXPRESS,
    POWER_MANAGEMENT,
    UNCLASSIFIED,
    endpoint_header,
    memory_bar,
)
from harness.lab.models.function import Function
from harness.lab.models.interface import CONFIG_REGION
from harness.lab.models.programme import Programme
from harness.lab.models.registers import Register, RegisterFile, config_space
from harness.model.fault import Fault, Misbehaviour
from tests.unit.lab.models.surroundings import Clock

NOW = 1_000_000
COMMAND, REVISION, POWER = 0x04, 0x08, 0x44
IDS = b"\x34\x12\x78\x56"


@pytest.fixture
def config() -> RegisterFile:
    header = endpoint_header(vendor=0x1234, device=0x5678, class_code=UNCLASSIFIED)
    return config_space(header, (POWER_MANAGEMENT,))


@pytest.fixture
def met() -> list[int]:
    return []


@pytest.fixture
def programme(met: list[int]) -> Programme:
    return Programme(lambda *_: None, lambda *_: None, lambda number, _: met.append(number))


def test_where_nothing_is_wrong_all_goes_through(config: RegisterFile, programme: Programme) -> None:
    assert config_faults.read(config, programme, 0, 64, NOW) == config.read(0, 64)
    (one,) = config_faults.write(config, programme, COMMAND, b"\6\0", NOW)
    assert (one.name, config["command"]) == ("command", 6)


def test_a_register_without_a_value_is_inverted(
    config: RegisterFile, programme: Programme, met: list[int]
) -> None:
    programme.load([Fault(what=Misbehaviour.WRONG_VALUE, register="revision")], NOW)
    assert config_faults.read(config, programme, 0, 4, NOW) == IDS
    assert met == [], "nobody saw it"
    right, wrong = config.read(0, 64), config_faults.read(config, programme, 0, 64, NOW)
    assert [at for at in range(64) if right[at] != wrong[at]] == [REVISION]
    assert wrong[REVISION] == right[REVISION] ^ 0xFF
    assert config_faults.read(config, programme, REVISION, 1, NOW) == wrong[REVISION : REVISION + 1]
    assert met == [0]


def test_two_registers_are_wrong_at_once(config: RegisterFile, programme: Programme) -> None:
    programme.load(
        [
            Fault(what=Misbehaviour.WRONG_VALUE, register="vendor", value=0x0A01),
            Fault(what=Misbehaviour.WRONG_VALUE, register="device", value=0x0C0B),
        ],
        NOW,
    )
    assert config_faults.read(config, programme, 0, 4, NOW) == b"\x01\x0a\x0b\x0c"
    assert config_faults.read(config, programme, 1, 2, NOW) == b"\x0a\x0b", "a part of each"
    assert config.read(0, 4) == IDS, "what it holds is as it was"


SHOWN = {Misbehaviour.STAY_ASLEEP: (POWER, b"\3\0"), Misbehaviour.RETRY_STATUS: (0, b"\1\0\xff\xff")}


@pytest.mark.parametrize("what", SHOWN)
def test_what_a_whole_function_does_shows_in_its_register(
    what: Misbehaviour, config: RegisterFile, programme: Programme, met: list[int]
) -> None:
    offset, shown = SHOWN[what]
    programme.load([Fault(what=what)], NOW)
    assert config_faults.read(config, programme, REVISION, 4, NOW) == config.read(REVISION, 4)
    assert met == []
    assert config_faults.read(config, programme, offset, len(shown), NOW) == shown
    assert met == [0]


def test_a_write_that_is_lost_brings_nothing_about(
    config: RegisterFile, programme: Programme, met: list[int]
) -> None:
    programme.load([Fault(what=Misbehaviour.LOSE_WRITES, register="command")], NOW)
    assert [one.name for one in config_faults.write(config, programme, POWER, b"\3\0", NOW)] == [
        "pm-control-status"
    ]
    assert met == []
    assert list(config_faults.write(config, programme, COMMAND, b"\6\0", NOW)) == []
    assert (config["command"], met) == (0, [0])


def test_one_write_may_reach_one_register_and_be_lost_on_its_neighbour(
    config: RegisterFile, programme: Programme
) -> None:
    programme.load([Fault(what=Misbehaviour.LOSE_WRITES, register="status")], NOW)
    config["status"] |= 0x8000
    reached = config_faults.write(config, programme, COMMAND, b"\6\0\0\x80", NOW)
    assert [one.name for one in reached] == ["command"]
    assert (config["command"], config["status"] & 0x8000) == (6, 0x8000)


def test_a_register_that_there_is_not_is_refused_with_those_there_are(config: RegisterFile) -> None:
    with pytest.raises(UsageError, match=r"none of that name.*vendor, device"):
        config_faults.check(Fault(what=Misbehaviour.WRONG_VALUE, register="mood"), config)


@pytest.mark.parametrize(
    ("fault", "width"),
    [
        (Fault(what=Misbehaviour.WRONG_VALUE, register="revision", value=0x100), 1),
        (Fault(what=Misbehaviour.STRAY_DMA, value=1 << 64), 8),
    ],
    ids=str,
)
def test_a_value_that_does_not_fit_is_refused(config: RegisterFile, fault: Fault, width: int) -> None:
    with pytest.raises(UsageError, match=f"more than {width} bytes"):
        config_faults.check(fault, config)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(what=Misbehaviour.WRONG_VALUE, register="revision", value=0xFF),
        Fault(what=Misbehaviour.LOSE_WRITES, register="command"),
        Fault(what=Misbehaviour.STRAY_DMA, value=(1 << 64) - 1),
    ],
    ids=str,
)
def test_what_fits_is_accepted(config: RegisterFile, fault: Fault) -> None:
    config_faults.check(fault, config)


def test_a_function_without_power_management_is_read_whole_and_never_sleeps() -> None:
    header = endpoint_header(vendor=0x1AF4, device=0x10FB, class_code=UNCLASSIFIED)
    config = config_space((*header, memory_bar(0, 0x1000)), (MSI, PCI_EXPRESS))
    register = Register(name="scratch", offset=0, width=4, value=7)
    function = Function(config, {0: RegisterFile((register,), 0x1000)}, clock=Clock())
    assert function.read(CONFIG_REGION, 0, 4) == b"\xf4\x1a\xfb\x10"
    assert len(function.read(CONFIG_REGION, 0, 256)) == 256
    function.write(CONFIG_REGION, 4, b"\x06\x00")
    assert function.read(0, 0, 4) == b"\x07\0\0\0"
    with pytest.raises(UsageError, match="no power management"):
        function.load([Fault(what=Misbehaviour.STAY_ASLEEP)])

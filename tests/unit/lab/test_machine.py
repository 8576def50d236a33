"""The emulated machine: what QEMU is told, and what is refused before QEMU could refuse it."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UsageError
from harness.lab.qemu.command_line import Boot, Memory, Wiring, arguments
from harness.lab.qemu.machine import Accelerator, EmulatedFunction, Machine, Placement

BOOT = Boot(kernel=Path("/k/vmlinux"), root=Path("/r/guest.cpio"), pvh=True)
WIRING = Wiring(
    console=Path("/run/console"),
    qmp_descriptor=5,
    rpc_descriptor=6,
    ram=Path("/t/ram"),
    state=Path("/t/state"),
)


def line(memory: Memory = Memory.ANONYMOUS, **changes: Any) -> list[str]:
    return arguments(Machine(**changes), BOOT, WIRING, memory)


def following(argv: list[str], option: str) -> list[str]:
    return [after for word, after in itertools.pairwise(argv) if word == option]


def devices(argv: list[str]) -> dict[str, dict[str, Any]]:
    found = [json.loads(text) for text in following(argv, "-device")]
    return {device.get("id", device["driver"]): device for device in found}


def test_hotplug_is_native_because_acpi_hotplug_breaks_bus_resets() -> None:
    assert "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off" in following(line(), "-global")


def test_interrupt_remapping_is_on_because_vfio_refuses_groups_without() -> None:
    assert devices(line())["intel-iommu"]["intremap"] == "on"


def test_a_panic_ends_the_guest_only_when_the_kernel_has_written_all() -> None:
    argv = line()
    assert following(argv, "-action") == ["panic=none,reboot=shutdown,shutdown=pause"]
    assert "panic=-1" in following(argv, "-append")[0].split()


def test_every_port_has_an_identity_and_an_address_of_its_own() -> None:
    ports = [device for device in devices(line()).values() if device["driver"] == "pcie-root-port"]
    assert len(ports) == len(Machine().ports)
    for key in ("id", "chassis", "slot", "addr"):
        assert len({port[key] for port in ports}) == len(ports)


def test_functions_sit_behind_ports_of_their_own_except_the_pair_and_one_port_is_empty() -> None:
    machine = Machine()
    alone = [one.alias for one in machine.functions if not one.port]
    assert len({machine.port_bdf(alias) for alias in alone}) == len(alone)
    assert machine.port_bdf("pair0") == machine.port_bdf("pair1")
    used = {machine.port_bdf(alias) for alias in machine.aliases}
    assert machine.port_bdf("empty") not in used


def test_the_addresses_given_to_the_guest_and_to_qemu_are_the_same() -> None:
    machine, made = Machine(), devices(line())
    for one in machine.functions:
        if one.root_device:
            assert int(made[one.alias]["addr"], 16) == one.root_device
            continue
        number = int(machine.port_bdf(one.alias).split(":")[2].split(".")[0], 16)
        assert int(made[f"port.{one.port_name}"]["addr"], 16) == number


def test_function_zero_of_a_shared_port_comes_last_and_announces_the_others() -> None:
    order = [device for device in devices(line()) if device.startswith("pair")]
    assert order == ["pair1", "pair0"]
    assert devices(line())["pair0"]["multifunction"] is True
    assert "multifunction" not in devices(line())["nvme0"]


def test_what_cannot_be_frozen_is_not_on_the_command_line_but_can_be_plugged() -> None:
    made = devices(line())
    assert "edu0" not in made
    assert "nvmesriov" not in made
    assert Machine().plug_arguments("edu0") == [
        {"driver": "edu", "id": "edu0", "bus": "port.edu0", "addr": "0.0"}
    ]


def test_sriov_nvme_has_its_subsystem_from_the_start_and_its_namespace_after_the_plug() -> None:
    assert devices(line())["nvmesriov-subsys"]["driver"] == "nvme-subsys"
    plugged = Machine().plug_arguments("nvmesriov")
    assert [one["driver"] for one in plugged] == ["nvme", "nvme-ns"]
    assert plugged[0]["subsys"] == "nvmesriov-subsys"
    assert "drive" not in plugged[0]  # QEMU refuses drive= together with subsys=
    assert plugged[1]["bus"] == "nvmesriov"


def test_every_drive_that_is_named_exists() -> None:
    argv = line()
    exists = {json.loads(text)["node-name"] for text in following(argv, "-blockdev")}
    named = [*devices(argv).values(), *Machine().plug_arguments("nvmesriov")]
    assert {one["drive"] for one in named if "drive" in one} <= exists


def test_template_and_clone_differ_only_in_memory_and_in_being_restored() -> None:
    template, clone = line(Memory.SHARED_FILE), line(Memory.COPY_ON_WRITE)
    backend = json.loads(following(clone, "-object")[0])
    assert backend["share"] is False
    assert backend["readonly"] is True
    assert json.loads(following(template, "-object")[0])["share"] is True
    extra = ["-global", "migration.x-ignore-shared=on", "-incoming", "file:/t/state"]
    assert clone[-4:] == extra
    at = template.index("-object")
    assert template[:at] == clone[:at]
    assert template[at + 2 :] == clone[at + 2 : -4]


def test_a_bzimage_gets_no_pvh_firmware() -> None:
    assert "-bios" not in arguments(Machine(), dataclasses.replace(BOOT, pvh=False), WIRING, Memory.ANONYMOUS)
    assert following(line(), "-bios") == ["qboot.rom"]


def test_kvm_splits_its_interrupt_controller_for_the_iommu() -> None:
    argv = line(accelerator=Accelerator.KVM)
    assert following(argv, "-accel") == ["kvm"]
    assert "kernel-irqchip=split" in following(argv, "-M")[0]
    assert following(line(), "-accel") == ["tcg,thread=multi"]


def test_gdb_is_passed_on_and_absent_otherwise() -> None:
    wiring = dataclasses.replace(WIRING, gdb="tcp:127.0.0.1:1234")
    assert following(arguments(Machine(), BOOT, wiring, Memory.ANONYMOUS), "-gdb") == ["tcp:127.0.0.1:1234"]
    assert "-gdb" not in line()


def test_two_functions_in_one_place_are_refused() -> None:
    twice = (
        EmulatedFunction(alias="a", model="edu", port="p"),
        EmulatedFunction(alias="b", model="edu", port="p"),
    )
    with pytest.raises(UsageError, match="two in one place"):
        Machine(functions=twice)


def test_more_ports_than_the_root_bus_has_room_for_are_refused() -> None:
    many = tuple(EmulatedFunction(alias=f"e{n}", model="edu") for n in range(30))
    with pytest.raises(UsageError, match="no room"):
        Machine(functions=many)


def test_an_unknown_function_is_named_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"'igb7': unknown.*igb0"):
        Machine().function("igb7")


def test_a_comma_in_a_path_is_refused() -> None:
    with pytest.raises(UsageError, match="comma"):
        arguments(Machine(), BOOT, dataclasses.replace(WIRING, console=Path("/a,b/c")), Memory.ANONYMOUS)


def test_models_known_to_lose_their_state_are_not_in_the_template() -> None:
    # Measured: QEMU 11 saves nothing of edu and pci-testdev; an SR-IOV NVMe blocks the migration.
    for one in Machine().in_template():
        assert one.model not in {"edu", "pci-testdev"}
        assert one.model != "nvme" or one.drives, "an NVMe without drive crashes QEMU in a freeze"
        assert "subsys" not in one.properties
    assert Machine().function("edu0").placement is Placement.HOT_PLUG


def test_what_shares_a_port_is_plugged_together_and_function_0_last() -> None:
    for alias in ("duo0", "duo1"):
        assert [one.alias for one in Machine().plugged_with(alias)] == ["duo1", "duo0"]
    assert [one.alias for one in Machine().plugged_with("edu0")] == ["edu0"]


def test_what_lives_in_the_template_is_not_plugged_with_its_sibling() -> None:
    assert Machine().plugged_with("pair0") == ()

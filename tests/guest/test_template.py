"""Frozen guests: what a clone is, what the builder refuses, and that damage is repaired."""

from __future__ import annotations

import dataclasses
import os
import shutil
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from harness.errors import GuestError
from harness.lab.cache.store import Cache, key_of
from harness.lab.guest.guest import Start
from harness.lab.guest.post_mortem import started
from harness.lab.qemu.command_line import Memory
from harness.lab.qemu.machine import EmulatedFunction, Machine, Placement
from harness.lab.template import freeze
from harness.lab.template.template import KIND, clone, template
from harness.model.request import Bind, OpenFunction, ReadClocks, ReadConfig, Warm
from tests.guest.found import found

if TYPE_CHECKING:
    from pathlib import Path

    from harness.lab.place import Place

QUICK_S = 5.0  # 0.5 s measured on a quiet host; a cold boot takes at least twice this long


def test_a_clone_answers_much_sooner_than_a_boot(place: Place) -> None:
    """How soon it can be is what the quickest of some tells: a busy machine makes any of them slow."""
    took_s: list[float] = []
    while not took_s or (min(took_s) >= QUICK_S and len(took_s) < 5):
        before_s = time.monotonic()
        with clone(place.template) as guest:
            guest.agent.ask(ReadClocks())
            took_s.append(time.monotonic() - before_s)
    assert min(took_s) < QUICK_S


def test_a_clone_knows_the_time_of_day_and_its_clock_agrees(place: Place) -> None:
    with clone(place.template) as guest:
        before_ns = time.time_ns()
        told_ns = guest.agent.ask(ReadClocks()).realtime_ns
        assert before_ns - 1e9 < told_ns < time.time_ns() + 1e9
        for _ in range(30):  # the longer it runs, the less it matters how late a busy machine answers
            guest.monitor.wait_closed(1.0)
            rate = guest.check_clock()
            assert rate.is_believable
            if rate.most - rate.least < 0.2:
                break
        assert rate.most - rate.least < 0.2


def test_clones_share_one_file_and_none_changes_it(place: Place) -> None:
    ram = place.template.path / freeze.RAM
    before = freeze.digest(ram)
    with ExitStack() as stack:
        guests = [stack.enter_context(clone(place.template, name=f"clone {n}")) for n in range(3)]
        guests[0].agent.ask(Warm())
    assert freeze.digest(ram) == before
    assert ram.stat().st_mode & 0o777 == 0o444


def test_what_one_clone_does_no_other_sees(place: Place) -> None:
    with clone(place.template) as one, clone(place.template) as other:
        bdf = found(one, "e1000e0").bdf
        one.agent.ask(Bind(bdf=bdf, driver="vfio-pci"))
        assert found(one, "e1000e0").driver == "vfio-pci"
        assert found(other, "e1000e0").driver == ""


@pytest.mark.parametrize("alias", ["nvme0", "igb0", "e1000e0", "rng0", "pair1"])
def test_a_function_of_the_template_works_in_a_clone(place: Place, alias: str) -> None:
    """Config space was compared by the builder; here its driver-side life goes on: bound, opened, read."""
    with clone(place.template) as guest:
        bdf = found(guest, alias).bdf
        if alias != "pair1":
            guest.agent.ask(Bind(bdf=bdf, driver="vfio-pci"))
            assert guest.agent.ask(OpenFunction(bdf=bdf)).regions == 9
        space = guest.agent.ask(ReadConfig(bdf=bdf))
        assert len(space) == 4096
        assert space[:4] != b"\xff\xff\xff\xff"


# --- refusals ---------------------------------------------------------------------------------------------


def with_only(place: Place, function: EmulatedFunction) -> Start:
    machine = dataclasses.replace(place.recipe.machine, functions=(function,))
    return dataclasses.replace(place.recipe.start(), machine=machine)


@pytest.mark.cold
def test_a_model_that_silently_loses_its_state_is_refused_by_name(place: Place, tmp_path: Path) -> None:
    start = with_only(place, EmulatedFunction(alias="edu7", model="edu"))
    with pytest.raises(GuestError, match=r"function edu7: its config space came back different"):
        freeze.make(tmp_path, start, place.recipe.boot_timeout_s)


def save_at_once(start: Start, folder: Path) -> None:
    """Save the devices of a guest that has hardly begun to boot: this needs no more."""
    shared = dataclasses.replace(start, memory=Memory.SHARED_FILE, ram=folder / freeze.RAM)
    with started(shared) as guest:
        freeze.save(guest, folder / freeze.STATE)


def test_a_model_that_crashes_qemu_is_refused(place: Place, tmp_path: Path) -> None:
    driveless = EmulatedFunction(alias="nvme7", model="nvme", properties={"serial": "x"})
    with pytest.raises(GuestError, match=r"QEMU died of SIGSEGV.*\(nvme7\) cannot be frozen"):
        save_at_once(with_only(place, driveless), tmp_path)


def test_a_model_that_blocks_its_migration_is_refused_in_qemus_words(place: Place, tmp_path: Path) -> None:
    hot = Machine().function("nvmesriov")
    sriov = dataclasses.replace(hot, after=(), placement=Placement.TEMPLATE)
    with pytest.raises(GuestError, match=r"SR-IOV.*\(nvmesriov\) cannot be frozen"):
        save_at_once(with_only(place, sriov), tmp_path)


def test_the_functions_of_the_default_lab_can_be_saved(place: Place, tmp_path: Path) -> None:
    save_at_once(place.recipe.start(), tmp_path)
    assert (tmp_path / freeze.STATE).stat().st_size > 0


# --- damaged and stale ------------------------------------------------------------------------------------


@pytest.mark.cold
def test_a_damaged_template_is_made_again(place: Place, tmp_path: Path) -> None:
    with Cache(tmp_path / "cache") as cache:
        key = key_of(place.recipe.inputs())

        def damaged_copy(folder: Path) -> None:
            for name in (freeze.STATE, freeze.MANIFEST):
                shutil.copy2(place.template.path / name, folder / name)
            with (folder / freeze.RAM).open("wb") as ram:
                os.truncate(ram.fileno(), place.recipe.machine.memory_mib << 20)

        damaged = cache.publish(KIND, key, damaged_copy)
        assert freeze.damage(damaged) != ""
        made = template(cache, place.recipe)
        assert made.path == damaged
        assert freeze.damage(made.path, thoroughly=True) == ""
        with clone(made) as guest:
            assert guest.agent.ask(ReadClocks()).monotonic_ns


def test_the_template_in_use_is_sound_to_the_last_byte(place: Place) -> None:
    assert freeze.damage(place.template.path, thoroughly=True) == ""


def test_whatever_goes_in_changes_the_key(place: Place, tmp_path: Path) -> None:
    recipe = place.recipe
    other_root = tmp_path / "guest.cpio"
    other_root.write_bytes(recipe.boot.root.read_bytes() + bytes(512))
    changed = [
        dataclasses.replace(recipe, boot=dataclasses.replace(recipe.boot, root=other_root)),
        dataclasses.replace(recipe, boot=dataclasses.replace(recipe.boot, kernel=other_root)),
        dataclasses.replace(recipe, machine=dataclasses.replace(recipe.machine, memory_mib=768)),
        dataclasses.replace(recipe, machine=dataclasses.replace(recipe.machine, empty_ports=())),
        dataclasses.replace(recipe, emulator=dataclasses.replace(recipe.emulator, version="11.9")),
    ]
    keys = {key_of(one.inputs()) for one in (recipe, *changed)}
    assert len(keys) == 1 + len(changed)
    assert key_of(recipe.inputs()) == place.template.path.name

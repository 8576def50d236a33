"""VFIO in a guest: our objects beside a C program and beside lspci, and what each of them refuses."""

from __future__ import annotations

import dataclasses
import errno
import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from harness.bindings import vfio
from harness.errors import KernelRefusal
from harness.lab.template.template import cold
from harness.model.pci import Bdf
from harness.model.request import Bind, LoadModule, OpenFunction, ReadConfig
from harness.pci.capabilities import capabilities
from tests.guest.conformance import inside, lspci
from tests.guest.found import found

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.lab.place import GuestTarget, Place

_HERE: Final = Path(__file__).with_name("conformance")
_OURS: Final = (_HERE / "ours.py").read_text() + "\nanswer = facts(bdf)"
_FUNCTIONS: Final = ("igb0", "e1000e0", "nvme0", "rng0", "edu0")
# The emulator's, none of the functions under test: it lies on the root bus, which cannot be reset.
_ON_THE_ROOT_BUS: Final = "0000:00:1c.0"


@pytest.fixture
def target(place: Place, console: Path) -> Iterator[GuestTarget]:
    with place.clone(console) as started:
        yield started


def give_to_vfio(target: GuestTarget, alias: str) -> str:
    """Bind vfio-pci to a function; its address."""
    bdf = target.address(alias)
    target.agent.ask(Bind(bdf=bdf, driver="vfio-pci"))
    return str(bdf)


# --- the same facts from somebody else --------------------------------------------------------------------


@dataclass(frozen=True)
class Said:
    """What was said of one function.

    Attributes:
        ours: by our objects (conformance/ours.py).
        theirs: by the C program (conformance/facts.c).
        config: its config space as sysfs gives it.
        group: number of its IOMMU group.
    """

    bdf: str
    group: int
    ours: dict[str, Any]
    theirs: dict[str, Any]
    config: bytes


@pytest.fixture(scope="session")
def said(place: Place, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Said]:
    """Every function, asked in one guest; by alias."""
    folder = tmp_path_factory.mktemp("conformance")
    program = inside.compiled(_HERE / "facts.c", folder)
    found = {}
    with place.clone(folder / "console.log") as target:
        for alias in _FUNCTIONS:
            bdf = give_to_vfio(target, alias)
            facts = target.facts(alias)
            found[alias] = Said(
                bdf=bdf,
                group=int(facts.iommu_group),
                ours=inside.python(target, _OURS, bdf=bdf),
                theirs=inside.c(target, program, bdf, facts.iommu_group),
                config=target.agent.ask(ReadConfig(bdf=facts.bdf)),
            )
    return found


@pytest.mark.parametrize("alias", _FUNCTIONS)
def test_our_objects_say_what_a_c_program_says(said: dict[str, Said], alias: str) -> None:
    one = said[alias]
    assert one.ours == one.theirs
    # Two that are wrong in the same way would agree as well.
    assert one.ours["device"]["flags"] == vfio.DEVICE_RESET | vfio.DEVICE_PCI
    assert len(one.ours["regions"]) == 9
    assert len(one.ours["interrupts"]) == len(vfio.Irq)
    assert one.ours["regions"][vfio.CONFIG_REGION]["size"] in (256, 4096)
    assert one.ours["hot_reset"] == {"affected": [[one.group, one.bdf]]}
    assert one.ours["iommu"]["page_sizes"] & mmap.PAGESIZE


@pytest.mark.parametrize("alias", _FUNCTIONS)
def test_our_objects_say_what_lspci_reads_in_config_space(
    said: dict[str, Said], tmp_path: Path, alias: str
) -> None:
    ours, theirs = said[alias].ours, lspci.decode(said[alias].config, tmp_path)
    bars = [number for number, region in enumerate(ours["regions"][:6]) if region["size"]]
    assert bars == list(theirs.bars)
    assert ours["interrupts"][vfio.Irq.MSI]["count"] == theirs.msi
    assert ours["interrupts"][vfio.Irq.MSIX]["count"] == theirs.msix
    through_vfio = capabilities(bytes.fromhex(ours["config"]))
    assert [(one.offset, one.extended) for one in through_vfio] == list(theirs.capabilities)


# --- life of the objects ----------------------------------------------------------------------------------


def test_everything_is_closed_in_order_once_and_the_function_can_be_opened_again(target: GuestTarget) -> None:
    igb, nvme = give_to_vfio(target, "igb0"), give_to_vfio(target, "nvme0")
    source = """
        before = descriptors()
        with Container() as container:
            first = container.attach(Bdf.parse(igb))
            again = container.attach(Bdf.parse(igb)) is first
            device = first.open(Bdf.parse(igb))
            other = container.attach(Bdf.parse(nvme)).open(Bdf.parse(nvme))
            same = device.region(0) is device.region(0)
            mapping = device.region(0).map()
            device.interrupt(vfio.Irq.MSIX).arm(3)
            memory = mmap.mmap(-1, 8192)
            pinned = container.map_dma(memory, 0x10000)
            within = len(descriptors()) - len(before)
        closed = mapping.closed
        pinned.close(), device.close(), other.close(), first.close(), container.close(), memory.close()
        with opened(Bdf.parse(igb)) as device:
            command = device.read_config(4, 4)
        answer = [again, same, within, closed, descriptors() == before, [device.regions, device.irqs], command]
    """
    again, same, within, closed, nothing_left, counts, command = inside.python(
        target, source, igb=igb, nvme=nvme
    )
    assert again
    assert same
    assert within == 1 + 2 + 2 + 1 + 3  # container, groups, devices, the mapping's own, eventfds
    assert closed
    assert nothing_left
    assert counts == [9, 5]
    assert command not in (0, 0xFFFF_FFFF)


def test_a_group_that_was_closed_can_be_attached_again(target: GuestTarget) -> None:
    source = """
        bdf = Bdf.parse(bdf)
        with Container() as container:
            memory = mmap.mmap(-1, 4096)
            with container.attach(bdf) as group:
                mapping = container.map_dma(memory, 0)
                number = group.number
            left = container.groups
            mapping.close()  # it ended with the last group
            with container.attach(bdf) as group, group.open(bdf) as device:
                container.map_dma(memory, 0).close()
                answer = [list(left), number == group.number, group.viable, device.read_config(0, 4)]
    """
    left, same, viable, identity = inside.python(target, source, bdf=give_to_vfio(target, "igb0"))
    assert (left, same, viable) == ([], True, True)
    assert identity == 0x10C9_8086


def test_a_borrowed_function_goes_back_to_its_driver(target: GuestTarget) -> None:
    bdf = target.address("e1000e0")
    target.agent.ask(LoadModule(name="e1000e"))
    target.agent.ask(Bind(bdf=bdf, driver="e1000e"))
    source = """
        bdf = Bdf.parse(bdf)
        before = driver.bound_driver(bdf)
        with driver.borrowed(bdf, "vfio-pci"):
            within = driver.bound_driver(bdf)
            with opened(bdf) as device:
                device.reset()
        override = Path(f"/sys/bus/pci/devices/{bdf}/driver_override").read_text().strip()
        answer = [before, within, driver.bound_driver(bdf), override]
    """
    assert inside.python(target, source, bdf=str(bdf)) == ["e1000e", "vfio-pci", "e1000e", "e1000e"]


# --- memory -----------------------------------------------------------------------------------------------


def test_memory_is_mapped_for_functions_and_unmapped(target: GuestTarget) -> None:
    source = """
        bdf = Bdf.parse(bdf)
        with Container() as container:
            early = refusal(container.iommu_info)
            container.attach(bdf)
            memory = mmap.mmap(-1, 16384)
            with container.map_dma(memory, 0x100000) as mapping:
                size = mapping.size
                taken = refusal(lambda: container.map_dma(memory, 0x100000))
                open_pages = len(vfio.iommu_info(container.fd).iova_ranges)
            container.map_dma(memory, 0x100000, vfio.DmaAccess.READ).close()
            crooked = refusal(lambda: container.map_dma(memory, 0x100001))
            hole = next(one for one in container.iommu_info().iova_ranges if one.offset == 0)
            reserved = refusal(lambda: container.map_dma(memory, hole.offset + hole.size))
            nothing = vfio.unmap_dma(container.fd, iova=0x100000, size=16384)
            answer = [early, size, taken, open_pages, crooked, reserved, nothing]
    """
    early, size, taken, ranges, crooked, reserved, nothing = inside.python(
        target, source, bdf=give_to_vfio(target, "igb0")
    )
    assert size == 16384
    assert nothing == 0
    assert ranges == 2  # below and above the interrupt range of x86
    assert [one["errno"] for one in (early, taken, crooked, reserved)] == [
        errno.EINVAL,
        errno.EEXIST,
        errno.EINVAL,
        errno.EINVAL,
    ]
    assert "mapped already" in taken["text"]
    assert "whole pages" in crooked["text"]


# --- registers and interrupts -----------------------------------------------------------------------------


def test_a_register_is_the_same_through_the_descriptor_and_a_mapping(target: GuestTarget) -> None:
    # e1000e keeps what is written to FCTTV (offset 170h), 16 bits of it.
    source = """
        FCTTV = 0x170
        with opened(Bdf.parse(bdf)) as device:
            bar = device.region(0)
            device.config.write(4, 2, device.config.read(4, 2) & ~2)
            asleep = refusal(lambda: bar.read(FCTTV, 4))
            device.config.write(4, 2, device.config.read(4, 2) | 2)
            bar.write(FCTTV, 4, 0x1234)
            mapping = memoryview(bar.map()).cast("I")
            seen = [bar.read(FCTTV, 4), mapping[FCTTV // 4]]
            mapping[FCTTV // 4] = 0x4321
            seen.append(bar.read(FCTTV, 4))
            mapping.release()
            answer = [asleep, seen]
    """
    asleep, seen = inside.python(target, source, bdf=give_to_vfio(target, "e1000e0"))
    assert seen == [0x1234, 0x1234, 0x4321]
    assert asleep["errno"] == errno.EIO
    assert "memory decode is off" in asleep["text"]


def test_interrupts_arrive_by_eventfd_until_they_are_disarmed(target: GuestTarget) -> None:
    source = """
        with opened(Bdf.parse(bdf)) as device:
            msix = device.interrupt(vfio.Irq.MSIX)
            unarmed = refusal(msix.trigger)
            eventfds = msix.arm(3)
            msix.trigger(start=1, count=2)
            msix.trigger(start=2)
            counts = [msix.wait(number, deadline_s=0.0 if number == 0 else 10.0) for number in range(3)]
            intx = device.interrupt(vfio.Irq.INTX)
            two_kinds = refusal(intx.arm)
            msix.disarm(), msix.disarm()
            disarmed = refusal(msix.trigger)
            intx.arm()
            intx.mask()
            intx.unmask()
            intx.trigger()
            intx_count = intx.wait(deadline_s=10.0)
            intx.close()
            others = []
            for index in (vfio.Irq.ERR, vfio.Irq.REQ):
                with device.interrupt(index) as other:
                    other.arm()
                    other.trigger()
                    others.append(other.wait(deadline_s=10.0))
            answer = [len(set(eventfds)), counts, intx_count, others, unarmed, two_kinds, disarmed]
    """
    count, counts, intx, others, *refused = inside.python(target, source, bdf=give_to_vfio(target, "igb0"))
    assert count == 3
    assert counts == [0, 1, 2]
    assert intx == 1
    assert others == [1, 1]
    assert [one["errno"] for one in refused] == [errno.EINVAL] * 3


# --- resets -----------------------------------------------------------------------------------------------


# A register that every reset clears, as the contract's oracles have it, and a mark that it keeps until then.
@pytest.mark.parametrize(
    ("alias", "register", "mark"), [("igb0", 0xE00, 0x0101_0101), ("nvme0", 0x14, 0x46_0000)]
)
def test_a_function_alone_on_its_bus_is_reset_both_ways(
    target: GuestTarget, alias: str, register: int, mark: int
) -> None:
    source = """
        bdf = Bdf.parse(bdf)
        with Container() as container:
            group = container.attach(bdf)
            device = group.open(bdf)
            affected = [[str(one.bdf), one.group == group.number, one.owned] for one in device.hot_reset_info()]
            bar = device.region(0)
            device.config.write(4, 2, device.config.read(4, 2) | 2)
            seen = [bar.read(register, 4)]
            for reset in (device.reset, lambda: device.hot_reset([group])):
                bar.write(register, 4, mark)
                seen.append(bar.read(register, 4))
                reset()
                seen.append(bar.read(register, 4))
            nothing_passed = refusal(device.hot_reset)
            answer = [affected, seen, nothing_passed]
    """
    bdf = give_to_vfio(target, alias)
    affected, seen, nothing_passed = inside.python(target, source, bdf=bdf, register=register, mark=mark)
    fresh = seen[0]
    assert affected == [[bdf, True, None]]
    assert fresh != mark
    assert seen == [fresh, mark, fresh, mark, fresh]
    assert nothing_passed["errno"] == errno.EINVAL


def test_a_hot_reset_needs_every_function_of_the_bus(target: GuestTarget) -> None:
    pair0, pair1 = give_to_vfio(target, "pair0"), str(target.address("pair1"))
    source = """
        with Container() as container:
            group = container.attach(Bdf.parse(pair0))
            device = group.open(Bdf.parse(pair0))
            affected = [str(one.bdf) for one in device.hot_reset_info()]
            alone = refusal(lambda: device.hot_reset([group]))
            driver.bind(Bdf.parse(pair1), "vfio-pci")
            device.hot_reset([group])
            answer = [affected, alone]
    """
    affected, alone = inside.python(target, source, pair0=pair0, pair1=pair1)
    assert affected == [pair0, pair1]
    assert alone["errno"] == errno.EINVAL
    assert "Every function of the slot or bus must be bound to vfio-pci" in alone["text"]


def test_a_function_on_the_root_bus_has_no_hot_reset(target: GuestTarget) -> None:
    target.agent.ask(Bind(bdf=Bdf.parse(_ON_THE_ROOT_BUS), driver="vfio-pci"))
    source = """
        with Container() as container:
            group = container.attach(Bdf.parse(bdf))
            device = group.open(Bdf.parse(bdf))
            answer = [refusal(device.hot_reset_info), refusal(lambda: device.hot_reset([group])),
                      device.info.flags & vfio.DEVICE_RESET, refusal(device.reset)]
    """
    info, reset, resettable, alone = inside.python(target, source, bdf=_ON_THE_ROOT_BUS)
    assert [info["errno"], reset["errno"]] == [errno.ENODEV, errno.ENODEV]
    assert "Neither its slot nor its bus" in info["text"]
    assert resettable == 0
    assert alone["errno"] == errno.EINVAL
    assert "could not be reset when it was opened" in alone["text"]


# --- refusals ---------------------------------------------------------------------------------------------


def test_what_the_kernel_refuses_names_step_function_errno_and_remedy(target: GuestTarget) -> None:
    igb, nvme = give_to_vfio(target, "igb0"), str(target.address("nvme0"))
    source = """
        unbound = refusal(lambda: Group(Bdf.parse(nvme)))
        with Container() as container:
            group = container.attach(Bdf.parse(igb))
            stranger = refusal(lambda: group.open(Bdf.parse(nvme)))
            twice = refusal(lambda: Container().attach(Bdf.parse(igb)))
            device = group.open(Bdf.parse(igb))
            region = refusal(lambda: device.region(9))
        with Group(Bdf.parse(igb)) as group:
            bare = refusal(lambda: group.open(Bdf.parse(igb)))
        absent = refusal(lambda: Group(Bdf.parse("0000:55:00.0")))
        answer = [unbound, stranger, twice, region, bare, absent]
    """
    unbound, stranger, twice, region, bare, absent = inside.python(target, source, igb=igb, nvme=nvme)
    assert [one["errno"] for one in (unbound, stranger, twice, region, bare)] == [
        errno.ENOENT,
        errno.ENODEV,
        errno.EBUSY,
        errno.EINVAL,
        errno.EINVAL,
    ]
    assert unbound["text"].startswith(f"opening the IOMMU group of {nvme}: ENOENT")
    assert "Bind every function of the group to vfio-pci" in unbound["text"]
    assert stranger["text"].startswith(f"VFIO_GROUP_GET_DEVICE_FD of {nvme}: ENODEV")
    assert "open elsewhere" in twice["text"]
    assert "no container with an IOMMU" in bare["text"]
    assert absent["class"] == "TargetError"
    assert "no IOMMU group" in absent["text"]


def test_a_group_with_a_function_of_another_driver_is_not_viable(target: GuestTarget) -> None:
    target.agent.ask(LoadModule(name="nvme"))
    pair0, pair1 = give_to_vfio(target, "pair0"), target.address("pair1")
    target.agent.ask(Bind(bdf=pair1, driver="nvme"))
    said = inside.python(target, "answer = refusal(lambda: Container().attach(Bdf.parse(bdf)))", bdf=pair0)
    assert said["class"] == "TargetError"
    assert "is not viable" in said["text"]
    assert "bound to vfio-pci or to nothing" in said["text"]


def test_a_function_that_is_asked_back_says_so_and_its_reset_meets_the_lock(target: GuestTarget) -> None:
    source = """
        bdf = Bdf.parse(bdf)
        with opened(bdf) as device:
            request = device.interrupt(vfio.Irq.REQ)
            request.arm()
            taking = threading.Thread(target=driver.unbind, args=(bdf,))
            taking.start()
            asked = request.wait(deadline_s=30.0) >= 1
            locked = refusal(device.reset)
        taking.join(30.0)
        answer = [asked, locked, taking.is_alive(), driver.bound_driver(bdf)]
    """
    asked, locked, alive, driver = inside.python(target, source, bdf=give_to_vfio(target, "igb0"))
    assert asked
    assert locked["errno"] == errno.EAGAIN
    assert "holds a lock" in locked["text"]
    assert (alive, driver) == (False, "")


@pytest.mark.cold
def test_without_interrupt_remapping_the_reason_is_said(place: Place, console: Path) -> None:
    machine = place.recipe.machine
    machine = dataclasses.replace(machine, parameters=(*machine.parameters, "intremap=off"))
    with cold(dataclasses.replace(place.recipe, machine=machine), console=console) as guest:
        bdf = found(guest, "igb0").bdf
        guest.agent.ask(Bind(bdf=bdf, driver="vfio-pci"))
        with pytest.raises(KernelRefusal) as refused:
            guest.agent.ask(OpenFunction(bdf=bdf))
    assert refused.value.errno == errno.EPERM
    assert "No interrupt remapping" in str(refused.value)
    assert str(bdf) in str(refused.value)


# --- features and the newer way ---------------------------------------------------------------------------


def test_low_power_is_probed_entered_once_and_left(target: GuestTarget) -> None:
    if not vfio.HEADER.present["VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY"]:
        pytest.skip("the bindings were compiled against headers older than Linux 6.1: install newer ones")
    source = """
        with opened(Bdf.parse(bdf)) as device:
            features = device.features
            has = [features.has(feature) for feature in Feature]
            readable = features.has(Feature.LOW_POWER_ENTRY, vfio.FeatureAccess.GET)
            features.enter_low_power()
            command = device.read_config(4, 2)
            twice = refusal(features.enter_low_power)
            features.exit_low_power()
            features.exit_low_power()
            signal = os.eventfd(0, os.EFD_NONBLOCK)
            features.enter_low_power_with_wakeup(signal)
            features.exit_low_power()
            answer = [has, readable, command, twice]
    """
    has, readable, command, twice = inside.python(target, source, bdf=give_to_vfio(target, "igb0"))
    assert has == [True, True, True]
    assert not readable
    assert command != 0xFFFF
    assert twice["errno"] == errno.EINVAL


def test_a_kernel_without_character_devices_of_functions_is_a_clear_error(target: GuestTarget) -> None:
    source = """
        before = descriptors()
        answer = [refusal(AddressSpace), descriptors() == before, os.path.exists("/dev/iommu")]
    """
    refused, nothing_left, has_iommufd = inside.python(target, source)
    assert not has_iommufd
    assert nothing_left
    assert (refused["class"], refused["errno"]) == ("KernelRefusal", errno.ENOENT)
    assert "opening /dev/iommu" in refused["text"]
    assert "CONFIG_IOMMUFD" in refused["text"]

"""The default emulated lab: everything a guest needs, prepared once, and a target for each test.

Composes the other modules of this folder; nothing here knows about pytest.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from harness.errors import GuestError, ModelError
from harness.lab.cache.store import Cache
from harness.lab.debian.busybox import busybox
from harness.lab.guest.guest import Guest
from harness.lab.guest.post_mortem import post_mortem
from harness.lab.image.init_program import compiled_init
from harness.lab.kernel.added import Added
from harness.lab.kernel.build_module import windows_module
from harness.lab.kernel.choice import Choice, Given, choose
from harness.lab.kernel.find import provided, pvh_image
from harness.lab.kernel.module_types import made_ready
from harness.lab.kernel.own_modules import own_modules, refuse_unfit
from harness.lab.models.user_models import with_own_models
from harness.lab.progress import note
from harness.lab.qemu.accelerator import probe_accelerator
from harness.lab.qemu.emulator import find_emulator
from harness.lab.qemu.machine import PORT_SUFFIX, Accelerator, Machine, Placement
from harness.lab.template.template import Recipe, Template, clone, cold, recipe, template
from harness.model.loss import Loss
from harness.model.observation import FunctionFacts
from harness.model.pci import Bdf, Nature
from harness.model.policy import PLUGGED
from harness.model.request import DescribeFunction, ReadConfig
from harness.model.units import as_text
from harness.pci.capabilities import capabilities
from harness.target.agent import Agent
from harness.target.attempts import attempting
from harness.target.clock import Rate
from harness.target.protocol import Renewed
from harness.target.served import Model
from harness.target.silence import Starved, starved_process

_EXPRESS, _SLOT_CONTROL = 0x10, 0x18
_SHINES: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What a user may choose.

    Attributes:
        emulator: a QEMU of their own, or None for the system's or Debian's.
        kernel: a bzImage, vmlinux or built kernel tree, or None for Debian stable's.
        modules: its modules, where they cannot be found beside it.
        branch: a branch of Debian's kernels instead, as "6.1"; empty for that of Debian stable.
        own_modules: modules of their own, each instead of the kernel's module of that name, or beside them.
        models: models of their own to serve, each as `ALIAS=FILE.py:CALLABLE`.
    """

    emulator: Path | None = None
    kernel: Path | None = None
    modules: Path | None = None
    branch: str = ""
    own_modules: tuple[Path, ...] = ()
    models: tuple[str, ...] = ()

    @property
    def choice(self) -> Choice:
        """The one kernel that they come to.

        Raises:
            UsageError: they contradict each other.
        """
        return choose(self.kernel, self.modules, self.branch)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A lab that is ready: what guests are made from, and the template to clone.

    Attributes:
        without_windows_module: why its guests have no module for lock windows (lab/kernel/build_module.py); empty when
            they have one.
    """

    recipe: Recipe
    template: Template
    without_windows_module: str = ""

    @contextmanager
    def clone(self, console: Path, *, gdb: str | None = None) -> Iterator[GuestTarget]:
        """A guest of its own for one test: a copy-on-write clone of the template."""
        with clone(self.template, console=console, gdb=gdb) as guest:
            yield GuestTarget(guest, self, start="clone")

    @contextmanager
    def boot(self, console: Path, *, gdb: str | None = None) -> Iterator[GuestTarget]:
        """A guest of its own for one test, booted."""
        with cold(self.recipe, console=console, gdb=gdb) as guest:
            yield GuestTarget(guest, self, start="boot")

    def provenance(self) -> dict[str, Any]:
        """Versions of everything that is not the harness."""
        emulator, kernel, own = self.recipe.emulator, self.recipe.kernel, self.recipe.added.own
        return {
            "lab": "emulated",
            "lab.accelerator": self.recipe.machine.accelerator.value,
            "lab.template": self.template.path.name,
            "qemu.version": emulator.version,
            "qemu.source": emulator.source,
            "qemu.packages": " ".join(emulator.packages),
            "kernel.release": kernel.release,
            "kernel.package": kernel.package,
            **({"kernel.own_modules": " ".join(map(str, own))} if own else {}),
            "lab.windows_module": self.without_windows_module or "there",
        }


class GuestTarget:
    """A guest as a target; see :class:`~harness.target.protocol.Target`."""

    def __init__(self, guest: Guest, place: Place, *, start: str) -> None:
        self.guest: Final = guest
        self._start = start
        self._place = place
        self._facts: dict[str, FunctionFacts] = {}
        self._lost: tuple[Loss, dict[int, bytes]] | None = None

    @property
    def agent(self) -> Agent:
        """The agent in the guest."""
        return self.guest.agent

    def address(self, alias: str) -> Bdf:
        """Where a function is in the guest; one that is hot-plugged is plugged at the first call.

        Raises:
            UsageError: the machine has no function of that name.
            GuestError: it was plugged and the guest's kernel does not see it.
            ModelError: its model raised, ended or did not return when it was plugged, or looked at.
        """
        return self.facts(alias).bdf

    def facts(self, alias: str) -> FunctionFacts:
        """What the guest knew of a function when it was first asked for.

        Raises:
            UsageError: the machine has no function of that name.
            GuestError: it was plugged and the guest's kernel does not see it.
            ModelError: its model raised, ended or did not return when it was plugged, or looked at.
        """
        if alias not in self._facts:
            self.guest.machine.refuse_unknown(alias)
            self._facts[alias] = self._find(alias)
        return self._facts[alias]

    @property
    def standing(self) -> tuple[str, ...]:
        """Those of the template."""
        return tuple(one.alias for one in self.guest.machine.in_template())

    def nature(self, name: str | Bdf) -> Nature:
        """QEMU's own, or served by a model of ours: emulated.

        Raises:
            UsageError: the machine has no function of that name.
        """
        if isinstance(name, str):
            self.guest.machine.refuse_unknown(name)
        return Nature.EMULATED

    def model(self, alias: str) -> Model | None:
        """The model that serves a function, if one does; see :class:`~harness.target.protocol.Target`."""
        self.facts(alias)
        return self.guest.slots.served.get(alias)

    def provenance(self) -> dict[str, Any]:
        """Versions of everything that is not the harness."""
        return {**self._place.provenance(), "lab.start": self._start}

    def busybox(self) -> bytes:
        """Debian's, from the cache; fetched the first time that somebody asks."""
        with Cache() as cache:
            return busybox(cache)

    def post_mortem(self, pages: Mapping[int, int]) -> tuple[Loss, dict[int, bytes]]:
        """How this guest was lost, and pages of its memory; see :class:`~harness.target.protocol.Target`."""
        if self._lost is None:
            self._lost = post_mortem(self.guest, self.agent.lost or "the agent does not answer", pages)
        return self._lost

    def mistakes(self) -> tuple[ModelError, ...]:
        """Of the models that serve what is plugged."""
        made = (one.mistake() for one in self.guest.slots.served.values())
        return tuple(one for one in made if one is not None)

    @property
    def by_hand(self) -> str:
        """Which process it is, and the command that starts one like it."""
        guest = self.guest
        return f"{guest.name}, pid {guest.pid}, console {guest.console}\nby hand: {guest.qemu.command}"

    @property
    def console(self) -> Path:
        """Its serial port's."""
        return self.guest.console

    def starvation(self) -> Starved:
        """By Linux's account of the threads of its QEMU."""
        return starved_process(self.guest.pid)

    def check_clock(self) -> Rate:
        """Its clock against ours since it woke up, or was handed over.

        Raises:
            ClockError: it ran wild.
            TargetError: the agent does not answer.
        """
        return self.guest.check_clock()

    @property
    def lost(self) -> str:
        """By QEMU's word, else by the agent's silence."""
        if not self.guest.running or self.guest.panicked:
            return self.guest.cause_of_death or "its QEMU is gone"
        return self.agent.lost

    @property
    def renewed(self) -> Renewed:
        """A guest is killed, never used again."""
        return Renewed.ANOTHER_MACHINE

    def hand_over(self, console: Path) -> None:
        """As :meth:`~harness.lab.guest.guest.Guest.hand_over`."""
        self.guest.hand_over(console)

    def _find(self, alias: str) -> FunctionFacts:
        if alias.endswith(PORT_SUFFIX):
            self.facts(alias.removesuffix(PORT_SUFFIX))  # one that is hot-plugged must be there
            above = self.guest.port_bdf(alias.removesuffix(PORT_SUFFIX))
            return self.agent.ask(DescribeFunction(bdf=Bdf.parse(above)))
        function = self.guest.machine.function(alias)
        port = self.guest.port_bdf(alias)

        def mistake() -> ModelError | None:
            """Who made a mistake is not waited for."""
            served = self.guest.slots.served.get(alias)
            return served.mistake() if served else None

        if function.placement is Placement.HOT_PLUG:
            self.guest.slots.plug(alias)
            # A driver that only looks at a function owns it for a moment, as virtio-pci does with all of its vendor.
            attempting(PLUGGED, unsettled=lambda space: not _is_settled(space) and not mistake())(
                self.agent.ask, ReadConfig(bdf=Bdf.parse(port))
            )
        facts: FunctionFacts | None = attempting(
            PLUGGED, unsettled=lambda facts: facts is None and not mistake()
        )(self.agent.ask, self.guest.machine.finding(alias))
        if error := mistake():
            raise error
        if facts is None:
            raise GuestError(
                f"waiting for {alias} below port {port}",
                said=f"the guest's kernel saw no function in {as_text(PLUGGED.patience_ns)}",
                evidence=self.guest.console_text()[-4000:],
            )
        return facts


def _is_settled(space: bytes) -> bool:
    """Whether the kernel is done with what was plugged into a slot, by config space of the port above.

    The power indicator of a slot shines steadily when pciehp is done: every driver was offered what is there.  Source:
    Linux drivers/pci/hotplug/pciehp_ctrl.c, `board_added()`; PCIe r6.0 §7.5.3.10.
    """
    at = next((one.offset for one in capabilities(space) if one.id == _EXPRESS and not one.extended), 0)
    indicator = int.from_bytes(space[at + _SLOT_CONTROL : at + _SLOT_CONTROL + 2], "little") >> 8 & 3
    return bool(at) and indicator == _SHINES


def prepare(cache: Cache, wishes: Wishes = Wishes()) -> Place:
    """Provide everything a guest needs; quick when it is all in the cache.  Says at its end what was chosen.

    A run does this once: :func:`harness.lab.prepared.prepared`.

    Raises:
        UsageError: a path, or a model of the user's own, is not what it should be.
        ModelError: a model of the user's own never returned while it was loaded, or ended the program.
        SetupError: a part could not be had.
        GuestError: the guest does not boot, or cannot be frozen.
        ClockError: its clock ran wild, twice.
    """
    # What the user has brought comes first: a mistyped path costs no download.
    choice = wishes.choice
    machine = with_own_models(Machine(), wishes.models)
    own = own_modules(wishes.own_modules)
    emulator = find_emulator(cache, wishes.emulator) if wishes.emulator else None
    kernel = provided(cache, choice) if isinstance(choice, Given) else None
    compiled_init(cache)  # nor does a compiler that is not there
    kernel = kernel or provided(cache, choice)
    refuse_unfit(own, kernel)
    emulator = emulator or find_emulator(cache)
    windows = windows_module(cache, kernel)
    if windows.why_not:
        note(f"no module for lock windows: {windows.why_not}")
    added = Added(windows=windows.path, own=tuple(made_ready(cache, kernel, module) for module in own))
    for module in added.own:
        note(f"kernel {kernel.release} gets {module} of your own ({module.path})")
    chosen = probe_accelerator(cache, emulator, pvh_image(kernel, cache))
    made_from = recipe(
        cache, emulator, kernel, dataclasses.replace(machine, accelerator=Accelerator(chosen)), added
    )
    place = Place(
        recipe=made_from,
        template=template(cache, made_from),
        without_windows_module=windows.why_not,
    )
    note(f"ready: kernel {kernel.release}, QEMU {emulator.version} ({emulator.source}), {chosen}")
    return place

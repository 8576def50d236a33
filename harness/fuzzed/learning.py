"""Ask a target what random plans must know of its functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from harness.contract import Contract
from harness.fuzzing.facts import Facts
from harness.model.command import Command
from harness.model.request import ReadConfig, RunCommand
from harness.pci import sysfs
from harness.pci.capabilities import find
from harness.plugin.lab.functions import describe
from harness.staging.function import Function

if TYPE_CHECKING:
    from harness.lab.place import GuestTarget

_INTERRUPT_PIN: Final = 0x3D  # PCIe r6.0 §7.5.1.1.13
_IS_THERE: Final = "import os, sys; sys.exit(not os.path.exists(sys.argv[1]))"


def learn(target: GuestTarget, contract: Contract) -> dict[str, Facts]:
    """Facts on every function of a target, by alias; those that are hot-plugged are plugged.

    Raises:
        TargetError, AgentError, GuestError, ModelError: a function could not be looked at.
    """
    aliases = target.guest.machine.aliases
    found = {alias: describe(alias, target, contract) for alias in aliases}
    return {alias: _facts(one, list(found.values()), target, contract) for alias, one in found.items()}


def _facts(one: Function, everyone: list[Function], target: GuestTarget, contract: Contract) -> Facts:
    config = target.agent.ask(ReadConfig(bdf=one.bdf))
    pin = ("intx",) if config[_INTERRUPT_PIN] else ()
    port = describe(one.port, target, contract) if target.facts(one.alias).port else None
    return Facts(
        function=one,
        port=port,
        siblings=tuple(
            other.alias
            for other in everyone
            if other is not one
            and (other.bdf.domain, other.bdf.bus) == (one.bdf.domain, one.bdf.bus)
            and port
        ),
        interrupts=(*pin, *(kind for kind in ("msi", "msix") if find(config, kind))),
        makes_vfs=bool(find(config, "sriov")),
        resets_below=port is not None and _is_there(target, port, "reset_subordinate"),
    )


def _is_there(target: GuestTarget, function: Function, attribute: str) -> bool:
    path = sysfs.path_of(function.bdf, attribute)
    command = Command(("python3", "-c", _IS_THERE, str(path)))
    return target.agent.ask(RunCommand(command=command)).status == 0

"""Ask a target what random plans must know of its functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from harness.contract import Contract
from harness.fuzzing.facts import Facts
from harness.model.command import Command
from harness.model.request import ReadConfig, RunCommand
from harness.pci import sysfs
from harness.pci.capabilities import find
from harness.plugin.lab.functions import traits_of
from harness.staging.function import Traits
from harness.staging.part import PORT
from harness.target.protocol import Target

_INTERRUPT_PIN: Final = 0x3D  # PCIe r6.0 §7.5.1.1.13
_IS_THERE: Final = "import os, sys; sys.exit(not os.path.exists(sys.argv[1]))"


def learn(target: Target, aliases: Sequence[str], contract: Contract) -> dict[str, Facts]:
    """Facts on functions of a target, by alias; those that are hot-plugged are plugged.

    Raises:
        TargetError, AgentError, GuestError, ModelError: a function could not be looked at.
    """
    found = {alias: traits_of(alias, target, contract) for alias in aliases}
    return {alias: _facts(alias, found, target, contract) for alias in found}


def _facts(alias: str, everyone: dict[str, Traits], target: Target, contract: Contract) -> Facts:
    mine = everyone[alias]
    config = target.agent.ask(ReadConfig(bdf=mine.bdf))
    pin = ("intx",) if config[_INTERRUPT_PIN] else ()
    port = traits_of(alias + PORT, target, contract) if target.facts(alias).port else None
    return Facts(
        alias=alias,
        traits=mine,
        port=port,
        siblings=tuple(
            other
            for other, its in everyone.items()
            if other != alias and (its.bdf.domain, its.bdf.bus) == (mine.bdf.domain, mine.bdf.bus) and port
        ),
        interrupts=(*pin, *(kind for kind in ("msi", "msix") if find(config, kind))),
        makes_vfs=bool(find(config, "sriov")),
        resets_below=port is not None and _is_there(target, port, "reset_subordinate"),
    )


def _is_there(target: Target, function: Traits, attribute: str) -> bool:
    path = sysfs.path_of(function.bdf, attribute)
    command = Command(("python3", "-c", _IS_THERE, str(path)))
    return target.agent.ask(RunCommand(command=command)).status == 0

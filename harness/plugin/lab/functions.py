"""The functions of a lab, as a test's author meets them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from harness.contract import Contract
from harness.model.observation import FunctionFacts
from harness.model.pci import ResetMethod
from harness.model.promise import Lockdown
from harness.model.request import DescribeMachine, ReadConfig
from harness.pci.capabilities import CAPABILITY_IDS, capabilities
from harness.staging.function import Function, Traits
from harness.staging.lost import PlatformOf
from harness.target.protocol import Target

_DEVICE_CONTROL: Final = 0x08  # in the PCI Express capability (PCIe r6.0 §7.5.3.4)
_LOCKED_DOWN: Final = (Lockdown.INTEGRITY, Lockdown.CONFIDENTIALITY)

Functions = Callable[[str], Function]
"""What the fixture `functions` is."""


def platform_of(target: Target, contract: Contract) -> PlatformOf:
    """How the contract calls the models of a target's functions; who has no alias goes by the address."""

    def word(alias: str, facts: FunctionFacts) -> str:
        name = facts.bdf if alias == str(facts.bdf) else alias
        return contract.platform(facts.vendor, facts.device, target.nature(name))

    return word


def describe(alias: str, target: Target, contract: Contract) -> Function:
    """A function of a target that is there already.

    Raises:
        UsageError: the lab has no function of that name.
    """
    traits = traits_of(alias, target, contract)
    return Function(alias, lambda: traits)


def traits_of(alias: str, target: Target, contract: Contract) -> Traits:
    """What only the target knows of a function.

    Raises:
        UsageError: the lab has no function of that name.
    """
    facts = target.facts(alias)
    config = target.agent.ask(ReadConfig(bdf=facts.bdf))
    platform = platform_of(target, contract)(alias, facts)
    methods = tuple(method for method in ResetMethod if method in facts.reset_methods)
    express = next(
        (one.offset for one in capabilities(config) if not one.extended and one.id == CAPABILITY_IDS["pcie"]),
        0,
    )
    oracles = {method: entry.on(alias) for method in methods if (entry := contract.oracle(platform, method))}
    return Traits(
        platform=platform,
        bdf=facts.bdf,
        reset_methods=methods,
        config_bytes=len(config),
        express=express,
        device_control=int.from_bytes(config[express + _DEVICE_CONTROL :][:2], "little") if express else 0,
        oracles=oracles,
        locked_down=target.agent.ask(DescribeMachine()).lockdown in _LOCKED_DOWN,
    )

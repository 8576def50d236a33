"""What `harness functions` says of each function is what the default kernel says of it, in a guest."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from harness.lab.functions import ABILITIES
from harness.lab.place import Place
from harness.model.pci import ResetMethod
from harness.model.request import ReadConfig
from harness.pci.capabilities import CAPABILITY_IDS, capabilities

PIN: Final = 0x3D  # Interrupt Pin (PCIe r6.0 §7.5.1.1.13)


def test_each_function_can_do_what_is_said_of_it(place: Place, console: Path) -> None:
    with place.clone(console) as target:
        found = {}
        for alias in target.guest.machine.aliases:
            facts = target.facts(alias)
            config = target.agent.ask(ReadConfig(bdf=facts.bdf))
            has = {one.id for one in capabilities(config) if not one.extended}
            ways = ["intx"] * bool(config[PIN])
            ways += [way for way in ("msi", "msix") if CAPABILITY_IDS[way] in has]
            resets = tuple(str(method) for method in ResetMethod if method in facts.reset_methods)
            found[alias] = resets, tuple(ways)
    assert found == {alias: (can.resets, can.interrupts) for alias, can in ABILITIES.items()}

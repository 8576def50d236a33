"""What is known of a function before a plan is drawn for it, and as plain data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.errors import UsageError
from harness.model.pci import ResetMethod
from harness.model.plain import HISTORIES, Misfit
from harness.staging.function import Function, Traits


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One function of a target, as that target showed it once.

    Attributes:
        alias: its name.
        traits: what the target knows of it.
        port: the same of the port above; None on the root bus.
        siblings: aliases of the functions that share its port.
        interrupts: kinds that it can send: `intx`, `msi`, `msix`.
        makes_vfs: whether it has virtual functions to make.
        resets_below: whether its port has `reset_subordinate`, which older kernels lack.
    """

    alias: str
    traits: Traits
    port: Traits | None = None
    siblings: tuple[str, ...] = ()
    interrupts: tuple[str, ...] = ()
    makes_vfs: bool = False
    resets_below: bool = False

    @property
    def function(self) -> Function:
        """As a test author sees it."""
        return Function(self.alias, lambda: self.traits)

    @property
    def methods(self) -> tuple[ResetMethod, ...]:
        """The reset methods that the kernel takes.

        It lists `bus` for who had no sibling yet when it was found, and refuses it (Linux drivers/pci/pci.c,
        `pci_parent_bus_reset()`).
        """
        offered = self.traits.reset_methods
        return tuple(one for one in offered if not (self.siblings and one is ResetMethod.BUS))


Known = Mapping[str, Facts]
"""Facts by alias."""


def to_json(known: Known) -> list[dict[str, Any]]:
    """Facts as plain JSON values."""
    return [
        {
            **{
                field.name: getattr(one, field.name)
                for field in dataclasses.fields(one)
                if field.name not in ("traits", "port")
            },
            "traits": _plain(one.traits),
            "port": _plain(one.port) if one.port else None,
        }
        for one in known.values()
    ]


def from_json(data: Any) -> dict[str, Facts]:
    """Read facts back.

    Raises:
        UsageError: something is missing, or is not what it should be.
    """
    try:
        read = [HISTORIES.read(Facts, one) for one in data]
    except (Misfit, TypeError) as error:
        raise UsageError("facts on functions", said=str(error)) from error
    return {one.alias: one for one in read}


def _plain(traits: Traits) -> dict[str, Any]:
    return {
        **{field.name: getattr(traits, field.name) for field in dataclasses.fields(traits)},
        "bdf": str(traits.bdf),
        "oracles": {method: dataclasses.asdict(oracle) for method, oracle in traits.oracles.items()},
    }

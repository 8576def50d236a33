"""By which of its functions a bound driver is told of resets, as the kernel's own structures say.

A probe follows `pci_dev` → `pci_driver` → `pci_error_handlers` whenever somebody reads a byte of config space, and
prints the two pointers as names: so no table of drivers is needed.  It calls the function `device`, not `fn`: what
other probes filter by does not concern it.

Source: Linux include/linux/pci.h, `struct pci_driver`, `struct pci_error_handlers`; drivers/pci/pci.c,
`pci_dev_save_and_disable()`, `pci_dev_restore()`; Documentation/trace/kprobetrace.rst (`symbol`).
"""

from __future__ import annotations

import re
from typing import Final

from harness.agent.btf import Btf
from harness.model.observation import Callbacks

SYMBOL: Final = "pci_user_read_config_byte"
EVENT: Final = "told"

_LINE: Final = re.compile(
    rf' {EVENT}: \([^)]*\) device="([^"]*)" driver=(\S+) handlers=0x([0-9a-f]+) before=(\S+).* after=(\S+)'
)
_NONE: Final = "(fault)"  # no driver: the pointer leads nowhere


def by_name() -> str:
    """What the probe fetches, by the names of members."""
    driver = "dev->driver"
    handlers = f"{driver}->err_handler"
    return (
        f"device=dev->dev.kobj.name:string driver={driver}->name:string handlers={handlers}:x64 "
        f"before={handlers}->reset_prepare:symbol after={handlers}->reset_done:symbol"
    )


def by_offset(types: Btf) -> str:
    """The same in the syntax that every kernel knows.

    Raises:
        LookupError, ValueError: this kernel does not say how its structures are laid out.
    """

    def member(structure: str, name: str, of: str) -> str:
        return f"+{types.offset(structure, name)}({of})"

    name = types.offset("pci_dev", "dev") + types.offset("device", "kobj") + types.offset("kobject", "name")
    driver = member("pci_dev", "driver", "$arg1")
    handlers = member("pci_driver", "err_handler", driver)
    before, after = (member("pci_error_handlers", one, handlers) for one in ("reset_prepare", "reset_done"))
    return (
        f"device=+0(+{name}($arg1)):string driver=+0({member('pci_driver', 'name', driver)}):string "
        f"handlers={handlers}:x64 before={before}:symbol after={after}:symbol"
    )


def read(text: str) -> dict[str, Callbacks]:
    """What the trace says of each function, by address; those without a driver are not in it."""
    found = {}
    for address, driver, handlers, before, after in _LINE.findall(text):
        if driver != _NONE:  # of a driver without handlers the other two were not fetched: they hold anything
            names = (_named(one) if int(handlers, 16) else "" for one in (before, after))
            found[address] = Callbacks(*names)
    return found


def _named(symbol: str) -> str:
    """The function that `%pS` prints as `nvme_reset_done+0x0/0x20`; empty of no pointer."""
    name = symbol.partition("+")[0]
    return "" if name.startswith("0x") else name

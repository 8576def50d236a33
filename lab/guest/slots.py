"""What is plugged into a running guest: functions that were described for hot-plug, and the models that serve some.

Nothing is ever plugged twice, and nothing is taken out here (lab/guest/served_function.py does that).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from harness.lab.guest.served_function import ServedFunction
from harness.lab.qemu.machine import EmulatedFunction, Machine
from harness.lab.qemu.qmp import Monitor


class Slots:
    """The slots of one guest, empty at first.

    Attributes:
        served: by alias, the plugged functions that a model in Python serves.
    """

    def __init__(self, machine: Machine, monitor: Monitor, folder: Path) -> None:
        """Plug nothing yet.

        Args:
            machine: what the guest runs on.
            monitor: of its QEMU.
            folder: where models have their sockets; short, because a unix socket's path holds 108 bytes.
        """
        self.served: Final[dict[str, ServedFunction]] = {}
        self._machine, self._monitor, self._folder = machine, monitor, folder
        self._plugged: Final[set[str]] = set()

    def plug(self, alias: str) -> None:
        """Plug a function that was described for hot-plug, with all that share its port; nothing the second time.

        The guest's kernel sees it some 0.5 s later.

        Raises:
            UsageError: the machine has no such function.
            GuestError: QEMU refused, or the model that serves it does not start.
        """
        for function in self._machine.plugged_with(alias):
            if function.alias not in self._plugged:
                self._plugged.add(function.alias)
                self._plug(function)

    def close(self) -> None:
        """End the models; does nothing the second time."""
        for one in self.served.values():
            one.close()

    def _plug(self, function: EmulatedFunction) -> None:
        first, *others = self._machine.plug_arguments(function.alias)
        if function.served:

            def plug(socket: dict[str, Any]) -> None:
                self._monitor.run("device_add", {**first, "socket": socket})

            one = ServedFunction(function, self._folder / function.alias, self._monitor, plug)
            self.served[function.alias] = one
            one.plug()
        else:
            self._monitor.run("device_add", first)
        for device in others:
            self._monitor.run("device_add", device)

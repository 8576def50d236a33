"""What the host can ask the agent: each public method of :class:`Service` is one request.

Arguments and results are plain values (numbers, text, bytes, lists, dictionaries), so that they pass through
JSON lines as well as through execnet.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from harness.agent import machine, modules
from harness.agent.mistake import as_answer
from harness.agent.nursery import Nursery
from harness.agent.stage import Tell, carry_out, untold
from harness.agent.trace import KernelTrace, can_trace
from harness.bindings.actor import now
from harness.errors import UsageError
from harness.model.pci import Bdf
from harness.model.plan import Plan
from harness.pci import driver, functions, sysfs
from harness.vfio.container import opened

_IDLE_ACTORS: Final = 8
_MODULES: Final = Path("/etc/modules.index")


class Service:
    """The agent's requests.  One instance a worker; requests come one at a time."""

    def __init__(self, nursery: Nursery) -> None:
        self._nursery = nursery
        self._trace = KernelTrace()
        self._open: dict[str, ExitStack] = {}
        self._tell: Tell = untold

    def answer(self, name: str, arguments: dict[str, Any], tell: Tell = untold) -> dict[str, Any]:
        """Carry a request out; whatever is raised becomes a value, so that it arrives whole and at once.

        Args:
            name: of the request.
            arguments: of it.
            tell: says something to the host before the answer.

        Returns:
            `{"result": …}`, or `{"error": {"class", "tried", "said", "hint", "evidence", "errno"}}`; the class is
            :class:`~harness.errors.AgentError` when nobody expected the exception.
        """
        self._tell = tell
        try:
            return {"result": self._request(name)(**arguments)}
        except Exception as error:  # noqa: BLE001 - the host must hear of each
            return as_answer(f"request {name!r}", error)

    def _request(self, name: str) -> Callable[..., Any]:
        request = None if name.startswith("_") or name in ("answer", "close") else getattr(self, name, None)
        if request is None:
            raise UsageError(f"request {name!r}", said="unknown to the agent")
        found: Callable[..., Any] = request
        return found

    def close(self) -> None:
        """Leave nothing behind on this machine."""
        while self._open:
            self._open.popitem()[1].close()
        self._trace.disarm()

    def warm(self) -> bool:
        """Do once what is slow the first time, so that a frozen guest has done it: fork actors, set probes."""
        self._nursery.prepare(_IDLE_ACTORS)
        self._trace.begin([])
        self._trace.end()
        functions.everywhere()
        return True

    def facts(self) -> dict[str, Any]:
        """This machine: kernel, boot, Python; what a report must name."""
        return machine.facts(tracing=can_trace())

    def clocks(self) -> dict[str, int]:
        """CLOCK_MONOTONIC and CLOCK_REALTIME of this machine, nanoseconds."""
        return {"monotonic_ns": now(), "realtime_ns": time.time_ns()}

    def set_realtime(self, realtime_ns: int) -> bool:
        """Set CLOCK_REALTIME: a clone of a frozen guest lives in the past."""
        time.clock_settime_ns(time.CLOCK_REALTIME, realtime_ns)
        return True

    def functions(self) -> list[dict[str, Any]]:
        """Facts on every PCI function of this machine."""
        return functions.everywhere()

    def function(self, bdf: str) -> dict[str, Any]:
        """Facts on one function."""
        return functions.facts(Bdf.parse(bdf))

    def function_below(self, port: str, number: int) -> dict[str, Any] | None:
        """Facts on the function with this number right below a port; None while there is none.

        Without a port (an empty text): the function with this device number on the root bus.
        """
        if not port:
            return functions.facts(Bdf(0, 0, number, 0))
        bdf = functions.below(Bdf.parse(port), number)
        return None if bdf is None else functions.facts(bdf)

    def config_space(self, bdf: str) -> bytes:
        """Config space of a function, 256 or 4096 bytes."""
        return sysfs.read_config(Bdf.parse(bdf))

    def bind(self, bdf: str, driver_name: str) -> bool:
        """Bind one driver to a function by `driver_override`."""
        driver.bind(Bdf.parse(bdf), driver_name)
        return True

    def unbind(self, bdf: str) -> bool:
        """Take a function from its driver."""
        driver.unbind(Bdf.parse(bdf))
        return True

    def load_module(self, name: str) -> bool:
        """Load a kernel module and what it needs, by the index that the guest's root image carries."""
        if not _MODULES.exists():
            raise UsageError(
                f"loading module {name}", said=f"no {_MODULES} on this machine", hint="Use modprobe."
            )
        index = json.loads(_MODULES.read_text())
        if name not in index:
            raise UsageError(f"loading module {name}", said="not in this guest's root image")
        for path in index[name]:
            modules.load(Path(path))
        return True

    def vfio_open(self, bdf: str) -> dict[str, Any]:
        """Open a function that is bound to vfio-pci, and read COMMAND and STATUS through it; it stays open."""
        with ExitStack() as opening:
            function = opening.enter_context(opened(Bdf.parse(bdf)))
            answer = {
                "regions": function.regions,
                "irqs": function.irqs,
                "command": function.read_config(4, 4),
            }
            self._open[bdf] = opening.pop_all()
        return answer

    def vfio_close(self, bdf: str) -> bool:
        """Close a function that :meth:`vfio_open` opened; closing resets it."""
        if bdf not in self._open:
            raise UsageError(f"closing {bdf}", said="it was not opened")
        self._open.pop(bdf).close()
        return True

    def stage(self, plan: str, addresses: dict[str, str]) -> dict[str, Any]:
        """Carry out a plan (as JSON text) on the functions at `addresses` (alias to BDF).

        Before the answer it tells what :func:`harness.agent.stage.carry_out` says.
        """
        where = {alias: Bdf.parse(bdf) for alias, bdf in addresses.items()}
        return carry_out(
            Plan.from_json(json.loads(plan)),
            where,
            self._nursery,
            self._trace,
            self.load_module,
            tell=self._tell,
        )

"""What the agent does for the host: one case for each request of :data:`harness.model.request.AnyRequest`."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final, assert_never

from harness.agent import machine, modules, threads
from harness.agent.command import Programs
from harness.agent.mistake import as_answer
from harness.agent.nursery import Nursery
from harness.agent.stage import Tell, carry_out, untold
from harness.agent.trace import KernelTrace, refusal
from harness.agent.uevents import Uevents
from harness.bindings.actor import now
from harness.errors import AgentError, UsageError
from harness.model import request as ask
from harness.model.observation import Clocks, FunctionFacts, OpenedFunction
from harness.model.pci import Bdf
from harness.model.plain import Misfit
from harness.model.wire import plain
from harness.pci import driver, functions, sysfs
from harness.pci.condition import conditions, put_back
from harness.vfio.container import opened

_IDLE_ACTORS: Final = 8
_IDLE_THREADS: Final = 2  # one hears the host, one uevents
_MODULES: Final = Path("/etc/modules.index")


class Service:
    """The agent's requests.  One instance a worker; requests come one at a time."""

    def __init__(self, nursery: Nursery) -> None:
        self._nursery = nursery
        self._trace = KernelTrace()
        self._open: dict[Bdf, ExitStack] = {}
        self.programs: Final = Programs()

    def answer(self, name: object, fields: object, tell: Tell = untold) -> dict[str, Any]:
        """Carry a request out; whatever is raised becomes a value, so that it arrives whole and at once.

        Args:
            name: of the request.
            fields: of it, in plain values.
            tell: says something to the host before the answer.

        Returns:
            `{"result": …}`, or `{"error": …}`, which is a :class:`~harness.model.observation.Failure`: of class
            :class:`~harness.errors.AgentError` when the request is none, or nobody expected the exception.
        """
        tried = f"request {name!r}"
        try:
            request = ask.read_request(name, fields)
            return {"result": plain(self.carry(request, tell))}
        except Misfit as error:
            return as_answer(tried, AgentError(tried, said=str(error)))
        except Exception as error:  # noqa: BLE001 - the host must hear of each
            return as_answer(tried, error)

    def close(self) -> None:
        """Leave nothing behind on this machine."""
        while self._open:
            self._open.popitem()[1].close()
        self._trace.disarm()
        self.programs.remove()

    def carry(self, request: ask.AnyRequest, tell: Tell = untold) -> object:
        """Carry a request out; its answer, as the request has it in brackets.

        Raises:
            HarnessError: what a request is documented to meet.
        """
        match request:
            case ask.Warm():
                self._warm()
            case ask.DescribeMachine():
                return machine.facts(tracing=not refusal())
            case ask.ReadClocks():
                return Clocks(monotonic_ns=now(), realtime_ns=time.time_ns())
            case ask.SetRealtime():
                time.clock_settime_ns(time.CLOCK_REALTIME, request.realtime_ns)
            case ask.LoadModule():
                _load_module(request.name)
            case ask.RunCommand():
                return self.programs.run(request.command)
            case ask.BringBusybox():
                self.programs.bring_busybox(request.program)
            case ask.DescribeFunctions():
                return functions.everywhere()
            case ask.DescribeFunction():
                return functions.facts(request.bdf)
            case ask.FindFunction():
                return _found(request)
            case ask.ReadConfig():
                return sysfs.read_config(request.bdf)
            case ask.Bind():
                driver.bind(request.bdf, request.driver)
            case ask.Unbind():
                driver.unbind(request.bdf)
            case ask.OpenFunction():
                return self._opened(request.bdf)
            case ask.CloseFunction():
                self._close(request.bdf)
            case ask.LookAt():
                return conditions(request.functions, request.patience_ns)
            case ask.PutBack():
                put_back(request.bdf, request.before, request.patience_ns)
            case ask.CarryOut():
                return carry_out(
                    request.plan, request.addresses, self._nursery, self._trace, _load_module, tell=tell
                )
            case _:
                assert_never(request)
        return None

    def _warm(self) -> None:
        self._nursery.prepare(_IDLE_ACTORS)
        threads.prepare(_IDLE_THREADS)
        self._trace.warm()
        self._trace.begin([])
        self._trace.end()
        Uevents().leave()
        functions.everywhere()
        for kind in ask.REQUESTS.values():
            with suppress(Misfit):  # how each is read is worked out before that there is nothing is noticed
                kind.from_wire(None)

    def _opened(self, bdf: Bdf) -> OpenedFunction:
        with ExitStack() as opening:
            function = opening.enter_context(opened(bdf))
            answer = OpenedFunction(
                regions=function.regions, irqs=function.irqs, command=function.read_config(4, 4)
            )
            self._open[bdf] = opening.pop_all()
        return answer

    def _close(self, bdf: Bdf) -> None:
        if bdf not in self._open:
            raise UsageError(f"closing {bdf}", said="it was not opened")
        self._open.pop(bdf).close()


def _found(wanted: ask.FindFunction) -> FunctionFacts | None:
    bdf = functions.below(wanted.port, wanted.number) if wanted.port else Bdf(0, 0, wanted.number, 0)
    return functions.facts(bdf) if bdf else None


def _load_module(name: str) -> None:
    if not _MODULES.exists():
        raise UsageError(
            f"loading module {name}", said=f"no {_MODULES} on this machine", hint="Use modprobe."
        )
    index = json.loads(_MODULES.read_text())
    if name not in index:
        raise UsageError(f"loading module {name}", said="not in this guest's root image")
    for path in index[name]:
        modules.load(Path(path))

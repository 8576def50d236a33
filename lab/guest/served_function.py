"""A function that a model in Python serves, in its place: the process, QEMU's side of it, what is done to both.

QEMU connects when the function is plugged, so its model listens before that.  A model that died is replaced by another
process in a folder of its own; what the dead one wrote down is kept.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from harness.errors import GuestError, ModelError
from harness.lab.models.process import ModelProcess
from harness.lab.qemu.machine import EmulatedFunction, port_id
from harness.lab.qemu.qmp import Monitor
from harness.model.fault import Fault, Incident, IncidentKind
from harness.model.units import SECOND

_ENDS_WITHIN_S: Final = 1.0
_UNPLUGGED_WITHIN_S: Final = 60.0
"""The kernel gives whoever pressed the button 5 s to change his mind (Linux pciehp_ctrl.c); then drivers let go."""


class ServedFunction:
    """One function; see :class:`harness.target.served.Model`."""

    def __init__(
        self,
        function: EmulatedFunction,
        folder: Path,
        monitor: Monitor,
        plug: Callable[[dict[str, Any]], None],
    ) -> None:
        """Start its model; :meth:`plug` makes the guest see it.

        Args:
            function: what it is.
            folder: for sockets and logs; short, because a unix socket's path holds 108 bytes.
            monitor: of the QEMU that it is plugged into.
            plug: plugs it, given the socket property of its device.

        Raises:
            GuestError: the model does not start.
            ModelError: it never returned while it was loaded, or ended.
        """
        self._function, self._folder, self._monitor, self._plug = function, folder, monitor, plug
        self._logs: list[ModelProcess] = []
        self._process = self._started()

    @property
    def process(self) -> ModelProcess:
        """The model that serves it now."""
        return self._process

    def plug(self) -> None:
        """Plug it in.

        Raises:
            GuestError: QEMU refused.
            ModelError: its model raised, ended or did not return when QEMU looked at it, and QEMU may have ended with
                it.
        """
        try:
            self._plug({"type": "unix", "path": str(self._process.socket)})
        except GuestError as error:
            if mistake := self._process.mistake(_ENDS_WITHIN_S):
                raise mistake from error
            raise

    def mistake(self) -> ModelError | None:
        """See :class:`harness.target.served.Model`."""
        return self._process.mistake()

    def load(self, faults: Sequence[Fault], *, anew: bool = True) -> None:
        """See :class:`harness.target.served.Model`."""
        if anew:
            self._logs = [self._process]
        self._process.load(faults, anew=anew)

    def release(self, release_ns: int) -> None:
        """See :class:`harness.target.served.Model`."""
        self._process.release(release_ns)

    def log(self) -> tuple[bytes, int]:
        """See :class:`harness.target.served.Model`."""
        parts = [one.log() for one in self._logs]
        return b"".join(data for data, _ in parts), sum(lost for _, lost in parts)

    def perform(self, incident: Incident) -> None:
        """See :class:`harness.target.served.Model`."""
        match incident.kind:
            case IncidentKind.SERVER_KILLED:
                self._process.kill()
            case IncidentKind.SERVER_STALLED:
                self._stall(incident.lasting_ns / SECOND)
            case IncidentKind.UNPLUGGED:
                self._unplug()
            case IncidentKind.SERVER_RESTARTED:
                self._process.kill()
                self._unplug()
                self._process.close()
                self._process = self._started()
                self.plug()
            case IncidentKind.LINK_ERROR:
                self._report(incident.detail)

    def close(self) -> None:
        """End its model; does nothing the second time."""
        self._process.close()

    # --- inside -------------------------------------------------------------------------------------------

    def _started(self) -> ModelProcess:
        folder = self._folder / str(len(self._logs))
        folder.mkdir(parents=True)
        process = ModelProcess(self._function.served, folder, alias=self._function.alias)
        self._logs.append(process)
        return process

    def _stall(self, lasting_s: float) -> None:
        os.kill(self._process.pid, signal.SIGSTOP)
        try:
            threading.Event().wait(lasting_s)
        finally:
            os.kill(self._process.pid, signal.SIGCONT)

    def _unplug(self) -> None:
        alias, begun = self._function.alias, time.monotonic_ns()
        self._monitor.execute("device_del", id=alias)
        gone = self._monitor.wait_event(
            lambda event: event.name == "DEVICE_DELETED" and event.data.get("device") == alias,
            _UNPLUGGED_WITHIN_S,
            after_ns=begun,
        )
        if gone is None:
            raise GuestError(
                f"unplug {alias}", said=f"the guest did not let go of it in {_UNPLUGGED_WITHIN_S:.0f} s"
            )

    def _report(self, error: str) -> None:
        port = port_id(self._function.port_name)
        said = self._monitor.execute(
            "human-monitor-command", command_line=f"pcie_aer_inject_error {port} {error}"
        )
        if not str(said).startswith("OK"):
            raise GuestError(f"let port {port} report {error}", said=str(said).strip() or "QEMU said nothing")

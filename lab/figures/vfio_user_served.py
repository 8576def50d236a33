"""`vfio_user_served`: config reads a second that our server answers with its log on, beside the same with its log off.

Two functions of one kind in one guest, read by turns by a bare C loop; one's model takes every access down, the other's
does not (`--no-log`).  There is no server in C beside them, see :mod:`harness.lab.figures.vfio_user_latency`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from harness.errors import GuestError
from harness.lab.figures.op_rate import BY_SYSFS, compiled
from harness.lab.figures.row import Row, median
from harness.lab.models.process import ModelProcess
from harness.lab.place import GuestTarget, Place
from harness.lab.qemu.machine import port_id
from harness.model.observation import FunctionFacts
from harness.model.pci import VENDOR_ID
from harness.model.policy import PLUGGED
from harness.target.attempts import attempting

_ROUNDS: Final = 21
_MS: Final = 200
_OPTIONS: Final[Mapping[str, tuple[str, ...]]] = {"on": (), "off": ("--no-log",)}


def measure(place: Place, folder: Path) -> list[Row]:
    """Take turns, the first of each unmeasured; the log begins anew each time, for a full one costs less."""
    program = compiled()
    rates: dict[str, list[float]] = {log: [] for log in _OPTIONS}
    with ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="hil-"))  # sockets' paths are short
        target = stack.enter_context(place.clone(folder / "vfio_user_served.console.log"))
        models, paths = {}, {}
        for (log, options), port in zip(_OPTIONS.items(), target.guest.machine.empty_ports, strict=False):
            own = Path(name, log)
            own.mkdir()
            models[log] = stack.enter_context(ModelProcess("endpoint", own, options))
            paths[log] = f"/sys/bus/pci/devices/{_plugged(target, models[log], port)}/config"
        for _ in range(_ROUNDS + 1):
            for log, model in models.items():
                model.load(())
                said = target.agent.run_source(BY_SYSFS, program, paths[log], VENDOR_ID, str(_MS))
                rates[log].append(float(said))
    return [
        Row(
            name="vfio_user_served",
            ours=median(rates["on"][1:]),
            peer=median(rates["off"][1:]),
            peer_name="the same without a log",
            better="high",
            unit="reads/s",
        )
    ]


def _plugged(target: GuestTarget, model: ModelProcess, port: str) -> str:
    """Plug the function that a model serves into an empty port; its address."""
    monitor, machine = target.guest.monitor, target.guest.machine
    socket = {"type": "unix", "path": str(model.socket)}
    device = {"driver": "vfio-user-pci", "bus": port_id(port), "x-msg-timeout": 60_000, "socket": socket}
    monitor.run("device_add", device)
    wait = attempting(PLUGGED, unsettled=lambda facts: facts is None)
    facts: FunctionFacts | None = wait(target.agent.ask, machine.finding(port, number=0))
    if facts is None:
        raise GuestError(f"waiting for a function below port {port}", said="the guest's kernel saw none")
    return str(facts.bdf)

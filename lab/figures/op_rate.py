"""`op_rate`, `vfio_op_rate`: config reads a second of one actor, beside a bare C loop of the same in the same guest.

Through sysfs, and through VFIO's config region.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from harness.errors import SetupError
from harness.history.columns import OPERATION
from harness.lab.figures.row import Row, median
from harness.lab.place import GuestTarget, Place
from harness.model.operation import VFIO_READ, config_read
from harness.model.pci import COMMAND, REVISION_ID, AccessPath
from harness.model.plan import Actor, File, Op, Plan, Setting, Step
from harness.model.request import CarryOut
from harness.model.units import MS, SECOND, Ns

_ROUNDS: Final = 7
_MS: Final = 400
_SOURCE: Final = Path(__file__).with_name("preads.c")
_PREADS: Final = """
import os, subprocess
def preads(program, file, offset, milliseconds, **options):
    if not os.path.exists("/tmp/preads"):
        with open("/tmp/preads", "wb") as out:
            out.write(program)
        os.chmod("/tmp/preads", 0o755)
    command = ["/tmp/preads", str(file), str(offset), milliseconds]
    done = subprocess.run(command, capture_output=True, text=True, **options)
    return done.stdout or done.stderr
program, place, offset, milliseconds = (channel.receive() for _ in range(4))
"""
BY_SYSFS: Final = _PREADS + "channel.send(preads(program, place, offset, milliseconds))"
"""Given :func:`compiled`, a path, an offset and milliseconds, it sends reads a second."""
_BY_VFIO: Final = (
    _PREADS
    + """
from harness.bindings import vfio
from harness.model.pci import Bdf
from harness.pci import driver
from harness.vfio.container import Container
bdf = Bdf.parse(place)
with driver.borrowed(bdf, "vfio-pci"), Container() as container:
    device = container.attach(bdf).open(bdf)
    at = device.region(vfio.CONFIG_REGION).offset + offset
    rate = preads(program, device.fd, at, milliseconds, pass_fds=[device.fd])
channel.send(rate)  # only now: whoever hears it may bind the function again
"""
)


def measure(place: Place, folder: Path) -> list[Row]:
    """Read COMMAND by sysfs: alternate between the two, in one guest."""
    step = Step(
        op=Op.READ,
        means=config_read(AccessPath.SYSFS),
        file=File(function="igb0", role="config"),
        offset=COMMAND,
        width=4,
    )

    def path(target: GuestTarget) -> str:
        return f"/sys/bus/pci/devices/{target.address('igb0')}/config"

    return [_row("op_rate", place, folder, _plan(step), lambda target: (BY_SYSFS, path(target), COMMAND))]


def measure_vfio(place: Place, folder: Path) -> list[Row]:
    """Read the revision through VFIO's config region, which asks the function: alternate, in one guest."""
    step = Step(
        op=Op.READ,
        means=VFIO_READ,
        file=File(function="igb0", role="vfio-config"),
        offset=REVISION_ID,
        width=4,
    )
    plan = _plan(step, Setting(function="igb0", attribute="driver", value="vfio-pci"))
    return [
        _row(
            "vfio_op_rate",
            place,
            folder,
            plan,
            lambda target: (_BY_VFIO, str(target.address("igb0")), REVISION_ID),
        )
    ]


def _row(
    name: str,
    place: Place,
    folder: Path,
    plan: Plan,
    peer: Callable[[GuestTarget], tuple[str, str, int]],
) -> Row:
    program = compiled()
    ours, theirs = [], []
    with place.clone(folder / f"{name}.console.log") as target:
        source, where, offset = peer(target)
        for _ in range(_ROUNDS):
            ours.append(_our_rate(target, plan))
            theirs.append(float(target.agent.run_source(source, program, where, offset, str(_MS))))
    return Row(
        name=name,
        ours=median(ours),
        peer=median(theirs),
        peer_name="bare C loop of preads",
        better="high",
        unit="reads/s",
    )


def _plan(step: Step, *settings: Setting) -> Plan:
    return Plan(
        title="op_rate",
        functions=("igb0",),
        actors=(Actor(name="reader", steps=(step,)),),
        lasting_ns=Ns(_MS * MS),
        deadline_ns=Ns(10 * SECOND),
        settings=settings,
    )


def _our_rate(target: GuestTarget, plan: Plan) -> float:
    request = CarryOut(plan=plan, addresses={"igb0": target.address("igb0")})
    seen = target.agent.ask(request, deadline_s=60)
    records = np.frombuffer(seen.records[0], dtype=OPERATION)
    return float(len(records) * SECOND / (records["end_ns"][-1] - records["begin_ns"][0]))


def compiled() -> bytes:
    """The bare C loop, for the guest.

    Raises:
        SetupError: it cannot be compiled.
    """
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "preads")
        command = [os.environ.get("CC", "gcc"), "-O2", "-static", "-o", str(output), str(_SOURCE)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SetupError("compiling the peer of op_rate", said=done.stderr.strip())
        return output.read_bytes()

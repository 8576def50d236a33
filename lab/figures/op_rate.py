"""`op_rate`: config reads a second of one actor, beside a bare C loop of the same preads in the same guest."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Final

import numpy as np

from harness.errors import SetupError
from harness.history.columns import OPERATION
from harness.model.operation import config_read
from harness.model.pci import COMMAND, AccessPath
from harness.model.plan import Actor, File, Op, Plan, Step
from harness.model.units import MS, SECOND, Ns
from lab.figures.row import Row, median
from lab.place import GuestTarget, Place

_ROUNDS: Final = 7
_MS: Final = 400
_SOURCE: Final = Path(__file__).with_name("preads.c")
_RUN: Final = """
import os, subprocess
program, path, milliseconds = channel.receive(), channel.receive(), channel.receive()
if not os.path.exists("/tmp/preads"):
    with open("/tmp/preads", "wb") as file:
        file.write(program)
    os.chmod("/tmp/preads", 0o755)
done = subprocess.run(["/tmp/preads", path, milliseconds], capture_output=True, text=True)
channel.send(done.stdout or done.stderr)
"""


def measure(place: Place, folder: Path) -> list[Row]:
    """Alternate between the two, in one guest."""
    program = _compiled()
    ours, theirs = [], []
    with place.clone(folder / "op_rate.console.log") as target:
        path = f"/sys/bus/pci/devices/{target.address('igb0')}/config"
        for _ in range(_ROUNDS):
            ours.append(_our_rate(target))
            theirs.append(float(target.agent.run_source(_RUN, program, path, str(_MS))))
    return [
        Row(
            name="op_rate",
            ours=median(ours),
            peer=median(theirs),
            peer_name="bare C loop of preads",
            better="high",
            unit="reads/s",
        )
    ]


def _our_rate(target: GuestTarget) -> float:
    step = Step(
        op=Op.READ,
        means=config_read(AccessPath.SYSFS),
        file=File(function="igb0", role="config"),
        offset=COMMAND,
        width=4,
    )
    plan = Plan(
        title="op_rate",
        functions=("igb0",),
        actors=(Actor(name="reader", steps=(step,)),),
        lasting_ns=Ns(_MS * MS),
        deadline_ns=Ns(10 * SECOND),
    )
    addresses = {"igb0": str(target.address("igb0"))}

    seen = target.agent.ask("stage", plan=json.dumps(plan.to_json()), addresses=addresses, deadline_s=60)
    records = np.frombuffer(seen["records"][0], dtype=OPERATION)
    return float(len(records) * SECOND / (records["end_ns"][-1] - records["begin_ns"][0]))


def _compiled() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "preads")
        command = [os.environ.get("CC", "gcc"), "-O2", "-static", "-o", str(output), str(_SOURCE)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SetupError("compiling the peer of op_rate", said=done.stderr.strip())
        return output.read_bytes()

"""`vfio_cycle`: open, info, reads, map, reset, close through our objects, beside the same cycle in C.

Both run in one guest, by turns.  Most of a cycle is the kernel's: it resets the function at opening, on request and at
closing, and each waits for it.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from harness.errors import HarnessError, SetupError
from harness.lab.figures.row import Row, median
from harness.lab.place import Place
from harness.model.request import Bind

_ROUNDS: Final = 9
_SOURCE: Final = Path(__file__).with_name("vfio_cycle.c")
_OURS: Final = """
import mmap, time
from harness.model.pci import COMMAND, Bdf
from harness.vfio.container import Container
bdf = Bdf.parse(channel.receive())
memory = mmap.mmap(-1, 2 << 20)
begin = time.monotonic_ns()
with Container() as container:
    device = container.attach(bdf).open(bdf)
    config, bar = device.config, device.region(0)
    for _ in range(1000):
        config.read(COMMAND, 4)
    bar.map()
    with container.map_dma(memory, 0):
        device.reset()
channel.send(time.monotonic_ns() - begin)
"""
_THEIRS: Final = """
import os, subprocess
program, arguments = channel.receive(), channel.receive()
if not os.path.exists("/run/vfio_cycle"):
    with open("/run/vfio_cycle", "wb") as file:
        file.write(program)
    os.chmod("/run/vfio_cycle", 0o755)
done = subprocess.run(["/run/vfio_cycle", *arguments], capture_output=True, text=True)
channel.send([done.stdout, done.stderr])
"""


def measure(place: Place, folder: Path) -> list[Row]:
    """Take turns, the first of each unmeasured: it loads what the later ones find loaded."""
    program = _compiled()
    ours, theirs = [], []
    with place.clone(folder / "vfio_cycle.console.log") as target:
        facts = target.facts("igb0")
        bdf, group = str(facts.bdf), facts.iommu_group
        target.agent.ask(Bind(bdf=facts.bdf, driver="vfio-pci"))
        for _ in range(_ROUNDS + 1):
            ours.append(float(target.agent.run_source(_OURS, bdf)))
            said, failed = target.agent.run_source(_THEIRS, program, [bdf, group])
            if failed:
                raise HarnessError("measuring the peer of vfio_cycle", said=failed.strip())
            theirs.append(float(said))
    return [
        Row(
            name="vfio_cycle",
            ours=median(ours[1:]) / 1e6,
            peer=median(theirs[1:]) / 1e6,
            peer_name="the same system calls in C",
            better="low",
            unit="ms",
        )
    ]


def _compiled() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "vfio_cycle")
        command = [os.environ.get("CC", "gcc"), "-O2", "-static", "-o", str(output), str(_SOURCE)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SetupError("compiling the peer of vfio_cycle", said=done.stderr.strip())
        return output.read_bytes()

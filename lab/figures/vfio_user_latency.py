"""`vfio_user_latency`: one config read of a function that our server serves, beside one of QEMU's edu, in one guest.

The guest reads 4 bytes of both by sysfs, by turns, so that whatever else the machine does meets both.  QEMU answers for
edu in its own thread; ours is a message to another process and one back.  A server in C would be the nearer peer:
Debian has no package of libvfio-user (the library that its authors' specification comes with), and its QEMU is built
without the server that uses it, so there is none to measure.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Final

import numpy as np

from harness.errors import HarnessError, SetupError
from harness.lab.figures.row import Row
from harness.lab.place import Place
from harness.model.pci import VENDOR_ID

_TURNS: Final = 4000
_WARMING_UP: Final = 200
_PERCENTILES: Final = (50, 90, 99)
_SOURCE: Final = Path(__file__).with_name("read_times.c")
_REMOTE: Final = """
import os, subprocess
program, arguments = channel.receive(), channel.receive()
with open("/run/read_times", "wb") as file:
    file.write(program)
os.chmod("/run/read_times", 0o755)
done = subprocess.run(["/run/read_times", *arguments], capture_output=True, text=True)
channel.send([done.stdout, done.stderr])
"""


def measure(place: Place, folder: Path) -> list[Row]:
    """Read both by turns; the first turns are not counted."""
    with place.clone(folder / "vfio_user_latency.console.log") as target:
        arguments = [str(_WARMING_UP + _TURNS)]
        for alias in ("endpoint0", "edu0"):
            arguments += [f"/sys/bus/pci/devices/{target.address(alias)}/config", str(VENDOR_ID)]
        said, failed = target.agent.run_source(_REMOTE, _compiled(), arguments)
    if failed:
        raise HarnessError("measuring vfio_user_latency", said=failed.strip())
    times = np.array([line.split() for line in said.splitlines()], dtype=np.int64)[_WARMING_UP:] / 1e3
    return [
        Row(
            name=f"vfio_user_latency, {percentile} %",
            ours=float(np.percentile(times[:, 0], percentile)),
            peer=float(np.percentile(times[:, 1], percentile)),
            peer_name="QEMU's edu",
            better="low",
            unit="us",
        )
        for percentile in _PERCENTILES
    ]


def _compiled() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "read_times")
        command = [os.environ.get("CC", "gcc"), "-O2", "-static", "-o", str(output), str(_SOURCE)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SetupError("compiling the reader of vfio_user_latency", said=done.stderr.strip())
        return output.read_bytes()

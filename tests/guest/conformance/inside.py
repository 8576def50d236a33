"""Run Python and compiled C inside a guest, and bring back what they say."""

from __future__ import annotations

import json
import os
import subprocess
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from harness.errors import SetupError

if TYPE_CHECKING:
    from harness.lab.place import GuestTarget

_BEGIN: Final = """
import errno, mmap, os, threading, time
from pathlib import Path
from harness.bindings import vfio
from harness.errors import HarnessError
from harness.model.pci import Bdf
from harness.pci import driver
from harness.vfio.cdev import AddressSpace
from harness.vfio.container import Container
from harness.vfio.container import opened
from harness.vfio.feature import Feature
from harness.vfio.group import Group

def refusal(call):
    try:
        call()
    except HarnessError as error:
        return {"class": type(error).__name__, "errno": getattr(error, "errno", 0), "text": str(error)}

def descriptors():
    links = []
    for one in Path("/proc/self/fd").iterdir():
        try:
            links.append(os.readlink(one))
        except FileNotFoundError:
            pass
    return [link for link in links if "vfio" in link or "event" in link]

"""
_C: Final = """
import os, subprocess
program, path, arguments = channel.receive(), channel.receive(), channel.receive()
if not os.path.exists(path):
    with open(path, "wb") as file:
        file.write(program)
    os.chmod(path, 0o755)
done = subprocess.run([path, *arguments], capture_output=True, text=True)
channel.send([done.returncode, done.stdout, done.stderr])
"""


def python(target: GuestTarget, source: str, **values: Any) -> Any:
    """Run statements that leave something in `answer`; they see our objects, `refusal` and the given names."""
    lines = [f"{name} = channel.receive()\n" for name in values]
    program = _BEGIN + "".join(lines) + textwrap.dedent(source) + "\nchannel.send(answer)\n"
    return target.agent.run_source(program, *values.values())


def compiled(source: Path, folder: Path) -> bytes:
    """A static program for the guest.

    Raises:
        SetupError: with what the compiler said.
    """
    output = folder / source.stem
    command = [os.environ.get("CC", "gcc"), "-O2", "-static", "-Wall", "-Wextra", "-Werror"]
    done = subprocess.run([*command, "-o", output, source], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SetupError(f"compiling {source.name}", said=done.stderr.strip())
    return output.read_bytes()


def c(target: GuestTarget, program: bytes, *arguments: str) -> Any:
    """Run a compiled program that prints JSON."""
    status, out, err = target.agent.run_source(_C, program, "/run/conformance", list(arguments))
    assert (status, err) == (0, "")
    return json.loads(out)

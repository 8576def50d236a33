"""An interactive shell in a guest with the functions plugged: for people who want to look around.

The shell is Debian's static busybox, sent into a guest that is otherwise the one that tests get; it runs on a terminal
of its own in the guest, carried by the agent's connection.
"""

from __future__ import annotations

import contextlib
import os
import select
import stat
import sys
import termios
import threading
import tty
from collections.abc import Iterator, Sequence
from typing import Final

from harness.errors import AgentLost, UsageError
from harness.visible import visible
from lab import archive
from lab.cache import Cache
from lab.place import GuestTarget, Wishes, prepare
from lab.run_folder import run_folder

BUSYBOX: Final = archive.Request(
    label="busybox",
    packages=("busybox-static",),
    suites=(archive.STABLE, f"{archive.STABLE}-security"),
    dependencies="^$",
    expected_bytes=1_000_000,
    unpacked_bytes=3_000_000,
    expected_s=3,
)

_REMOTE: Final = """
import os, pty, subprocess, threading
busybox = channel.receive()
os.makedirs("/bin", exist_ok=True)
with open("/bin/busybox", "wb") as file:
    file.write(busybox)
os.chmod("/bin/busybox", 0o755)
subprocess.run(["/bin/busybox", "--install", "-s", "/bin"], check=True)
pid, terminal = pty.fork()
if pid == 0:
    os.environ.update(TERM="vt100", HOME="/", PS1="guest# ", PATH="/bin:/sbin:/usr/bin:/usr/sbin")
    os.execv("/bin/busybox", ["sh", "-i"])
def forward():
    for data in channel:
        os.write(terminal, data)
threading.Thread(target=forward, daemon=True).start()
while True:
    try:
        data = os.read(terminal, 4096)
    except OSError:
        break
    if not data:
        break
    channel.send(data)
os.waitpid(pid, 0)
"""


def open_shell(wishes: Wishes, plug: Sequence[str], gdb: str | None) -> int:
    """Start a guest, say where its functions are, and hand the terminal to its shell until that ends.

    Args:
        wishes: which QEMU and kernel.
        plug: aliases of hot-plugged functions to plug.
        gdb: address of QEMU's gdb port.

    Returns:
        0.

    Raises:
        UsageError: there is no function of such a name, or nobody who could type: neither a terminal nor a pipe.
        SetupError, GuestError: no guest could be had.
    """
    if stat.S_ISCHR(os.fstat(sys.stdin.fileno()).st_mode) and not sys.stdin.isatty():
        raise UsageError(
            "opening a shell",
            said="standard input is neither a terminal nor a pipe: nobody could type",
            hint="Start it in a terminal, or pipe commands into it.",
        )
    with Cache() as cache, run_folder() as folder:
        place = prepare(cache, wishes)
        busybox = (archive.unpacked(cache, BUSYBOX).path / "usr/bin/busybox").read_bytes()
        with place.clone(folder / "console.log", gdb=gdb) as target:
            print(visible(_welcome(target, plug, gdb)), file=sys.stderr)
            _carry(target, busybox)
    return 0


def _welcome(target: GuestTarget, plug: Sequence[str], gdb: str | None) -> str:
    from lab.machine import Placement  # noqa: PLC0415 - a word for one test

    lines = [f"guest: kernel {target.agent.ask('facts')['release']}, console {target.guest.console}"]
    for alias in target.guest.machine.aliases:
        if target.guest.machine.function(alias).placement is Placement.TEMPLATE or alias in plug:
            lines.append(f"  {alias:10} {target.address(alias)}")
        else:
            lines.append(f"  {alias:10} not plugged; --plug {alias}")
    for alias in plug:
        target.address(alias)  # names a function that does not exist, too
    if gdb:
        lines.append(f"gdb: target remote {gdb.removeprefix('tcp:')}")
    return "\n".join([*lines, "The shell ends the guest when it ends (exit)."])


def _carry(target: GuestTarget, busybox: bytes) -> None:
    """Carry bytes both ways until the shell ends."""
    channel = target.agent.open_channel(_REMOTE)
    channel.send(busybox)
    reading, writing = os.pipe()  # tells the loop that the shell has ended

    def show() -> None:
        with contextlib.suppress(EOFError, OSError, AgentLost):
            while True:
                os.write(sys.stdout.fileno(), channel.receive())
        os.write(writing, b".")

    threading.Thread(target=show, daemon=True).start()
    keyboard = sys.stdin.fileno()
    with _raw(keyboard):
        sources = [keyboard, reading]
        while reading not in (ready := select.select(sources, [], [])[0]):
            typed = os.read(keyboard, 4096) if keyboard in ready else b""
            if typed:
                channel.send(typed)
            else:  # end of a pipe: what was typed before is still carried out
                channel.send(b"\nexit\n")
                sources.remove(keyboard)
    os.close(reading)
    os.close(writing)


@contextlib.contextmanager
def _raw(keyboard: int) -> Iterator[None]:
    """Give every key to the guest; a pipe has no keys."""
    if not os.isatty(keyboard):
        yield
        return
    before = termios.tcgetattr(keyboard)
    try:
        tty.setraw(keyboard)
        yield
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)

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

from harness.errors import AgentLost, UsageError
from harness.lab.cache.store import Cache
from harness.lab.place import GuestTarget, Wishes, prepare
from harness.lab.qemu.run_folder import run_folder
from harness.model.request import BringBusybox, DescribeMachine
from harness.model.wire import Conversation
from harness.visible import visible


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
        with place.clone(folder / "console.log", gdb=gdb) as target:
            print(visible(_welcome(target, plug, gdb)), file=sys.stderr)
            target.agent.ask(BringBusybox(program=target.busybox()))
            _carry(target)
    return 0


def _welcome(target: GuestTarget, plug: Sequence[str], gdb: str | None) -> str:
    from harness.lab.qemu.machine import Placement  # noqa: PLC0415 - a word for one test

    lines = [f"guest: kernel {target.agent.ask(DescribeMachine()).release}, console {target.guest.console}"]
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


def _carry(target: GuestTarget) -> None:
    """Carry bytes both ways until the shell ends."""
    channel = target.agent.open_channel(Conversation.SHELL)
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

"""A shell for people: busybox on a terminal of its own on the target, carried by a channel."""

from __future__ import annotations

import os
import pty
import threading
from typing import Any

from harness.agent.command import Programs
from harness.errors import UsageError
from harness.model.command import BUSYBOX


def converse(channel: Any, programs: Programs) -> None:
    """Carry bytes both ways until the shell has ended.

    Raises:
        UsageError: nobody has brought busybox.
    """
    found = programs.found(BUSYBOX)
    environment = {**programs.environment, "TERM": "vt100", "HOME": "/", "PS1": "guest# "}
    if found is None:
        raise UsageError("opening a shell", said=f"no {BUSYBOX} on the target", hint="Bring it first.")
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(found, ["sh", "-i"], environment)  # noqa: S606 - it is the shell

    def forward() -> None:
        for data in channel:
            os.write(terminal, data)

    threading.Thread(target=forward, daemon=True).start()
    try:
        while data := os.read(terminal, 4096):
            channel.send(data)
    except OSError:  # EIO: whoever had the terminal has ended
        pass
    os.waitpid(pid, 0)
    os.close(terminal)

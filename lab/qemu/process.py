"""One QEMU as a process: started once, ended with whoever started it, and how it ended.

It ends with this process, SIGKILL included: also while it is stopped, when it could take no other signal.  Refuses to
know what runs in it (lab/guest/guest.py), and what it says in words of its own (lab/qemu/qmp.py).
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from harness.errors import GuestError
from harness.lab.qemu.command_line import by_hand
from harness.lab.qemu.oom import OomKills

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from harness.lab.qemu.emulator import Emulator

# QEMU ends when the *thread* that started it ends: this one lives as long as the process does.
_LAUNCHER: Final = ThreadPoolExecutor(max_workers=1, thread_name_prefix="qemu-launcher")


class QemuProcess:
    """A process that runs from `start` until it ends by itself, or until `kill`.

    Attributes:
        killed: whether it was we who ended it.
    """

    def __init__(self, emulator: Emulator, folder: Path, name: str) -> None:
        """Start nothing yet.

        Args:
            emulator: the QEMU to run.
            folder: where its sockets lie; what it writes goes there, too.
            name: of its guest, for error messages.
        """
        self.killed = False
        self._emulator, self._folder, self._name = emulator, folder, name
        self._log: Final = folder / "qemu.log"
        self._argv: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._oom_kills: Final = OomKills.now()

    def start(self, arguments: Sequence[str], descriptors: Sequence[int]) -> None:
        """Start it.

        Args:
            arguments: what follows the emulator's own.
            descriptors: what it inherits, under the same numbers.

        Raises:
            GuestError: it could not be run.
        """
        # Not QEMU's own `-run-with exit-with-parent`, which sends SIGTERM: one that is stopped would stay.
        self._argv = ["setpriv", "--pdeathsig", "KILL", *self._emulator.argv, *arguments]
        with self._log.open("wb") as log:
            try:
                self._process = _LAUNCHER.submit(
                    subprocess.Popen,
                    self._argv,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=self._emulator.full_environment(),
                    pass_fds=descriptors,
                    start_new_session=True,  # Ctrl-C is for us: we end QEMU when its evidence is collected
                ).result()
            except OSError as error:
                raise GuestError(
                    f"start QEMU for {self._name}", said=str(error), evidence=self.command
                ) from error

    @property
    def command(self) -> str:
        """How to start the same QEMU by hand; its sockets go to the current folder."""
        typed = by_hand(self._argv, self._folder)
        variables = [f"{name}={value}" for name, value in self._emulator.environment.items()]
        return shlex.join(["env", *variables, *typed] if variables else typed)

    @property
    def pid(self) -> int:
        """Its process id; 0 before the start."""
        return self._process.pid if self._process else 0

    @property
    def lives(self) -> bool:
        """Whether it still runs, were it with a guest that stands still."""
        return self.exit_status is None and self._process is not None

    @property
    def exit_status(self) -> int | None:
        """Its exit status, or the signal that ended it as a negative number; None while it runs."""
        return self._process.poll() if self._process else None

    @property
    def log(self) -> str:
        """What it wrote to its standard output and error."""
        return self._log.read_text(errors="replace").strip() if self._log.exists() else ""

    @property
    def how_it_ended(self) -> str:
        """Say how it ended, in a few words; empty while it runs, and when we ended it."""
        status = self.exit_status
        if status is None or self.killed:
            return ""
        if status == -signal.SIGKILL:
            return f"QEMU was killed by SIGKILL: {OomKills.now().since(self._oom_kills)}"
        if status == -signal.SIGBUS:
            return "QEMU died of SIGBUS: the disk that holds its memory file is full"
        if status < 0:
            return f"QEMU died of {signal.Signals(-status).name}"
        said = self.log.splitlines()
        return f"QEMU ended with status {status}" + (f": {said[-1]}" if said else "")

    def go_on(self) -> None:
        """Let it go on after it was stopped (SIGSTOP)."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGCONT)

    def wait_end(self, timeout_s: float) -> None:
        """Wait until it has ended."""
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout_s)

    def kill(self) -> None:
        """End it at once; does nothing the second time."""
        if self._process is not None:
            self.killed = self.killed or self.lives
            self._process.kill()
            self._process.wait()

"""Programs that the target runs for the host: commands to their end, and the busybox that is brought for them.

A command has no standard input, and no shell is in between.  One that takes too long is killed with its process group;
one that the kernel does not let die is left behind.
"""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from harness.bindings.actor import now
from harness.errors import UsageError
from harness.model.command import BUSYBOX, Command, CommandRecord
from harness.model.limits import OUTPUT
from harness.model.units import SECOND, Ns

_KEPT_BYTES: Final = OUTPUT.most // 4  # each may become four characters
_DYING: Final = Ns(2 * SECOND)
_LISTED: Final = 12
_FOLDERS: Final = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


class Programs:
    """What commands can run: the programs of this machine, and what was brought."""

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    @property
    def path(self) -> str:
        """Where programs are looked for, as in PATH: the machine's own come first."""
        brought = [self._folder.name] if self._folder else []
        return os.pathsep.join([*_FOLDERS, str(Path(sys.executable).parent), *brought])

    @property
    def environment(self) -> dict[str, str]:
        """The environment of commands."""
        return {**os.environ, "PATH": self.path}

    def found(self, name: str) -> str | None:
        """The program of a name or path."""
        return shutil.which(name, path=self.path)

    def bring_busybox(self, program: bytes) -> None:
        """Have busybox, and each of its programs by its own name, from now on.

        Raises:
            subprocess.CalledProcessError, OSError: it does not run here.
        """
        self._folder = self._folder or tempfile.TemporaryDirectory(prefix="hil-programs-")
        busybox = Path(self._folder.name, BUSYBOX)
        if not busybox.exists():
            busybox.write_bytes(program)
            busybox.chmod(0o755)
            subprocess.run([busybox, "--install", "-s", self._folder.name], check=True, capture_output=True)

    def remove(self) -> None:
        """Remove what was brought."""
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def run(self, command: Command) -> CommandRecord:
        """Run a command.

        Raises:
            UsageError: there is no such program on this machine, or it is none; names those that are there.
        """
        begun = now()
        until = Ns(begun + command.within_ns)
        program = self.found(command.argv[0])
        if program is None:
            raise self._missing(command, "no such program on the target")
        try:
            process = subprocess.Popen(
                command.argv,
                executable=program,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=self.environment,
                start_new_session=True,
            )
        except OSError as error:
            raise self._missing(command, error.strerror or str(error)) from error
        assert process.stdout is not None  # noqa: S101 - it was asked for
        with process.stdout:
            output = _Output(process.stdout.fileno())
            status = _status(process, output, until)
            if status is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                _status(process, output, Ns(now() + _DYING))
        return CommandRecord(
            argv=command.argv,
            status=status,
            output=output.text,
            lost_bytes=output.lost_bytes,
            begin_ns=begun,
            end_ns=now(),
        )

    def _missing(self, command: Command, said: str) -> UsageError:
        names = {
            path.name
            for folder in self.path.split(os.pathsep)
            if Path(folder).is_dir()
            for path in Path(folder).iterdir()
            if os.access(path, os.X_OK) and path.is_file()
        }
        has = ", ".join(sorted(names)[:_LISTED]) if len(names) <= _LISTED else f"{len(names)} programs"
        return UsageError(
            f"running {command} on the target",
            said=said,
            hint=f"It has {has or 'none'}. Write {BUSYBOX!r} before the words to run it as one of busybox, "
            "which is brought then.",
        )


class _Output:
    """The end of what a process writes; whatever it leaves running may hold the pipe open."""

    def __init__(self, pipe: int) -> None:
        self.pipe: Final = pipe
        self._kept = b""
        self.lost_bytes = 0
        os.set_blocking(pipe, False)

    def read(self) -> bool:
        """Take what is there; whether more may come."""
        while True:
            try:
                part = os.read(self.pipe, 65536)
            except BlockingIOError:
                return True
            if not part:
                return False
            everything = self._kept + part
            self._kept = everything[-_KEPT_BYTES:]
            self.lost_bytes += len(everything) - len(self._kept)

    @property
    def text(self) -> str:
        """What was kept; bytes that are no text are hexadecimal in it."""
        return self._kept.decode(errors="backslashreplace")


def _status(process: subprocess.Popen[bytes], output: _Output, until: Ns) -> int | None:
    """Read what it writes until it has ended; its status, or None when it has not by then."""
    ended = os.pidfd_open(process.pid)
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(ended, selectors.EVENT_READ)
            selector.register(output.pipe, selectors.EVENT_READ)
            while (left := until - now()) > 0:
                ready = {key.fileobj for key, _ in selector.select(left / SECOND)}
                if output.pipe in ready and not output.read():
                    selector.unregister(output.pipe)
                if ended in ready:
                    output.read()
                    return process.wait()
    finally:
        os.close(ended)
    return None

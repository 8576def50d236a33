"""One running guest: a QEMU process, its monitor, its console, and the way to the agent inside.

`Guest` owns the process from start to kill; nothing survives it, and nothing survives the runner either,
SIGKILL included (QEMU ends with its parent). The console is always recorded. A guest that panics ends by
itself with a complete console; one that hangs is asked for its registers and, by NMI, for backtraces. It
refuses to be used twice: a guest is started once and killed once. What it boots or restores from is decided
by lab/template.py.
"""

from __future__ import annotations

import re
import shlex
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from harness.errors import GuestError, HarnessError, TargetError
from harness.target import clock
from harness.target.port import Line
from lab.command_line import Boot, Memory, Wiring, arguments
from lab.machine import Machine
from lab.qmp import Monitor, MonitorEvent
from lab.run_folder import RunFolder

if TYPE_CHECKING:
    from harness.target.agent import Agent
    from lab.emulator import Emulator

_CONSOLE_TAIL_CHARACTERS: Final = 4000
_END_FOLLOWS_WITHIN_S: Final = 0.5  # QEMU's sockets close a moment before its process is gone
_QMP_GREETING_S: Final = 30.0
_PANIC_ENDS_WITHIN_S: Final = 20.0
_NMI_PANICS_WITHIN_S: Final = 5.0

# QEMU ends when the *thread* that started it ends: this one lives as long as the process does.
_LAUNCHER: Final = ThreadPoolExecutor(max_workers=1, thread_name_prefix="qemu-launcher")


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How one guest is to be started.

    Attributes:
        emulator: the QEMU to run.
        machine: the machine it emulates.
        boot: what the machine boots, or booted when its template was made.
        memory: how guest memory is backed.
        ram: file for guest memory, unless it is anonymous.
        state: frozen device state to restore from, for a clone.
        console: where to record the console; in the run folder, which is removed at the end, when None.
        gdb: address for gdb, as QEMU's `-gdb` takes it.
    """

    emulator: Emulator
    machine: Machine
    boot: Boot
    memory: Memory = Memory.ANONYMOUS
    ram: Path | None = None
    state: Path | None = None
    console: Path | None = None
    gdb: str | None = None


class Guest:
    """A guest that runs from `start` (or entering a `with` block) until `kill`."""

    def __init__(self, start: Start, *, name: str = "guest") -> None:
        self.machine: Final = start.machine
        self.name: Final = name
        self._start = start
        self._monitor = Monitor(name)
        self._process: subprocess.Popen[bytes] | None = None
        self._line: Line | None = None
        self._agent: Agent | None = None
        self._argv: list[str] = []
        self._first_reading: clock.ClockReading | None = None
        self._run_folder = RunFolder()
        self._run = self._run_folder.path
        self.console: Final = (start.console or self._run / "console.log").absolute()
        self.started_ns = 0

    # --- life -----------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start QEMU and open its monitor.

        Raises:
            GuestError: QEMU could not be run, or ended at once; its `evidence` can be replayed by hand.
        """
        self.console.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as ours:
            # Listening before QEMU exists: nobody ever has to poll for a socket to appear.
            qmp = ours.enter_context(_listening(self._run / "qmp"))
            rpc = ours.enter_context(_listening(self.rpc_socket))
            wiring = Wiring(
                console=self.console,
                qmp_descriptor=qmp.fileno(),
                rpc_descriptor=rpc.fileno(),
                ram=self._start.ram,
                state=self._start.state,
                gdb=self._start.gdb,
            )
            emulator = self._start.emulator
            self._argv = [
                *emulator.argv,
                *arguments(self.machine, self._start.boot, wiring, self._start.memory),
            ]
            log = ours.enter_context((self._run / "qemu.log").open("wb"))
            self.started_ns = time.monotonic_ns()
            try:
                self._process = _LAUNCHER.submit(
                    subprocess.Popen,
                    self._argv,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=emulator.full_environment(),
                    pass_fds=(qmp.fileno(), rpc.fileno()),
                    start_new_session=True,  # Ctrl-C is for us: we end QEMU when its evidence is collected
                ).result()
            except OSError as error:
                raise GuestError(
                    f"start QEMU for {self.name}", said=str(error), evidence=self.command
                ) from error
        try:
            self._monitor.connect(self._run / "qmp", _QMP_GREETING_S)
        except GuestError as error:
            raise self.failure(f"start QEMU for {self.name}", error) from error

    def connect(self, timeout_s: float) -> Line:
        """Wait until the agent answers, and open the plain conversation that precedes execnet.

        Args:
            timeout_s: how long the guest may take to answer.

        Raises:
            GuestError: the guest panicked, ended, or did not answer in time.
        """
        try:
            self._line = Line(self.rpc_socket, deadline_s=timeout_s)
        except HarnessError as error:
            raise self.failure(f"reach the agent in {self.name}", error) from error
        return self._line

    def awaken(self, timeout_s: float) -> None:
        """Connect, tell the guest the time of day, compare its clock with ours, and open `agent`.

        A frozen guest wakes up with the wall-clock time at which it was frozen.

        Args:
            timeout_s: how long the guest may take to answer.

        Raises:
            GuestError: it cannot be reached.
            ClockError: its clock runs wild.
        """
        line = self.connect(timeout_s)
        try:
            self._first_reading = self.read_clock()
            line.ask("set_realtime", realtime_ns=time.time_ns())
            self.check_clock()
            self._agent, self._line = line.upgrade(), None
        except TargetError as error:
            raise self.failure(f"talk to the agent in {self.name}", error) from error

    def check_clock(self) -> clock.Rate:
        """Compare the clocks over the whole time since `awaken`.

        Returns:
            bounds on the rate of the guest's clock; the longer since `awaken`, the narrower.

        Raises:
            GuestError: `awaken` was not called.
            ClockError: the guest's clock ran wild.
        """
        if self._first_reading is None:
            raise GuestError(f"compare the clocks of {self.name} and host", said="there is no first reading")
        return clock.check(self._first_reading, self.read_clock(), where=self.name)

    def disconnect(self) -> None:
        """Close the plain conversation, if one is open; the agent then waits for the next."""
        if self._line is not None:
            self._line.close()
            self._line = None

    def kill(self) -> None:
        """End the guest at once and remove its run folder; does nothing the second time.

        There is no orderly shutdown: a guest is never used again, and its console is already in the file.
        """
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self.disconnect()
        if self._agent is not None:
            self._agent.close()
        self._monitor.close()
        self._run_folder.remove()

    # --- what is known about it -----------------------------------------------------------------------

    @property
    def rpc_socket(self) -> Path:
        """The unix socket that leads to the agent."""
        return self._run / "rpc"

    @property
    def agent(self) -> Agent:
        """The agent inside.

        Raises:
            GuestError: there is no connection; call `awaken` first.
        """
        if self._agent is None:
            raise GuestError(f"use the agent in {self.name}", said="not connected")
        return self._agent

    @property
    def pid(self) -> int:
        """Process id of QEMU; 0 before the start."""
        return self._process.pid if self._process else 0

    @property
    def running(self) -> bool:
        """Whether QEMU still runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def command(self) -> str:
        """How to start the same QEMU by hand; its sockets go to the current folder."""
        typed = [
            re.sub(r"^(socket,id=(\w+)),fd=\d+", r"\1,path=\2", word).replace(f"{self._run}/", "")
            for word in self._argv
        ]
        variables = [f"{name}={value}" for name, value in self._start.emulator.environment.items()]
        return shlex.join(["env", *variables, *typed] if variables else typed)

    @property
    def events(self) -> tuple[MonitorEvent, ...]:
        """What QEMU told about so far, with host times."""
        return self._monitor.events

    @property
    def agent_is_gone(self) -> bool:
        """Whether the agent's process has ended; the socket does not tell, because QEMU holds it."""
        changes = [event for event in self.events if event.name == "VSERPORT_CHANGE"]
        return bool(changes) and not changes[-1].data.get("open", True)

    @property
    def panicked(self) -> bool:
        """Whether the guest's kernel has panicked."""
        return any(_is_panic(event) for event in self.events)

    @property
    def panic_reason(self) -> str:
        """The kernel's reason for its panic; empty when the console has none."""
        found = re.findall(r"Kernel panic - not syncing: (.*)", self.console_text())
        return str(found[-1]).strip() if found else ""

    @property
    def cause_of_death(self) -> str:
        """Why QEMU ended by itself, or is about to; empty while it runs."""
        if reason := self.panic_reason:
            return f"its kernel panicked: {reason}"
        status = self._wait_end(_END_FOLLOWS_WITHIN_S)
        if status is None or status == -signal.SIGKILL:
            return ""
        if status == -signal.SIGBUS:
            return "QEMU died of SIGBUS: the disk that holds its memory file is full"
        if status < 0:
            return f"QEMU died of {signal.Signals(-status).name}"
        return f"QEMU ended with status {status}" + (
            f": {said[-1]}" if (said := self._log().splitlines()) else ""
        )

    def console_text(self) -> str:
        """Return everything written to the console so far."""
        try:
            return self.console.read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def port_bdf(self, alias: str) -> str:
        """Return the guest's address of the root port above a function; see `Machine.port_bdf`."""
        return self.machine.port_bdf(alias)

    def read_clock(self) -> clock.ClockReading:
        """Read the guest's monotonic clock between two readings of the host's.

        Raises:
            HarnessError: the agent does not answer.
        """
        ask = self._line.ask if self._line is not None else self.agent.ask
        return clock.read(ask)

    # --- what can be done to it -----------------------------------------------------------------------

    @property
    def monitor(self) -> Monitor:
        """QEMU's monitor, for what this class has no word for."""
        return self._monitor

    def plug(self, alias: str) -> None:
        """Plug a function that was described for hot-plug; the guest's kernel sees it some 0.5 s later.

        Raises:
            UsageError: the machine has no such function.
            GuestError: QEMU refused.
        """
        for device in self.machine.plug_arguments(alias):
            self._monitor.run("device_add", device)

    def inject_nmi(self) -> None:
        """Send an NMI to every vCPU; this guest panics on it and prints all backtraces.

        Raises:
            GuestError: QEMU refused or is gone.
        """
        self._monitor.execute("inject-nmi")

    def registers(self) -> str:
        """Return the registers of every vCPU; needs no cooperation of the guest.

        Raises:
            GuestError: QEMU refused or is gone.
        """
        return str(self._monitor.execute("human-monitor-command", command_line="info registers -a"))

    def wait_panic(self, timeout_s: float) -> bool:
        """Wait for a panic and until the kernel has finished writing about it.

        Returns:
            whether it panicked within the time.
        """
        if self._monitor.wait_event(_is_panic, timeout_s) is None:
            return False
        self._wait_end(_PANIC_ENDS_WITHIN_S)
        return True

    def interrogate(self) -> str:
        """Ask a guest that answers no more for registers and backtraces; it is of no use afterwards.

        Returns:
            the registers; the backtraces are on the console.
        """
        if not self.running:
            return ""
        with suppress(GuestError):
            registers = self.registers()  # first: they tell where it hung, not how it panicked
            self.inject_nmi()
            self.wait_panic(_NMI_PANICS_WITHIN_S)
            return registers
        return ""

    def failure(self, tried: str, cause: Exception) -> GuestError:
        """Collect all there is to know about a guest that did not do what it was started for.

        A guest that still runs is asked for registers and backtraces, and is of no use afterwards.

        Args:
            tried: what was attempted.
            cause: what went wrong, as far as the host could see.

        Returns:
            the error to raise: reason of the panic or end, command line, console.
        """
        if self.panicked:
            self._wait_end(_PANIC_ENDS_WITHIN_S)
        said = self.cause_of_death
        tail = _end_of(self.console_text())
        evidence = [f"command: {self.command}", f"QEMU said:\n{self._log()}", f"console ends with:\n{tail}"]
        if not said:
            said = str(cause)
            known = len(self.console_text())
            registers = self.interrogate()
            evidence += [f"registers:\n{registers}", f"after an NMI:\n{self.console_text()[known:]}"]
        status = self._process.poll() if self._process else None
        evidence.append(f"exit status: {status}")
        hint = f"Console: {self.console}" if self._start.console else ""
        return GuestError(tried, said=said, hint=hint, evidence="\n\n".join(evidence))

    # --- inside ---------------------------------------------------------------------------------------

    def _wait_end(self, timeout_s: float) -> int | None:
        """Wait for QEMU to end; return its exit status, None when it still runs or never ran."""
        if self._process is None:
            return None
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout_s)
        return None

    def _log(self) -> str:
        """Return what QEMU itself wrote to its standard output and error."""
        path = self._run / "qemu.log"
        return path.read_text(errors="replace").strip() if path.exists() else ""


def _is_panic(event: MonitorEvent) -> bool:
    return event.name == "GUEST_PANICKED"


def _end_of(console: str) -> str:
    """Cut a console down to its end, and in any case to what led to a panic: backtraces are long."""
    panic = console.find("Kernel panic - not syncing")
    end = panic if panic >= 0 else len(console)
    return console[max(0, end - _CONSOLE_TAIL_CHARACTERS) :]


def _listening(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(1)
    return listener

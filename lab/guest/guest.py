"""One running guest: a QEMU process, its monitor, its console, and the way to the agent inside.

`Guest` owns the process (lab/qemu/process.py) from start to kill; nothing survives it, and nothing survives the
runner either, SIGKILL included. The console is always recorded (lab/guest/console.py). What is plugged while it runs is
in its slots (lab/guest/slots.py). A guest that goes down by itself, a panic included, stays, paused, with a complete
console, its registers and its memory; whoever waits for its agent learns it at once (lab/guest/watch.py), and why is
found out by lab/guest/post_mortem.py. It refuses to be used twice: a guest is started once and killed once. What it
boots or restores from is decided by lab/template/template.py.
"""

from __future__ import annotations

import math
import socket
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.errors import GuestError, HarnessError, TargetError
from harness.lab.guest.backtraces import last_words, reason_of_panic
from harness.lab.guest.console import Recorder
from harness.lab.guest.slots import Slots
from harness.lab.guest.watch import PANIC_WRITES_S, PAUSE_S, Watch
from harness.lab.qemu import memory
from harness.lab.qemu.command_line import Boot, Memory, Wiring, arguments
from harness.lab.qemu.machine import Machine
from harness.lab.qemu.process import QemuProcess
from harness.lab.qemu.qmp import Monitor, MonitorEvent
from harness.lab.qemu.run_folder import RunFolder
from harness.model.lines import short_lines
from harness.model.request import SetRealtime
from harness.target import clock
from harness.target.port import Line

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.lab.qemu.emulator import Emulator
    from harness.target.agent import Agent

_END_FOLLOWS_WITHIN_S: Final = 0.5  # QEMU's sockets close a moment before its process is gone
_QMP_GREETING_S: Final = 30.0


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
        inherits: descriptors that QEMU keeps open for as long as it runs, such as the lock of what it runs on.
    """

    emulator: Emulator
    machine: Machine
    boot: Boot
    memory: Memory = Memory.ANONYMOUS
    ram: Path | None = None
    state: Path | None = None
    console: Path | None = None
    gdb: str | None = None
    inherits: tuple[int, ...] = ()


class Unreached(GuestError):
    """A guest that was started and did not come up: look at it (lab/guest/post_mortem.py) before it is killed."""


class Guest:
    """A guest that runs from `start` until `kill`.

    Attributes:
        qemu: its process.
        slots: what is plugged into it while it runs.
    """

    def __init__(self, start: Start, *, name: str = "guest") -> None:
        self.machine: Final = start.machine
        self.name: Final = name
        self._start = start
        self._monitor = Monitor(name)
        # A debugger pauses a guest for as long as it likes.
        self._watch = Watch(self._monitor, pause_s=math.inf if start.gdb else PAUSE_S)
        self._recorder: Recorder | None = None
        self._line: Line | None = None
        self._agent: Agent | None = None
        self._first_reading: clock.ClockReading | None = None
        self._run_folder = RunFolder()
        self._run = self._run_folder.path
        self.qemu: Final = QemuProcess(start.emulator, self._run, name)
        self.slots: Final = Slots(start.machine, self._monitor, self._run)
        self.console = (start.console or self._run / "console.log").absolute()
        self.started_ns = 0
        self.agent_pid = 0

    # --- life -----------------------------------------------------------------------------------------

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
            self._recorder = Recorder(self.console)
            ours.callback(self._recorder.handed_over)
            wiring = Wiring(
                console=Path(f"/dev/fd/{self._recorder.inlet}"),
                qmp_descriptor=qmp.fileno(),
                rpc_descriptor=rpc.fileno(),
                ram=self._start.ram,
                state=self._start.state,
                gdb=self._start.gdb,
            )
            self.started_ns = time.monotonic_ns()
            self.qemu.start(
                arguments(self.machine, self._start.boot, wiring, self._start.memory),
                (qmp.fileno(), rpc.fileno(), self._recorder.inlet, *self._start.inherits),
            )
        try:
            self._monitor.connect(self._run / "qmp", _QMP_GREETING_S)
        except GuestError as error:
            raise Unreached(f"start QEMU for {self.name}", said=str(error)) from error
        self._watch.begin(self.pid)

    def connect(self, timeout_s: float) -> Line:
        """Wait until the agent answers, and open the plain conversation that precedes execnet.

        Args:
            timeout_s: how long the guest may take to answer.

        Raises:
            GuestError: the guest panicked, ended, or did not answer in time.
        """
        try:
            self._line = Line(self.rpc_socket, deadline_s=timeout_s, opened=self._watch.guard)
            self.agent_pid = self._line.hello.pid
        except HarnessError as error:
            raise Unreached(f"reach the agent in {self.name}", said=str(error)) from error
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
            line.ask(SetRealtime(realtime_ns=time.time_ns()))
            self.check_clock()
            self._agent, self._line = line.upgrade(), None
        except TargetError as error:
            raise Unreached(f"talk to the agent in {self.name}", said=str(error)) from error

    def hand_over(self, console: Path) -> None:
        """Make a guest that has waited fit for use: console in its place, time of day and clock as if just awake.

        Args:
            console: where its console goes from now on, with all that it holds; on the same file system.

        Raises:
            GuestError: it was lost while it waited, or its console cannot be moved.
            ClockError: its clock ran wild while it waited.
            TargetError: the agent does not answer.
        """
        if not self.running or self.panicked:
            raise GuestError(f"hand {self.name} over", said=self.cause_of_death or "it is gone")
        try:
            self.console.rename(console)  # whoever writes holds it open
        except OSError as error:
            raise GuestError(f"move the console of {self.name} to {console}", said=str(error)) from error
        self.console = console.absolute()
        self.check_clock()
        self._first_reading = self.read_clock()
        self.agent.ask(SetRealtime(realtime_ns=time.time_ns()))

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
        self.qemu.kill()
        self.slots.close()
        self.disconnect()
        if self._agent is not None:
            self._agent.close()
        self._monitor.close()
        if self._recorder is not None:
            self._recorder.close()
        self._run_folder.remove()

    @property
    def keeps_console(self) -> bool:
        """Whether its console outlives it."""
        return self._start.console is not None

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
        return self.qemu.pid

    @property
    def running(self) -> bool:
        """Whether QEMU still runs, and its guest has not gone down."""
        return self.qemu.lives and not self.shut_down

    @property
    def events(self) -> tuple[MonitorEvent, ...]:
        """What QEMU told about so far, with host times."""
        return self._monitor.events

    @property
    def panicked(self) -> bool:
        """Whether the guest's kernel has panicked."""
        # Before its driver for QEMU's panic device is there, a kernel says it on its console alone.
        return any(_is_panic(event) for event in self.events) or (self.shut_down and bool(self.panic_reason))

    @property
    def shut_down(self) -> bool:
        """Whether the guest's kernel has gone down, as by a restart, which no guest of ours survives."""
        return any(event.name == "SHUTDOWN" or event.data.get("guest") for event in self.events)

    @property
    def agent_has_ended(self) -> bool:
        """Whether the agent that was connected last has ended, were there another one since."""
        return self._watch.agent_has_ended

    @property
    def panic_reason(self) -> str:
        """The kernel's reason for its panic; empty when the console has none."""
        return reason_of_panic(self.console_text())

    @property
    def cause_of_death(self) -> str:
        """Why QEMU ended or its guest went down; empty while it runs."""
        if not self.shut_down:
            self.qemu.wait_end(_END_FOLLOWS_WITHIN_S)
        if self.panicked:
            return f"its kernel panicked: {self.panic_reason}"
        if self.shut_down:
            return f"it went down by itself: {last_words(self.console_text())}"
        return self.qemu.how_it_ended

    def console_text(self) -> str:
        """Return everything written to the console so far, in lines that are not too long to be searched.

        Of more than 8 MiB the beginning and the end.
        """
        if self._recorder is not None and (text := self._recorder.text()):
            return short_lines(text)
        try:
            return short_lines(self.console.read_text(errors="replace"))
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

    def read_physical(self, address: int, size: int) -> bytes:
        """Read the guest's memory; also of a guest that was paused or went down.

        Args:
            address: physical address in the guest.
            size: in bytes, at least 1.

        Raises:
            GuestError: there is no memory, or QEMU is gone.
        """
        size_bytes = self.machine.memory_mib << 20
        return memory.read_physical(self._monitor, self._run / "memory", size_bytes, address, size)

    def let_go_on(self) -> None:
        """Let a QEMU that was stopped (SIGSTOP) go on, and its guest stand still."""
        self._monitor.begin("stop")  # it is read as soon as QEMU runs
        self.qemu.go_on()

    def wait_panic(self, timeout_s: float) -> bool:
        """Wait for a panic and until the kernel has finished writing about it.

        Returns:
            whether it panicked within the time.
        """
        if self._monitor.wait_event(_is_panic, timeout_s) is None:
            return False
        self.wait_shutdown(PANIC_WRITES_S)
        return True

    def wait_shutdown(self, timeout_s: float) -> None:
        """Wait until the guest has gone down."""
        self._monitor.wait_event(lambda event: event.name == "SHUTDOWN", timeout_s)

    def wait_console(self, wanted: Callable[[str], bool], timeout_s: float) -> bool:
        """Wait until the end of the console is as wanted.

        Returns:
            whether it was within the time.
        """
        return self._recorder is not None and self._recorder.wait_for(wanted, timeout_s)


def _is_panic(event: MonitorEvent) -> bool:
    return event.name == "GUEST_PANICKED"


def _listening(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(1)
    return listener

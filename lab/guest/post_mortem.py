"""How a guest was lost: decided from evidence, which is collected while it can be had.

Looked at, in this order: how QEMU ended, what its monitor told about, whether the guest runs, its registers, its
memory; last of all comes an NMI, on which the guest's kernel panics and writes the backtraces of all processors and
of every task that is stuck.  Nothing waits longer than some seconds, whatever is broken.
"""

from __future__ import annotations

import re
import signal
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from harness.errors import GuestError
from harness.lab.guest.backtraces import first_function, has_last_words, stuck_tasks
from harness.lab.guest.guest import Guest, Start, Unreached
from harness.lab.guest.watch import is_end_of_agent, is_stopped
from harness.model.loss import Loss, LossKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harness.lab.qemu.qmp import MonitorEvent

PAGE_BYTES: Final = 4096

_MONITOR_ANSWERS_S: Final = 5.0
_ENDS_WITHIN_S: Final = 10.0  # a QEMU that hung up may still be writing its core
_SAYS_WITHIN_S: Final = 3.0
_NMI_PANICS_WITHIN_S: Final = 60.0  # with all processors spinning under emulation, 3 to 10 s were measured
_SAMPLES: Final = 3
_BETWEEN_SAMPLES_S: Final = 0.1
_ONE_PLACE_BYTES: Final = 4096
_INTERRUPT_FLAG: Final = 1 << 9
_CONSOLE_BYTES: Final = 64 << 10
_CONSOLE_TAIL_CHARACTERS: Final = 4000
_AGENT_ENDED: Final = re.compile(
    r"init: agent ended, status (0x[0-9a-f]+|0);"
)  # not yet whole without its end
_STATE: Final = re.compile(r"RIP=([0-9a-f]+) RFL=([0-9a-f]+) .*CPL=(\d) .*HLT=(\d)")


@dataclass(frozen=True, slots=True)
class _Processor:
    """What one processor was at, of `info registers -a`."""

    rip: int
    flags: int
    privilege: int
    halted: bool

    @property
    def deaf(self) -> bool:
        """Whether it runs the kernel with interrupts off."""
        return self.privilege == 0 and not self.flags & _INTERRUPT_FLAG and not self.halted


def post_mortem(guest: Guest, silence: str, pages: Mapping[int, int]) -> tuple[Loss, dict[int, bytes]]:
    """Find out how a guest was lost; it is of no use afterwards.

    Args:
        guest: started once.
        silence: how it was noticed.
        pages: by any key, the physical address of a page to read.

    Returns:
        how it was lost, and by key the content of those pages that could be read.
    """
    examination = _Examination(guest, silence, pages)
    kind, said = examination.cause()
    console = guest.console_text()[-_CONSOLE_BYTES:]
    loss = Loss(
        kind=kind,
        said=said,
        console=console,
        registers=examination.registers,
        events=tuple(_as_text(event) for event in examination.events),
        host_ns=examination.told_ns(),
    )
    return loss, examination.content


def in_words(loss: Loss) -> str:
    """A loss as a reader who does not know the kinds is told of it."""
    match loss.kind:
        case LossKind.PANIC:
            return f"its kernel panicked: {loss.said}"
        case LossKind.HANG:
            return f"its kernel hangs: {loss.said}"
        case _:
            return loss.said


def evidence(guest: Guest, loss: Loss) -> str:
    """All there is to know of a guest that was lost before it was of use, for people."""
    parts = [
        f"command: {guest.qemu.command}",
        f"QEMU said:\n{guest.qemu.log}",
        f"console ends with:\n{_end_of(loss.console)}",
        f"registers:\n{loss.registers}",
        f"exit status: {guest.qemu.exit_status}",
    ]
    return "\n\n".join(parts)


@contextmanager
def examined(guest: Guest) -> Iterator[None]:
    """Look at a guest that does not come up in this block, and raise all there is to know of it.

    A guest that still runs is asked for registers and backtraces, and is of no use afterwards.

    Raises:
        GuestError: it did not come up; with reason of the panic or end, command line, console.
    """
    try:
        yield
    except Unreached as error:
        loss, _ = post_mortem(guest, error.said, {})
        hint = f"Console: {guest.console}" if guest.keeps_console else ""
        raise GuestError(
            error.tried, said=in_words(loss), hint=hint, evidence=evidence(guest, loss)
        ) from error


@contextmanager
def started(start: Start, *, name: str = "guest") -> Iterator[Guest]:
    """Run a guest for the length of a block; nobody is connected to it yet.

    Raises:
        GuestError: it did not come up.
    """
    guest = Guest(start, name=name)
    try:
        with examined(guest):
            guest.start()
            yield guest
    finally:
        guest.kill()


def how_the_agent_ended(console: str) -> str:
    """What the guest's init wrote of it last, as the end of a sentence; empty while it has not."""
    ends = _AGENT_ENDED.findall(console)
    return _how(int(ends[-1], 16)) if ends else ""


@dataclass(slots=True)
class _Examination:
    """One look at a guest that answers no more."""

    guest: Guest
    silence: str
    pages: Mapping[int, int]
    registers: str = ""
    content: dict[int, bytes] = field(default_factory=dict)
    events: tuple[MonitorEvent, ...] = ()

    def cause(self) -> tuple[LossKind, str]:
        """Decide."""
        guest = self.guest
        if guest.panicked:
            guest.wait_panic(0.0)  # until all is written
        stopped = is_stopped(guest.pid)
        before = guest.events
        if guest.monitor.closed:
            guest.qemu.wait_end(_ENDS_WITHIN_S)
        elif stopped:
            guest.let_go_on()
        status = self._status()
        self.events = before if stopped else guest.events  # that it stands still now is our own doing
        if guest.panicked:
            self._look()
            return LossKind.PANIC, guest.panic_reason or "no reason on its console"
        if not guest.qemu.lives:
            return LossKind.EMULATOR, guest.qemu.how_it_ended or "QEMU was ended by the harness"
        if guest.shut_down:
            self._look()
            return LossKind.REBOOT, guest.cause_of_death
        if stopped:
            self._look()
            return LossKind.FROZEN, "QEMU was stopped (SIGSTOP)"
        if not status:
            return (
                LossKind.FROZEN,
                f"QEMU lives, and its monitor did not answer within {_MONITOR_ANSWERS_S:g} s",
            )
        if status in ("internal-error", "io-error"):
            self._look()
            return LossKind.EMULATOR, f"QEMU stopped the guest: {status}"
        if status != "running":
            self._look()
            return LossKind.FROZEN, f"the guest was stopped ({status})"
        if guest.agent_has_ended:
            return self._without_agent()
        return self._still_running()

    def told_ns(self) -> int:
        """Host time at which QEMU told of the loss; 0 when it did not."""
        for event in self.events:
            if event.name in ("GUEST_PANICKED", "SHUTDOWN"):
                return event.monotonic_ns
        told = [event for event in self.events if event.name == "STOP" or is_end_of_agent(event, 0)]
        return told[-1].monotonic_ns if told else 0

    def _status(self) -> str:
        """What QEMU says of the guest; empty when it says nothing."""
        try:
            answer = self.guest.monitor.execute("query-status", _MONITOR_ANSWERS_S)
        except GuestError:
            self.guest.qemu.wait_end(1.0)
            return ""
        return str(answer["status"])

    def _look(self) -> None:
        """Read registers and memory of a guest that stands still."""
        with suppress(GuestError):
            self.registers = self.registers or self.guest.registers()
        for key, address in self.pages.items():
            with suppress(GuestError):
                self.content[key] = self.guest.read_physical(address, PAGE_BYTES)

    def _look_in_passing(self) -> None:
        """The same of a guest that runs and is to go on."""
        with suppress(GuestError):
            self.guest.monitor.execute("stop", _MONITOR_ANSWERS_S)
        self._look()
        with suppress(GuestError):
            self.guest.monitor.execute("cont", _MONITOR_ANSWERS_S)

    def _without_agent(self) -> tuple[LossKind, str]:
        """The agent's process is gone; because it ended, or because the guest is going down."""
        self._look_in_passing()  # at once: its memory is free to be used by others
        guest = self.guest
        guest.wait_console(
            lambda text: bool(how_the_agent_ended(text) or has_last_words(text)), _SAYS_WITHIN_S
        )
        if has_last_words(guest.console_text()):
            guest.wait_shutdown(_SAYS_WITHIN_S)
        if guest.shut_down or guest.panicked:
            return self.cause()
        return LossKind.AGENT, f"the agent's process ended{how_the_agent_ended(guest.console_text())}"

    def _still_running(self) -> tuple[LossKind, str]:
        """A kernel that hangs, or an agent that is stuck or slow."""
        guest = self.guest
        known = len(guest.console_text())
        samples = []
        with suppress(GuestError):
            for _ in range(_SAMPLES):
                guest.monitor.wait_closed(_BETWEEN_SAMPLES_S)
                self.registers = guest.registers()
                samples.append(_processors(self.registers))
        quiet = len(guest.console_text()) == known  # who writes, with interrupts off, makes progress
        spinning = _spinning(samples) if quiet else []
        self._look_in_passing()
        said = ""
        with suppress(GuestError):
            guest.inject_nmi()
            if not guest.wait_panic(_NMI_PANICS_WITHIN_S):
                said = "; it takes no NMI"
        after = guest.console_text()[known:]
        if spinning:
            return LossKind.HANG, _hanging(spinning, samples[-1], after) + said
        stuck = [task for task in stuck_tasks(after) if guest.agent_pid in (task.pid, task.process)]
        others = [task for task in stuck_tasks(after) if task not in stuck]
        for task in stuck:
            return LossKind.SILENT, f"the agent ({task}){said}"
        seen = f"; {others[0]}" if others else said or "; no task is stuck in the kernel"
        return LossKind.SILENT, f"{self.silence}{seen}"


def _processors(registers: str) -> list[_Processor]:
    return [
        _Processor(int(rip, 16), int(flags, 16), int(privilege), halted == "1")
        for rip, flags, privilege, halted in _STATE.findall(registers)
    ]


def _spinning(samples: list[list[_Processor]]) -> list[int]:
    """Numbers of the processors that had interrupts off in all samples, and were in one place."""
    return [
        number
        for number, states in enumerate(zip(*samples, strict=False))
        if len(states) == _SAMPLES
        and all(state.deaf for state in states)
        and max(state.rip for state in states) - min(state.rip for state in states) < _ONE_PLACE_BYTES
    ]


def _hanging(spinning: list[int], states: list[_Processor], console: str) -> str:
    who = "processors " if len(spinning) > 1 else "processor "
    where = first_function(console, spinning[0]) or f"{states[spinning[0]].rip:#x}"
    spin = "spin" if len(spinning) > 1 else "spins"
    return f"{who}{' and '.join(map(str, spinning))} {spin} with interrupts off in {where}"


def _how(status: int) -> str:
    """How a process ended, by the status of wait(2)."""
    if number := status & 0x7F:
        return f": killed by {signal.Signals(number).name}"
    return f" with status {status >> 8}"


def _as_text(event: MonitorEvent) -> str:
    data = ", ".join(f"{key} {value}" for key, value in event.data.items())
    return f"{event.name} ({data})" if data else event.name


def _end_of(console: str) -> str:
    """Cut a console down to its end, and in any case to what led to a panic: backtraces are long."""
    panic = console.find("Kernel panic - not syncing")
    end = panic if panic >= 0 else len(console)
    return console[max(0, end - _CONSOLE_TAIL_CHARACTERS) :]

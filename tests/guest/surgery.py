"""Break the kernel of a running guest on purpose: a checker that was never seen red proves nothing.

A cut goes behind a function's landing pad and its hook for ftrace, where our probes sit: the trace goes on
telling the truth about a kernel that no longer does.
"""

from __future__ import annotations

import enum
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tenacity import Retrying, retry_if_exception_type, retry_if_result, stop_after_attempt

from harness.contract import Contract
from harness.errors import ClockError
from harness.history.history import History
from harness.judge import judge
from harness.lab.place import GuestTarget, Place
from harness.model.plan import Plan
from harness.model.verdict import Blame, Finding, Judgement, Verdict
from harness.plugin.lab import describe, platform_of
from harness.plugin.lab.guests import TargetSource
from harness.staging.conduct import conduct
from harness.staging.function import Function
from tests.guest.gdbstub import Stub, halted

_LANDING_PAD = re.compile(rb"\xf3\x0f\x1e\xfa|\x66\x0f\x1f\x00")  # endbr64, or a nop where nobody jumps to
_HOOK = re.compile(rb"\xe8....|\x0f\x1f\x44\x00\x00", re.DOTALL)  # call of ftrace, or the nop in its place
_CALL = 0xE8  # call to an address that is counted from the next instruction
_NOTHING = bytes.fromhex("0f1f440000")  # the nop that is as long as a call
_PADDING = b"\x90" * 16  # before every function
_CHUNK = 1024  # bytes that are read at once
_LONGEST = 512  # bytes of a function that are searched
_LONGEST_CALLER = 8192
_ATTEMPTS = 3  # on a busy host
_SYMBOLS = """
wanted = set(channel.receive())
found = {}
with open("/proc/kallsyms") as file:
    for line in file:
        address, _, name = line.split(maxsplit=3)[:3]
        if name in wanted:
            found[name] = int(address, 16)
channel.send(found)
"""


class Cut(enum.Enum):
    """What a function does from now on."""

    RETURN = "c3"
    """Return at once: for functions without a result."""
    RETURN_ZERO = "31c0c3"
    """Return 0 at once, which claims success, or denies what was asked."""
    RETURN_ONE = "b801000000c3"
    """Return 1 at once, which affirms what was asked."""
    CRASH = "0f0b"
    """Execute an undefined instruction."""
    SPIN = "ebfe"
    """Never return, and never sleep."""
    IGNORE_LOCK = "ignore-lock"
    """Take the bit that says that config accesses are blocked for clear."""
    IGNORE_PORT = "ignore-port"
    """Find no port above the function."""


@dataclass(frozen=True, slots=True)
class Call:
    """The calls of one function that another one makes no more.

    Attributes:
        caller: whose calls they are.
        callee: what is not called.
        answer: what the caller is told instead, an int; None for a function without result.
    """

    caller: str
    callee: str
    answer: int | None = None

    def instead(self) -> bytes:
        """What stands where the call was: `mov eax, ANSWER` is as long."""
        return _NOTHING if self.answer is None else b"\xb8" + self.answer.to_bytes(4, "little", signed=True)


SYMBOLS = (
    "__vfio_pci_memory_enabled",
    "down_read",
    "file_ns_capable",
    "generic_permission",
    "mutex_lock",
    "mutex_unlock",
    "pci_bus_error_reset",
    "pci_cfg_access_lock",
    "pci_cfg_access_trylock",
    "pci_cfg_access_unlock",
    "pci_dev_trylock",
    "pci_pm_reset",
    "pci_reset_bus",
    "pci_reset_bus_function",
    "pci_reset_function",
    "pci_restore_state",
    "pci_try_reset_function",
    "pci_user_read_config_dword",
    "pcie_flr",
    "up_read",
    "vfio_exp_config_write",
    "vfio_pci_core_disable",
    "vfio_pci_core_do_io_rw",
    "vfio_pci_core_enable",
    "vfio_pci_core_ioctl",
    "vfio_pci_is_device_in_set",
)
"""Functions that may be cut, or whose calls may be; all are looked up at once, that takes seconds in a guest."""


def addresses(target: GuestTarget) -> dict[str, int]:
    """Ask a guest where the functions of :data:`SYMBOLS` are: the same in every clone, without KASLR."""
    found: dict[str, int] = target.agent.run_source(_SYMBOLS, list(SYMBOLS))
    assert set(found) == set(SYMBOLS)
    return found


def body(stub: Stub, address: int) -> int:
    """The address of a function's first instruction behind landing pad and hook."""
    text = stub.read(address, 16)
    pad = _LANDING_PAD.match(text)
    skip = pad.end() if pad else 0
    assert _HOOK.match(text, skip), f"no function begins like this: {text.hex()}"
    return address + skip + 5


def lock_test(stub: Stub, address: int, like: int) -> int:
    """The address of the mask in `test byte [dev + block_cfg_access], 1` of a function.

    Args:
        stub: of the halted guest.
        address: of the function that reads.
        like: of `pci_cfg_access_lock`, whose only such test shows where in `struct pci_dev` the bit is.
    """
    test = re.search(rb"\xf6[\x80-\x87](..\x00\x00\x01)[\x74\x75\x0f]", stub.read(like, 128), re.DOTALL)
    assert test is not None
    same = re.compile(rb"\xf6[\x80-\x87]" + re.escape(test[1]))
    found = same.search(stub.read(address, _LONGEST))
    assert found is not None
    return address + found.end() - 1


def port_test(stub: Stub, address: int) -> int:
    """The address of the opcode in `test reg, reg` of a function that first asks whether there is a port above.

    `xor reg, reg`, which makes it so that there is none, differs in that byte alone.
    """
    same = b"\xc0\xc9\xd2\xdb\xe4\xed\xf6\xff"  # a register and itself
    found = re.search(rb"[\x48\x4d]\x85[" + re.escape(same) + rb"]\x74", stub.read(address, 128))
    assert found is not None
    return address + found.start() + 1


def calls(stub: Stub, caller: int, callee: int) -> list[int]:
    """Where one function calls another, at least once."""
    text = b""
    while _PADDING not in text and len(text) < _LONGEST_CALLER:
        text += stub.read(caller + len(text), _CHUNK)
    text = text.partition(_PADDING)[0]
    found = [
        caller + place
        for place in range(len(text) - 4)
        if text[place] == _CALL
        and caller + place + 5 + int.from_bytes(text[place + 1 : place + 5], "little", signed=True) == callee
    ]
    assert found
    return found


@dataclass(frozen=True, slots=True)
class Outcome:
    """A staged and judged experiment."""

    history: History
    judgement: Judgement

    def is_starved(self) -> bool:
        """Whether a checker had to hold back because the host was busy."""
        return any(finding.blame is Blame.STARVED for finding in self.judgement.findings)

    def failures(self, checker: str) -> Sequence[Finding]:
        """Findings of one checker that say FAIL."""
        return [f for f in self.judgement.findings if f.checker == checker and f.verdict is Verdict.FAIL]

    def failed(self) -> set[str]:
        """Names of the checkers that say FAIL."""
        return {f.checker for f in self.judgement.findings if f.verdict is Verdict.FAIL}


@dataclass(slots=True)
class Patient:
    """A clone whose kernel is broken on purpose, and what can be staged on it."""

    source: TargetSource
    stub: Path
    where: Mapping[str, int]
    contract: Contract
    cuts: dict[str, Cut] = field(default_factory=dict)
    severed: list[Call] = field(default_factory=list)
    _healthy: dict[int, bytes] = field(default_factory=dict)

    @property
    def target(self) -> GuestTarget:
        """The guest as it is now."""
        target = self.source.target
        assert isinstance(target, GuestTarget)
        return target

    def cut(self, **cuts: Cut) -> None:
        """Break functions of the kernel."""
        assert self.target.guest.running  # made now, if it was not
        self.cuts |= cuts
        with halted(self.stub) as stub:
            for symbol, kind in cuts.items():
                if kind is Cut.IGNORE_LOCK:
                    at = lock_test(stub, self.where[symbol], self.where["pci_cfg_access_lock"])
                    data = b"\x00"
                elif kind is Cut.IGNORE_PORT:
                    at, data = port_test(stub, self.where[symbol]), b"\x31"
                else:
                    at, data = body(stub, self.where[symbol]), bytes.fromhex(kind.value)
                self._replace(stub, at, data)

    def sever(self, *severed: Call) -> None:
        """Take calls out of functions of the kernel."""
        assert self.target.guest.running  # made now, if it was not
        self.severed += severed
        with halted(self.stub) as stub:
            for one in severed:
                for at in calls(stub, self.where[one.caller], self.where[one.callee]):
                    self._replace(stub, at, one.instead())

    def _replace(self, stub: Stub, at: int, data: bytes) -> None:
        self._healthy.setdefault(at, stub.read(at, len(data)))
        stub.write(at, data)

    def heal(self) -> None:
        """Undo all cuts."""
        with halted(self.stub) as stub:
            for at, data in self._healthy.items():
                stub.write(at, data)
        self._healthy.clear()
        self.cuts.clear()
        self.severed.clear()

    def function(self, alias: str) -> Function:
        """What a test author knows of a function."""
        return describe(alias, self.target, self.contract)

    def renew(self) -> None:
        """Go on with a fresh clone, cut alike."""
        self.source.renew()
        self._healthy.clear()
        self.cut(**self.cuts)
        again, self.severed = self.severed, []
        self.sever(*again)

    def stage(self, plan: Plan) -> Outcome:
        """Stage and judge; again in a fresh clone while nothing but a busy host forbids a clear word."""
        again = Retrying(
            retry=retry_if_exception_type(ClockError) | retry_if_result(Outcome.is_starved),
            stop=stop_after_attempt(_ATTEMPTS),
            before_sleep=lambda _: self.renew(),
            retry_error_callback=lambda last: last.outcome.result() if last.outcome else None,
        )
        outcome: Outcome = again(self._staged, plan)
        return outcome

    def _staged(self, plan: Plan) -> Outcome:
        history = conduct(plan, self.target, platform_of(self.target, self.contract))
        return Outcome(history, judge(history, self.contract.terms_of(history)))


@contextmanager
def on_the_table(
    place: Place, console: Path, where: Mapping[str, int], contract: Contract
) -> Iterator[Patient]:
    """A clone with gdb's port open, ready to be cut; it is gone at the end."""
    with tempfile.TemporaryDirectory(prefix="hil-gdb-") as folder:  # a socket's path must be short
        stub = Path(folder, "gdb")
        source = TargetSource(partial(place.clone, gdb=f"unix:{stub},server=on,wait=off"), console)
        try:
            yield Patient(source, stub, where, contract)
        finally:
            source.close()

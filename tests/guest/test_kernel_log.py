"""Faults of a real kernel, as its log tells of them: what they are called, and that none of them goes unnoticed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from harness.contract import Contract
from harness.history.console import read_console
from harness.history.history import FunctionRecord, History, LogLine
from harness.judge import judge
from harness.judge.evidence import Evidence
from harness.judge.evidence.log_events import LogEvent, log_events
from harness.judge.questions.kernel_log import kernel_log
from harness.lab.cache.store import Cache
from harness.lab.place import GuestTarget, Place, Wishes, prepare
from harness.model.plan import Plan
from harness.model.request import LoadModule
from harness.model.terms import LogClass
from harness.model.units import Ns
from harness.model.verdict import Blame, Finding, Verdict
from harness.plugin.lab import describe, platform_of
from harness.staging.conduct import conduct
from harness.staging.part import plan_of

ALIAS = "igb0"

# What every program of this file begins with.
_TOOLS = """
import os, threading, time
from harness.agent.alarms import armed
from harness.agent.kernel_log import KernelLog
from harness.model.units import Ns

def put(name, value):
    with open(name, "w") as file:
        file.write(value)

def break_it(kind, after_s=0):
    child = os.fork()
    if child == 0:
        time.sleep(after_s)
        fd = os.open("/dev/hil_faults", os.O_WRONLY)
        try:
            os.write(fd, kind.encode())
        finally:
            os._exit(0)
    return child

def told(log):
    collected = log.collect()
    return [collected.complete, [[line.time_us, line.level, line.text] for line in collected.lines]]
"""

# So that a kernel that is as impatient as these tests are tells of them.
_IMPATIENT = (
    _TOOLS
    + """
put("/proc/sys/kernel/watchdog_thresh", "1")
put("/proc/sys/kernel/hung_task_timeout_secs", "1")
put("/proc/sys/kernel/hung_task_check_interval_secs", "1")
put("/sys/module/rcupdate/parameters/rcu_cpu_stall_timeout", "3")
channel.send(None)
"""
)

_FAULT = (
    _TOOLS
    + """
import ctypes
kind = channel.receive()
# What a soft lockup writes to the console counts as progress of RCU.
put("/proc/sys/kernel/soft_watchdog", "0" if kind.startswith("rcu") else "1")
log = KernelLog()
child = break_it(kind)
if kind.startswith("rcu"):
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        ctypes.CDLL(None).syscall(324, 1, 0)  # membarrier(MEMBARRIER_CMD_GLOBAL) waits for RCU, so somebody does
else:
    os.waitpid(child, 0)
channel.send([child, *told(log)])
"""
)


@dataclass(frozen=True)
class Read:
    """What was read of the log while one fault happened."""

    writer: int
    complete: bool
    lines: tuple[LogLine, ...]

    def worst(self, contract: Contract) -> list[LogEvent]:
        """Events that are more than a warning, and not what a busy host makes slow."""
        tame = (LogClass.INFO, LogClass.WARNING, LogClass.SLOW)
        return [event for event in log_events(self.lines, contract.log_rules) if event.kind not in tame]


def log_lines(told: list[list[Any]]) -> tuple[LogLine, ...]:
    return tuple(LogLine(time_us=time_us, level=level, text=text) for time_us, level, text in told)


def provoke(target: GuestTarget, kind: str) -> Read:
    """Have one fault, and read what the kernel says of it."""
    writer, complete, lines = target.agent.run_source(_FAULT, kind)
    return Read(writer, complete, log_lines(lines))


def broken(place: Place, folder: Any) -> Iterator[GuestTarget]:
    """A guest that breaks on request."""
    if place.without_windows_module:
        pytest.skip(place.without_windows_module)
    with place.clone(folder / "console.log") as clone:
        clone.agent.ask(LoadModule(name="hil_faults"))
        yield clone


@pytest.fixture(scope="module")
def target(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuestTarget]:
    """The tests of this file break one guest more and more, in their order."""
    yield from broken(place, tmp_path_factory.mktemp("kernel_log"))


@pytest.fixture(scope="module")
def impatient(target: GuestTarget) -> GuestTarget:
    target.agent.run_source(_IMPATIENT)
    return target


# --- stages -----------------------------------------------------------------------------------------------


def reads(target: GuestTarget, contract: Contract, *, lasting: str = "500ms") -> Plan:
    function = describe(ALIAS, target, contract)
    return plan_of((function.reads("sysfs"),), title="reads", lasting=lasting)


def staged(target: GuestTarget, contract: Contract, plan: Plan) -> tuple[History, tuple[Finding, ...]]:
    """Stage a plan and judge its kernel log."""
    history = conduct(plan, target, platform_of(target, contract))
    return history, kernel_log(Evidence(history), contract.terms_of(history))


_LATER = _TOOLS + "\nbreak_it(channel.receive(), 1.0)\nchannel.send(None)\n"
"""A second later: by then this has answered, or the answer would be lost with the guest."""

_SETTINGS = """
names = ("hung_task_warnings", "hung_task_timeout_secs", "printk_ratelimit", "printk_devkmsg")
channel.send([open(f"/proc/sys/kernel/{name}").read().strip() for name in names])
"""


def test_a_quiet_stage_is_clean_knows_its_port_and_changes_nothing(
    target: GuestTarget, contract: Contract
) -> None:
    before = target.agent.run_source(_SETTINGS)
    history, (good,) = staged(target, contract, reads(target, contract))
    assert good.verdict is Verdict.PASS, good
    assert history.function(ALIAS).port == target.guest.port_bdf(ALIAS)
    assert target.agent.run_source(_SETTINGS) == before == ["-1", "120", "5", "ratelimit"]
    assert len(read_console(target.guest.console_text()).lines) >= 1
    assert (
        read_console(target.guest.console_text()).of_stage().lines == ()
    )  # the console shows the stage's beginning


_IN_A_STAGE = (
    _TOOLS
    + """
path, kinds = "/proc/sys/kernel/printk_ratelimit", channel.receive()
child = os.fork()
if child == 0:
    while open(path).read().strip() != "0":  # until the stage has its alarms armed
        time.sleep(0.005)
    time.sleep(1.0)
    for kind in kinds:
        os.waitpid(break_it(kind), 0)
    os._exit(0)
channel.send(None)
"""
)


def test_a_fault_in_the_middle_of_a_stage_convicts_the_kernel_once(
    target: GuestTarget, contract: Contract
) -> None:
    """A WARN_ON_ONCE() that the kernel has given before is given again in the next stage."""
    for _ in range(2):
        target.agent.run_source(_IN_A_STAGE, ["once", f"say 1 {target.address(ALIAS)}"])
        history, found = staged(target, contract, reads(target, contract, lasting="2s"))
        (bad, *tainted) = found
        assert (bad.verdict, bad.blame, bad.met) == (Verdict.FAIL, Blame.KERNEL_FAULT, 1)
        assert "WARN in warn_first_time (" in bad.claim
        assert "hil_faults.c:" in bad.claim
        assert len(tainted) <= 1  # W is new in the first stage only
        assert any("said on request" in line.text for line in history.log)
        released, ended = history.begin_ns // 1000, int(history.operations["end_ns"].max()) // 1000
        time_us = history.log[bad.events[0].row].time_us  # in the middle, if the machine is not too busy
        assert ("before the release" in bad.claim) == (time_us < released)
        assert ("after the last operation" in bad.claim) == (time_us > ended)
        assert abs(time_us - released) < 5_000_000
        assert judge(history, contract.terms_of(history)).verdict is Verdict.FAIL


# --- one fault after the other ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "expected", "symbol"),
    [
        ("warn", LogClass.WARN, "warn"),
        ("refcount", LogClass.CORRUPTION, "below_zero"),
        ("hung 3500", LogClass.HUNG_TASK, "sleep_in_d"),
        ("soft 4000", LogClass.SOFT_LOCKUP, ""),
        ("rcu 5000", LogClass.RCU_STALL, ""),
        ("atomic", LogClass.BUG, "sleep_while_atomic"),
        # Now the kernel has died once; from here on it tells of no hung task any more.
        ("list", LogClass.CORRUPTION, "damaged_list"),
        ("bug", LogClass.BUG, "bug"),
        ("oops", LogClass.OOPS, "oops"),
        ("gp", LogClass.OOPS, "protection"),
    ],
)
def test_a_fault_is_called_by_its_name(
    impatient: GuestTarget, contract: Contract, kind: str, expected: LogClass, symbol: str
) -> None:
    read = provoke(impatient, kind)
    assert read.complete
    events = [event for event in read.worst(contract) if event.pid in ("", str(read.writer))]
    assert {event.kind for event in events} == {expected}, read.lines
    assert events[0].pid == str(read.writer)
    assert not symbol or events[0].symbol == symbol
    if expected not in (LogClass.HUNG_TASK, LogClass.SOFT_LOCKUP, LogClass.RCU_STALL):
        assert len(events) == 1, "one fault is one event"


# --- real functions and ports --------------------------------------------------------------------------------

_BEGIN = (
    _TOOLS
    + """
import builtins
builtins.hil_log, builtins.hil_kmsg = KernelLog(), os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
os.lseek(builtins.hil_kmsg, 0, os.SEEK_END)
channel.send(None)
"""
)
_COLLECT = (
    _TOOLS
    + """
import builtins, select
said = select.poll()
said.register(builtins.hil_kmsg, select.POLLIN)
patience_ms = 30_000
while said.poll(patience_ms):  # an interrupt, a work queue, the reset of a link: until nothing more is said
    os.read(builtins.hil_kmsg, 8192)
    patience_ms = 2_000
os.close(builtins.hil_kmsg)
channel.send(told(builtins.hil_log))
"""
)


@pytest.mark.parametrize(
    ("error", "kinds"),
    [
        ("-c port.nvme0 0x1", {LogClass.AER_CORRECTABLE}),
        ("port.nvme0 DLP", {LogClass.AER_UNCORRECTABLE, LogClass.RESET_FAILED}),
    ],
)
def test_an_error_of_the_link_is_told_by_port_and_kind(
    target: GuestTarget, contract: Contract, error: str, kinds: set[LogClass]
) -> None:
    port = target.guest.port_bdf("nvme0")
    target.agent.run_source(_BEGIN)
    target.guest.monitor.execute("human-monitor-command", command_line=f"pcie_aer_inject_error {error}")
    complete, told = target.agent.run_source(_COLLECT)
    events = Read(0, complete, log_lines(told)).worst(contract)
    assert {event.kind for event in events} == kinds, told
    assert len(events[0].rows) >= 3, "the error and its details are one event"
    assert {event.functions[0] for event in events} == {port}


# --- what does not fit in -----------------------------------------------------------------------------------

_FLOOD = (
    _TOOLS
    + """
how = channel.receive()
log = KernelLog(armed(Ns(0)))
if how == "kernel":
    os.waitpid(break_it("flood 1000"), 0)
else:
    put("/proc/sys/kernel/printk_devkmsg", "on\\n")
    fd = os.open("/dev/kmsg", os.O_WRONLY)
    for number in range(6000):
        os.write(fd, b"<6>flood %08d " % number + 180 * b"." + b"\\n")
channel.send(told(log))
"""
)


@pytest.mark.parametrize(("how", "verdict"), [("user", Verdict.UNKNOWN), ("kernel", Verdict.FAIL)])
def test_a_flood_is_never_a_silent_pass(
    target: GuestTarget, contract: Contract, how: str, verdict: Verdict
) -> None:
    complete, told = target.agent.run_source(_FLOOD, how)
    assert told
    assert not complete or how == "kernel"  # whether that one is too much depends on how fast the console is
    plan = reads(target, contract)
    history = replace(nothing_happened(plan), log=log_lines(told), log_complete=complete)
    verdicts = {finding.verdict for finding in kernel_log(Evidence(history), contract.terms_of(history))}
    assert max(verdicts) is verdict
    assert complete or Verdict.UNKNOWN in verdicts


def nothing_happened(plan: Plan) -> History:
    return History(
        plan=plan,
        begin_ns=Ns(0),
        end_ns=Ns(1),
        functions=(FunctionRecord(alias=ALIAS, platform="igb", bdf="0000:01:00.0", vendor=0, device=0),),
        provenance={"kernel.release": "6.12.117"},
    )


# --- the end -------------------------------------------------------------------------------------------------


def test_a_panic_is_read_from_the_console(target: GuestTarget, contract: Contract) -> None:
    """The last one: the guest is gone afterwards."""
    target.agent.run_source(_LATER, "panic")
    assert target.guest.wait_panic(20.0)
    console = read_console(target.guest.console_text())
    (panic,) = [
        event for event in log_events(console.lines, contract.log_rules) if event.kind is LogClass.PANIC
    ]
    assert panic.symbol == "stop_the_kernel"
    assert "a panic on request" in panic.text


@pytest.mark.kernels
@pytest.mark.parametrize(
    ("kind", "expected", "symbol"),
    [
        ("warn", LogClass.WARN, "warn"),
        ("ubsan", LogClass.SANITIZER, "beyond_the_end"),
        ("hung 3500", LogClass.HUNG_TASK, "sleep_in_d"),
        ("list", LogClass.CORRUPTION, "damaged_list"),
        ("oops", LogClass.OOPS, "oops"),
    ],
)
def test_the_newest_kernel_is_understood_as_well(
    newest: GuestTarget, contract: Contract, kind: str, expected: LogClass, symbol: str
) -> None:
    read = provoke(newest, kind)
    events = [event for event in read.worst(contract) if event.pid == str(read.writer)]
    assert {(event.kind, event.symbol) for event in events} == {(expected, symbol)}, read.lines


@pytest.fixture(scope="module")
def newest(cache: Cache, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuestTarget]:
    for clone in broken(prepare(cache, Wishes(branch="7.x")), tmp_path_factory.mktemp("kernel_log_7")):
        clone.agent.run_source(_IMPATIENT)
        yield clone

"""The module for lock windows, in a guest of every kernel: each kind holds what it says, and gives it back."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from harness.lab.place import Wishes, prepare
from harness.model.request import LoadModule
from harness.staging.trace_text import parse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.lab.cache.store import Cache
    from harness.lab.place import GuestTarget

ALIAS = "igb0"
MS = 1_000_000
LASTING_MS = 200
WINDOWS = 3
"""So many must have been met by a reader; on a busy machine it may come to one when it is over, and another is had."""
MOST_WINDOWS = 30

# What every program of this file begins with.  `begun` waits until somebody holds the config lock.
_TOOLS = """
import errno, os, signal, threading, time

def command(text, fd=None):
    own = os.open("/dev/hil_windows", os.O_RDWR) if fd is None else fd
    try:
        os.write(own, text.encode())
        return [0, *map(int, os.pread(own, 100, 0).split())]
    except OSError as error:
        return [error.errno]
    finally:
        if fd is None:
            os.close(own)

def until(condition):
    end = time.monotonic() + 20
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("it never came to pass")
        time.sleep(0.005)

def begun(bdf):
    until(lambda: command(f"try {bdf} 1") == [errno.EBUSY])

def reads(bdf, going):
    fd = os.open(f"/sys/bus/pci/devices/{bdf}/config", os.O_RDONLY)
    seen = []
    while going():
        before = time.monotonic_ns()
        os.pread(fd, 4, 4)
        seen.append((before, time.monotonic_ns()))
    os.close(fd)
    return seen
"""

# One window, a reader of config space beside it, and what the probes saw.
_WINDOW = (
    _TOOLS
    + """
from harness.agent import worker
from harness.model.pci import Bdf

text, bdf, watched = channel.receive(), channel.receive(), channel.receive()
trace, answer = worker._service._trace, []
trace.begin([Bdf.parse(watched)])
holder = threading.Thread(target=lambda: answer.extend(command(f"{text.split()[0]} {bdf} {text.split()[1]}")))
holder.start()
seen = reads(watched, holder.is_alive)
holder.join()
ended = trace.end()
began = [one for one in seen if answer[2] <= one[0] < answer[3]] if answer[0] == 0 else []
longest = max(seen, key=lambda one: one[1] - one[0])
channel.send([answer, longest, began, ended.text, [[p.symbol, p.edge.value] for p in ended.probes]])
"""
)


@pytest.fixture(scope="module", params=["6.12", "6.1", "7.x"])
def target(
    request: pytest.FixtureRequest, cache: Cache, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GuestTarget]:
    """A guest with the module loaded; nothing had tainted its kernel before."""
    place = prepare(cache, Wishes(branch=request.param))
    if place.without_windows_module:
        pytest.skip(place.without_windows_module)
    with place.clone(tmp_path_factory.mktemp("kmod") / "console.log") as clone:
        assert run(clone, 'channel.send(open("/proc/sys/kernel/tainted").read().strip())') == "0"
        clone.agent.ask(LoadModule(name="hil_windows"))
        yield clone


@dataclass(frozen=True, kw_only=True)
class Window:
    """One window: the module's times, the probes' times, the longest read beside it, and all that began in it; ns."""

    asked: int
    acquired: int
    released: int
    entered: int
    left: int
    longest: tuple[int, int]
    began: list[tuple[int, int]]


def run(target: GuestTarget, source: str, *values: Any) -> Any:
    """Run a program in the guest."""
    return target.agent.run_source(source, *values)


def bdf_of(target: GuestTarget) -> str:
    return str(target.address(ALIAS))


def port_of(target: GuestTarget) -> str:
    return target.guest.port_bdf(ALIAS)


def window(target: GuestTarget, kind: str, symbol: str, watched: str) -> Window:
    """Have one window, with a reader and the probes on the function `watched`."""
    answer, longest, began, text, probes = run(
        target, _WINDOW, f"{kind} {LASTING_MS}", bdf_of(target), watched
    )
    assert answer[0] == 0, f"{kind}: errno {answer[0]}"
    table = parse(text, {watched: 0})
    (entry,) = (row for row in table if probes[row["probe"]] == [symbol, "entry"])
    (back,) = (row for row in table if probes[row["probe"]] == [symbol, "return"])
    assert entry["function"] == 0
    assert entry["tid"] == back["tid"]
    return Window(
        asked=answer[1],
        acquired=answer[2],
        released=answer[3],
        entered=int(entry["time_ns"]),
        left=int(back["time_ns"]),
        longest=tuple(longest),
        began=[tuple(one) for one in began],
    )


@pytest.mark.parametrize(
    ("kind", "symbol", "blocks"),
    [
        ("config", "hil_hold_config_lock", True),
        ("try", "hil_hold_config_lock", True),
        ("unbalanced", "hil_hold_config_lock", True),
        ("device", "hil_hold_device_lock", False),
        ("both", "hil_hold_device_lock", True),
        ("bridge", "hil_hold_device_lock", True),
    ],
)
def test_a_window_lasts_as_long_as_asked_and_is_seen_by_its_probes(
    target: GuestTarget,
    kind: str,
    symbol: str,
    blocks: bool,  # noqa: FBT001 - a column of the table
) -> None:
    watched = port_of(target) if kind == "bridge" else bdf_of(target)
    apart: list[int] = []
    met = 0
    for _ in range(MOST_WINDOWS):
        seen = window(target, kind, symbol, watched)
        assert seen.asked <= seen.acquired <= seen.entered + 1_000, "the trace prints whole microseconds"
        assert seen.left - 1_000 <= seen.released
        assert LASTING_MS * MS <= seen.released - seen.acquired < (LASTING_MS + 1000) * MS
        if blocks:
            early = [end for _, end in seen.began if end < seen.released]
            assert not early, "a reader came out before the lock was given back"
            met += seen.longest[0] < seen.released <= seen.longest[1]
        else:
            met += sum(end < seen.released for _, end in seen.began) > 10  # nobody holds the config lock
        apart.append(max(seen.entered - seen.acquired, seen.released - seen.left))
        if met >= WINDOWS and min(apart) < MS:
            break
    assert met >= WINDOWS, "no reader was in these windows"
    assert min(apart) < MS, f"the module's times and the probes' are {apart} ns apart"


def test_a_loaded_module_taints_as_an_unsigned_one_from_outside_and_no_more(target: GuestTarget) -> None:
    tainted = int(run(target, 'channel.send(open("/proc/sys/kernel/tainted").read().strip())'))
    assert tainted & ~(1 << 9) == 1 << 12 | 1 << 13, "O and E; W comes from the unbalanced window"


# --- breaking the rules -----------------------------------------------------------------------------------

_UNBALANCED = (
    _TOOLS
    + """
from harness.agent.kernel_log import KernelLog
log = KernelLog()
answer = command(f"unbalanced {channel.receive()} 20")
channel.send([answer, [line.text for line in log.collect().lines]])
"""
)

_STEAL = (
    _TOOLS
    + """
from harness.agent.kernel_log import KernelLog
bdf, log, answer = channel.receive(), KernelLog(), []
holder = threading.Thread(target=lambda: answer.extend(command(f"config {bdf} 2000")))
holder.start()
begun(bdf)
stolen = command(f"steal {bdf}")
os.pread(os.open(f"/sys/bus/pci/devices/{bdf}/config", os.O_RDONLY), 4, 4)
read = time.monotonic_ns()
holder.join()
channel.send([answer, stolen, read, [line.text for line in log.collect().lines]])
"""
)

_FOREVER = (
    _TOOLS
    + """
bdf = channel.receive()
taken = command(f"forever {bdf}")
held = command(f"try {bdf} 1")
given = command(f"give-back {bdf}")
channel.send([taken, held, given, command(f"try {bdf} 1"), command(f"give-back {bdf}")])
"""
)


def warned(lines: list[str]) -> bool:
    """Whether the kernel complained about an unlock of what is not locked."""
    return any(re.search(r"WARNING:.*pci_cfg_access_unlock|WARNING: .*access\.c", line) for line in lines)


def test_an_unbalanced_unlock_makes_the_kernel_warn(target: GuestTarget) -> None:
    answer, lines = run(target, _UNBALANCED, bdf_of(target))
    assert answer[0] == 0
    assert warned(lines), lines


def test_a_stolen_lock_lets_readers_through_and_its_owner_is_warned_about(target: GuestTarget) -> None:
    answer, stolen, read, lines = run(target, _STEAL, bdf_of(target))
    assert answer[0] == stolen[0] == 0
    assert stolen[1:3] == [0, 0]
    assert answer[2] < stolen[3] <= read < answer[3], "the reader went through inside the window"
    assert warned(lines), lines


def test_a_lock_taken_for_ever_stays_until_it_is_given_back(target: GuestTarget) -> None:
    taken, held, given, after, again = run(target, _FOREVER, bdf_of(target))
    assert (taken[0], taken[3]) == (0, 0)
    assert 0 < taken[1] <= taken[2]
    assert held == [16], "EBUSY"
    assert given[:3] == [0, 0, 0]
    assert after[0] == 0
    assert again == [22], "EINVAL: there is nothing to give back"


_KILLED = (
    _TOOLS
    + """
bdf = channel.receive()
child = os.fork()
if child == 0:
    command(f"config {bdf} 10000")
    os._exit(1)
begun(bdf)
killed = time.monotonic_ns()
os.kill(child, signal.SIGKILL)
_, status = os.waitpid(child, 0)
ended = time.monotonic_ns()
channel.send([ended - killed, os.WIFSIGNALED(status), command(f"try {bdf} 1")])
"""
)


def test_a_killed_holder_gives_its_lock_back(target: GuestTarget) -> None:
    took, by_signal, after = run(target, _KILLED, bdf_of(target))
    assert by_signal
    assert took < 2_000 * MS, "the window would have lasted 10 s"
    assert after[0] == 0


# --- what is refused --------------------------------------------------------------------------------------

_COMMANDS = _TOOLS + "\nchannel.send([command(text)[0] for text in channel.receive()])\n"

_SAME_FILE = (
    _TOOLS
    + """
bdf, other = channel.receive(), channel.receive()
fd, answer = os.open("/dev/hil_windows", os.O_RDWR), []
holder = threading.Thread(target=lambda: answer.extend(command(f"config {bdf} 2000", fd)))
holder.start()
begun(bdf)
seen = [command(f"device {bdf} 1", fd), command(f"device {other} 1", fd), command(f"device {bdf} 1")]
holder.join()
os.close(fd)
channel.send(seen)  # last of all: the next program may begin as soon as the answer is there
"""
)


def test_what_makes_no_sense_is_refused(target: GuestTarget) -> None:
    bdf = bdf_of(target)
    nonsense = ["", "config", f"config {bdf}", f"config {bdf} 0", f"config {bdf} 10001", f"config {bdf} x"]
    nonsense += [
        f"melt {bdf} 1",
        f"steal {bdf} 1",
        f"forever {bdf} 1",
        f"config {bdf} 1 1",
        f"config {bdf}x 1",
    ]
    nonsense += ["config 0000:00:20.0 1", "config 0000:00:00.8 1", "config 0 1", "config " + "0" * 80]
    assert run(target, _COMMANDS, nonsense) == [22] * len(nonsense)
    assert run(target, _COMMANDS, ["config 0000:7f:00.0 1", "bridge 0000:00:00.0 1"]) == [19, 19], "ENODEV"


def test_one_open_file_has_one_window_on_a_function(target: GuestTarget) -> None:
    refused, elsewhere, another_file = run(target, _SAME_FILE, bdf_of(target), port_of(target))
    assert refused == [16], "EBUSY"
    assert elsewhere[0] == another_file[0] == 0


_UNLOAD = (
    _TOOLS
    + """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)

def unload():
    done = libc.syscall(176, b"hil_windows", os.O_NONBLOCK)  # delete_module
    return ctypes.get_errno() if done else 0

bdf = channel.receive()
fd = os.open("/dev/hil_windows", os.O_RDWR)
taken, busy = command(f"forever {bdf}", fd)[0], unload()
os.close(fd)
gone = unload()
if not gone:  # else the lock is still held, and the read would never end
    os.pread(os.open(f"/sys/bus/pci/devices/{bdf}/config", os.O_RDONLY), 4, 4)
channel.send([taken, busy, gone, os.path.exists("/dev/hil_windows")])
"""
)


def test_a_module_that_leaves_gives_back_what_it_took(target: GuestTarget) -> None:
    """The last one: the module is gone afterwards."""
    assert run(target, _UNLOAD, bdf_of(target)) == [0, 11, 0, False], "EAGAIN while a file is open"

"""Commands that the target runs: what they say, how they end, and that none outlives its time."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.agent.command import Programs
from harness.errors import UsageError
from harness.model.command import Command, CommandRecord
from harness.model.limits import OUTPUT
from harness.model.plain import HISTORIES
from harness.model.units import MS, SECOND, Ns
from harness.model.wire import plain
from tests.unit.agent.run import descriptors, until

BUSYBOX = b"""#!/bin/sh
case "$1" in
  --install) ln -s "$0" "$3/hil-applet";;
  *) echo "busybox $*";;
esac
"""
"""Stands for Debian's: it installs one program of its own."""


@pytest.fixture
def programs() -> Iterator[Programs]:
    found = Programs()
    yield found
    found.remove()


def python(source: str, *, within_ns: int = 20 * SECOND) -> Command:
    return Command((sys.executable, "-c", source), within_ns=Ns(within_ns))


def test_a_command_that_works_is_told_with_its_output(programs: Programs) -> None:
    before = time.monotonic_ns()
    record = programs.run(python("import sys; print('out', flush=True); print('err', file=sys.stderr)"))
    assert (record.status, record.output, record.lost_bytes) == (0, "out\nerr\n", 0)
    assert before < record.begin_ns < record.end_ns < time.monotonic_ns()
    assert record.said == "it ended with status 0: err"


@pytest.mark.parametrize(
    ("source", "status", "said"),
    [
        ("raise SystemExit(7)", 7, "it ended with status 7"),
        ("import sys; sys.exit('no such thing')", 1, "it ended with status 1: no such thing"),
        ("import os; os.kill(os.getpid(), 9)", -signal.SIGKILL, "signal 9 ended it"),
        ("import sys; assert not sys.stdin.read()", 0, "it ended with status 0"),
        ("import os; assert os.getcwd() == '/'", 0, "it ended with status 0"),
    ],
)
def test_a_command_is_told_with_its_status(programs: Programs, source: str, status: int, said: str) -> None:
    record = programs.run(python(source))
    assert (record.status, record.said) == (status, said)


def test_a_command_that_takes_too_long_is_killed_with_its_children(programs: Programs) -> None:
    source = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = os.fork()\n"
        "if child: print(child, flush=True)\n"
        "time.sleep(60)\n"
    )
    record = programs.run(python(source, within_ns=1500 * MS))
    assert record.status is None
    assert record.said.startswith("it did not end within ")
    assert record.end_ns - record.begin_ns >= 1500 * MS
    until(lambda: not Path(f"/proc/{int(record.output)}/cmdline").exists() or _is_dead(int(record.output)))


def _is_dead(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def test_what_a_command_leaves_running_is_not_waited_for(programs: Programs) -> None:
    source = "import os, time\nif os.fork() == 0: time.sleep(30)\nelse: print('left', flush=True)"
    begun = time.monotonic()
    record = programs.run(python(source))
    assert time.monotonic() - begun < 20
    assert (record.status, record.output) == (0, "left\n")


@pytest.mark.parametrize("byte", [b"x", b"\xff", b"\x1b", "é".encode()])
def test_of_a_long_output_the_end_is_kept(programs: Programs, byte: bytes) -> None:
    source = f"import os\nfor _ in range(100): os.write(1, {byte!r} * 10_000)\nos.write(1, b'end')"
    record = programs.run(python(source))
    assert record.status == 0
    assert record.output.endswith("end")
    assert len(record.output) <= OUTPUT.most
    assert record.lost_bytes > 900_000
    assert HISTORIES.read(CommandRecord, plain(record)) == record  # a history can hold it


def test_nothing_is_left_open(programs: Programs) -> None:
    programs.run(python("pass"))
    before = descriptors()
    programs.run(python("print('x')"))
    programs.run(python("import time; time.sleep(60)", within_ns=300 * MS))
    assert descriptors() == before


@pytest.mark.parametrize("name", ["no-such-program", "/no/such/program", "hil-applet", "/etc/passwd", "/"])
def test_a_program_that_is_not_there_is_named_with_what_is(programs: Programs, name: str) -> None:
    with pytest.raises(UsageError, match=rf"running {name} --now on the target: no such program") as raised:
        programs.run(Command((name, "--now")))
    assert "programs" in raised.value.hint
    assert "'busybox'" in raised.value.hint


def test_what_is_no_program_is_told(programs: Programs, tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("no program")
    path.chmod(0o755)
    with pytest.raises(UsageError, match="Exec format error"):
        programs.run(Command((str(path),)))


def test_few_programs_are_listed_by_name(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a guest, which has an interpreter and what it needs."""
    (tmp_path / "python3").symlink_to(sys.executable)
    monkeypatch.setattr("harness.agent.command._FOLDERS", (str(tmp_path),))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python3"))
    with pytest.raises(UsageError, match=r"It has python3\. Write 'busybox' before"):
        programs.run(Command(("lspci",)))


def test_busybox_is_there_when_it_was_brought_and_gone_at_the_end() -> None:
    programs = Programs()
    with pytest.raises(UsageError, match="no such program"):
        programs.run(Command(("hil-applet",)))
    for _ in range(2):
        programs.bring_busybox(BUSYBOX)
    assert programs.run(Command(("busybox", "ls", "-l"))).output.endswith("ls -l\n")
    assert programs.run(Command(("hil-applet",))).status == 0
    where = programs.found("hil-applet")
    assert where is not None
    programs.remove()
    assert not os.path.lexists(where)
    programs.remove()

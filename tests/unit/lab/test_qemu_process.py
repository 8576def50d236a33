"""A process in QEMU's place: started, ended with its parent, and asked how it ended.  A shell stands in for QEMU."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.errors import GuestError
from harness.lab.qemu.emulator import Emulator
from harness.lab.qemu.process import QemuProcess

DEADLINE_S = 30.0
FOR_EVER = "exec sleep 600"


def emulator(*argv: str, **environment: str) -> Emulator:
    return Emulator(argv=argv, environment=environment, version="none", source="given", packages=())


def shell(script: str, **environment: str) -> Emulator:
    return emulator("sh", "-c", script, **environment)


@contextmanager
def started(
    one: Emulator, folder: Path, *arguments: str, descriptors: tuple[int, ...] = ()
) -> Iterator[QemuProcess]:
    process = QemuProcess(one, folder, "a guest")
    try:
        process.start(arguments, descriptors)
        yield process
    finally:
        process.kill()


def test_before_its_start_there_is_nothing(tmp_path: Path) -> None:
    process = QemuProcess(shell(FOR_EVER), tmp_path, "a guest")
    assert (process.pid, process.lives, process.exit_status, process.log) == (0, False, None, "")
    assert process.how_it_ended == ""
    process.wait_end(DEADLINE_S)
    process.kill()
    assert not process.killed


def test_it_lives_until_it_is_killed_and_that_is_no_news(tmp_path: Path) -> None:
    with started(shell(FOR_EVER), tmp_path) as process:
        assert process.lives
        assert Path(f"/proc/{process.pid}").exists()
        assert (process.exit_status, process.how_it_ended, process.killed) == (None, "", False)
    process.kill()
    assert (process.lives, process.killed, process.how_it_ended) == (False, True, "")
    assert process.exit_status == -signal.SIGKILL
    assert not Path(f"/proc/{process.pid}").exists()


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exit 3", "QEMU ended with status 3"),
        ("echo first; echo no such device >&2; exit 1", "QEMU ended with status 1: no such device"),
        ("exit 0", "QEMU ended with status 0"),
        ("kill -SEGV $$", "QEMU died of SIGSEGV"),
        ("kill -BUS $$", "QEMU died of SIGBUS: the disk that holds its memory file is full"),
    ],
)
def test_how_it_ended_is_said_in_a_few_words(script: str, said: str, tmp_path: Path) -> None:
    with started(shell(f"ulimit -c 0; {script}"), tmp_path) as process:
        process.wait_end(DEADLINE_S)
        assert not process.lives
        assert process.how_it_ended == said
    assert not process.killed, "it was dead before"
    assert process.how_it_ended == said


def test_who_is_killed_by_others_is_told_from_who_is_killed_by_us(tmp_path: Path) -> None:
    with started(shell(FOR_EVER), tmp_path) as process:
        os.kill(process.pid, signal.SIGKILL)
        process.wait_end(DEADLINE_S)
        assert process.how_it_ended.startswith("QEMU was killed by SIGKILL: ")
        assert process.how_it_ended.removeprefix("QEMU was killed by SIGKILL: ")


def test_what_cannot_be_run_is_an_error_that_shows_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        pytest.raises(GuestError, match="start QEMU for a guest") as caught,
        started(emulator("qemu", LANGUAGE="any"), tmp_path, "-nodefaults"),
    ):
        pass
    assert caught.value.evidence == "env LANGUAGE=any setpriv --pdeathsig KILL qemu -nodefaults"


def test_its_command_says_the_same_when_it_is_typed_by_hand(tmp_path: Path) -> None:
    with started(shell('echo "$0 $WORD"', WORD="a word"), tmp_path, "it's") as process:
        process.wait_end(DEADLINE_S)
        assert process.log == "it's a word"
        typed = subprocess.run(
            ["sh", "-c", process.command], capture_output=True, text=True, timeout=DEADLINE_S, check=True
        )
    assert typed.stdout == "it's a word\n"


def test_it_inherits_what_it_is_given_and_nothing_else(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    try:
        with started(shell("ls /proc/self/fd"), tmp_path, descriptors=(writing,)) as process:
            process.wait_end(DEADLINE_S)
            has = {int(name) for name in process.log.split()}
    finally:
        os.close(reading)
        os.close(writing)
    assert writing in has
    assert reading not in has


def test_one_that_was_stopped_goes_on(tmp_path: Path) -> None:
    with started(shell("kill -STOP $$; exit 7"), tmp_path) as process:
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        assert process.lives
        process.go_on()
        process.wait_end(DEADLINE_S)
        assert process.exit_status == 7
        process.go_on()  # there is nobody: no error


_RUNNER = """
import select, sys
from pathlib import Path
from harness.lab.qemu.emulator import Emulator
from harness.lab.qemu.process import QemuProcess
script = "echo up; exec sleep 600"
one = Emulator(argv=("sh", "-c", script), environment={}, version="", source="given", packages=())
process = QemuProcess(one, Path(sys.argv[1]), "a guest")
process.start((), ())
while not process.log:  # it has been told whom to end with
    select.select([], [], [], 0.01)
print(process.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("stopped", [False, True])
def test_it_ends_with_whoever_started_it_even_when_it_is_stopped(tmp_path: Path, *, stopped: bool) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _RUNNER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as runner:
        assert runner.stdout is not None
        started_pid = int(runner.stdout.readline())
        descriptor = os.pidfd_open(started_pid)
        if stopped:
            os.kill(started_pid, signal.SIGSTOP)
        runner.send_signal(signal.SIGKILL)
        ready, _, _ = select.select([descriptor], [], [], DEADLINE_S)
        os.close(descriptor)
    assert ready, f"process {started_pid} outlives its runner"

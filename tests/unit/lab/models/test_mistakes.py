"""A model that does not return, or that ends the program, is named with its line; real processes, nothing stands in."""

from __future__ import annotations

import errno
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.errors import ModelError
from harness.lab.models import wire
from harness.lab.models.interface import CONFIG_REGION
from harness.lab.models.process import ModelProcess
from harness.lab.models.row_log import called
from harness.lab.models.server import LOG
from harness.model.fault import Fault, Misbehaviour
from harness.model.units import SECOND, Ns
from tests.unit.lab.models import client

CALL_LIMIT = Ns(1 * SECOND)
OWN_TIME_S = 2.0
"""What a call has had when it is told; Python's start is not the model's time."""
START_S = 2.0
TOLD_WITHIN_S = 60.0

LOOPS = "while True: pass"
SLEEPS = "import time; time.sleep(3600)"
HOLDS_THE_LOCK = "import re; re.match('(a|aa)+$', 'a' * 64 + 'b')"
READS_ITS_INPUT = "input()"
LEAVES = "import sys; sys.exit(0)"
EXITS = "import os; os._exit(0)"
DIES = "import os; os.kill(os.getpid(), 9)"

CHIP = """\
from harness.model.units import Ns
from harness.lab.models import endpoint

print("a model may print")

class Chip(endpoint.Function):
    def misbehaves(self):
        {body}

    def read(self, region, offset, count):
        if (region, offset) == (7, 0x10):
            self.misbehaves()
        if (region, offset) == (7, 0x20):
            import time; time.sleep(0.5)
        if (region, offset) == (7, 0x2c):
            self.later(Ns(0), self.misbehaves)
        return super().read(region, offset, count)

    def write(self, region, offset, data):
        if (region, offset) == (7, 0x10):
            self.misbehaves()
        super().write(region, offset, data)

    def bus_reset(self):
        self.misbehaves()

    def load(self, faults):
        if list(faults):
            self.misbehaves()

def chip(clock):
    one = endpoint.endpoint(clock)
    one.__class__ = Chip
    return one
"""
BODY_LINE = 1 + CHIP.splitlines().index("        {body}")

TOUCHES = {
    "a read of 4 bytes at 0x10 of config space": client.read(CONFIG_REGION, 0x10, 4),
    "a write of 4 bytes at 0x10 of config space": client.write(CONFIG_REGION, 0x10, b"\0" * 4),
    "a reset of the bus above": client.message(wire.Command.DEVICE_RESET),
    "what it had put off": client.read(CONFIG_REGION, 0x2C, 4),
}


@pytest.fixture(autouse=True)
def as_on_any_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is set, nothing that a model prints is lost, whatever the harness does."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="hil-model-", dir="/tmp") as name:
        yield Path(name)


def model_of(file: Path, text: str) -> str:
    file.write_text(text)
    return f"{file}:chip"


def started(model: str, place: Path) -> ModelProcess:
    return ModelProcess(model, place, alias="mychip0", call_limit=CALL_LIMIT)


def while_loaded(file: Path, text: str) -> ModelError:
    """What is told of a model that cannot be loaded."""
    with folder() as place, pytest.raises(ModelError) as caught:
        started(model_of(file, text), place)
    return caught.value


def touched(file: Path, body: str, said: bytes) -> tuple[ModelError, int]:
    """What is told of a model that was asked this, and the errno that QEMU has instead of an answer."""
    model = model_of(file, CHIP.format(body=body))
    with folder() as place, started(model, place) as one, connected(one) as qemu:
        qemu.sendall(said)
        answer = wire.read_header(qemu.recv(wire.HEADER_BYTES, socket.MSG_WAITALL))
        mistake = told(one)
        with pytest.raises(ModelError) as caught:
            one.load(())
        assert caught.value is mistake, "told the same, whoever asks"
        return mistake, answer.error


@contextmanager
def connected(model: ModelProcess) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as qemu:
        qemu.settimeout(TOLD_WITHIN_S)
        qemu.connect(str(model.socket))
        qemu.sendall(client.greeting())
        size = wire.read_header(qemu.recv(wire.HEADER_BYTES, socket.MSG_WAITALL)).size
        qemu.recv(size - wire.HEADER_BYTES, socket.MSG_WAITALL)
        yield qemu


def told(model: ModelProcess) -> ModelError:
    until = time.monotonic() + TOLD_WITHIN_S
    while (mistake := model.mistake(0.1)) is None:
        assert time.monotonic() < until
    return mistake


def test_one_that_never_returns_while_it_is_loaded_is_told_with_its_line(tmp_path: Path) -> None:
    files = {
        "import loops": f"\n{LOOPS}\n",
        "import holds the lock": f"\n{HOLDS_THE_LOCK}\n",
        "import reads": f"\n{READS_ITS_INPUT}\n",
        "callable sleeps": f"def chip(clock):\n    {SLEEPS}\n",
    }
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with ThreadPoolExecutor(len(files)) as pool:
        mistakes = list(
            pool.map(lambda name: while_loaded(tmp_path / f"{name.replace(' ', '_')}.py", files[name]), files)
        )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    for name, mistake in zip(files, mistakes, strict=True):
        file = f"{name.replace(' ', '_')}.py"
        assert f"line 2 of {file}" in str(mistake), name
        assert "model mychip0" in str(mistake)
        assert "from its loading" in str(mistake)
        assert f'{file}", line 2' in mistake.evidence
    loop = 2
    ran = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert ran < loop * OWN_TIME_S + len(files) * START_S


def test_one_that_never_returns_from_a_call_is_told_and_qemu_is_answered(tmp_path: Path) -> None:
    bodies = [LOOPS, SLEEPS, HOLDS_THE_LOCK, SLEEPS]
    with ThreadPoolExecutor(len(TOUCHES)) as pool:
        results = list(
            pool.map(
                lambda number, body, said: touched(tmp_path / f"chip{number}.py", body, said),
                range(len(bodies)),
                bodies,
                TOUCHES.values(),
            )
        )
    for what, (mistake, error) in zip(TOUCHES, results, strict=True):
        assert f"not returned from {what}" in str(mistake)
        assert f"line {BODY_LINE} of chip" in str(mistake)
        assert "in misbehaves" in mistake.evidence
        assert error == (0 if what.startswith("what") else errno.EIO), what


def test_an_order_that_never_returns_is_told(tmp_path: Path) -> None:
    model = model_of(tmp_path / "chip.py", CHIP.format(body=SLEEPS))
    stuck = pytest.raises(ModelError, match="not returned from an order of the stage")
    with folder() as place, started(model, place) as one, stuck:
        one.load([Fault(what=Misbehaviour.ALL_ONES_CONFIG)])


def test_what_a_model_raises_at_an_order_is_its_mistake_and_not_the_orders(tmp_path: Path) -> None:
    model = model_of(tmp_path / "chip.py", CHIP.format(body="raise KeyError('bar7')"))
    raised = pytest.raises(ModelError, match="it raised KeyError: 'bar7'")
    with folder() as place, started(model, place) as one, raised:
        one.load([Fault(what=Misbehaviour.ALL_ONES_CONFIG)])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (EXITS, "it ended the program with status 0 in its loading"),
        (f"def chip(clock):\n    {EXITS}", "it ended the program with status 0 in its loading"),
        (DIES, "it was killed by SIGKILL in its loading"),
        (f"import subprocess; subprocess.Popen(['sleep', '30'])\n{EXITS}", "status 0"),
        ("raise KeyboardInterrupt", "it raised KeyboardInterrupt"),
    ],
)
def test_one_that_ends_the_program_while_it_is_loaded_is_told(tmp_path: Path, text: str, said: str) -> None:
    mistake = while_loaded(tmp_path / "chip.py", text)
    assert said in str(mistake)
    assert "model mychip0" in str(mistake)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (EXITS, "it ended the program with status 0 in a read of 4 bytes at 0x10 of config space"),
        (LEAVES, "it raised SystemExit: 0"),
        (DIES, "it was killed by SIGKILL in a read of 4 bytes at 0x10 of config space"),
        ("import ctypes; ctypes.string_at(0)", "it was killed by SIGSEGV in a read"),
    ],
)
def test_one_that_ends_the_program_in_a_call_is_told(tmp_path: Path, body: str, said: str) -> None:
    mistake, error = touched(tmp_path / "chip.py", body, client.read(CONFIG_REGION, 0x10, 4))
    assert said in str(mistake)
    assert "a model may print" in mistake.evidence
    assert error == errno.EIO


def test_one_that_is_stopped_in_a_call_or_ended_by_us_made_no_mistake(tmp_path: Path) -> None:
    model = model_of(tmp_path / "chip.py", CHIP.format(body=LOOPS))
    with folder() as place, started(model, place) as one, connected(one) as qemu:
        qemu.sendall(client.read(CONFIG_REGION, 0x20, 4))
        until = time.monotonic() + TOLD_WITHIN_S
        while not called(place / LOG).entry:
            assert time.monotonic() < until
            os.sched_yield()
        os.kill(one.pid, signal.SIGSTOP)
        threading.Event().wait(OWN_TIME_S + 1)  # nothing is to happen
        os.kill(one.pid, signal.SIGCONT)
        assert wire.read_header(qemu.recv(wire.HEADER_BYTES, socket.MSG_WAITALL)).error == 0
        assert one.mistake() is None
        one.kill()
        assert one.mistake() is None


def test_one_that_a_busy_host_does_not_let_run_made_no_mistake(tmp_path: Path) -> None:
    busy_s = OWN_TIME_S + 1
    works = "import time; any(time.thread_time() > 0.3 for _ in iter(int, 1))"
    model = model_of(tmp_path / "chip.py", CHIP.format(body=works))
    with folder() as place, started(model, place) as one, connected(one) as qemu:
        processor = min(os.sched_getaffinity(0))
        os.sched_setaffinity(one.pid, {processor})
        os.sched_setscheduler(one.pid, os.SCHED_IDLE, os.sched_param(0))
        busy = (
            f"import os, time; os.sched_setaffinity(0, {{{processor}}}); end = time.monotonic() + {busy_s}\n"
            "while time.monotonic() < end: pass"
        )
        with subprocess.Popen([sys.executable, "-c", busy]):
            begun = time.monotonic()
            qemu.sendall(client.read(CONFIG_REGION, 0x10, 4))
            assert wire.read_header(qemu.recv(wire.HEADER_BYTES, socket.MSG_WAITALL)).error == 0
        assert time.monotonic() - begun >= OWN_TIME_S, "it was not kept waiting"
        assert one.mistake() is None


def test_one_that_loops_does_not_outlive_its_owner(tmp_path: Path) -> None:
    (tmp_path / "chip.py").write_text(f"import os; print(os.getpid(), flush=True)\n{HOLDS_THE_LOCK}\n")
    with folder() as place:
        owner = (
            "from pathlib import Path; from harness.lab.models.process import ModelProcess\n"
            f"ModelProcess({str(tmp_path / 'chip.py')!r} + ':chip', Path({str(place)!r}))"
        )
        errors = place / "errors"
        with subprocess.Popen([sys.executable, "-c", owner]) as process:
            until = time.monotonic() + TOLD_WITHIN_S
            while not (errors.exists() and errors.read_text().endswith("\n")):
                assert time.monotonic() < until
                os.sched_yield()
            alive = os.pidfd_open(int(errors.read_text()))
            process.kill()
        gone, _, _ = select.select([alive], [], [], TOLD_WITHIN_S)
        os.close(alive)
    assert gone

"""When nothing will be answered any more, as far as QEMU tells."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.lab.guest.watch import PANIC_WRITES_S, PAUSE_S, end_of_answers_ns, is_stopped
from harness.lab.qemu.qmp import MonitorEvent

SECOND = 1_000_000_000
SINCE_NS = 100


def event(name: str, at: int = 200, **data: Any) -> MonitorEvent:
    return MonitorEvent(monotonic_ns=at, name=name, data=data)


CLONE = (event("RESUME", 1), event("VSERPORT_CHANGE", 2, open=True, id="agent"))
AGENT_ENDS = event("VSERPORT_CHANGE", open=False, id="agent")


@pytest.mark.parametrize(
    ("events", "end_ns"),
    [
        ((), None),
        (CLONE, None),
        ((event("SHUTDOWN", guest=True, reason="guest-reset"),), 200),
        ((event("SHUTDOWN", guest=False, reason="host-signal"),), 200),
        ((event("RESET", guest=True, reason="guest-reset"),), 200),
        ((event("RESET", guest=False, reason="host-qmp-system-reset"),), None),
        ((event("GUEST_PANICKED", action="run"),), 200 + int(PANIC_WRITES_S * SECOND)),
        ((event("GUEST_PANICKED", action="run"), event("SHUTDOWN", 300, guest=True)), 300),
        ((AGENT_ENDS,), 200),
        ((AGENT_ENDS, event("VSERPORT_CHANGE", 300, open=True, id="agent")), 200),
        ((event("VSERPORT_CHANGE", 50, open=False, id="agent"),), None),
        ((event("STOP"),), 200 + int(PAUSE_S * SECOND)),
        ((event("STOP"), event("RESUME", 300)), None),
        ((event("DEVICE_DELETED"), event("MIGRATION", status="completed")), None),
    ],
)
def test_the_last_answer(events: tuple[MonitorEvent, ...], end_ns: int | None) -> None:
    assert end_of_answers_ns(events, since_ns=SINCE_NS) == end_ns


def test_a_debugger_may_pause_for_ever() -> None:
    assert end_of_answers_ns([event("STOP")], since_ns=SINCE_NS, pause_s=math.inf) is None


def test_a_process_that_is_stopped_is_told_from_one_that_sleeps() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        try:
            assert not is_stopped(child.pid)
            child.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, child.pid, os.WSTOPPED)
            assert is_stopped(child.pid)
        finally:
            child.kill()
    assert not is_stopped(child.pid)
    assert not Path(f"/proc/{child.pid}").exists()

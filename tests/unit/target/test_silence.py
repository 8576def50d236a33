"""How long nothing may be heard, when the host was too busy, and which process was kept from running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from harness.target.silence import Patience, Silence, never, starved_process
from tests.unit.agent.run import until


class Host:
    """A host that keeps its target from running as long as a test says."""

    def __init__(self) -> None:
        self.starved_s = 100.0

    def starved(self) -> float:
        return self.starved_s


def waits(silence: Silence, count: int, host: Host | None = None, each_s: float = 0.0) -> None:
    """Wait in vain, `each_s` of each wait in a host that is too busy."""
    for _ in range(count):
        if host is not None:
            host.starved_s += each_s
        silence.lasted(0.5)


def test_a_target_that_says_nothing_is_given_up_after_its_limit() -> None:
    silence = Silence(Patience(limit_s=3.0))
    waits(silence, 5)
    assert silence.left_s == pytest.approx(0.5)
    waits(silence, 1)
    assert silence.left_s == 0.0
    assert str(silence) == "it has said nothing for 3 s"


def test_whatever_is_heard_begins_the_count_anew() -> None:
    silence = Silence(Patience(limit_s=3.0))
    waits(silence, 5)
    silence.broken()
    assert silence.left_s == 3.0


def test_time_in_which_the_host_was_too_busy_does_not_count() -> None:
    host = Host()
    silence = Silence(Patience(limit_s=3.0, starved=host.starved))
    waits(silence, 5, host, each_s=0.3)
    assert silence.left_s == pytest.approx(3.0 - 5 * 0.2)


def test_no_host_is_busy_for_ever() -> None:
    host = Host()
    silence = Silence(Patience(limit_s=3.0, starved=host.starved))
    waits(silence, 4 * 6 - 1, host, each_s=0.5)
    assert silence.left_s > 0
    waits(silence, 1, host, each_s=0.5)
    assert silence.left_s == 0.0


def test_a_busy_host_earns_no_credit_for_later() -> None:
    """More was waited than passed (several processors were waited for), and then the target really falls silent."""
    host = Host()
    silence = Silence(Patience(limit_s=3.0, starved=host.starved))
    waits(silence, 4, host, each_s=2.0)
    assert silence.left_s == pytest.approx(3.0 - 4 * 0.125)
    waits(silence, 5)
    assert silence.left_s == 0.0


def test_being_busy_before_something_was_heard_excuses_nothing_after_it() -> None:
    host = Host()
    silence = Silence(Patience(limit_s=3.0, starved=host.starved))
    host.starved_s += 50.0
    silence.broken()
    waits(silence, 6)
    assert silence.left_s == 0.0


def test_of_a_machine_of_its_own_nobody_can_tell() -> None:
    assert (never(), Patience().starved()) == (0.0, 0.0)


SPIN = "while True: pass"


@contextmanager
def spinning(count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that all want the same processor."""
    cpu = min(os.sched_getaffinity(0))
    running = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(count)]
    try:
        for process in running:
            os.sched_setaffinity(process.pid, {cpu})
        yield running
    finally:
        for process in running:
            process.kill()
            process.wait()


def reaches(seconds: float, pid: int) -> bool:
    """Whether a process is kept from running for so long, within half a minute."""
    starved = starved_process(pid)
    assert starved() >= 0.0
    first = starved()
    wait = Retrying(
        retry=retry_if_result(lambda met: not met),
        stop=stop_after_delay(30),
        wait=wait_fixed(0.05),
        retry_error_callback=lambda _: False,
    )
    return bool(wait(lambda: starved() - first > seconds))


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="CONFIG_SCHED_INFO is off")
def test_a_process_that_waits_for_a_processor_is_starved() -> None:
    with spinning(3) as running:
        assert reaches(0.3, running[0].pid)


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="CONFIG_SCHED_INFO is off")
def test_a_process_that_was_stopped_is_not_starved() -> None:
    """Also on the busiest processor: it is not ready to run.

    Its stop is told a moment before it leaves the processor, for which it may have to wait a while.
    """
    with spinning(3) as running:
        os.kill(running[0].pid, signal.SIGSTOP)
        os.waitpid(running[0].pid, os.WUNTRACED)
        starved = starved_process(running[0].pid)

        def stands() -> bool:
            before = starved()
            assert reaches(0.3, running[1].pid)
            return starved() == before

        until(stands, 30)


def test_a_process_that_is_gone_is_not_starved() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    starved = starved_process(process.pid)
    starved()
    process.wait()
    assert starved() == starved()

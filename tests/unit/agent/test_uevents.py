"""Uevents: what is heard is told, and listening leaves nothing behind."""

from __future__ import annotations

import gc
import threading
from pathlib import Path

from harness.agent import threads
from harness.agent.uevents import Uevents
from tests.unit.agent.run import until
from tests.unit.agent.uevents import Source


def test_what_was_heard_is_told_oldest_first() -> None:
    with Source() as source:
        uevents = Uevents(source)
        source.says("remove", "/devices/a")
        source.says("add", "/devices/b")
        heard = uevents.collect()
    assert [(one.action, one.path) for one in heard] == [("remove", "/devices/a"), ("add", "/devices/b")]
    assert 0 < heard[0].time_ns <= heard[1].time_ns


def test_what_listens_is_stopped_when_nobody_collects() -> None:
    with Source() as source:
        uevents = Uevents(source)
        uevents.leave()
        uevents.leave()
        source.says("add", "/devices/late")
        assert uevents.collect() == ()


def test_listening_to_the_kernel_leaves_no_descriptor_behind() -> None:
    Uevents().leave()
    before = sorted(path.name for path in Path("/proc/self/fd").iterdir())
    for _ in range(3):
        Uevents().leave()
    gc.collect()
    assert sorted(path.name for path in Path("/proc/self/fd").iterdir()) == before


def test_whoever_listens_again_starts_no_thread() -> None:
    threads.prepare(1)
    before = threading.enumerate()
    for _ in range(3):
        with Source() as source:
            Uevents(source).leave()
        threads.prepare(1)
    assert threading.enumerate() == before


def test_work_that_nobody_waits_for_is_done_by_a_new_thread() -> None:
    holding, done = threading.Event(), threading.Event()
    threads.prepare(2)
    for _ in range(3):
        threads.begin(holding.wait)
    threads.begin(done.set)
    until(done.is_set)
    holding.set()

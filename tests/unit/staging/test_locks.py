"""Holders of locks: the commands that the kernel module gets, and what it is never asked."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import harness.lab
from harness.bindings.actor import Code
from harness.errors import UsageError
from harness.model import operation
from harness.model.operation import Operation
from harness.model.plan import File, Op
from harness.model.units import MS, SECOND, Ns
from harness.staging.locks import LONGEST, Lock, Locks
from harness.staging.part import Part
from tests.unit.staging.functions import IGB, compiled, only, opened, repeated

LOCKS = Locks(IGB)
MODULE = Path(harness.lab.__file__).parent / "kmod" / "hil_windows.c"
EVERY_VERB = {
    "config": LOCKS.holds("config", lasting="20ms"),
    "device": LOCKS.holds("device", lasting="20ms"),
    "both": LOCKS.holds("both", lasting="20ms"),
    "bridge": LOCKS.holds("bridge", lasting="20ms"),
    "try": LOCKS.tries(),
    "unbalanced": LOCKS.unlocks_twice(),
    "steal": LOCKS.steals(at="1ms"),
    "forever": LOCKS.never_unlocks(),
}


@pytest.mark.parametrize(
    ("lock", "means"),
    [
        ("config", operation.HOLD_CONFIG),
        ("device", operation.HOLD_DEVICE),
        ("both", operation.HOLD_BOTH),
        ("bridge", operation.HOLD_PORT),
    ],
)
def test_a_lock_is_held_by_one_write(lock: Lock, means: Operation) -> None:
    part = LOCKS.holds(lock, lasting="200ms", at="50ms")
    actor = only(part)
    (step,) = actor.steps
    assert (actor.name, actor.starts_ns, actor.times) == (f"{lock}-holder", 50 * MS, 1)
    assert (step.op, step.means, step.file) == (Op.WRITE, means, File(function="igb0", role="windows"))
    assert step.value == f"{lock} {{bdf}} 200".encode()
    assert (part.functions, part.modules, part.settings) == (("igb0",), ("hil_windows",), ())


@pytest.mark.parametrize(
    ("lasting", "asked"),
    [("1ms", b"1"), ("1.5ms", b"2"), (Ns(MS + 1), b"2"), ("10s", b"10000"), (LONGEST, b"10000")],
)
def test_a_part_of_a_millisecond_is_a_whole_one(lasting: str | Ns, asked: bytes) -> None:
    (step,) = only(LOCKS.holds("config", lasting=lasting)).steps
    assert step.value == b"config {bdf} " + asked


def test_a_lock_that_is_taken_again_is_free_for_50_ms_before() -> None:
    """The loop counts pauses from one to the next, so that of the holding is a part of it."""
    actor = only(LOCKS.holds("both", lasting="200ms", times=3))
    assert [(step.means, step.time_ns) for step in actor.steps] == [
        (operation.HOLD_BOTH, 0),
        (operation.WAIT, 250 * MS),
    ]
    assert actor.times == 3


def test_who_tries_does_not_keep_what_he_gets() -> None:
    actor = only(LOCKS.tries(at="10ms", times=8))
    step, apart = actor.steps
    assert (step.means, step.value, apart.time_ns) == (operation.TRY_CONFIG, b"try {bdf} 1", 51 * MS)
    assert (actor.name, actor.starts_ns, actor.times) == ("trier", 10 * MS, 8)


@pytest.mark.parametrize(
    ("part", "name", "means", "command"),
    [
        (LOCKS.steals(at="150ms"), "thief", operation.STEAL, b"steal {bdf}"),
        (
            LOCKS.unlocks_twice(at="150ms", lasting="100ms"),
            "double-unlocker",
            operation.UNLOCK_TWICE,
            b"unbalanced {bdf} 100",
        ),
        (LOCKS.never_unlocks(at="150ms"), "keeper", operation.NEVER_UNLOCK, b"forever {bdf}"),
    ],
)
def test_misuse_is_done_once(part: Part, name: str, means: Operation, command: bytes) -> None:
    actor = only(part)
    (step,) = actor.steps
    assert (actor.name, actor.starts_ns, actor.times) == (name, 150 * MS, 1)
    assert (step.means, step.value, part.modules) == (means, command, ("hil_windows",))


@pytest.mark.parametrize("part", EVERY_VERB.values(), ids=EVERY_VERB)
def test_the_module_is_told_the_address_of_the_function(part: Part) -> None:
    assert opened(part) == [("/dev/hil_windows", os.O_WRONLY)]
    (write,) = repeated(part)
    assert write.op is Code.WRITE
    assert re.fullmatch(rb"[a-z]+ 0000:01:00\.0( \d+)?", write.data)
    assert write.width == len(write.data)
    assert compiled(part)[-1].times == 1


def test_a_holder_begins_at_once_unless_told_otherwise() -> None:
    starts = {kind: only(part).starts_ns for kind, part in EVERY_VERB.items()}
    assert starts == {**dict.fromkeys(EVERY_VERB, 0), "steal": MS}


def test_the_module_knows_every_command_and_how_long_it_may_last() -> None:
    source = MODULE.read_text()
    kinds = dict(re.findall(r'\{ "([a-z-]+)", \w+, (true|false) \}', source))
    (longest_ms,) = re.findall(r"#define LONGEST_MS (\d+)", source)
    assert longest_ms == str(LONGEST // MS)
    for kind, part in EVERY_VERB.items():
        words = only(part).steps[0].value.decode().split()
        assert words[0] == kind
        assert (len(words) == 3) == (kinds[kind] == "true"), words


@pytest.mark.parametrize(
    ("mistake", "answer"),
    [
        (
            lambda: LOCKS.holds("port", lasting="1ms"),  # type: ignore[arg-type]
            "holding 'port': no such lock. Choose one of: config, device, both, bridge.",
        ),
        (
            lambda: LOCKS.holds("config", lasting="11s"),
            "holding a lock of igb0 for 11 s: the module holds one for 1 ms to 10 s. Hold it several times",
        ),
        (lambda: LOCKS.holds("config", lasting=Ns(10 * SECOND + 1)), "holding a lock of igb0 for 10 s: the"),
        (
            lambda: LOCKS.holds("config", lasting="0s"),
            "holding a lock of igb0 for 0 ns: the module holds one",
        ),
        (lambda: LOCKS.holds("config", lasting="999us"), "holding a lock of igb0 for 999 us: the module"),
        (lambda: LOCKS.tries(lasting="1m"), "duration '1m': not understood. Write a number and a unit"),
        (lambda: LOCKS.unlocks_twice(lasting="20s"), "holding a lock of igb0 for 20 s: the module holds"),
        (lambda: LOCKS.steals(at="now"), "duration 'now': not understood"),
        (lambda: LOCKS.holds("config", lasting="1ms", times=0), "0 rounds on igb0: nothing happens"),
    ],
)
def test_a_mistake_is_answered_when_it_is_made(mistake: Callable[[], object], answer: str) -> None:
    with pytest.raises(UsageError, match="^" + re.escape(answer)):
        mistake()

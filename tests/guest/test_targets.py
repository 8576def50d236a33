"""The contract of targets: each kind keeps each clause, and a target that breaks one is noticed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from harness.errors import AgentLost, HarnessError
from harness.lab.place import GuestTarget, Place
from harness.model.loss import LossKind
from harness.model.pci import Nature
from harness.model.request import DescribeMachine
from harness.target.protocol import Target
from tests.guest.conformance import spoilt_targets
from tests.guest.conformance.spoilt_targets import spoilt
from tests.guest.conformance.target import (
    AGAIN,
    AHEAD,
    ALIVE,
    LOST,
    WITHIN_S,
    Again,
    Ahead,
    Alive,
    Kind,
    Lost,
    Way,
    mark,
)
from tests.unit.agent.run import until

PRINTED = "hil-test: it waits"


# --- the kinds --------------------------------------------------------------------------------------------


def _signals(number: signal.Signals) -> Callable[[Target], None]:
    def signal_qemu(target: Target) -> None:
        assert isinstance(target, GuestTarget)
        os.kill(target.guest.pid, number)

    return signal_qemu


def _prints(target: Target, line: str) -> None:
    """On the console whatever its log level is, `<0>`, and at once: a line without its end waits for it."""
    target.agent.run_source(
        "line = channel.receive()\nopen('/dev/kmsg', 'w').write('<0>' + line + '\\n')\nchannel.send(0)", line
    )


LOSSES_OF_GUESTS = (
    Way(
        name="panic",
        kind=LossKind.PANIC,
        said="sysrq triggered crash",
        act=lambda target: target.agent.open_channel("open('/proc/sysrq-trigger', 'w').write('c')"),
        pages=frozenset({0}),
    ),
    Way(
        name="killed", kind=LossKind.EMULATOR, said="QEMU was killed by SIGKILL", act=_signals(signal.SIGKILL)
    ),
    Way(
        name="stopped",
        kind=LossKind.FROZEN,
        said="SIGSTOP",
        act=_signals(signal.SIGSTOP),
        pages=frozenset({0}),
    ),
)


def a_guest(place: Place) -> Kind:
    """A clone; one that was booted is the same class of target."""
    return Kind(
        name="guest",
        make=partial(place.clone, gdb=None),
        waiting=place.clone,
        nature=Nature.EMULATED,
        plugged="edu0",
        served="endpoint0",
        prints=_prints,
        losses=LOSSES_OF_GUESTS,
    )


KINDS: dict[str, Callable[[Place], Kind]] = {"guest": a_guest}


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest, place: Place) -> Kind:
    """Each kind of target; another one is another line of the table."""
    return KINDS[request.param](place)


# --- the cases --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def alive(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alive]:
    with kind.make(tmp_path_factory.mktemp("alive") / "console.log") as target:
        yield Alive(kind=kind, target=target)


@pytest.fixture(scope="module", params=["panic", "killed", "stopped"])
def lost(
    request: pytest.FixtureRequest, kind: Kind, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lost]:
    way = next((one for one in kind.losses if one.name == request.param), None)
    if way is None:
        pytest.skip(f"a {kind.name} is not lost like that")
    with kind.make(tmp_path_factory.mktemp(way.name) / "console.log") as target:
        for alias in target.standing:
            target.address(alias)
        release = target.provenance()["kernel.release"]
        way.act(target)
        until(lambda: not _answers(target), WITHIN_S)
        yield Lost(way=way, target=target, release=release)


def _answers(target: Target) -> bool:
    try:
        return target.agent.ask(DescribeMachine()).cpus > 0
    except AgentLost:
        return False


@pytest.fixture(scope="module")
def again(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Again]:
    folder = tmp_path_factory.mktemp("again")
    with kind.make(folder / "first.log") as first:
        provenance = first.provenance()
        facts: dict[str, object] = {alias: first.facts(alias) for alias in first.standing}
        mark(first)
    with kind.make(folder / "second.log") as second:
        yield Again(first=first, target=second, provenance=provenance, facts=facts)


@pytest.fixture
def ahead(kind: Kind, tmp_path: Path) -> Iterator[Ahead]:
    if kind.waiting is None:
        pytest.skip(f"a {kind.name} is never made ahead")
    with kind.waiting(tmp_path / "waits.log") as target:
        assert kind.prints is not None
        kind.prints(target, PRINTED)
        until(lambda: PRINTED in (tmp_path / "waits.log").read_text(errors="replace"))
        yield Ahead(target=target, console=tmp_path / "taken.log", printed=PRINTED)


# --- each clause is kept, and each can be broken ----------------------------------------------------------


def _name(clause: object) -> str:
    return getattr(clause, "__name__", "")


def is_broken(clause: Callable[[Any], None], case: object) -> bool:
    """Whether a clause takes offence."""
    try:
        clause(case)
    except (AssertionError, HarnessError, pytest.fail.Exception):
        return True
    return False


@pytest.mark.parametrize("clause", ALIVE, ids=_name)
def test_one_in_use(alive: Alive, clause: Callable[[Alive], None]) -> None:
    clause(alive)


@pytest.mark.parametrize("clause", LOST, ids=_name)
def test_one_that_was_lost(lost: Lost, clause: Callable[[Lost], None]) -> None:
    clause(lost)


@pytest.mark.parametrize("clause", AGAIN, ids=_name)
def test_one_that_is_made_again(again: Again, clause: Callable[[Again], None]) -> None:
    clause(again)


@pytest.mark.parametrize("clause", AHEAD, ids=_name)
def test_one_that_waits(ahead: Ahead, clause: Callable[[Ahead], None]) -> None:
    clause(ahead)


@pytest.mark.parametrize("lie", spoilt_targets.ALIVE)
def test_one_in_use_that_breaks_a_clause_is_noticed(alive: Alive, lie: str) -> None:
    clause, lies = spoilt_targets.ALIVE[lie]
    assert is_broken(clause, replace(alive, target=spoilt(alive.target, **lies)))


@pytest.mark.parametrize("lie", spoilt_targets.LOST)
def test_a_lost_one_that_breaks_a_clause_is_noticed(lost: Lost, lie: str) -> None:
    clause, lies = spoilt_targets.LOST[lie]
    assert is_broken(clause, replace(lost, target=spoilt(lost.target, **lies)))


@pytest.mark.parametrize("lie", spoilt_targets.AGAIN)
def test_one_that_is_made_again_and_breaks_a_clause_is_noticed(again: Again, lie: str) -> None:
    clause, spoil = spoilt_targets.AGAIN[lie]
    assert is_broken(clause, spoil(again))


@pytest.mark.parametrize("lie", spoilt_targets.AHEAD)
def test_one_that_waits_and_breaks_a_clause_is_noticed(ahead: Ahead, lie: str) -> None:
    clause, lies = spoilt_targets.AHEAD[lie]
    assert is_broken(clause, replace(ahead, target=spoilt(ahead.target, **lies)))


def test_each_clause_can_be_broken() -> None:
    broken = {
        _name(one[0])
        for lies in (spoilt_targets.ALIVE, spoilt_targets.LOST, spoilt_targets.AGAIN, spoilt_targets.AHEAD)
        for one in lies.values()
    }
    assert broken == {_name(clause) for clause in (*ALIVE, *LOST, *AGAIN, *AHEAD)}

"""What every target must do (`harness.target.protocol`), one obligation a clause, and what the suite needs of a kind.

A clause looks at a :class:`Case` and is broken by an assertion, or by an error of ours.  A kind of target is told by a
:class:`Kind` and nothing else: what it cannot do is None there, and its clauses ask for nothing of that.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.errors import AgentLost, UsageError
from harness.model.loss import Loss, LossKind
from harness.model.pci import Nature
from harness.model.request import DescribeFunction, DescribeFunctions, DescribeMachine
from harness.target.protocol import Make, MakeWaiting, Renewed, Target, Waiting
from tests.unit.agent.run import until

NOBODY = "nobody0"
"""An alias that no target has."""
MARK = "/run/hil-mark"
_RUN = """
import os, subprocess, tempfile
with tempfile.NamedTemporaryFile(dir="/run", delete=False) as file:
    file.write(channel.receive())
os.chmod(file.name, 0o755)
run = subprocess.run(["busybox", "echo", "it runs"], executable=file.name, capture_output=True, text=True)
channel.send(run.stdout)
"""
PAGES = {0: 0x10_0000, 8192: 1 << 40}
"""One page that a lost machine may still have, and one beyond the end of any memory of ours."""
WITHIN_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way to lose a target.

    Attributes:
        name: for people.
        kind: what it is told to be.
        said: words of the one line that says why.
        act: brings it about; needs not wait.
        pages: keys of :data:`PAGES` that can be read afterwards.
    """

    name: str
    kind: LossKind
    said: str
    act: Callable[[Target], None]
    pages: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of target.

    Attributes:
        name: for people.
        make: makes one.
        waiting: makes one that can wait; None: none can.
        nature: of the functions that stand.
        plugged: a function that is plugged at its first use; None: none is.
        served: a function that a model of ours serves; None: none is.
        prints: lets its kernel print a line; None: its log is other people's.
        losses: the ways in which the suite may lose one.
    """

    name: str
    make: Make
    waiting: MakeWaiting | None
    nature: Nature
    plugged: str | None
    served: str | None
    prints: Callable[[Target, str], None] | None
    losses: tuple[Way, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alive:
    """A target in use."""

    kind: Kind
    target: Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """One that was lost, and what it said of itself before."""

    way: Way
    target: Target
    release: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """One that was marked, given back and made again; and what it said before."""

    first: Target
    target: Target
    provenance: dict[str, Any]
    facts: dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ahead:
    """One that waits, and where its console is to go."""

    target: Waiting
    console: Path
    printed: str


# --- alive ------------------------------------------------------------------------------------------------


def an_alias_that_is_not_there_is_refused_with_those_that_are(case: Alive) -> None:
    for ask in (case.target.address, case.target.facts, case.target.nature, case.target.model):
        with pytest.raises(UsageError) as refused:
            ask(NOBODY)
        assert all(alias in str(refused.value) for alias in (NOBODY, *case.target.standing))


def an_address_is_the_same_every_time(case: Alive) -> None:
    for alias in case.target.standing:
        assert case.target.address(alias) == case.target.address(alias) == case.target.facts(alias).bdf


def two_names_are_two_functions(case: Alive) -> None:
    addresses = [case.target.address(alias) for alias in case.target.standing]
    assert len(set(addresses)) == len(addresses) > 0


def facts_are_what_its_kernel_says_of_that_address(case: Alive) -> None:
    for alias in case.target.standing:
        facts = case.target.facts(alias)
        seen = case.target.agent.ask(DescribeFunction(bdf=facts.bdf))
        assert (seen.vendor, seen.device, seen.iommu_group) == (facts.vendor, facts.device, facts.iommu_group)


def what_stands_is_there_before_anybody_asks(case: Alive) -> None:
    there = _there(case.target)
    assert {case.target.address(alias) for alias in case.target.standing} <= there


def what_does_not_stand_is_plugged_when_it_is_asked_for(case: Alive) -> None:
    if case.kind.plugged is None:
        return
    assert case.kind.plugged not in case.target.standing
    assert case.target.address(case.kind.plugged) in _there(case.target)


def the_nature_of_a_function_is_told(case: Alive) -> None:
    standing = case.target.standing
    assert {case.target.nature(alias) for alias in standing} == {case.kind.nature}
    assert {case.target.nature(case.target.address(alias)) for alias in standing} == {case.kind.nature}


def a_model_is_told_from_other_functions(case: Alive) -> None:
    assert case.target.model(case.target.standing[0]) is None
    if case.kind.served is not None:
        model = case.target.model(case.kind.served)
        assert model is not None
        assert model.mistake() is None


def nobody_is_told_of_mistakes_that_were_not_made(case: Alive) -> None:
    assert case.target.mistakes() == ()


def its_kernel_is_the_one_that_the_report_names(case: Alive) -> None:
    assert case.target.agent.ask(DescribeMachine()).release == case.target.provenance()["kernel.release"]


def what_the_report_names_is_json_and_does_not_change(case: Alive) -> None:
    told = case.target.provenance()
    assert json.loads(json.dumps(told)) == told == case.target.provenance()


def it_is_not_lost_while_it_answers(case: Alive) -> None:
    assert case.target.agent.ask(DescribeMachine()).cpus >= 1
    assert case.target.lost == ""


def it_can_be_looked_at_by_hand(case: Alive) -> None:
    assert case.target.by_hand.strip()
    if case.target.console is not None:
        assert str(case.target.console) in case.target.by_hand


def its_console_has_what_its_kernel_prints(case: Alive) -> None:
    console, prints = case.target.console, case.kind.prints
    if console is None or prints is None:
        return
    line = f"hil-test: {time.monotonic_ns()}"
    prints(case.target, line)
    assert _comes(lambda: line in console.read_text(errors="replace"), 10.0)


def its_busybox_runs_there(case: Alive) -> None:
    assert case.target.agent.run_source(_RUN, case.target.busybox()) == "it runs\n"


def starvation_is_seconds_that_only_grow(case: Alive) -> None:
    begun_s, starved = time.monotonic(), case.target.starvation()
    first = starved()
    case.target.agent.ask(DescribeMachine())
    last, again = starved(), case.target.starvation()
    assert 0.0 <= last - first <= time.monotonic() - begun_s
    assert again() >= 0.0


def its_clock_is_compared_with_ours(case: Alive) -> None:
    rate = case.target.check_clock()
    assert rate.is_believable
    assert 0.0 < rate.least <= rate.most


# --- lost -------------------------------------------------------------------------------------------------


def one_that_was_lost_is_known_to_be(case: Lost) -> None:
    assert case.target.lost
    with pytest.raises(AgentLost):
        case.target.agent.ask(DescribeMachine(), deadline_s=WITHIN_S)
    assert case.target.agent.silent


def a_post_mortem_tells_how(case: Lost) -> None:
    loss, _ = case.target.post_mortem(PAGES)
    assert loss.kind is case.way.kind
    assert case.way.said in loss.said


def looking_again_finds_the_same(case: Lost) -> None:
    loss = case.target.post_mortem(PAGES)[0]
    assert isinstance(loss, Loss)
    assert case.target.post_mortem({})[0] is loss


def pages_are_whole_and_none_is_made_up(case: Lost) -> None:
    _, pages = case.target.post_mortem(PAGES)
    assert {key: len(page) for key, page in pages.items()} == dict.fromkeys(case.way.pages, 4096)


def what_needs_no_agent_is_still_told(case: Lost) -> None:
    target = case.target
    assert target.provenance()["kernel.release"] == case.release
    for alias in target.standing:
        assert target.nature(alias) in Nature
        assert target.address(alias) == target.facts(alias).bdf
    assert target.mistakes() == ()
    assert target.starvation()() >= 0.0
    assert target.console is None or target.console.exists()
    assert target.by_hand
    assert target.renewed in Renewed


# --- made again, and made ahead ---------------------------------------------------------------------------


def what_is_made_again_is_what_it_says(case: Again) -> None:
    marked = case.target.agent.run_source(f"import os; channel.send(os.path.exists({MARK!r}))")
    assert marked is (case.first.renewed is Renewed.SAME_MACHINE)


def what_is_made_again_has_the_same_identity(case: Again) -> None:
    assert case.target.provenance() == case.provenance
    assert {alias: case.target.facts(alias) for alias in case.target.standing} == case.facts


def what_was_given_back_answers_no_more(case: Again) -> None:
    with pytest.raises(AgentLost):
        case.first.agent.ask(DescribeMachine())


def who_takes_one_that_waited_has_its_console_with_all_that_it_holds(case: Ahead) -> None:
    before = case.target.console
    case.target.hand_over(case.console)
    assert case.target.console == case.console
    assert case.printed in case.console.read_text(errors="replace")
    assert before is not None
    assert not before.exists()
    assert case.target.check_clock().is_believable


ALIVE: tuple[Callable[[Alive], None], ...] = (
    an_alias_that_is_not_there_is_refused_with_those_that_are,
    what_stands_is_there_before_anybody_asks,
    an_address_is_the_same_every_time,
    two_names_are_two_functions,
    facts_are_what_its_kernel_says_of_that_address,
    what_does_not_stand_is_plugged_when_it_is_asked_for,
    the_nature_of_a_function_is_told,
    a_model_is_told_from_other_functions,
    nobody_is_told_of_mistakes_that_were_not_made,
    its_kernel_is_the_one_that_the_report_names,
    what_the_report_names_is_json_and_does_not_change,
    it_is_not_lost_while_it_answers,
    it_can_be_looked_at_by_hand,
    its_console_has_what_its_kernel_prints,
    its_busybox_runs_there,
    starvation_is_seconds_that_only_grow,
    its_clock_is_compared_with_ours,
)
LOST: tuple[Callable[[Lost], None], ...] = (
    one_that_was_lost_is_known_to_be,
    a_post_mortem_tells_how,
    looking_again_finds_the_same,
    pages_are_whole_and_none_is_made_up,
    what_needs_no_agent_is_still_told,
)
AGAIN: tuple[Callable[[Again], None], ...] = (
    what_is_made_again_is_what_it_says,
    what_is_made_again_has_the_same_identity,
    what_was_given_back_answers_no_more,
)
AHEAD: tuple[Callable[[Ahead], None], ...] = (
    who_takes_one_that_waited_has_its_console_with_all_that_it_holds,
)


def mark(target: Target) -> None:
    """Leave something that lasts as long as the machine does."""
    target.agent.run_source(f"open({MARK!r}, 'w').close(); channel.send(0)")


def _there(target: Target) -> set[object]:
    """The addresses of all functions that its kernel sees now."""
    return {one.bdf for one in target.agent.ask(DescribeFunctions())}


def _comes(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether something becomes true in time."""
    try:
        until(condition, seconds)
    except Exception:  # noqa: BLE001 - RetryError; whatever else it is, it did not come
        return False
    return True

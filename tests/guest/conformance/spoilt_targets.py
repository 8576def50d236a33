"""Targets that break one clause each: a real one behind a wrapper that lies in one respect."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, cast

from harness.errors import ModelError, UsageError
from harness.model.loss import Loss, LossKind
from harness.model.pci import Bdf, Nature
from harness.target.clock import Rate
from harness.target.protocol import Renewed
from tests.guest.conformance import target as clauses
from tests.guest.conformance.target import Again, Ahead, Alive, Lost

Lie = Callable[[Any], Any]
"""What stands in place of an attribute, made from the real target."""

ANYWHERE: Final = Bdf.parse("0000:00:1f.7")


class Spoilt:
    """A target of which some attributes are others."""

    def __init__(self, real: Any, lies: Mapping[str, Lie]) -> None:
        self._real, self._lies = real, lies

    def __getattr__(self, name: str) -> Any:
        return self._lies[name](self._real) if name in self._lies else getattr(self._real, name)


def spoilt(target: Any, **lies: Lie) -> Any:
    """That target, which lies."""
    return cast("Any", Spoilt(target, lies))


def _shy(_: Any) -> Any:
    """Refuses a name and does not say which there are."""

    def refuse(alias: str) -> None:
        raise UsageError(f"function {alias!r}", said="not here")

    return refuse


def _wandering(real: Any) -> Any:
    """A function that is elsewhere each time."""
    places = itertools.cycle((real.address(real.standing[0]), ANYWHERE))
    return lambda _: next(places)


def _of_another(real: Any) -> Any:
    """Says of each function what is true of another."""
    return lambda alias: replace(real.facts(alias), vendor=0xDEAD)


def _shrinking(_: Any) -> Any:
    """Time that runs backwards."""
    return lambda: (-float(second) for second in itertools.count()).__next__


def _post_mortem(loss: Loss, pages: Mapping[int, bytes] = {}) -> Lie:
    return lambda _: lambda _: (loss, dict(pages))


def _new_each_time(real: Any) -> Any:
    """Looks afresh at what is gone already."""
    return lambda pages: (replace(real.post_mortem(pages)[0]), {})


ALIVE: Final[Mapping[str, tuple[Callable[[Alive], None], Mapping[str, Lie]]]] = {
    "does not say which names there are": (
        clauses.an_alias_that_is_not_there_is_refused_with_those_that_are,
        {"address": _shy},
    ),
    "takes any name": (
        clauses.an_alias_that_is_not_there_is_refused_with_those_that_are,
        {"nature": lambda _: lambda _: Nature.EMULATED},
    ),
    "says that what it has yet to plug stands": (
        clauses.what_stands_is_there_before_anybody_asks,
        {"standing": lambda real: (*real.standing, "nvmesriov")},
    ),
    "wanders": (clauses.an_address_is_the_same_every_time, {"address": _wandering}),
    "is one function under all names": (
        clauses.two_names_are_two_functions,
        {"address": lambda _: lambda _: ANYWHERE},
    ),
    "takes one function for another": (
        clauses.facts_are_what_its_kernel_says_of_that_address,
        {"facts": _of_another},
    ),
    "plugs nothing": (
        clauses.what_does_not_stand_is_plugged_when_it_is_asked_for,
        {"address": lambda _: lambda _: ANYWHERE},
    ),
    "takes models for silicon": (
        clauses.the_nature_of_a_function_is_told,
        {"nature": lambda _: lambda _: Nature.PHYSICAL},
    ),
    "knows of no model": (
        clauses.a_model_is_told_from_other_functions,
        {"model": lambda _: lambda _: None},
    ),
    "has models everywhere": (
        clauses.a_model_is_told_from_other_functions,
        {"model": lambda real: lambda _: real.model("endpoint0")},
    ),
    "accuses": (
        clauses.nobody_is_told_of_mistakes_that_were_not_made,
        {"mistakes": lambda _: lambda: (ModelError("model endpoint0", said="it raised"),)},
    ),
    "names another kernel": (
        clauses.its_kernel_is_the_one_that_the_report_names,
        {"provenance": lambda real: lambda: {**real.provenance(), "kernel.release": "2.6.32"}},
    ),
    "reports what is no JSON": (
        clauses.what_the_report_names_is_json_and_does_not_change,
        {"provenance": lambda real: lambda: {**real.provenance(), "packages": ("one", "two")}},
    ),
    "says that it is dead": (clauses.it_is_not_lost_while_it_answers, {"lost": lambda _: "it is gone"}),
    "keeps its console to itself": (
        clauses.it_can_be_looked_at_by_hand,
        {"by_hand": lambda _: "somewhere"},
    ),
    "shows another console": (
        clauses.its_console_has_what_its_kernel_prints,
        {"console": lambda real: real.console.with_name("other.log")},
    ),
    "brings what does not run": (clauses.its_busybox_runs_there, {"busybox": lambda _: lambda: b"\x7fELF"}),
    "counts backwards": (clauses.starvation_is_seconds_that_only_grow, {"starvation": _shrinking}),
    "believes a clock that runs wild": (
        clauses.its_clock_is_compared_with_ours,
        {"check_clock": lambda _: lambda: Rate(least=3.0, most=4.0)},
    ),
}
LOST: Final[Mapping[str, tuple[Callable[[Lost], None], Mapping[str, Lie]]]] = {
    "notices nothing": (clauses.one_that_was_lost_is_known_to_be, {"lost": lambda _: ""}),
    "blames the agent": (
        clauses.a_post_mortem_tells_how,
        {"post_mortem": _post_mortem(Loss(kind=LossKind.SILENT, said="it says nothing"))},
    ),
    "gives no reason": (
        clauses.a_post_mortem_tells_how,
        {"post_mortem": lambda real: lambda pages: (replace(real.post_mortem(pages)[0], said=""), {})},
    ),
    "finds another thing each time": (clauses.looking_again_finds_the_same, {"post_mortem": _new_each_time}),
    "makes pages up": (
        clauses.pages_are_whole_and_none_is_made_up,
        {
            "post_mortem": _post_mortem(
                Loss(kind=LossKind.PANIC, said=""), dict.fromkeys(clauses.PAGES, bytes(4096))
            )
        },
    ),
    "gives half a page": (
        clauses.pages_are_whole_and_none_is_made_up,
        {"post_mortem": _post_mortem(Loss(kind=LossKind.PANIC, said=""), {0: bytes(2048)})},
    ),
    "forgets its kernel": (
        clauses.what_needs_no_agent_is_still_told,
        {"provenance": lambda _: lambda: {"kernel.release": ""}},
    ),
}


def _second(**lies: Lie) -> Callable[[Again], Again]:
    return lambda case: replace(case, target=spoilt(case.target, **lies))


AGAIN: Final[Mapping[str, tuple[Callable[[Again], None], Callable[[Again], Again]]]] = {
    "claims to be the same machine": (
        clauses.what_is_made_again_is_what_it_says,
        lambda case: replace(case, first=spoilt(case.first, renewed=lambda _: Renewed.SAME_MACHINE)),
    ),
    "comes back with another kernel": (
        clauses.what_is_made_again_has_the_same_identity,
        _second(provenance=lambda real: lambda: {**real.provenance(), "kernel.release": "2.6.32"}),
    ),
    "comes back with other functions": (
        clauses.what_is_made_again_has_the_same_identity,
        _second(facts=_of_another),
    ),
    "comes back with fewer functions": (
        clauses.what_is_made_again_has_the_same_identity,
        _second(standing=lambda real: real.standing[1:]),
    ),
    "goes on although it was given back": (
        clauses.what_was_given_back_answers_no_more,
        lambda case: replace(case, first=spoilt(case.first, agent=lambda _: case.target.agent)),
    ),
}
AHEAD: Final[Mapping[str, tuple[Callable[[Ahead], None], Mapping[str, Lie]]]] = {
    "leaves its console behind": (
        clauses.who_takes_one_that_waited_has_its_console_with_all_that_it_holds,
        {"hand_over": lambda _: lambda _: None},
    ),
    "begins a new console": (
        clauses.who_takes_one_that_waited_has_its_console_with_all_that_it_holds,
        {
            "hand_over": lambda _: lambda console: console.write_text(""),
            "console": lambda real: real.console.with_name("taken.log"),
        },
    ),
}

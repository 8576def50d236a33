"""Draw recipes, steered by what they do not cover yet.  Pure: a seed and the same facts give the same recipes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Final

from harness.fuzzing.coverage import INTERRUPTS, Combination, Coverage, Pair, begins, combinations_of
from harness.fuzzing.facts import Facts, Known
from harness.fuzzing.recipe import Call, Recipe
from harness.fuzzing.verbs import VERBS, Draw, Situation, Verb, able, driver_in, situations
from harness.model.pci import ResetMethod
from harness.staging.part import PORT

_FUNCTIONS: Final = (1, 1, 1, 2, 2, 3)
"""How many, of which one is chosen."""
_BESIDE: Final = (0, 1, 1, 2, 2, 3, 4)
"""How many verbs beside those that a plan is made for, for each function."""
_LASTING_MS: Final = {
    Situation.DISK: (2500, 4000),
    Situation.ADAPTER: (4500, 6500),
}
_LASTING_ELSE_MS: Final = ((300, 600), (500, 1000), (900, 1800))
_ENOUGH: Final = 9
"""Verbs of a plan: each is a process, or two, and a small guest has two processors."""
_PACE: Final = 26 / 500
"""How often a verb is to come, for each plan: 20 in 500 of them, and some more."""


@dataclass(frozen=True, slots=True)
class Course:
    """What happens to one function, the calls in their order.

    Attributes:
        facts: of the function.
        situation: that it has.
        verbs: what happens.
    """

    facts: Facts
    situation: Situation
    verbs: tuple[Verb, ...] = ()

    def joined(self, verb: Verb) -> Course | None:
        """This and one more verb, with all that it needs; None when it does not belong here."""
        if self.situation not in verb.where or not verb.fits(self.facts):
            return None
        grown: Course | None = self
        for name in verb.needs:
            if grown is not None and VERBS[name] not in grown.verbs:
                grown = grown.joined(VERBS[name])
        if grown is None or grown.verbs.count(verb) >= verb.most:
            return None
        others = [one for one in grown.verbs if one is not verb]
        if not all(verb.bears(one) for one in others):
            return None
        if any(verb.name in one.never_before or one.name in verb.never_after for one in others):
            return None  # it would come after them
        return Course(self.facts, self.situation, (*grown.verbs, verb))

    def with_all(self, verbs: Sequence[Verb]) -> Course | None:
        """This and several more, in this order."""
        grown: Course | None = self
        for verb in verbs:
            grown = grown and grown.joined(verb)
        return grown


def is_meant(recipe: Recipe, known: Known) -> bool:
    """Whether an author could have meant it: what happens to each function goes together, in this order."""
    for alias in recipe.functions:
        mine = [call for call in recipe.calls if call.function == alias]
        verbs = [VERBS[call.verb] for call in sorted(mine, key=begins)]
        verbs.sort(key=lambda verb: (verb.is_call, bool(verb.needs) and not verb.is_call))
        starts = [Course(known[alias], one) for one in situations(known[alias])]
        if not any(_is_just(start.with_all(verbs), verbs) for start in starts):
            return False
    return True


def _is_just(course: Course | None, verbs: Sequence[Verb]) -> bool:
    """Whether it is of these verbs and no other: what they need is among them."""
    return course is not None and len(course.verbs) == len(verbs)


class Places:
    """Where verbs, and ordered pairs of calls, can be had."""

    def __init__(self, known: Known) -> None:
        self.starts = [Course(facts, one) for facts in known.values() for one in situations(facts)]

    @cached_property
    def verbs(self) -> dict[str, list[Course]]:
        """For each verb the courses that can begin with it."""
        found: dict[str, list[Course]] = {}
        for start in self.starts:
            for verb in able(start.situation, start.facts):
                if start.joined(verb) is not None:
                    found.setdefault(verb.name, []).append(start)
        return found

    @cached_property
    def pairs(self) -> dict[Pair, list[Course]]:
        """For each ordered pair of calls that is valid the courses that it can begin."""
        found: dict[Pair, list[Course]] = {}
        for start in self.starts:
            calls = [verb for verb in able(start.situation, start.facts) if verb.is_call]
            for first, second in itertools.product(calls, repeat=2):
                if start.with_all((first, second)) is not None:
                    found.setdefault((first.name, second.name), []).append(start)
        return found


def recipes(seed: int, known: Known) -> Iterator[Recipe]:
    """Recipes without end, each steered by those before it.

    Args:
        seed: of everything random.
        known: the functions to choose from; at least one.
    """
    rng, places, covered = Random(seed), Places(known), Coverage()  # noqa: S311  chance for tests, no secret
    combinations = combinations_of(known)
    while True:
        recipe = _drawn(rng, places, covered, combinations)
        covered.add(recipe)
        yield recipe


def _drawn(rng: Random, places: Places, covered: Coverage, combinations: Sequence[Combination]) -> Recipe:
    wanted, taken, courses = rng.choice(_FUNCTIONS), set[str](), list[Course]()
    kinds: dict[str, Combination] = {}
    for _ in range(wanted):
        start, verbs, combination = _goal(rng, places, covered, combinations, taken)
        course = start.with_all(verbs)
        if course is None or sum(len(one.verbs) for one in (*courses, course)) > _ENOUGH:
            continue
        taken |= {start.facts.alias, *start.facts.siblings}  # a reset of their bus is theirs, too
        if combination:
            kinds[start.facts.alias] = combination
        courses.append(course)
    grown = [_grown(rng, course, _ENOUGH // len(courses)) for course in courses]
    spans = [_LASTING_MS.get(one.situation) or rng.choice(_LASTING_ELSE_MS) for one in grown]
    lasting = rng.randint(*max(spans)) // 10 * 10
    calls = [call for one in grown for call in _calls(rng, one, lasting, kinds.get(one.facts.alias))]
    return Recipe(calls=tuple(calls), lasting_ms=lasting)


def _goal(
    rng: Random,
    places: Places,
    covered: Coverage,
    combinations: Sequence[Combination],
    taken: set[str],
) -> tuple[Course, tuple[Verb, ...], Combination | None]:
    """What to make a plan for: where, which verbs, and which kind of interrupt meets which reset."""

    def free(starts: Sequence[Course]) -> list[Course]:
        return [start for start in starts if start.facts.alias not in taken]

    chance = rng.random()
    missing = [pair for pair in places.pairs if pair not in covered.pairs and free(places.pairs[pair])]
    if missing and chance < 0.5:
        pair = rng.choice(missing)
        return rng.choice(free(places.pairs[pair])), tuple(VERBS[name] for name in pair), None
    unmet = [one for one in combinations if not covered.combinations[one]]
    if unmet and chance < 0.6:
        kind, method = rng.choice(unmet)
        reset = VERBS["Function.resets" if method in list(ResetMethod) else method]
        verbs = (VERBS[INTERRUPTS], reset)
        able_to = [
            start
            for start in free(places.verbs[verbs[0].name])
            if kind in start.facts.interrupts and start.with_all(verbs)
        ]
        if able_to:
            return rng.choice(able_to), verbs, (kind, method)
    names = [name for name in places.verbs if free(places.verbs[name])]
    behind = [name for name in names if covered.verbs[name] < covered.recipes * _PACE]
    name = rng.choice(behind or names)
    return rng.choice(free(places.verbs[name])), (VERBS[name],), None


def _grown(rng: Random, course: Course, most: int) -> Course:
    """With some verbs more, whatever they are."""
    for _ in range(rng.choice(_BESIDE)):
        if len(course.verbs) >= most:
            break
        verb = rng.choice(able(course.situation, course.facts))
        course = course.joined(verb) or course
    return course


def _calls(rng: Random, course: Course, lasting: int, combination: Combination | None) -> Iterator[Call]:
    """The phrases of a course; calls begin one after the other."""
    facts, names = course.facts, frozenset(verb.name for verb in course.verbs)
    begins = iter(sorted(rng.randint(20, lasting * 7 // 10) for verb in course.verbs if verb.is_call))
    methods = [m for m in facts.methods if not ("Ownership.makes_vfs" in names and m is ResetMethod.BUS)]
    kind, method = combination or ("", "")
    if method not in facts.methods:
        method = str(rng.choice(methods)) if methods else ""
    driver = driver_in(course.situation, facts, rng)
    begun: dict[str, int] = {}
    for verb in course.verbs:
        at = next(begins) if verb.is_call else 0
        # What needs another call to have begun leaves it time for that, on a busy machine, too.
        at = max([at, *((begun[name] + lasting) // 2 for name in verb.needs if name in begun)])
        if verb.is_call:
            begun[verb.name] = at
        draw = Draw(
            rng=rng,
            facts=facts,
            situation=course.situation,
            verbs=names,
            method=method,
            driver=driver,
            at=at,
            lasting=lasting,
            kind=kind,
        )
        alias = facts.alias + PORT if verb.on_port else facts.alias
        yield Call(verb=verb.name, alias=alias, arguments=verb.arguments(draw))

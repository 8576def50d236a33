"""What some random plans came to, and what they covered, as text.  Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from harness.fuzzing.coverage import combinations_of, covered_by
from harness.fuzzing.facts import Known
from harness.fuzzing.generator import Places
from harness.fuzzing.recipe import Recipe
from harness.fuzzing.verbs import VERBS
from harness.journal.record import Status
from harness.journal.session import UNSETTLED, Entry
from harness.model.verdict import Blame, Verdict

PLANS: Final = 500
EACH_VERB: Final = 20
"""In so many plans each verb comes so often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One plan.

    Attributes:
        entry: as the journal tells it.
        recipe: of it; None when it was never drawn.
        found: what came of staging it again, when it failed: see harness/fuzzed/evidence.py.
    """

    entry: Entry
    recipe: Recipe | None
    found: Mapping[str, Any] | None

    @property
    def verdict(self) -> str:
        """Of its last stage; empty when none was judged."""
        return self.entry.stages[-1].verdict if self.entry.stages else ""


def as_text(outcomes: Sequence[Outcome], known: Known) -> str:
    """Verdicts, coverage, what failed, and why nothing could be said, for a terminal."""
    staged = [one for one in outcomes if one.verdict]
    verdicts = Counter(one.verdict for one in staged)
    recipes = [one.recipe for one in staged if one.recipe]
    said = ", ".join(f"{verdicts[verdict.name]} {verdict.name}" for verdict in Verdict)
    lines = [f"{len(staged)} plans staged: {said}"]
    lines += _coverage(recipes, known)
    lines += _counted("known weakness", (w for one in staged for w in one.entry.stages[-1].weaknesses))
    lines += _counted("UNKNOWN", (_reason(one) for one in staged if one.verdict == Verdict.UNKNOWN.name))
    lines += _counted("not staged", (one.entry.summary for one in outcomes if _is_trouble(one)))
    for one in staged:
        if one.verdict == Verdict.FAIL.name:
            lines += _failed(one)
    return "\n".join(lines)


def _coverage(recipes: Sequence[Recipe], known: Known) -> list[str]:
    coverage, places = covered_by(recipes), Places(known)
    wanted, met = combinations_of(known), coverage.combinations
    seldom = [name for name in VERBS if coverage.verbs[name] < EACH_VERB * len(recipes) // PLANS]
    covered = (
        f"covered: {sum(1 for name in VERBS if coverage.verbs[name])} of {len(VERBS)} verbs, "
        f"{sum(1 for pair in places.pairs if coverage.pairs[pair])} of {len(places.pairs)} ordered pairs of calls, "
        f"{sum(1 for one in wanted if met[one])} of {len(wanted)} kinds of interrupts with ways of a reset"
    )
    return [
        covered,
        *([f"seldom, of {EACH_VERB} in {PLANS}: {', '.join(seldom)}"] if seldom else []),
    ]


def _counted(what: str, reasons: Iterable[str]) -> list[str]:
    return [f"{what}, {times} times: {reason}" for reason, times in Counter(reasons).most_common()]


def _reason(one: Outcome) -> str:
    """Why there is no verdict, in words that do not differ from plan to plan."""
    findings = [f for f in one.entry.stages[-1].findings if f["verdict"] == Verdict.UNKNOWN.name]
    if all(found["blame"] == Blame.STARVED for found in findings):
        return "the machine was starved"
    checkers = sorted({str(found["checker"]) for found in findings if found["blame"] != Blame.STARVED})
    return f"{'chance' if one.entry.type == UNSETTLED else 'another reason'}: {', '.join(checkers)}"


def _is_trouble(one: Outcome) -> bool:
    return not one.verdict and one.entry.status in (Status.ERROR, Status.FAILURE)


def _failed(one: Outcome) -> list[str]:
    stage, found = one.entry.stages[0], one.found or {}
    lines = [f"FAIL {stage.title}: {stage.headline}", f"  {stage.history}"]
    if found:
        often = "" if found["again"] == found["of"] else "sometimes: "
        lines.append(f"  {often}failed again {found['again']} times of {found['of']}")
    if found.get("smallest"):
        smallest = str(Recipe.from_json(found["smallest"])).splitlines()
        lines += [f"  smallest, {found['history']}:", *(f"    {line}" for line in smallest)]
    return lines

"""A soak as JSON and as the table that ends it: rates with intervals, latencies, what moved, where evidence lies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from harness.model.units import as_text
from harness.report.identity import identity
from harness.report.text import one_line
from harness.statistics.comparison import Change, Weight
from harness.statistics.histogram import RELATIVE_ERROR, Histogram
from harness.statistics.proportion import Confidence, rule_of_three
from harness.statistics.tally import Outcome, Tally

VERSION: Final = 1
"""Of soak.json."""
PERCENTILES: Final = (50.0, 90.0, 99.0, 99.9)
_NAME: Final = 52
_MOST_OPERATIONS: Final = 12
_WORDS: Final = {
    Weight.WARNING: "moved, as emulated machines do",
    Weight.UNEXPLAINED: "MOVED",
    Weight.REGRESSION: "REGRESSION",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A round that is kept.

    Attributes:
        round: from 1.
        outcome: why it is kept.
        type: its `hil.*` type.
        summary: one line.
        files: its evidence, relative to the results folder.
    """

    round: int
    outcome: Outcome
    type: str
    summary: str
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Soaked:
    """One test of a soak.

    Attributes:
        test: node id.
        tally: of all its rounds.
        first: the first round of each kind that is no pass, failures before those without a verdict.
    """

    test: str
    tally: Tally
    first: tuple[Seen, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Soak:
    """A soak, ended or under way.

    Attributes:
        wanted_s: how long it was to last, seconds.
        seconds: how long it has lasted.
        rounds: how many rounds over all tests are complete.
        ended: why it ended, in words; empty while it goes on.
        tests: in the order of running.
        compared: baseline files that it was compared with.
        changes: what is worse than there.
        written: baseline files that were written.
        trouble: what could not be counted, in sentences.
    """

    wanted_s: float
    seconds: float
    rounds: int
    ended: str
    tests: tuple[Soaked, ...]
    compared: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()
    written: tuple[str, ...] = ()
    trouble: tuple[str, ...] = ()

    @property
    def latencies(self) -> dict[str, Histogram]:
        """Times by operation word over all tests."""
        merged: dict[str, Histogram] = {}
        for one in self.tests:
            for word, histogram in one.tally.latencies.items():
                merged.setdefault(word, Histogram()).merge(histogram)
        return merged

    def count(self, outcome: Outcome) -> int:
        """Rounds of single tests that ended so."""
        return sum(one.tally.outcomes[outcome] for one in self.tests)


def as_json(soak: Soak) -> dict[str, Any]:
    """A soak as JSON values; each test's `tally` is what a baseline holds, too."""
    return {
        "version": VERSION,
        "wanted_s": soak.wanted_s,
        "seconds": round(soak.seconds, 3),
        "rounds": soak.rounds,
        "rounds_per_minute": round(_per_minute(soak), 3),
        "ended": soak.ended,
        "tests": [_test_json(one) for one in soak.tests],
        "compared": list(soak.compared),
        "changes": [
            {
                "test": change.test,
                "aspect": str(change.aspect),
                "weight": change.weight.name,
                "claim": change.claim,
            }
            for change in soak.changes
        ],
        "written": list(soak.written),
        "trouble": list(soak.trouble),
    }


def _test_json(one: Soaked) -> dict[str, Any]:
    passes = one.tally.passes
    interval = passes.interval(Confidence.P95)
    return {
        "test": one.test,
        "name": str(identity(one.test)),
        "rounds": one.tally.rounds,
        "pass_rate": passes.value,
        "pass_rate_95": [interval.low, interval.high],
        "latency_ns": {
            word: {
                "count": histogram.count,
                **{f"p{percent:g}": histogram.percentile(percent) for percent in PERCENTILES},
                "max": histogram.max_ns,
            }
            for word, histogram in sorted(one.tally.latencies.items())
        },
        "first": [
            {
                "round": seen.round,
                "outcome": str(seen.outcome),
                "type": seen.type,
                "summary": seen.summary,
                "files": list(seen.files),
            }
            for seen in one.first
        ],
        "tally": one.tally.to_json(),
    }


def as_line(soak: Soak) -> str:
    """A soak that goes on in one line: rounds, failures, time left."""
    failed, unjudged = soak.count(Outcome.FAILED), soak.count(Outcome.UNJUDGED)
    left = max(0.0, soak.wanted_s - soak.seconds)
    bad = f"{failed} failed" + (f", {unjudged} without a verdict" if unjudged else "")
    return f"soak: {_rounds(soak.rounds)}, {bad}, {span(left)} left"


def as_table(soak: Soak) -> str:
    """A soak that has ended, for a tired engineer; ends with a newline."""
    lines = [
        f"{_rounds(soak.rounds)} in {span(soak.seconds)} ({_per_minute(soak):.1f} a minute); ended: {soak.ended}"
    ]
    lines.append(
        f"{'':<{_NAME}}{'rounds':>7}{'failed':>8}{'no verdict':>12}{'met/stage':>11}  pass rate (95 %)"
    )
    for one in soak.tests:
        lines += _test_lines(one)
    lines += [*_latency_lines(soak.latencies), *_quiet(soak), *_retries(soak), *_baseline(soak)]
    lines += [f"ERROR     {sentence}" for sentence in soak.trouble]
    return "\n".join(lines) + "\n"


def in_one_line(soak: Soak) -> str:
    """What it comes to in one sentence."""
    failed, unjudged = soak.count(Outcome.FAILED), soak.count(Outcome.UNJUDGED)
    runs, tests = sum(one.tally.rounds for one in soak.tests), len(soak.tests)
    return (
        f"{_rounds(soak.rounds)} in {span(soak.seconds)}, ended: {soak.ended}; of {runs} runs of "
        f"{tests} test{'' if tests == 1 else 's'} {failed} failed and {unjudged} gave no verdict"
    )


def span(seconds: float) -> str:
    """A length of time as people say it: `2 h 5 min`, `3 min 20 s`, `14 s`, `1.5 s`."""
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    if hours:
        return f"{hours} h {minutes} min"
    if minutes:
        return f"{minutes} min {whole % 60} s"
    return f"{whole} s" if seconds >= 10 else f"{seconds:.1f} s"


def _test_lines(one: Soaked) -> Iterator[str]:
    tally = one.tally
    name = one_line(identity(one.test).name, _NAME - 2)
    met = f"{tally.met / tally.stages:.1f}" if tally.stages else "-"
    yield (
        f"{name:<{_NAME}}{tally.rounds:>7}{tally.outcomes[Outcome.FAILED]:>8}"
        f"{tally.outcomes[Outcome.UNJUDGED]:>12}{met:>11}  {_rate(tally)}"
    )
    for seen in one.first:
        word = "failed" if seen.outcome is Outcome.FAILED else "gave no verdict"
        yield f"  first {word} in round {seen.round} of {tally.rounds}: {one_line(seen.summary, 160)}"
        if seen.files:
            begins = seen.files[0].partition(f".round{seen.round}.")[0]
            yield f"    {one_line(begins, 200)}.round{seen.round}.*"


def _rate(tally: Tally) -> str:
    passes = tally.passes
    if passes.value is None:
        return "skipped" if tally.outcomes[Outcome.SKIPPED] else "none"
    interval = passes.interval(Confidence.P95)
    return f"{passes.value:.2%} ({interval.low:.2%} … {interval.high:.2%})"


def _latency_lines(latencies: dict[str, Histogram]) -> Iterator[str]:
    busiest = sorted(latencies.items(), key=lambda pair: -pair[1].count)
    if busiest:
        heads = "".join(f"{f'p{percent:g}':>10}" for percent in PERCENTILES)
        yield f"{f'latency, within {RELATIVE_ERROR:.0%}':<28}{'count':>12}{heads}{'max':>10}"
    for word, histogram in busiest[:_MOST_OPERATIONS]:
        times = [histogram.percentile(percent) or 0 for percent in PERCENTILES]
        columns = "".join(f"{as_text(time):>10}" for time in (*times, histogram.max_ns))
        yield f"{one_line(word, 27):<28}{histogram.count:>12}{columns}"
    if len(busiest) > _MOST_OPERATIONS:
        yield f"… and {len(busiest) - _MOST_OPERATIONS} more operations in soak.json"


def _quiet(soak: Soak) -> Iterator[str]:
    """What it means that no failure was seen."""
    judged = [one.tally.passes for one in soak.tests if one.tally.passes.total]
    if judged and all(passes.good == passes.total for passes in judged):
        fewest = min(passes.total for passes in judged)
        yield (
            f"no failure in {_rounds(fewest)} of each test: a test may still fail in up to {rule_of_three(fewest):.2%} "
            "of its rounds (95 %)"
        )


def _retries(soak: Soak) -> Iterator[str]:
    retried = sum(one.tally.retried for one in soak.tests)
    if retried:
        attempts: Counter[str] = sum((one.tally.attempts for one in soak.tests), Counter())
        kinds = ", ".join(f"{kind} {number}" for kind, number in sorted(attempts.items()))
        yield f"{_rounds(retried)} needed a retry ({kinds}): that is the lab's doing, and counts for nothing else"


def _baseline(soak: Soak) -> Iterator[str]:
    for change in soak.changes:
        yield f"{_WORDS[change.weight]}: {one_line(identity(change.test).name, 80)} {one_line(change.claim, 250)}"
    if soak.compared and not soak.changes:
        yield f"nothing is worse than in {', '.join(soak.compared)}"
    elif soak.compared:
        yield f"compared with {', '.join(soak.compared)}"
    if soak.written:
        yield f"baseline written: {', '.join(soak.written)}"


def _rounds(number: int) -> str:
    return f"{number} round{'' if number == 1 else 's'}"


def _per_minute(soak: Soak) -> float:
    return soak.rounds * 60 / soak.seconds if soak.seconds > 0 else 0.0

"""How findings add up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model.verdict import Blame, EventId, EventKind, Finding, Judgement, Verdict


def finding(verdict: Verdict, claim: str = "", weakness: str = "") -> Finding:
    return Finding(checker="c", verdict=verdict, claim=claim, weakness=weakness)


def judgement(*verdicts: Verdict) -> Judgement:
    return Judgement(findings=tuple(finding(verdict, str(number)) for number, verdict in enumerate(verdicts)))


def test_no_evidence_is_unknown_never_pass() -> None:
    assert Judgement(findings=()).verdict is Verdict.UNKNOWN
    assert Judgement(findings=()).decisive is None


@pytest.mark.parametrize(
    ("verdicts", "merged"),
    [
        ((Verdict.PASS,), Verdict.PASS),
        ((Verdict.PASS, Verdict.UNKNOWN), Verdict.UNKNOWN),
        ((Verdict.FAIL, Verdict.UNKNOWN), Verdict.FAIL),
        ((Verdict.PASS, Verdict.FAIL, Verdict.PASS), Verdict.FAIL),
    ],
)
def test_the_worst_counts(verdicts: tuple[Verdict, ...], merged: Verdict) -> None:
    assert judgement(*verdicts).verdict is merged


@given(st.lists(st.sampled_from(Verdict), min_size=1))
def test_the_headline_is_the_first_of_the_worst(verdicts: list[Verdict]) -> None:
    merged = judgement(*verdicts)
    assert merged.verdict is max(verdicts)
    assert merged.decisive is not None
    assert merged.decisive.claim == str(verdicts.index(max(verdicts)))


@given(st.lists(st.sampled_from(Verdict), min_size=1), st.randoms(use_true_random=False))
def test_order_does_not_matter_to_the_verdict(verdicts: list[Verdict], random: object) -> None:
    shuffled = list(verdicts)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert judgement(*shuffled).verdict is judgement(*verdicts).verdict


def test_weaknesses_are_listed_once() -> None:
    seen = Judgement(findings=tuple(finding(Verdict.PASS, weakness=text) for text in ("b", "", "a", "b")))
    assert seen.weaknesses == ("b", "a")
    assert seen.verdict is Verdict.PASS


def test_an_event_is_printed_with_its_table() -> None:
    assert str(EventId(EventKind.OPERATION, 17)) == "operation:17"


@pytest.mark.parametrize(
    ("found", "only"),
    [
        ({"a": Verdict.PASS, "collided": Verdict.UNKNOWN}, "collided"),
        ({"a": Verdict.UNKNOWN, "collided": Verdict.UNKNOWN}, ""),
        ({"a": Verdict.FAIL, "collided": Verdict.UNKNOWN}, ""),
        ({"collided": Verdict.PASS}, ""),
        ({"collided": Verdict.UNKNOWN, "other": Verdict.UNKNOWN}, "collided"),
        ({}, ""),
    ],
    ids=["luck", "more is missing", "something broke", "nothing is missing", "both by luck", "no question"],
)
def test_whether_no_other_question_is_open(found: dict[str, Verdict], only: str) -> None:
    judgement = Judgement(
        findings=tuple(
            Finding(checker=checker, verdict=verdict, claim="c") for checker, verdict in found.items()
        )
    )
    assert judgement.lacks_only("other", "collided") is (only == "collided")


def test_a_busy_machine_lacks_nothing_of_its_own() -> None:
    late = Finding(checker="a", verdict=Verdict.UNKNOWN, claim="c", blame=Blame.STARVED)
    unlucky = Finding(checker="collided", verdict=Verdict.UNKNOWN, claim="c")
    assert Judgement(findings=(late,)).lacks_only()
    assert Judgement(findings=(late, unlucky)).lacks_only("collided")
    assert not Judgement(findings=(late, unlucky)).lacks_only()

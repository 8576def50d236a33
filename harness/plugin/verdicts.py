"""Exceptions by which a test tells the reporting plugin what was judged.

Only these carry a verdict through pytest; everything else that is raised is classified by
:mod:`harness.plugin.reporting.classify`.
"""

from __future__ import annotations

from typing import NoReturn

import pytest

from harness.history.history import History
from harness.history.reading import Reading
from harness.journal.session import LACKING, UNSETTLED
from harness.model.verdict import Judgement, Verdict
from harness.plugin.pictures import in_text
from harness.report.findings import as_text


class StageFailed(AssertionError):
    """A stage was judged FAIL: the function, its driver or the kernel broke a promise.

    Attributes:
        judgement: all findings.
        evidence: what it was judged by.
    """

    def __init__(self, judgement: Judgement, seen: History | Reading) -> None:
        self.judgement, self.evidence = judgement, Reading.read(seen)
        picture, title = in_text(self.evidence, judgement), self.evidence.history.plan.title
        super().__init__(f"{title}: FAIL\n{as_text(_worst(judgement))}\n\n{picture}")


class FaultNotNamed(AssertionError):
    """A fault was staged, and the verdict does not name it.

    Attributes:
        judgement: all findings.
        evidence: what it was judged by.
        wanted: what the verdict should have named.
    """

    def __init__(self, judgement: Judgement, seen: History | Reading, wanted: str) -> None:
        self.judgement, self.evidence, self.wanted = judgement, Reading.read(seen), wanted
        noted = tuple(one for one in judgement.findings if one.verdict is not Verdict.PASS)
        found = Judgement(findings=noted) if noted else judgement
        picture, title = in_text(self.evidence, judgement), self.evidence.history.plan.title
        super().__init__(
            f"{title}: the verdict does not name what was staged: {wanted}\n{as_text(found)}\n\n{picture}"
        )


class StageUnknown(Exception):
    """A stage gave no verdict: evidence is missing, was lost, or nothing collided.

    Attributes:
        judgement: all findings.
        evidence: what it was judged by.
    """

    def __init__(self, judgement: Judgement, seen: History | Reading) -> None:
        self.judgement, self.evidence = judgement, Reading.read(seen)
        super().__init__(f"{self.evidence.history.plan.title}: UNKNOWN\n{as_text(_worst(judgement))}")


class FunctionLost(AssertionError):
    """A test left a function behind that nobody can use any more; the message says which and how."""


def _worst(judgement: Judgement) -> Judgement:
    """What decided it: the terminal is for tired people, the journal keeps everything."""
    return Judgement(findings=tuple(one for one in judgement.findings if one.verdict is judgement.verdict))


def refuse(reason: str) -> NoReturn:
    """Skip a test that does not apply here: a capability is absent, or a policy forbids it.

    Raises:
        pytest.skip.Exception: always, of type `hil.refused`.
    """
    _skip(reason, "hil.refused")


def lack(reason: str) -> NoReturn:
    """Skip a test for want of something that the lab should have: the summary says so, and why.

    Raises:
        pytest.skip.Exception: always, of type `hil.lacking`.
    """
    _skip(reason, LACKING)


def leave_open(why: str) -> NoReturn:
    """Skip a test whose stage shows nothing, and that promised nobody that something would collide.

    Args:
        why: the machine was too busy, or nothing met what it was to meet.

    Raises:
        pytest.skip.Exception: always, of type `hil.unsettled`.
    """
    _skip(why, UNSETTLED)


def block(culprit: str) -> NoReturn:
    """Skip a test that cannot run because an earlier one lost the function.

    Args:
        culprit: which test lost it, and how.

    Raises:
        pytest.skip.Exception: always, of type `hil.blocked`.
    """
    _skip(culprit, "hil.blocked")


def _skip(reason: str, kind: str) -> NoReturn:
    skipped = pytest.skip.Exception(reason)
    skipped.hil_type = kind  # type: ignore[attr-defined]  # how classify.py tells one skip from another
    raise skipped

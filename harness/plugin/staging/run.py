"""One staged experiment, and how a test answers for its verdict."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from harness.history.history import History
from harness.journal.record import AttemptRecord
from harness.judge.evidence import Evidence
from harness.judge.questions import collided, reset_happened
from harness.model.verdict import Blame, Judgement, Verdict
from harness.plugin.verdicts import FaultNotNamed, StageFailed, StageUnknown
from harness.report.findings import as_text


@dataclass(slots=True)
class Run:
    """One staged experiment.  Looking at any of it waives nothing: only `names` takes a FAIL upon the test.

    Attributes:
        evidence: what happened, and all that can be read out of it.
        judgement: what it means, with all findings.
        settled: whether the test was held to the verdict already.
    """

    evidence: Evidence
    judgement: Judgement
    settled: bool = field(default=False, init=False)

    @property
    def history(self) -> History:
        """What happened."""
        return self.evidence.history

    @property
    def verdict(self) -> Verdict:
        """PASS, UNKNOWN or FAIL; no truth value: compare it."""
        return self.judgement.verdict

    @property
    def weaknesses(self) -> str:
        """The weaknesses that it showed and the contract knows, as one line; empty when it showed none."""
        return "; ".join(self.judgement.weaknesses)

    def enforce(self) -> None:
        """Hold the test to the verdict; done for it at its end.

        Raises:
            StageFailed: the verdict is FAIL.
            StageUnknown: the verdict is UNKNOWN.
            pytest.xfail.Exception: a weakness was seen that the contract knows.
        """
        self.settled = True
        match self.verdict:
            case Verdict.FAIL:
                raise StageFailed(self.judgement, self.evidence)
            case Verdict.UNKNOWN:
                raise StageUnknown(self.judgement, self.evidence)
            case Verdict.PASS if self.weaknesses:
                pytest.xfail(self.weaknesses)

    def names(self, blame: Blame, *said: str) -> None:
        """Hold the test to a verdict of FAIL that puts the blame there, says those words, and breaks no other promise.

        For what is staged to go wrong: a test that the harness passes by not noticing is worth nothing, and neither is
        one in which something else broke as well.

        Args:
            blame: of the decisive finding.
            said: what its claim must contain.

        Raises:
            FaultNotNamed: the verdict is another one or says something else, or another promise was broken too.
            StageUnknown: there is no verdict.
        """
        self.settled = True
        decisive = self.judgement.decisive
        if self.verdict is Verdict.UNKNOWN:
            raise StageUnknown(self.judgement, self.evidence)
        right = self.verdict is Verdict.FAIL and decisive is not None and decisive.blame is blame
        if not right or not all(words in decisive.claim for words in said if decisive):
            raise FaultNotNamed(self.judgement, self.evidence, " ".join((blame, *said)))
        broken = (one for one in self.judgement.findings if one.verdict is Verdict.FAIL and one.promise)
        if others := [one.promise for one in broken if one is not decisive]:
            wanted = f"{' '.join((blame, *said))}, and not {', '.join(others)} besides"
            raise FaultNotNamed(self.judgement, self.evidence, wanted)

    @property
    def deserves_another(self) -> bool:
        """Whether a busy machine, or chance, alone stands between it and a verdict.

        By chance too little collides, or others reset a function in each round in which an oracle is asked.
        """
        return self.judgement.lacks_only(collided.NAME, reset_happened.NAME)

    def attempt(self, kept: str) -> AttemptRecord:
        """It as an attempt that is given up, whose history is kept in that file."""
        decisive = self.judgement.decisive
        details = f"{as_text(self.judgement)}\nhistory: {kept}"
        why = Blame.STARVED if self.judgement.starved else Blame.NOTHING
        return AttemptRecord(type=why, summary=decisive.claim if decisive else "", details=details)


@dataclass(slots=True)
class Staged:
    """What one test has staged so far.

    Attributes:
        asked: whether anything was asked for, if only for what was refused.
        runs: what could be staged.
    """

    asked: bool = False
    runs: list[Run] = field(default_factory=list)

    def answer(self) -> None:
        """Hold the test to every run that it was not held to yet; the worst of them decides.

        Raises:
            StageFailed: a verdict is FAIL.
            StageUnknown: a verdict is UNKNOWN, and none FAIL.
            pytest.xfail.Exception: a weakness was seen that the contract knows, and every verdict is PASS.
        """
        pending = [run for run in self.runs if not run.settled]
        self.settle()
        for run in sorted(pending, key=lambda run: -run.verdict):  # a known weakness must not hide a failure
            run.enforce()

    def shows(self, weaknesses: str) -> bool:
        """Whether a run of the test showed these, and no other reason to expect a failure."""
        return any(run.weaknesses == weaknesses for run in self.runs)

    def settle(self) -> None:
        """The test answers for all of its runs by something else."""
        for run in self.runs:
            run.settled = True

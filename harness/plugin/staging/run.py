"""One staged experiment, and how a test answers for its verdict."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from harness.history.history import History
from harness.journal.record import AttemptRecord
from harness.judge.questions import collided, reset_happened
from harness.model.verdict import Blame, Judgement, Verdict
from harness.plugin.verdicts import FaultNotNamed, StageFailed, StageUnknown
from harness.report.findings import as_text


@dataclass(slots=True)
class Run:
    """One staged experiment.

    Attributes:
        history: what happened.
        judgement: what it means; looking at it or at `verdict` makes the test answer for it.
    """

    history: History
    _judgement: Judgement
    _looked: bool = field(default=False, init=False)

    @property
    def judgement(self) -> Judgement:
        """All findings."""
        self._looked = True
        return self._judgement

    @property
    def verdict(self) -> Verdict:
        """PASS, UNKNOWN or FAIL."""
        return self.judgement.verdict

    def enforce(self) -> None:
        """Hold the test to the verdict; done for it at its end, unless it looked at the verdict itself.

        Raises:
            StageFailed: the verdict is FAIL.
            StageUnknown: the verdict is UNKNOWN.
            pytest.xfail.Exception: a weakness was seen that the contract knows.
        """
        self._looked = True
        match self._judgement.verdict:
            case Verdict.FAIL:
                raise StageFailed(self._judgement, self.history)
            case Verdict.UNKNOWN:
                raise StageUnknown(self._judgement, self.history)
            case Verdict.PASS if self._judgement.weaknesses:
                pytest.xfail("; ".join(self._judgement.weaknesses))

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
        decisive = self.judgement.decisive
        if self.verdict is Verdict.UNKNOWN:
            raise StageUnknown(self._judgement, self.history)
        right = self.verdict is Verdict.FAIL and decisive is not None and decisive.blame is blame
        if not right or not all(words in decisive.claim for words in said if decisive):
            raise FaultNotNamed(self._judgement, self.history, " ".join((blame, *said)))
        broken = (one for one in self._judgement.findings if one.verdict is Verdict.FAIL and one.promise)
        if others := [one.promise for one in broken if one is not decisive]:
            wanted = f"{' '.join((blame, *said))}, and not {', '.join(others)} besides"
            raise FaultNotNamed(self._judgement, self.history, wanted)

    @property
    def concern(self) -> int:
        """How bad it is, the larger the worse; asking is not looking."""
        return int(self._judgement.verdict)

    @property
    def deserves_another(self) -> bool:
        """Whether a busy machine, or chance, alone stands between it and a verdict.

        By chance too little collides, or others reset a function in each round in which an oracle is asked.  Asking is
        not looking.
        """
        return self._judgement.lacks_only(collided.NAME, reset_happened.NAME)

    def attempt(self, kept: str) -> AttemptRecord:
        """It as an attempt that is given up, whose history is kept in that file."""
        decisive = self._judgement.decisive
        details = f"{as_text(self._judgement)}\nhistory: {kept}"
        why = Blame.STARVED if self._judgement.starved else Blame.NOTHING
        return AttemptRecord(type=why, summary=decisive.claim if decisive else "", details=details)

    @property
    def settled(self) -> bool:
        """Whether the test answers for this run itself."""
        return self._looked

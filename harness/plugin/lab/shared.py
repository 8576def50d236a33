"""One guest for many tests: what each leaves behind is looked at, put back where that can be, or put in quarantine.

The thin edge of :mod:`harness.plugin.lab.quarantine`, which decides.  A guest that was lost, or whose kernel met a
fault, is replaced: its functions are new, and nothing is in quarantine.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from harness.errors import (
    AgentError,
    AgentLost,
    ClockError,
    GuestError,
    KernelRefusal,
    TargetError,
    UsageError,
)
from harness.history.history import History
from harness.journal.record import HealthRecord, Status
from harness.model.observation import Condition
from harness.model.operation import MISUSE, verb
from harness.model.request import LookAt, PutBack, Request
from harness.model.taint import faults_since
from harness.model.units import SECOND, Ns
from harness.model.verdict import Judgement
from harness.plugin import verdicts
from harness.plugin.lab import quarantine
from harness.plugin.lab.guests import TargetSource, refuse_untold
from harness.plugin.lab.quarantine import Lost, Quarantine, Spot
from harness.target.agent import Answer
from harness.target.protocol import Make, Renewed, Target
from harness.visible import visible

Say = Callable[[HealthRecord], None]
"""Tells the report something about the session as a whole."""

_LOOK: Final = Ns(10 * SECOND)
"""How long all functions may take to be looked at; some 50 ms are usual."""
_ANSWER_S: Final = 30.0  # to a call that waits for nothing, on a busy host


class SharedGuest(TargetSource):
    """The guest of all tests of a session on one kernel; the one it has now, like that of a single test."""

    def __init__(self, make: Make, *, consoles: Iterator[Path], say: Say) -> None:
        """Make nothing yet.

        Args:
            make: makes one.
            consoles: where the console of each is recorded.
            say: tells the report what was lost.
        """
        self._names, self._say = consoles, say
        super().__init__(make, next(consoles))
        self._test = ""
        self._history = ""
        self._provoked = False
        self._judged: dict[str, str] = {}
        self._taint = 0
        self._spots: dict[str, Spot] = {}
        self._before: dict[str, Condition] = {}
        self._quarantine = Quarantine()
        self._all_lost: list[Lost] = []
        self._replaced = False

    # --- for a test -----------------------------------------------------------------------------------

    @contextmanager
    def lent(self, test: str) -> Iterator[SharedGuest]:
        """Lend the guest to a test.

        Raises:
            FunctionLost: the test has lost a function.
            ClockError: the guest's clock ran wild; the next test has a fresh guest.
            ModelError: a model made a mistake that nobody was told of; likewise.
            AgentError: the agent raised what nobody expected; so it is then, too.
        """
        self._test, self._history, self._provoked = test, "", False
        self._judged.clear()
        del self.consoles[:-1]
        try:
            yield self
        finally:
            self._take_back()

    def renew(self) -> Target:
        """Throw the guest away and make another one, whose functions are all new.

        A machine that cannot be thrown away comes back as it was: what is lost there stays in quarantine.
        """
        earlier, self.consoles = (
            self.consoles,
            [],
        )  # the first of a test's own would get the name that was given
        target = super().renew()
        self._console = next(self._names)
        self.consoles = [*earlier, *self.consoles]
        if target.renewed is Renewed.ANOTHER_MACHINE:
            self._quarantine = Quarantine()
            self._spots.clear()
            self._before.clear()
        fit = [alias for alias in target.standing if not self._quarantine.holds(alias)]
        self._taint = self._learn(target, fit)
        return target

    def borrow(self, alias: str) -> None:
        """A test is about to use a function.

        Raises:
            pytest.skip.Exception: it is in quarantine, of type `hil.blocked`.
            UsageError: the lab has no function of that name.
        """
        target = self.target
        if alias not in self._spots:
            self._learn(target, [alias])
        if culprit := self._quarantine.blocks(self._spots[alias]):
            verdicts.block(culprit)

    def judged(self, history: History, judgement: Judgement, file: str) -> None:
        """Remember what a stage means for the functions that took part."""
        self._history = file
        self._judged |= quarantine.lost_by_verdict(history, judgement)
        self._provoked |= any(
            verb(step.means) == MISUSE for actor in history.plan.actors for step in actor.steps
        )

    def say_how_it_went(self) -> None:
        """At the end of the session: what is good; what is not was said when it happened."""
        if not self._all_lost:
            self._say(quarantine.returned(()))
        if not self._replaced:
            self._say(HealthRecord(name=quarantine.GUEST_KEPT, status=Status.OK))

    # --- after a test ---------------------------------------------------------------------------------

    def _take_back(self) -> None:
        target = self._target
        if target is None:
            return
        if target.mistakes():
            self._tell("a model of one's own made a mistake: later tests have a fresh guest")
            self.close()  # looking at a function whose model is dead would blame the function
            refuse_untold(target)
            return
        try:
            taint, now = self._look(target, [alias for alias in self._before if self._may_touch(alias)])
        except AgentError:
            self.close()
            raise
        except AgentLost:
            self._replace(quarantine.replaced(self._test, target.post_mortem({})[0]))
            return
        if by := faults_since(self._taint, taint):
            if self._provoked:
                self._tell(f"{by} was provoked: later tests have a fresh guest")
                self.close()
            else:
                self._replace(quarantine.shaken(self._test, by))
            return
        try:
            target.check_clock()
        except ClockError:
            self.close()
            raise
        self._part_with({**self._missing(target, now), **self._judged})

    def _may_touch(self, alias: str) -> bool:
        """Whether a function can be looked at: whoever touches one that is lost may get stuck."""
        return alias not in self._judged and not self._quarantine.holds(alias)

    def _missing(self, target: Target, now: dict[str, Condition | None]) -> dict[str, str]:
        """The functions that are lost, and how, after all was put back that could be."""
        found = {}
        for alias, seen in now.items():
            before = self._before[alias]
            how = quarantine.lost(before, seen)
            if not how and seen is not None:
                odd = quarantine.astray(before, seen)
                how = self._put_back(target, alias, odd) if odd else ""
                self._before[alias] = before if odd else seen
            if how:
                found[alias] = how
        return found

    def _put_back(self, target: Target, alias: str, odd: Iterable[str]) -> str:
        """Put a function back; how it is lost when that fails."""
        before, what, refused = self._before[alias], "; ".join(odd), ""
        try:
            try:
                self._ask(target, PutBack(bdf=self._spots[alias].bdf, before=before, patience_ns=_LOOK))
            except (KernelRefusal, UsageError) as error:
                refused = str(error)
            _, now = self._look(target, [alias])
        except (TargetError, AgentError) as error:
            return f"{what}, and putting it back ended in: {error.said}"
        seen = now[alias]
        still = quarantine.lost(before, seen) or "; ".join(quarantine.astray(before, seen) if seen else ())
        if refused or still:
            return f"{what}, and could not be put back: {refused or still}"
        self._tell(f"put back {alias}: {what}")
        return ""

    def _part_with(self, found: dict[str, str]) -> None:
        """Put functions in quarantine.

        Raises:
            FunctionLost: at least one was found lost that no stage was blamed for.
        """
        lost = [
            Lost(spot=self._spots[alias], test=self._test, how=how, history=self._history)
            for alias, how in found.items()
            if alias in self._spots and not self._quarantine.holds(alias)
        ]
        if not lost:
            return
        self._quarantine.lost += lost
        self._all_lost += lost
        self._say(quarantine.returned(lost))
        if silently := [one for one in lost if one.spot.alias not in self._judged]:
            raise verdicts.FunctionLost("; ".join(map(str, silently)))

    def _replace(self, record: HealthRecord) -> None:
        self._replaced = True
        self._say(record)
        self._tell(record.summary)
        self.close()

    def _tell(self, sentence: str) -> None:
        sys.stderr.write(f"shared guest: {visible(sentence)}\n")

    # --- looking --------------------------------------------------------------------------------------

    def _learn(self, target: Target, aliases: list[str]) -> int:
        """Where functions are, and their condition before anybody has used them; the kernel's taint."""
        for alias in aliases:
            facts = target.facts(alias)
            port = None if alias.endswith(".port") else facts.port
            self._spots[alias] = Spot(alias=alias, bdf=facts.bdf, port=port, iommu_group=facts.iommu_group)
        taint, seen = self._look(target, aliases)
        for alias, one in seen.items():
            if one is None or not one.present:
                raise GuestError(f"looking at {alias} before its first use", said="it does not answer")
            self._before[alias] = one
        return taint

    def _look(self, target: Target, aliases: list[str]) -> tuple[int, dict[str, Condition | None]]:
        """The kernel's taint, and the condition of functions; None for one that gave no answer.

        Raises:
            AgentLost: the guest gave none.
        """
        seen = self._ask(
            target, LookAt(functions=tuple(self._spots[one].bdf for one in aliases), patience_ns=_LOOK)
        )
        return seen.taint, {alias: seen.functions.get(self._spots[alias].bdf) for alias in aliases}

    def _ask(self, target: Target, request: Request[Answer]) -> Answer:
        """Ask what the agent gives up in time by itself."""
        return target.agent.ask(request, deadline_s=_LOOK / SECOND + _ANSWER_S)

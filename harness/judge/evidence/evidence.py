"""What a question is asked of: a history with all that its rows show, each thing worked out once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from harness.history.reading import Reading
from harness.judge.evidence.absences import Absence, absences
from harness.judge.evidence.accesses import Accesses, accesses
from harness.judge.evidence.arming import Arming, arming
from harness.judge.evidence.calls import Call, calls
from harness.judge.evidence.config_bits import counting, written
from harness.judge.evidence.incidents import Removal, Struck, removals, stalls, struck
from harness.judge.evidence.log_events import UNLOCK_WARNING, LogEvent, log_events
from harness.judge.evidence.oracle_rounds import OracleRound, oracle_rounds
from harness.judge.evidence.starvation import Starvation, starvation
from harness.model.operation import is_reset
from harness.model.terms import LogRule, VolatileField


@dataclass(frozen=True, eq=False)
class Evidence(Reading):
    """The evidence of one stage.

    What the trace shows (`windows`, `device_windows`, `resets`, `waited` …), the operations by step and thread, and
    `of(alias)`, all that concerns one function, it has from :class:`~harness.history.reading.Reading`.  Times are
    CLOCK_MONOTONIC in nanoseconds; `row` is an index into a table of the history, `function` into `Plan.functions`.
    """

    @cached_property
    def calls(self) -> tuple[Call, ...]:
        """Resets, opens, binds and all else that has a story of its own, in order of their begin."""
        return calls(self, self.absences)

    @cached_property
    def accesses(self) -> tuple[Accesses, ...]:
        """All other operations on functions, equal ones together, as columns."""
        return tuple(accesses(self, self.absences))

    @cached_property
    def blocked_accesses(self) -> int:
        """How many config accesses waited for a config lock window that they met."""
        traced = (group for group in self.accesses if group.traced)
        return sum(int((group.waited & (group.config.touched >= 0)).sum()) for group in traced)

    @cached_property
    def successful_resets(self) -> tuple[Call, ...]:
        """The calls that reset something, and returned success."""
        return tuple(call for call in self.calls if is_reset(call.promised_as) and call.succeeded)

    @cached_property
    def oracle_rounds(self) -> tuple[OracleRound, ...]:
        """What registers that only a reset clears held before and after successful resets."""
        return tuple(oracle_rounds(self, self.successful_resets))

    @cached_property
    def incidents(self) -> tuple[Struck, ...]:
        """What the host did to models, in the order in which it began."""
        return struck(self)

    @cached_property
    def removals(self) -> tuple[Removal, ...]:
        """The functions that were unplugged."""
        return tuple(removals(self, self.incidents))

    @cached_property
    def absences(self) -> Mapping[str, tuple[Absence, ...]]:
        """By alias: when functions were taken out, by their slots or by the plan itself, in order."""
        return absences(self, self.removals)

    def is_gone(self, alias: str) -> bool:
        """Whether a function had been taken out, and none was in its place, when the stage ended."""
        return any(one.gone_ns and one.back_ns is None for one in self.absences.get(alias, ()))

    @cached_property
    def starvation(self) -> Starvation:
        """When the machine was too busy for a bound on time to mean anything, or nobody watched it."""
        return starvation(self, stalls(self.incidents))

    @cached_property
    def written(self) -> Mapping[str, Mapping[int, int]]:
        """By alias: bytes of config space that the plan's own doing changed, and since when."""
        return {one.alias: written(self.of(one.alias), one.config_before) for one in self.history.functions}

    @cached_property
    def arming(self) -> Mapping[str, Arming]:
        """By alias: interrupts by message that users of the plan have asked for."""
        return {one.alias: arming(self.of(one.alias)) for one in self.history.functions}

    def compared(self, alias: str, fields: Iterable[VolatileField]) -> bytearray:
        """A mask of config space of a function: the bits that must be after the stage what they were before it.

        What the plan wrote is left out, and the state of interrupts that were armed at one of the two readings.

        Args:
            alias: of the function, whose config space was read before and after.
            fields: that do not count.
        """
        record = self.records[alias]
        mask = counting(len(record.config_before), fields, alias)
        unlike = {**self.arming[alias].apart(record.config_after), **dict.fromkeys(self.written[alias], 0xFF)}
        for offset, bits in unlike.items():
            if offset < len(mask):
                mask[offset] &= ~bits & 0xFF
        return mask

    @cached_property
    def unlock_warned(self) -> bool:
        """Whether the kernel log tells of an unlock that found the config lock free."""
        return any(line.of_the_kernel and UNLOCK_WARNING.search(line.text) for line in self.history.log)

    def log_events(self, rules: tuple[LogRule, ...]) -> tuple[LogEvent, ...]:
        """What the kernel log tells, read by the rules of the contract; in the order in which it began."""
        if rules not in self._log_events:
            self._log_events[rules] = log_events(self.history.log, rules)
        return self._log_events[rules]

    @cached_property
    def _log_events(self) -> dict[tuple[LogRule, ...], tuple[LogEvent, ...]]:
        return {}

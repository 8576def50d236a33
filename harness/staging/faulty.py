"""What a function that a model of ours serves does wrong, and what is done to it, in verbs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from harness.errors import UsageError
from harness.model.fault import Fault, Incident, IncidentKind, Misbehaviour, Occasion, PlannedFault
from harness.model.pci import ResetMethod
from harness.model.units import Ns, duration
from harness.staging.function import Function
from harness.staging.part import Part

Cause = ResetMethod | Literal["", "flr", "bus", "pm"]
"""The reset after which a function goes wrong; empty: none."""
_OCCASIONS: Final = {
    ResetMethod.FLR: Occasion.FLR,
    ResetMethod.BUS: Occasion.BUS_RESET,
    ResetMethod.PM: Occasion.WAKE,
}


@dataclass(frozen=True, slots=True)
class Faulty:
    """A function served by a model of ours, and what goes wrong with it.

    Every verb takes the words that say when it begins, at most one of: `after`, a reset method (`flr`, `bus`, `pm`);
    `accesses`, so many accesses; `at`, so long after the release of the actors, 100 ms at least.  Without any it is
    wrong from the beginning.  `lasting` says for how long, for ever without it; `passing`, how many resets do no harm
    first; `times`, at how many resets it begins.
    """

    function: Function

    def fails(
        self,
        what: Misbehaviour,
        *,
        register: str = "",
        value: int | None = None,
        after: Cause = "",
        accesses: int = 0,
        at: str | Ns | None = None,
        lasting: str | Ns | None = None,
        passing: int = 0,
        times: int = 0,
    ) -> Part:
        """Do something wrong; :class:`~harness.model.fault.Misbehaviour` lists what there is.

        Raises:
            UsageError: the words contradict each other.
        """
        named = [word for word, given in (("after", after), ("accesses", accesses), ("at", at)) if given]
        if len(named) > 1:
            raise UsageError(
                f"{what} of {self.function.alias}",
                said=f"{' and '.join(named)} both say when it begins",
                hint="Give one of them.",
            )
        if passing and not after:
            raise UsageError(
                f"{what} of {self.function.alias}",
                said=f"{passing} resets are to pass, but no reset makes it begin",
                hint='Say which with after="flr", "bus" or "pm".',
            )
        when = Occasion.NOW
        if after:
            when = _OCCASIONS.get(ResetMethod.named(after), Occasion.NOW)
        elif accesses:
            when = Occasion.ACCESSES
        elif at is not None:
            when = Occasion.TIME
        if after and when is Occasion.NOW:
            raise UsageError(
                f"{what} after {after}", said="no model knows that reset", hint="flr, bus or pm."
            )
        fault = Fault(
            what=what,
            register=register,
            value=value,
            when=when,
            after=accesses or passing,
            at_ns=duration(at) if at is not None else Ns(0),
            lasting_ns=duration(lasting) if lasting is not None else None,
            times=times,
        )
        alias = self.function.alias
        return Part(functions=(alias,), faults=(PlannedFault(function=alias, fault=fault),))

    def is_killed(self, *, at: str | Ns) -> Part:
        """Its model dies as a crash would."""
        return self._incident(IncidentKind.SERVER_KILLED, at)

    def stalls(self, *, at: str | Ns, lasting: str | Ns) -> Part:
        """Its model stands still."""
        return self._incident(IncidentKind.SERVER_STALLED, at, lasting=lasting)

    def is_replaced(self, *, at: str | Ns) -> Part:
        """Its model dies, the function is taken out, and a new one is plugged in its place: some 6 s."""
        return self._incident(IncidentKind.SERVER_RESTARTED, at)

    def is_unplugged(self, *, at: str | Ns) -> Part:
        """It is taken out politely, the kernel is asked first: some 6 s."""
        return self._incident(IncidentKind.UNPLUGGED, at)

    def link_reports(self, error: str, *, at: str | Ns) -> Part:
        """The port above reports an error of the link.

        Args:
            error: as QEMU names it: `DLP` (data link protocol, fatal), `RCVR` (receiver error, corrected) ...
            at: when.
        """
        return self._incident(IncidentKind.LINK_ERROR, at, detail=error)

    def _incident(
        self, kind: IncidentKind, at: str | Ns, *, lasting: str | Ns = Ns(0), detail: str = ""
    ) -> Part:
        alias = self.function.alias
        incident = Incident(
            function=alias, kind=kind, at_ns=duration(at), lasting_ns=duration(lasting), detail=detail
        )
        return Part(functions=(alias,), incidents=(incident,))

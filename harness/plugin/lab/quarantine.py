"""When is a function lost that outlives the test, and who may not use it any more?  Values only, no I/O.

A function of a clone ends with its test and can be lost by nobody.  One of a guest that several tests share, or of a
real machine, is there for the next test: in the condition in which it was borrowed, or in quarantine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from harness.history.history import History
from harness.history.steps import Steps, steps_of
from harness.journal.record import HealthRecord, Status
from harness.model.loss import Loss, LossKind
from harness.model.observation import Condition
from harness.model.pci import Bdf
from harness.model.verdict import Blame, EventKind, Finding, Judgement, Verdict

DEVICES_RETURNED: Final = "devices_returned"
GUEST_KEPT: Final = "shared_guest_kept"
ALL_RETURNED: Final = "every function was given back as it was"
_LOSSES: Final = (Blame.DEVICE_LOST, Blame.RESET_FAILED)
_COMMAND: Final = slice(0x04, 0x06)
_DECODING: Final = {0: "I/O decoding", 1: "memory decoding", 2: "bus mastering"}
"""Bits of COMMAND without which no driver can work (PCIe r6.0 §7.5.1.1.3)."""
_WORDS: Final = {LossKind.PANIC: "its kernel panicked: ", LossKind.HANG: "its kernel hangs: "}


# -- what makes a function lost ---------------------------------------------------------------------------


def lost(before: Condition, now: Condition | None) -> str:
    """How a function is lost, as half a sentence; empty when it is not.

    Args:
        before: as it was when a test came to use it.
        now: None when it could not be looked at in time.
    """
    if now is None:
        return "whoever looks at it gets stuck"
    if not now.present:
        return "it is gone from sysfs"
    was, found = (before.vendor, before.device), (now.vendor, now.device)
    if found != was:
        return f"another function is in its place: {_name(found)} where {_name(was)} was"
    if set(now.header) == {0xFF}:
        return "its config space reads all-ones"
    said = (int.from_bytes(now.header[0:2], "little"), int.from_bytes(now.header[2:4], "little"))
    if not now.virtual and said != was:
        return f"its config space says {_name(said)}, it was {_name(was)}"
    return ""


def astray(before: Condition, now: Condition) -> tuple[str, ...]:
    """What is not as it was and can be put back, as half sentences; the function itself is there."""
    found = []
    if (now.driver, now.override) != (before.driver, before.override):
        found.append(f"{_owner(now)}, it was {_owner(before)}")
    if now.resources == before.resources and now.bars != before.bars:
        found.append("its base address registers are not what the kernel has set")
    if now.driver and now.driver == before.driver and (bits := _switched_off(before, now)):
        found.append(f"{' and '.join(bits)} is switched off below its driver {now.driver}")
    return tuple(found)


def _switched_off(before: Condition, now: Condition) -> list[str]:
    off = int.from_bytes(before.header[_COMMAND], "little") & ~int.from_bytes(now.header[_COMMAND], "little")
    return [name for bit, name in _DECODING.items() if off >> bit & 1]


def _owner(one: Condition) -> str:
    override = f" with driver_override {one.override}" if one.override else ""
    return (f"bound to {one.driver}" if one.driver else "bound to no driver") + override


def _name(identity: tuple[int, int]) -> str:
    return f"{identity[0]:04x}:{identity[1]:04x}"


def lost_by_verdict(history: History, judgement: Judgement) -> dict[str, str]:
    """The functions that a stage has lost, by alias, and how: judged so, or left with an actor stuck in them."""
    found: dict[str, str] = {}
    steps = steps_of(history)
    for finding in judgement.findings:
        if finding.verdict is Verdict.FAIL and finding.blame in _LOSSES:
            for alias in _accused(steps, finding):
                found.setdefault(alias, f"judged {finding.blame}: {finding.claim}")
    for alias, actor, means in _stuck(steps):
        found.setdefault(alias, f"{actor} is stuck in {means}")
    if left := history.provenance.get("settings.left"):
        for alias in history.plan.functions:
            found.setdefault(alias, f"settings could not be put back behind a stuck actor: {left}")
    return found


def _accused(steps: Steps, finding: Finding) -> tuple[str, ...]:
    """The functions that the evidence of a finding names; all of the stage, when it names none."""
    rows = [event.row for event in finding.events if event.kind is EventKind.OPERATION]
    files = [steps.behind(row).file for row in rows]
    named = tuple(dict.fromkeys(file.function for file in files if file is not None))
    return named or steps.history.plan.functions


def _stuck(steps: Steps) -> Iterator[tuple[str, str, str]]:
    """Function, actor and operation of everything that never returned."""
    table = steps.history.operations
    for row in (table["end_ns"] == 0).nonzero()[0].tolist():
        actor, step = steps.history.actors[int(table["actor"][row])], steps.behind(row)
        if actor.end == "abandoned" and step.file is not None:
            yield step.file.function, actor.name, str(step.means)


# -- who is blocked by whom -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """Where a function is, as far as others share it.

    Attributes:
        alias: its name in tests, as "igb0" or "igb0.port".
        bdf: its address.
        port: address of the port above it; None on the root bus.
        iommu_group: number as text, or empty.
    """

    alias: str
    bdf: Bdf
    port: Bdf | None = None
    iommu_group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """A function that was lost.

    Attributes:
        spot: which.
        test: node id of the test that lost it.
        how: half a sentence.
        history: file of the last stage of that test, relative to the results folder; empty when it staged nothing.
    """

    spot: Spot
    test: str
    how: str
    history: str = ""

    def __str__(self) -> str:
        evidence = f"; history: {self.history}" if self.history else ""
        return f"{self.spot.alias} ({self.spot.bdf}) was lost by {self.test}: {self.how}{evidence}"


@dataclass(slots=True)
class Quarantine:
    """The functions of one machine that nobody may use any more."""

    lost: list[Lost] = field(default_factory=list)

    def blocks(self, wanted: Spot) -> str:
        """Why a function cannot be used, and whose fault that is; empty when it can."""
        for one in self.lost:
            if one.spot.alias == wanted.alias:
                return str(one)
        for one in self.lost:
            if tie := _tie(wanted, one.spot):
                return f"{wanted.alias} {tie}: {one}"
        return ""

    def holds(self, alias: str) -> bool:
        """Whether this very function is in it."""
        return any(one.spot.alias == alias for one in self.lost)


def _tie(wanted: Spot, gone: Spot) -> str:
    """How a function hangs together with one that is lost; empty when it does not."""
    if gone.port == wanted.bdf:
        return f"is the port above {gone.alias}"
    if wanted.port == gone.bdf:
        return f"is below {gone.alias}"
    if replace(wanted.bdf, function=gone.bdf.function) == gone.bdf:
        return f"is a function of the same device as {gone.alias}"
    if wanted.iommu_group and wanted.iommu_group == gone.iommu_group:
        return f"is in the IOMMU group of {gone.alias}"
    return ""


# -- what the session's health says -----------------------------------------------------------------------


def returned(gone: Iterable[Lost], *, among: str = "") -> HealthRecord:
    """The health case `devices_returned`: a failure for what was lost, even when a fresh guest replaced it later.

    Args:
        gone: what was lost; nothing is good.
        among: whose functions they are, for the text.
    """
    lines = [f"{one}{f' ({among})' if among else ''}" for one in gone]
    if not lines:
        return HealthRecord(name=DEVICES_RETURNED, status=Status.OK, summary=ALL_RETURNED)
    return HealthRecord(
        name=DEVICES_RETURNED,
        status=Status.FAILURE,
        type=Blame.DEVICE_LOST,
        summary="; ".join(lines),
        details="\n".join(lines),
    )


def replaced(test: str, loss: Loss) -> HealthRecord:
    """The health case of a shared guest that a test has ended: the kernel's failure, or trouble of the lab."""
    how = f"{_WORDS.get(loss.kind, '')}{loss.said}"
    summary = f"{test} lost the guest that tests share, later ones have a fresh one: {how}"
    kernel = loss.kind.kernel_fault
    return HealthRecord(
        name=GUEST_KEPT,
        status=Status.FAILURE if kernel else Status.ERROR,
        type=Blame.KERNEL_FAULT if kernel else "hil.infra.guest",
        summary=summary,
        details=f"{summary}\n\n{loss.console[-4000:]}".rstrip(),
    )


def shaken(test: str, by: str) -> HealthRecord:
    """The same for a kernel that goes on after a fault: nobody should trust it."""
    summary = f"{test} ran into {by} of the kernel that tests share, later ones have a fresh guest"
    return HealthRecord(
        name=GUEST_KEPT, status=Status.FAILURE, type=Blame.KERNEL_FAULT, summary=summary, details=summary
    )

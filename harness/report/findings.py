"""Findings as text for people and as JSON values for programs."""

from __future__ import annotations

import textwrap
from typing import Any, Final

from harness.model.verdict import EventId, Finding, Judgement, Remark, Verdict
from harness.visible import visible

COLLIDED_CHECKER: Final = "collided"
"""Name of the checker that counts operations which met a window."""
FAULT_CHECKER: Final = "fault_met"
"""Name of the checker that tells what was staged to go wrong; nothing without a fault or an incident."""
_TELLING: Final = (FAULT_CHECKER, COLLIDED_CHECKER)
"""Checkers whose claims tell most of a PASS, the better first."""
_WIDTH: Final = 80


def as_text(judgement: Judgement) -> str:
    """All findings in 80 columns, the worst and the causes first, with the rule and the events that prove each.

    Remarks stand at the end.
    """
    ordered = sorted(judgement.findings, key=lambda finding: (-finding.verdict, finding.cause))
    said = [*map(_paragraph, ordered)] or ["no findings: nothing was judged"]
    return "\n".join([*said, *map(_remark, judgement.remarks)])


def headline(judgement: Judgement) -> Finding | None:
    """The finding that tells most: the decisive one; of a PASS what went wrong as staged, or how many met a window."""
    if judgement.verdict is Verdict.PASS:
        return max(judgement.findings, key=lambda found: (_rank(found), found.met))
    return judgement.decisive


def _rank(finding: Finding) -> int:
    return -_TELLING.index(finding.checker) if finding.checker in _TELLING else -len(_TELLING)


def as_json(finding: Finding) -> dict[str, Any]:
    """One finding as JSON values."""
    return {
        "checker": finding.checker,
        "verdict": finding.verdict.name,
        "claim": finding.claim,
        "events": [str(event) for event in finding.events],
        "promise": finding.promise,
        "source": finding.source,
        "met": finding.met,
        "blame": str(finding.blame),
        "weakness": finding.weakness,
    }


def _remark(remark: Remark) -> str:
    return _filled([f"{'told':<8}{remark.text}", *_events(remark.rows)])


def _events(events: tuple[EventId, ...]) -> list[str]:
    return [f"events: {', '.join(map(str, events))}"] if events else []


def _paragraph(finding: Finding) -> str:
    lines = [f"{finding.verdict.name:<8}{finding.checker}: {finding.claim}"]
    if finding.weakness:
        lines.append(f"known weakness: {finding.weakness}")
    if finding.promise:
        lines.append(f"promise: {finding.promise}")
    if finding.source:
        lines.append(f"source: {finding.source}")
    return _filled([*lines, *_events(finding.events)])


def _filled(lines: list[str]) -> str:
    return "\n".join(
        textwrap.fill(
            visible(line), _WIDTH, initial_indent="" if first else " " * 8, subsequent_indent=" " * 8
        )
        for first, line in zip([True] + [False] * len(lines), lines, strict=False)
    )

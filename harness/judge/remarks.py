"""What a stage leaves over that decides nothing: lines of a report, beside the findings.

A kind is a function of its own here, which asks `harness/judge/evidence/` for what is left over of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from harness.judge import findings
from harness.judge.evidence import Evidence
from harness.judge.evidence.log_accounts import first_line, leaves_open, unexplained
from harness.judge.evidence.untold import untold
from harness.model.terms import Terms
from harness.model.verdict import Remark

LOG_LINES: Final = "lines of kernel log that no rule explains"
UNTOLD: Final = "resets that bound drivers were not told of"
_SHOWN: Final = 4


def remarks_of(evidence: Evidence, terms: Terms) -> tuple[Remark, ...]:
    """Collect what is told and lowers no verdict; at most one remark of each kind."""
    return (*_log_lines(evidence, terms), *_untold(evidence))


def _log_lines(evidence: Evidence, terms: Terms) -> Iterator[Remark]:
    """Lines of the kernel log that nobody explains, but for those that leave the verdict open."""
    history = evidence.history
    left_over = unexplained(history, evidence.log_events(terms.log_rules))
    rows = [row for row, named in left_over if not leaves_open(history, row, named)]
    if rows:
        lines = "1 line" if len(rows) == 1 else f"{len(rows)} lines"
        yield Remark(
            kind=LOG_LINES,
            text=f"{lines} of kernel log that no rule explains: {first_line(history, rows[0])}",
            count=len(rows),
            rows=tuple(findings.log(row) for row in rows[:_SHOWN]),
        )


def _untold(evidence: Evidence) -> Iterator[Remark]:
    """Resets under bound drivers, behind their backs."""
    found = untold(evidence)
    if found:
        rows = [row for one in found for row in one.rows]
        text = "; ".join(one.said for one in found[:_SHOWN])
        yield Remark(kind=UNTOLD, text=text, count=len(rows), rows=tuple(rows[:_SHOWN]))

"""The lines of a journal: one record a line, as JSON, `{"record": KIND, ...}`.

A reader ignores fields that it does not know and fills in the defaults of those that are missing, so a newer harness
reads older journals, and an older one most of a newer; a line of an unknown kind is counted as damage.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Final

from harness.errors import HistoryError
from harness.journal.record import (
    AttemptRecord,
    HealthRecord,
    Latency,
    PhaseReport,
    Record,
    SessionEnd,
    SessionStart,
    StageRecord,
    TestFinish,
    TestPlan,
    TestStart,
)
from harness.model.limits import JOURNAL_ENTRIES, JOURNAL_LINE
from harness.model.plain import Misfit, Reader, defaulted, parse, shown

_KINDS: Final[dict[str, type[Record]]] = {
    kind.KIND: kind
    for kind in (
        SessionStart,
        TestPlan,
        TestStart,
        PhaseReport,
        StageRecord,
        AttemptRecord,
        TestFinish,
        HealthRecord,
        SessionEnd,
    )
}
# What pytest prints may be any text, and a line is bounded as a whole.
_JOURNALS: Final = Reader(defaulted, entries=JOURNAL_ENTRIES)


def to_json(record: Record | Latency) -> dict[str, Any]:
    """The record as plain JSON values, without its kind."""
    return dataclasses.asdict(record)


def to_line(record: Record) -> bytes:
    """One line of a journal: ASCII, ends with a newline, contains no other."""
    fields = {"record": record.KIND, **to_json(record)}
    return json.dumps(fields, ensure_ascii=True, separators=(",", ":"), default=str).encode("ascii") + b"\n"


def from_line(line: bytes) -> Record:
    """Read one line of a journal.

    Raises:
        HistoryError: torn, damaged, or of an unknown kind.
    """
    try:
        fields = parse(line, JOURNAL_LINE)
        kind = fields.get("record") if isinstance(fields, dict) else None
        if not isinstance(kind, str) or kind not in _KINDS:
            raise Misfit(f"it is no record of a kind that is known here: {shown(kind)}")
        record: Record = _JOURNALS.read(_KINDS[kind], fields)
    except Misfit as error:
        raise HistoryError("line of a journal", said=f"not understood: {error}") from error
    return record

"""The lines of a journal: one record a line, as JSON, `{"record": KIND, ...}`.

A reader ignores fields that it does not know and fills in the defaults of those that are missing, so a newer harness
reads older journals, and an older one most of a newer; a line of an unknown kind is counted as damage.
"""

from __future__ import annotations

import dataclasses
import enum
import json
from typing import Any, Final

from harness.errors import HistoryError
from harness.journal.record import (
    AttemptRecord,
    FlakyPolicy,
    HealthRecord,
    KernelLog,
    Latency,
    PhaseReport,
    Record,
    SessionEnd,
    SessionStart,
    StageRecord,
    Status,
    TestFinish,
    TestPlan,
    TestStart,
)

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
_ENUMS: Final[dict[str, type[enum.StrEnum]]] = {
    "Status": Status,
    "FlakyPolicy": FlakyPolicy,
    "KernelLog": KernelLog,
}

_PLAIN: Final[dict[str, tuple[type, ...]]] = {
    "str": (str,),
    "int": (int,),
    "Ns": (int,),
    "float": (int, float),
    "bool": (bool,),
}


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
        fields = json.loads(line)
        kind = _KINDS[fields["record"]]
        record: Record = from_json(kind, fields)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise HistoryError("line of a journal", said=f"not understood: {error!r}") from error
    return record


def from_json(kind: type[Any], fields: dict[str, Any]) -> Any:
    """Build a record of one kind from JSON values.

    Raises:
        TypeError: a field without a default is missing.
        ValueError: a word that no enum knows.
    """
    arguments: dict[str, Any] = {}
    for item in dataclasses.fields(kind):
        if item.name not in fields:
            continue
        value = fields[item.name]
        if "of" in item.metadata:
            value = tuple(from_json(item.metadata["of"], entry) for entry in value)
        elif isinstance(value, list):
            value = tuple(value)
        elif str(item.type) in _ENUMS:
            value = _ENUMS[str(item.type)](value)
        expected = _PLAIN.get(str(item.type))
        if expected is not None and not isinstance(value, expected):
            raise TypeError(f"{item.name} is {value!r}")
        arguments[item.name] = value
    return kind(**arguments)

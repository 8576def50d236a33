"""Did every built-in self-test that the plan started end in time, and was it passed?

Whoever started it reads BIST afterwards.  While the start bit is set, or nothing answers, the test is not over; when it
is, the completion code says how it ended.

Source: PCIe r6.0 §7.5.1.1.11 (BIST).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from harness.history.reading import OfFunction
from harness.history.steps import Rows
from harness.judge import findings
from harness.judge.evidence import Evidence
from harness.judge.evidence.whose_reset import LONGEST
from harness.model.operation import SELF_TEST, SELF_TEST_RESULT, Operation
from harness.model.terms import Terms
from harness.model.units import Ns, as_text
from harness.model.verdict import Blame, Finding

NAME: Final = "self_test"
SOURCE: Final = "PCIe r6.0 §7.5.1.1.11"
_AT: Final = 0x0F
_CAPABLE: Final = 0x80
_START: Final = 0x40
_CODE: Final = 0x0F
_ONES: Final = 0xFF


def self_test(evidence: Evidence, terms: Terms) -> tuple[Finding, ...]:  # noqa: ARG001  every checker takes both
    """Hold every self-test against the time that it may take, and read its completion code."""
    return tuple(
        finding
        for function in evidence.functions
        for row in _rows(function, SELF_TEST).tolist()
        for finding in _judge(function, row)
    )


def _judge(function: OfFunction, row: int) -> Iterator[Finding]:
    alias, config, table = function.alias, function.record.config_before, function.whole.history.operations
    if len(config) <= _AT or not config[_AT] & _CAPABLE:
        yield findings.unknown(NAME, f"{alias} says of itself that it has no self-test.")
        return
    results = _rows(function, SELF_TEST_RESULT)
    mine = (table["actor"][results] == table["actor"][row]) & (table["round"][results] == table["round"][row])
    read = results[mine & (results > row)]
    if not len(read):
        yield findings.unknown(
            NAME,
            f"Nobody read how the self-test of {alias} ended.",
            events=[findings.operation(row)],
        )
        return
    value, events = int(table["value"][read[0]]), [findings.operation(row), findings.operation(read[0])]
    waited = Ns(int(table["begin_ns"][read[0]] - table["end_ns"][row]))
    if value & _START:
        said = "nothing answers" if value == _ONES else "its start bit is set"
        claim = f"The self-test of {alias} is not over {as_text(waited)} after its start: {said}"
        if waited < LONGEST:
            yield findings.unknown(NAME, f"{claim}, and it may take {as_text(LONGEST)}.", events=events)
        else:
            yield findings.failed(
                NAME,
                Blame.TIMEOUT,
                f"{claim}; it may take {as_text(LONGEST)}.",
                events=events,
                met=1,
                source=SOURCE,
            )
    elif value & _CODE:
        yield findings.failed(
            NAME,
            Blame.MISMATCH,
            f"The self-test of {alias} failed with completion code {value & _CODE}.",
            events=events,
            met=1,
            source=SOURCE,
        )
    else:
        yield findings.passed(
            NAME,
            f"{alias} passed its self-test; the result was read {as_text(waited)} after the start.",
            met=1,
            source=SOURCE,
        )


def _rows(function: OfFunction, means: Operation) -> Rows:
    """The successful operations of one kind on one function."""
    rows, table = function.rows(means), function.whole.history.operations
    good: Rows = rows[np.logical_and(table["error"][rows] == 0, table["end_ns"][rows] != 0)]
    return good

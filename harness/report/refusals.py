"""Refused attempts as numbers: that an operation was refused and tried again is worth knowing, and no verdict."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Mapping
from typing import Final

from harness.history.history import History
from harness.history.reading import Reading
from harness.journal.record import Refusals
from harness.model.outcome import Outcome

SIGBUS: Final = -7
"""In the column `error` of an operation: minus the signal's number."""


def refusals(reading: Reading) -> tuple[Refusals, ...]:
    """Count the attempts that were refused and made again: an entry for each kind of operation, by its name."""
    history, found = reading.history, reading.retried
    errnos: dict[str, Counter[str]] = {}
    answers: dict[str, set[int]] = {}
    for row, answer in zip(found.rows.tolist(), found.answers.tolist(), strict=True):
        event = history.operations[row]
        means = reading.steps.behind(row).means
        errnos.setdefault(means, Counter())[error_name(int(event["error"]))] += 1
        answers.setdefault(means, set()).add(answer)
    return tuple(
        Refusals(
            operation=means,
            attempts=counted.total(),
            errnos=dict(sorted(counted.items())),
            rounds=len(answers[means]),
            ended=dict(sorted(Counter(_answer(history, row) for row in answers[means]).items())),
        )
        for means, counted in sorted(errnos.items())
    )


def error_name(error: int) -> str:
    """What the column `error` of an operation says in a word: `EAGAIN`, or `SIGBUS` for -7."""
    return str(Outcome.SIGBUS) if error == SIGBUS else errno.errorcode.get(error, str(error))


def as_line(refused: Refusals) -> str:
    """For people: `reset/vfio: 3 attempts refused (EAGAIN), then ok`."""
    plural = "" if refused.attempts == 1 else "s"
    rounds = f" in {refused.rounds} rounds" if refused.rounds > 1 else ""
    return (
        f"{refused.operation}: {refused.attempts} attempt{plural} refused ({_counted(refused.errnos)})"
        f"{rounds}, then {_counted(refused.ended)}"
    )


def _counted(words: Mapping[str, int]) -> str:
    """`ok` alone needs no number, `4 ok, 1 EAGAIN` do."""
    if len(words) == 1:
        return next(iter(words))
    return ", ".join(f"{count} {word}" for word, count in words.items())


def _answer(history: History, row: int) -> str:
    event = history.operations[row]
    if int(event["end_ns"]) == 0:
        return "never returned"
    return error_name(int(event["error"])) if int(event["error"]) else "ok"

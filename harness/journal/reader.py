"""Read a journal back, torn or not."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HistoryError, UsageError
from harness.journal.fold import fold
from harness.journal.record import Record, SessionStart, from_line
from harness.journal.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """What could be read of a journal.

    Attributes:
        records: of the last session in it.
        damaged: lines of that session that could not be read; a torn last line is none of them, as that is
            what a killed runner leaves.
    """

    records: tuple[Record, ...]
    damaged: int


def parse(lines: Iterable[bytes]) -> Lines:
    """Read the lines of a journal; only the last session in it counts."""
    records: list[Record] = []
    damaged = 0
    torn = False
    for line in lines:
        if not line.strip():
            continue
        damaged += torn
        torn = False
        try:
            record = from_line(line)
        except HistoryError:
            torn = True
            continue
        if isinstance(record, SessionStart):
            records, damaged = [], 0
        records.append(record)
    return Lines(records=tuple(records), damaged=damaged)


def read(path: Path, *, boot_id: str) -> Session:
    """Read the last session of the journal at `path`.

    Args:
        path: the journal.
        boot_id: of this host now; another one than in the journal means that the host went down.

    Raises:
        UsageError: there is no journal, or it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            lines = parse(stream)
    except OSError as error:
        raise UsageError(
            f"journal {path}",
            said=os.strerror(error.errno or 0),
            hint="Name the results folder of a run: the one given with --hil-results.",
        ) from error
    return fold(lines.records, boot_id=boot_id, damaged=lines.damaged)

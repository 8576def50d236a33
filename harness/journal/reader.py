"""Read a journal back, torn or not."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from harness.errors import HistoryError, UsageError
from harness.journal.fold import fold
from harness.journal.lines import from_line
from harness.journal.record import Record, SessionStart
from harness.journal.session import Session
from harness.model.limits import JOURNAL_FILE, JOURNAL_LINE, JOURNAL_LINES
from harness.outside import open_file

Keep = Callable[[Record], Record]
"""What is kept of a record in memory."""
_HINT: Final = "Name the results folder of a run: the one given with --hil-results."
_BEGINS: Final = b'{"record":'
_PART: Final = 1 << 20


def whole(record: Record) -> Record:
    """All of it."""
    return record


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """What could be read of a journal.

    Attributes:
        records: of the last session in it, with all runs that it resumes.
        damaged: lines of that session that could not be read; a torn last line is none of them, as that is
            what a killed runner leaves.
        foreign: lines of which no runner that was killed in the middle of one leaves the like.
    """

    records: tuple[Record, ...] = ()
    damaged: int = 0
    foreign: int = 0


def parse(lines: Iterable[bytes], *, keep: Keep = whole) -> Lines:
    """Read the lines of a journal; only the last session in it counts, with the runs that it resumes."""
    records: list[Record] = []
    damaged = foreign = 0
    torn = False
    for line in lines:
        if not line.strip():
            continue
        try:
            record = from_line(line)
        except HistoryError:
            damaged += torn
            foreign += line.endswith(b"\n") or line[: len(_BEGINS)] != _BEGINS[: len(line)]
            torn = True
            continue
        if isinstance(
            record, SessionStart
        ):  # a torn line before it is the last one of a runner that was killed
            if not record.resumes:
                records, damaged = [], 0
        else:
            damaged += torn
        torn = False
        records.append(keep(record))
    return Lines(records=tuple(records), damaged=damaged, foreign=foreign)


def read(path: Path, *, boot_id: str, keep: Keep = whole) -> Session:
    """Read the last session of the journal at `path`.

    Args:
        path: the journal.
        boot_id: of this host now; another one than in the journal means that the host went down.
        keep: what is kept of each record.

    Raises:
        UsageError: there is no journal, it cannot be read, or it is none.
        HistoryError: it is larger than journals are.
    """
    lines = read_lines(path, keep=keep)
    if lines.foreign and not lines.records:
        raise UsageError(f"journal {path}", said="it holds no record of a session", hint=_HINT)
    return fold(lines.records, boot_id=boot_id, damaged=lines.damaged)


def read_lines(path: Path, *, keep: Keep = whole) -> Lines:
    """Read the records of the last session of the journal at `path`.

    Raises:
        UsageError: there is no journal, or it cannot be read.
        HistoryError: it is larger than journals are.
    """
    with open_file(path, what="journal", hint=_HINT) as stream:
        try:
            return parse(_lines(stream, path), keep=keep)
        except OSError as error:
            raise UsageError(f"journal {path}", said=os.strerror(error.errno or 0), hint=_HINT) from error


def _lines(stream: BinaryIO, path: Path) -> Iterator[bytes]:
    """The lines of a journal; of one that is too long so much that it is seen to be.

    Raises:
        HistoryError: there are too many, or it is too large.
    """
    excess = JOURNAL_FILE.excess(os.fstat(stream.fileno()).st_size)
    for number in itertools.count(1):
        if excess := excess or JOURNAL_LINES.excess(number):
            raise HistoryError(f"journal {path}", said=excess)
        line = part = stream.readline(JOURNAL_LINE.most + 1)
        while len(part) > _PART and not part.endswith(b"\n"):
            part = stream.readline(_PART + 1)
        if not line:
            return
        yield line

"""Inputs that the harness did not take well once.  Each says what it did at a64acf5, where it was tried."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from harness.history.columns import OPERATION
from harness.journal.lines import to_line
from tests.fuzz.bad_input.histories import GOLDEN, archive, good, members, npy, table
from tests.unit.journal.test_record import RECORDS

Make = Callable[[], bytes]
HISTORIES: Final[list[Make]] = []
JOURNALS: Final[list[Make]] = []


def _history(make: Make) -> Make:
    HISTORIES.append(make)
    return make


def _journal(make: Make) -> Make:
    JOURNALS.append(make)
    return make


def _with(**fields: Any) -> bytes:
    parts = good()[0]
    return archive(parts | {"history.json": json.dumps(json.loads(parts["history.json"]) | fields).encode()})


def _repeated(rows: int, **columns: int) -> bytes:
    """A history of one operation, again and again."""
    parts = good()[0]
    one = table(parts["operations.npy"], OPERATION)[:1]
    for name, value in columns.items():
        one[name] = value
    head = npy(np.repeat(one, 0)).replace(b"'shape': (0,)", f"'shape': ({rows},)".encode())
    head = head.replace(b" " * (len(str(rows)) - 1) + b"\n", b"\n")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as writer:
        for name, content in parts.items():
            with writer.open(name, "w") as member:
                member.write(head if name == "operations.npy" else content)
                for _ in range(rows // 20_000 if name == "operations.npy" else 0):
                    member.write(one.tobytes() * 20_000)
    return buffer.getvalue()


@_history
def blanks() -> bytes:
    """A history.json that is 400 MB of blanks, in 1.8 MB: 842 MiB."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as writer,
        writer.open("history.json", "w") as member,
    ):
        for _ in range(400):
            member.write(b" " * (1 << 20))
    return buffer.getvalue()


@_history
def ten_million_operations() -> bytes:
    """400 MB of rows in 2.8 MB: 1,509 MiB and 15 s."""
    return _repeated(10_000_000)


@_history
def resets_without_end() -> bytes:
    """100,000 resets in 31 kB, each judged by itself, by seven questions: 22 s."""
    return _repeated(100_000, actor=4)


@_history
def no_such_actor() -> bytes:
    """A row of an actor that is not there: UNKNOWN, in words of Python: "IndexError: index 77 is out of bounds"."""
    return _repeated(20_000, actor=77)


@_history
def half_a_pair() -> bytes:
    """A title that cannot be written as UTF-8: a traceback."""
    parts = json.loads(good()[0]["history.json"])
    return _with(plan=parts["plan"] | {"title": "\ud800"})


@_history
def begins_with_a_word() -> bytes:
    """A time that is a text: a traceback."""
    return _with(begin_ns="soon")


@_history
def lines_of_numbers() -> bytes:
    """A line of the kernel log whose text is a number: a traceback."""
    return _with(log=[{"time_us": 1, "level": 4, "text": 7}])


@_history
def no_clock() -> bytes:
    """A clock of which nobody knows how fast it ran: PASS, status 0."""
    parts = members((GOLDEN / "v2.history.zip").read_bytes())
    fields = json.loads(parts["history.json"]) | {"clock_ratio": float("nan")}
    return archive(parts | {"history.json": json.dumps(fields).encode()})


@_history
def kernel_of_many_digits() -> bytes:
    """A kernel release whose number Python does not read: a traceback."""
    return _with(provenance={"kernel.release": "9" * 5000 + ".1"})


@_journal
def no_journal() -> bytes:
    """Something else: a red report of a runner with pid 0 in 1970."""
    return b"\x89PNG\r\n\x1a\n and so on\n"


@_journal
def names_that_are_numbers() -> bytes:
    """Attachments that are no texts: a traceback."""
    return _changed(3, attachments=[1, 2])


@_journal
def another_dialect() -> bytes:
    """A dialect of JUnit that nobody knows: a traceback."""
    return _changed(0, dialect="stryct")


@_journal
def versions_in_a_list() -> bytes:
    """Versions that are no table: a traceback."""
    return _changed(0, versions=["pytest", 9])


@_journal
def a_long_name() -> bytes:
    """A test whose name has 70,000 letters: 33 s."""
    return _changed(2, test="a/" * 35_000)


def _changed(number: int, **fields: Any) -> bytes:
    lines = [to_line(record) for record in RECORDS]
    lines[number] = json.dumps(json.loads(lines[number]) | fields).encode() + b"\n"
    return b"".join(lines)

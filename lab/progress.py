"""Tell a waiting human what takes long, how much of it there is, and how it went.

Everything goes to stderr: stdout belongs to the reports of a run.  On a terminal one line is redrawn, cut to its width,
for what is wrapped cannot be redrawn; elsewhere (a CI log) a step is a line at its start, at most one every `SPARSE_S`
seconds, and one at its end.  On a terminal each line begins by clearing the one that is there: other threads and other
processes draw theirs on the same terminal.
This module refuses to decide anything: it only prints.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

from harness.visible import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

REDRAW_S = 0.2
SPARSE_S = 20.0
_COLUMNS = 80  # of a terminal that does not say
_CLEAR = "\r\x1b[K"


def size_text(size_bytes: float) -> str:
    """Write a size for people: `38 MB`, `1.2 GB` (powers of 1000, as apt and disk makers count)."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= scale:
            value = size_bytes / scale
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return f"{size_bytes:.0f} B"


def note(text: str) -> None:
    """Print one line to stderr."""
    _write(sys.stderr, f"lab: {visible(text)}\n")


def _write(out: TextIO, text: str) -> None:
    out.write(f"{_CLEAR}{text}" if out.isatty() else text)
    out.flush()


def _width(out: TextIO) -> int:
    """Columns of a terminal, as it is now: users resize it."""
    try:
        return os.get_terminal_size(out.fileno()).columns or _COLUMNS
    except (OSError, ValueError):
        return _COLUMNS


@dataclass(slots=True, kw_only=True)
class Step:
    """One long step that is under way; `advance_to` redraws it.

    Attributes:
        what: what is being done, as the start of a sentence: "downloading QEMU 11".
        total_bytes: how much there is to do, 0 when unknown.
    """

    what: str
    total_bytes: int = 0
    out: TextIO = field(default_factory=lambda: sys.stderr)
    done_bytes: int = 0
    detail: str = ""
    _shown_at: float = field(default_factory=time.monotonic)

    def advance_to(self, done_bytes: int, *, detail: str = "") -> None:
        """Record progress, and show it when the last line is old enough.

        Args:
            done_bytes: bytes done so far, from 0 to `total_bytes`.
            detail: a few words about what is happening now.
        """
        self.done_bytes, self.detail = done_bytes, detail
        live = self.out.isatty()
        now = time.monotonic()
        if now - self._shown_at >= (REDRAW_S if live else SPARSE_S):
            self._shown_at = now
            line = self._line()
            _write(self.out, line[: _width(self.out) - 1] if live else f"{line}\n")

    def _line(self) -> str:
        amount = size_text(self.done_bytes)
        if self.total_bytes:
            percent = min(100, 100 * self.done_bytes // self.total_bytes)
            amount = f"{amount} of {size_text(self.total_bytes)}, {percent} %"
        return visible(f"lab: {self.what}: {amount}" + (f" ({self.detail})" if self.detail else ""))


@contextmanager
def step(what: str, *, total_bytes: int = 0, expected_s: float = 0.0) -> Iterator[Step]:
    """Announce a long step, let the caller report on it, and say how long it took.

    Args:
        what: the start of a sentence, "downloading QEMU 11".
        total_bytes: how much will be moved, 0 when unknown.
        expected_s: how long this usually takes, in seconds, 0 when unknown.

    Yields:
        The `Step` to call `advance_to` on.
    """
    hints = [size_text(total_bytes)] if total_bytes else []
    if expected_s:
        hints.append(f"about {expected_s:.0f} s")
    note(what + (f" ({', '.join(hints)})" if hints else "") + " ...")
    started = time.monotonic()
    current = Step(what=what, total_bytes=total_bytes)
    finished = False
    try:
        yield current
        finished = True
    finally:
        note(f"{what}: {'done in' if finished else 'stopped after'} {time.monotonic() - started:.1f} s")

"""Progress lines: a start, an end, little between, and nothing on stdout."""

from __future__ import annotations

import fcntl
import io
import os
import struct
import termios
from collections.abc import Iterator
from typing import TextIO

import pytest

from harness.lab import progress


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (38_000_000, "38 MB"), (1_200_000_000, "1.2 GB")],
)
def test_sizes_for_people(size_bytes: int, text: str) -> None:
    assert progress.size_text(size_bytes) == text


def test_a_step_says_what_is_expected_and_what_it_took(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.step("downloading x", total_bytes=38_000_000, expected_s=10) as step:
        step.advance_to(1_000_000)
    output = capsys.readouterr()
    first, last = output.err.splitlines()
    assert first == "lab: downloading x (38 MB, about 10 s) ..."
    assert last.startswith("lab: downloading x: done in ")
    assert output.out == ""


def test_a_failed_step_is_not_called_done(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="x"), progress.step("building x"):
        raise ValueError("x")
    assert "building x: stopped after" in capsys.readouterr().err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("out", "wait_s"), [(io.StringIO, progress.SPARSE_S), (Terminal, progress.REDRAW_S)])
def test_lines_are_sparse_and_on_a_terminal_redrawn(
    out: type[io.StringIO], wait_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("harness.lab.progress.time.monotonic", lambda: now)
    step = progress.Step(what="downloading x", total_bytes=200, out=out(), _shown_at=now)
    step.advance_to(50)
    assert step.out.getvalue() == ""  # type: ignore[attr-defined]
    now += wait_s
    step.advance_to(100, detail="y")
    step.advance_to(101)
    text = step.out.getvalue()  # type: ignore[attr-defined]
    assert text.count("downloading x: 100 B of 200 B, 50 % (y)") == 1
    assert text.startswith("\r") is (out is Terminal)
    assert text.endswith("\n") is (out is io.StringIO)


# --- on a real terminal -----------------------------------------------------------------------------------


@pytest.fixture
def terminal() -> Iterator[tuple[TextIO, int]]:
    """A terminal of 40 columns, and the descriptor that says what was drawn on it."""
    screen, line = os.openpty()
    fcntl.ioctl(line, termios.TIOCSWINSZ, struct.pack("4H", 24, 40, 0, 0))
    with open(line, "w", buffering=1, encoding="utf-8") as out:  # noqa: PTH123 - a descriptor
        yield out, screen
    os.close(screen)


def test_a_line_that_is_redrawn_fits_the_terminal(terminal: tuple[TextIO, int]) -> None:
    """One that is wrapped cannot be cleared: each redrawing would leave a line behind."""
    out, screen = terminal
    step = progress.Step(what="downloading QEMU 11 (38 packages)", total_bytes=10**9, out=out, _shown_at=0.0)
    step.advance_to(10**8, detail="libx11-data")
    shown = os.read(screen, 4096).decode().removeprefix("\r\x1b[K")
    assert "\n" not in shown
    assert "downloading QEMU 11" in shown
    assert len(shown) == 39


def test_a_note_does_not_run_on_from_a_line_that_is_redrawn(
    terminal: tuple[TextIO, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, screen = terminal
    step = progress.Step(what="downloading x", total_bytes=200, out=out, _shown_at=0.0)
    step.advance_to(100)
    monkeypatch.setattr("sys.stderr", out)
    progress.note("another thing is done")
    shown = ""
    while not shown.endswith("\n"):
        shown += os.read(screen, 4096).decode()
    assert shown.endswith("\r\x1b[Klab: another thing is done\r\n")

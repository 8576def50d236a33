"""The text of a console as lines of the kernel log."""

from __future__ import annotations

import time

import pytest

from harness.history.console import STAGE_MARKER, Console, read_console
from harness.history.history import LogLine

UUID = "0123456789abcdef0123456789abcdef"


def line(text: str) -> LogLine:
    """The only line of a console."""
    console = read_console(text)
    assert console.complete
    (only,) = console.lines
    return only


@pytest.mark.parametrize(
    ("text", "time_us", "level", "said"),
    [
        ("[   33.242913] igb 0000:01:00.0: resetting\n", 33_242_913, 6, "igb 0000:01:00.0: resetting"),
        ("[    1.200000][   T12] hello\r\n", 1_200_000, 6, "hello"),
        ("[12345.000001][    C1] hello", 12_345_000_001, 6, "hello"),
        ("<4>[    2.000000] a warning", 2_000_000, 4, "a warning"),
        ("<30>[    2.000000] facility 3, severity 6", 2_000_000, 6, "facility 3, severity 6"),
        ("\x1b[0;1;31mfirmware\x1b[0m says\x1b[K\r\n", 0, 6, "firmware says"),
        ("[    3.000000]  <TASK>", 3_000_000, 6, " <TASK>"),
        ("[    3.000000] Kernel panic - not syncing: dead", 3_000_000, 2, "Kernel panic - not syncing: dead"),
        ("[    3.000000] BUG: unable to handle", 3_000_000, 2, "BUG: unable to handle"),
        ("[    3.000000] Oops: 0002 [#1]", 3_000_000, 2, "Oops: 0002 [#1]"),
        ("[    3.000000] INFO: task a:1 blocked", 3_000_000, 4, "INFO: task a:1 blocked"),
        ("[    3.000000] index [4] of [    8]", 3_000_000, 6, "index [4] of [    8]"),
    ],
)
def test_a_line_has_a_time_a_guessed_level_and_a_text(text: str, time_us: int, level: int, said: str) -> None:
    facility = 3 if text.startswith("<30>") else 0
    assert line(text) == LogLine(time_us=time_us, level=level, text=said, facility=facility)


def test_lines_without_a_time_carry_the_one_before() -> None:
    console = read_console("t off\n[    1.000000] one\ninit: two\n\n[    2.000000] three\n")
    assert [(one.time_us, one.text) for one in console.lines] == [
        (0, "t off"),
        (1_000_000, "one"),
        (1_000_000, "init: two"),
        (2_000_000, "three"),
    ]


def test_two_messages_in_one_line_are_two() -> None:
    console = read_console("half a [    1.000000] line[    1.000001][    C0] of two processors\n")
    assert [one.text for one in console.lines] == ["half a ", "line", "of two processors"]


@pytest.mark.parametrize(
    "gap",
    [
        "[lab:              1234567 bytes of the console are left out here]",
        "… 1,234 bytes left out …",
        "** 12 printk messages dropped **",
    ],
)
def test_a_gap_makes_a_console_incomplete_and_is_no_line(gap: str) -> None:
    console = read_console(f"[    1.000000] one\n{gap}\n[    2.000000] two\n")
    assert not console.complete
    assert [one.text for one in console.lines] == ["one", "two"]


def test_a_message_that_is_said_again_is_no_gap() -> None:
    console = read_console(
        "[    1.000000] one\n** replaying previous printk message **\n[    1.000000] one\n"
    )
    assert console.complete
    assert [one.text for one in console.lines] == ["one", "one"]


def test_a_stage_begins_at_its_marker() -> None:
    before = f"[    1.000000] old\n[    2.000000] hil: stage {UUID} begins\n[    3.000000] older\n"
    ended = f"[    4.000000] hil: stage {UUID} ends\n"
    now = f"[    5.000000] hil: stage {UUID[::-1]} begins\n[    6.000000] new\n"
    assert [one.text for one in read_console(before + ended + now).of_stage().lines] == ["new"]
    assert [one.text for one in read_console(before).of_stage().lines] == ["older"]
    assert [one.text for one in read_console("[    1.000000] old\n").of_stage().lines] == ["old"]


def test_a_gap_before_a_stage_still_counts() -> None:
    text = f"** 3 printk messages dropped **\n[    2.000000] hil: stage {UUID} begins\n[    3.000000] new\n"
    assert read_console(text).of_stage() == Console(
        lines=(LogLine(time_us=3_000_000, level=6, text="new"),), complete=False
    )


def test_the_agent_writes_what_is_looked_for() -> None:
    from harness.agent import kernel_log  # noqa: PLC0415  the agent's half, here only to compare

    marker = f"{kernel_log.MARKER}{UUID}"
    assert STAGE_MARKER.match(f"{marker} begins")
    assert STAGE_MARKER.match(f"{marker} ends")


@pytest.mark.parametrize("unit", ["1 ", "1 bytes ", "[1.000000]", "task:x state:D ", "\x1b[", "1_"])
def test_no_line_takes_long_to_read(unit: str) -> None:
    """A guest wrote 64 KiB on one line, and the host looked at it for half a minute."""
    begun = time.process_time()  # ours alone: others may have the machine
    console = read_console(f"[    1.000000] first\n{unit * (65536 // len(unit))}\n[    2.000000] last\n")
    assert time.process_time() - begun < 5.0
    assert [console.lines[0].text, console.lines[-1].text] == ["first", "last"]


def test_a_line_that_was_cut_is_there_and_tells_that_something_is_missing() -> None:
    console = read_console(f"[    1.000000] BUG: {'x' * 5000}")
    assert console.lines[0].text.startswith("BUG: xxx")
    assert console.lines[0].level == 2
    assert not console.complete

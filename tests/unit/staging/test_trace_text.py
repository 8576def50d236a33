"""The kernel's trace as text: what tracefs prints, line by line."""

from __future__ import annotations

import pytest

from harness.errors import HistoryError
from harness.history.columns import INTERRUPT, KERNEL
from harness.staging.trace_text import gaps, parse

HEADER = """\
# tracer: nop
#
# entries-in-buffer/entries-written: 3/3   #P:2
#
#                                _-----=> irqs-off/BH-disabled
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
#              | |         |   |||||     |         |
##### CPU 1 buffer started ####
"""
WHERE = {"0000:06:00.0": 0, "0000:07:00.0": 1}


def row(line: str) -> tuple[int, ...]:
    """time_ns, value, tid, probe, function of the only event of a text."""
    table = parse(line, WHERE)
    assert table.dtype == KERNEL
    (only,) = table.tolist()
    return tuple(only)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            '          python-147     [001] .....    17.998809: p0: (pci_cfg_access_lock+0x0/0x50) fn="0000:06:00.0"',
            (17_998_809_000, 0, 147, 0, 0),
        ),
        (
            "          python-147     [001] .....    18.000001: p1: (pci_dev_lock+0x1f/0x30 <- pci_cfg_access_lock)",
            (18_000_001_000, 0, 147, 1, -1),
        ),
        (
            '     kworker/0:2-35      [000] d..2. 12345.000000: p9: (pci_af_flr+0x0/0x1) fn="0000:07:00.0" v=1',
            (12_345_000_000_000, 1, 35, 9, 1),
        ),
        (
            "   my - odd (name)-900   [000] .N.1.     0.000007: p3: (a+0x0/0x1 <- b) v=-25",
            (7_000, -25, 900, 3, -1),
        ),
        (
            '           <...>-4194304 [127] d.h2.     1.500000: p4: (f+0x0/0x9) fn="0000:0a:1f.7"',
            (1_500_000_000, 0, INTERRUPT, 4, -1),
        ),
        (
            '          reader-99      [001] D.s3.     1.500000: p4: (f+0x0/0x9) fn="0000:0a:1f.7"',
            (1_500_000_000, 0, INTERRUPT, 4, -1),
        ),
        (
            "      a-1 [0] b-22       [003] .....     2.000000: p20: (f+0x0/0x9) fn=(fault)",
            (2_000_000_000, 0, 22, 20, -1),
        ),
    ],
    ids=["entry", "return", "probing", "odd-name", "interrupt", "timer", "misleading-name"],
)
def test_an_event_is_one_row(line: str, expected: tuple[int, ...]) -> None:
    assert row(HEADER + line + "\n") == expected


def test_rows_are_sorted_by_time_and_equal_times_keep_the_order_of_the_text() -> None:
    """Each CPU's buffer is in order; hits within one microsecond must not be swapped."""
    text = "".join(
        f"          python-{tid}     [00{tid % 2}] .....    {9 - tid // 20}.000000: p0: (f+0x0/0x9)\n"
        for tid in range(100)
    )
    assert parse(text, {})["tid"].tolist() == [
        20 * group + n for group in reversed(range(5)) for n in range(20)
    ]


@pytest.mark.parametrize("text", ["", HEADER, "\n\n"])
def test_a_trace_without_events_is_an_empty_table(text: str) -> None:
    table = parse(text, WHERE)
    assert table.dtype == KERNEL
    assert len(table) == 0


def test_what_the_kernel_says_it_lost_is_counted_and_no_event() -> None:
    text = HEADER + "CPU:1 [LOST 5 EVENTS]\nCPU:0 [LOST EVENTS]\n"
    assert gaps(text) == 2
    assert len(parse(text, WHERE)) == 0
    assert gaps(HEADER) == 0


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "          python-147     [001] .....    17.998809: sched_switch: prev_comm=a",
        "          python-147     [001] .....    17998809: p0: (f+0x0/0x9)",
        "          python-147     [001] .....    17.998809: p0:",
    ],
)
def test_a_line_that_cannot_be_understood_is_never_guessed_at(line: str) -> None:
    with pytest.raises(HistoryError, match="kernel trace: line not understood"):
        parse(HEADER + line + "\n", WHERE)

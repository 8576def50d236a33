"""What is read out of the kernel's last words; the texts are from guests of ours, cut down."""

from __future__ import annotations

import time

import pytest

from harness.lab.guest.backtraces import StuckTask, first_function, reason_of_panic, stuck_tasks
from harness.model.lines import short_lines

HANG = """\
[   38.850000] Kernel panic - not syncing: NMI: Not continuing
[   38.851429] RIP: 0010:spin_for_ever+0x11/0x20 [hil_faults]
[   38.864465] NMI backtrace for cpu 0
[   38.864789]  panic+0x142/0x2db
[   38.864972] RIP: 0010:spin_for_ever+0x11/0x20 [hil_faults]
[   38.865600]  <IRQ>
[   38.865698] RIP: 0010:pv_native_safe_halt+0xf/0x20
[   38.874507] NMI backtrace for cpu 1
[   38.874977] RIP: 0010:wait_for_lsr.isra.0+0x20/0x60
[   38.875000] RIP: 0033:0x7f8be194438f
[   41.755906] Kernel Offset: disabled
"""

STUCK = """\
[   23.1] task:python3         state:D stack:0     pid:139   tgid:139   ppid:1      flags:0x00000002
[   23.1] Call Trace:
[   23.1]  <TASK>
[   23.1]  __schedule+0x505/0xbf0
[   23.1]  ? __pfx_wake+0x10/0x10
[   23.1]  schedule+0x27/0xf0
[   23.1]  pci_wait_cfg+0x8e/0xe0
[   23.1]  pci_user_read_config_dword+0x103/0x130
[   23.1]  </TASK>
[   23.1] task:hil             state:D stack:0     pid:150   ppid:139    flags:0x00000002
[   23.1] Call Trace:
[   23.1]  <TASK>
[   23.1]  __schedule+0x505/0xbf0
[   23.1]  schedule_timeout+0x8e/0xe0
[   23.1]  sleep_in_d+0x103/0x130 [hil_faults]
[   23.1]  </TASK>
"""


def test_the_reason_of_the_last_panic() -> None:
    assert reason_of_panic(HANG) == "NMI: Not continuing"
    assert reason_of_panic("") == ""


@pytest.mark.parametrize(
    ("processor", "function"), [(0, "spin_for_ever [hil_faults]"), (1, "wait_for_lsr.isra.0"), (2, "")]
)
def test_where_a_processor_was(processor: int, function: str) -> None:
    assert first_function(HANG, processor) == function


def test_tasks_that_are_stuck_and_where_below_the_scheduler() -> None:
    assert stuck_tasks(STUCK.replace("\n", "\r\n")) == [
        StuckTask("python3", 139, 139, "pci_wait_cfg"),
        StuckTask("hil", 150, 150, "sleep_in_d [hil_faults]"),
    ]
    assert stuck_tasks(HANG) == []


def test_a_stuck_task_in_words() -> None:
    assert str(StuckTask("python3", 139, 139, "pci_wait_cfg")) == (
        "python3, pid 139, is stuck in the kernel, in pci_wait_cfg"
    )
    assert "a place unknown" in str(StuckTask("python3", 139, 139, ""))


@pytest.mark.parametrize(
    "unit", ["task:x state:D ", "task:x state:D pid:", "task:", "NMI backtrace for cpu 1 "]
)
def test_no_console_takes_long_to_read(unit: str) -> None:
    """A guest may write megabytes without a newline; whoever asks for its console gets short lines."""
    console = short_lines(unit * ((4 << 20) // len(unit)))
    begun = time.process_time()  # ours alone: others may have the machine
    assert stuck_tasks(console) == []
    assert first_function(console, 1) == ""
    assert time.process_time() - begun < 5.0

"""The kernel log as events: what belongs together, what a claim says of it, and what it amounts to."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.history.history import History, LogLine
from harness.judge.evidence.log_events import LogEvent, log_events
from harness.judge.questions import kernel_log as checker
from harness.judge.questions.kernel_log import kernel_log
from harness.model.terms import LogClass
from harness.model.units import Ns
from harness.model.verdict import Blame, Finding, Verdict
from tests.unit.judge.build import CONTRACT, Stage, at, terms, worst

PORT = "0000:00:05.0"
CUT = "------------[ cut here ]------------"
END = "---[ end trace 0000000000000000 ]---"
WARNING = "WARNING: CPU: 1 PID: {tid} at drivers/pci/access.c:331 pci_cfg_access_lock+0x5f/0x70"
WARN = (
    CUT,
    "a word of the driver",
    WARNING,
    "CPU: 1 UID: 0 PID: {tid} Comm: python3 Not tainted 6.12.117 #1",
    "RIP: 0010:pci_cfg_access_lock+0x5f/0x70",
    "RAX: 0000000000000000 RBX: 0000000000000000 RCX: 0000000000000000",
    "Call Trace:",
    " <TASK>",
    " vfio_pci_core_ioctl+0x1/0x2",
    " </TASK>",
    END,
)


def staged(*lines: str | tuple[float, str], level: int = 4, tid: int = 100) -> History:
    """A stage with a reader, below a known port; lines with a time (us since the release), or in the middle."""
    stage = Stage()
    stage.op(stage.reader(), 1_000, 2_000)
    history = stage.history()
    log = []
    for number, line in enumerate(lines):
        us, text = line if isinstance(line, tuple) else (1_500 + number, line)
        log.append(LogLine(time_us=at(us) // 1000, level=level, text=text.format(tid=tid)))
    (function,) = history.functions
    return replace(history, log=tuple(log), functions=(replace(function, port=PORT),))


def judged(*lines: str | tuple[float, str], level: int = 4, tid: int = 100) -> tuple[Finding, ...]:
    history = staged(*lines, level=level, tid=tid)
    return kernel_log(history, terms(history))


def events(*lines: str) -> tuple[LogEvent, ...]:
    return log_events(staged(*lines).log, CONTRACT.log_rules)


# one event, one claim


def test_a_report_is_one_finding_that_says_what_where_and_who() -> None:
    (bad,) = judged("harmless", *WARN)
    assert bad.claim == (
        "Kernel log: WARN in pci_cfg_access_lock (drivers/pci/access.c:331), by reader: the kernel warns of its own "
        f"state: a word of the driver: {WARNING.format(tid=100)}"
    )
    assert (bad.verdict, bad.blame, bad.met) == (Verdict.FAIL, Blame.KERNEL_FAULT, 1)
    assert [str(event) for event in bad.events] == ["log:3"]


def test_all_its_lines_belong_to_it_and_no_others() -> None:
    lines = [*WARN[:4], "igb 0000:01:00.0: something else", *WARN[4:], "and after it"]
    (event,) = events(*lines)
    assert [lines[row] for row in event.rows] == list(WARN)


def test_equal_reports_are_one_finding_and_others_are_not() -> None:
    other = [line.replace("pci_cfg_access_lock", "pci_wait_cfg").replace("331", "204") for line in WARN]
    found = judged(*WARN, *WARN, *other)
    assert [finding.met for finding in found] == [2, 1]
    assert found[0].claim.endswith(" (1 more like it)")
    assert "pci_wait_cfg (drivers/pci/access.c:204)" in found[1].claim


def test_two_reports_at_once_are_two() -> None:
    first, second = (WARNING.replace("331", line) for line in ("331", "204"))
    assert [event.place for event in events(CUT, CUT, first, second, END, END)] == [
        "drivers/pci/access.c:331",
        "drivers/pci/access.c:204",
    ]


def test_a_report_that_only_begins_is_one_all_the_same() -> None:
    (event,) = events("harmless", CUT)
    assert event.kind is LogClass.WARN
    assert [event.kind for event in events(CUT, "BUG: kernel NULL pointer dereference, address: 0")] == [
        LogClass.OOPS
    ]


def test_critical_lines_inside_of_a_report_are_no_events() -> None:
    report = ["BUG: unable to handle page fault", "what no rule knows", "RIP: 0010:oops+0x1/0x2", END]
    (bad,) = judged(*report, level=1)
    assert "Oops in oops" in bad.claim
    assert len(judged(*report, "what no rule knows", level=1)) == 2


def test_many_different_faults_do_not_bury_the_first() -> None:
    many = [WARNING.replace("331", str(number)) for number in range(20)]
    found = judged(*many)
    assert len(found) == checker._MOST
    assert found[-1].claim.endswith("(12 other faults are in the log)")


def test_the_worst_comes_first() -> None:
    found = judged(
        *WARN, "INFO: task reader:100 blocked for more than 120 seconds.", "Kernel panic - not syncing: x"
    )
    assert [finding.blame for finding in found] == [Blame.KERNEL_FAULT, Blame.KERNEL_FAULT, Blame.TIMEOUT]
    assert "Kernel log: panic: " in found[0].claim


# whom it is about


@pytest.mark.parametrize(
    ("line", "about"),
    [
        ("vfio-pci 0000:01:00.0: not ready 65535ms after FLR; giving up", ", on disk: "),
        (
            "pcieport 0000:00:05.0: Data Link Layer Link Active not set in 1000 msec",
            ", on the port above disk: ",
        ),
        ("pcieport 0000:00:06.0: Data Link Layer Link Active not set in 1000 msec", ", on 0000:00:06.0: "),
        (
            "pcieport 0000:00:05.0: AER: Uncorrectable (Fatal) error message received from 0000:01:00.0",
            "uncorrectable AER error, on disk: ",
        ),
        ("DMAR: [DMA Read NO_PASID] Request device [01:00.0] fault addr 0x0", "IOMMU fault, on disk: "),
        ("INFO: task python3:100 blocked for more than 120 seconds.", "hung task, by reader: "),
        ("INFO: task kworker/0:1:17 blocked for more than 120 seconds.", "hung task, by kworker/0:1 17: "),
    ],
)
def test_a_claim_names_the_function_or_the_thread(line: str, about: str) -> None:
    (bad,) = judged(line)
    assert about in bad.claim
    assert bad.claim.endswith(line)


@pytest.mark.parametrize(
    ("us", "when"),
    [
        (-10, ", before the release: "),
        (1_500, "pci_cfg_access_lock (drivers/pci/access.c:331), by reader: "),
        (2_500, ", after the last operation: "),
    ],
)
def test_a_claim_says_when_it_was_outside_of_the_operations(us: float, when: str) -> None:
    (bad,) = judged((us, WARNING))
    assert when in bad.claim


def test_a_log_without_times_says_nothing_of_them() -> None:
    history = staged(WARNING)
    (line,) = history.log
    for unknown in (replace(history, log=(replace(line, time_us=0),)), replace(history, begin_ns=Ns(0))):
        (bad,) = kernel_log(unknown, terms(unknown))
        assert "release" not in bad.claim


# what it amounts to


@pytest.mark.parametrize("kind", LogClass)
def test_every_class_means_one_thing(kind: LogClass) -> None:
    silent = kind in (LogClass.INFO, LogClass.DETAIL)
    assert (kind in checker._FAULTS) + (kind in checker._TOLERATED) + silent == 1


@pytest.mark.parametrize(
    "line",
    [
        "pci 0000:01:00.0: timed out waiting for pending transaction; performing function level reset anyway",
        "vfio-pci 0000:01:00.0: Refused to change power state from D0 to D3hot",
        "pcieport 0000:00:05.0: AER: Correctable error message received from 0000:01:00.0",
        "vfio-pci 0000:01:00.0: ready 2047ms after FLR",
    ],
)
def test_what_is_tolerated_passes_and_is_told(line: str) -> None:
    (good,) = judged("harmless", line)
    assert good.verdict is Verdict.PASS
    assert "1 of them warnings" in good.claim
    assert "disk" in good.claim
    assert line in good.claim


@pytest.mark.parametrize(
    "line", ["igb 0000:01:00.0: resetting", "pci 0000:01:00.0: Invalid reset method 'x'"]
)
def test_normal_work_is_not_told(line: str) -> None:
    (good,) = judged(line)
    assert good.claim == "1 lines of kernel log, no fault."


def test_our_own_modules_do_not_taint() -> None:
    history = staged("harmless")
    for bit in range(20):
        verdict = worst(kernel_log(replace(history, taint_after=1 << bit), terms(history)))
        assert (verdict is Verdict.FAIL) == (bit in (4, 5, 7, 9, 14)), bit

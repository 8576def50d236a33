"""The kernel log as events: what belongs together, what a claim says of it, and what it amounts to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.history.console import read_console
from harness.history.history import History, LogLine
from harness.judge import judge
from harness.judge.evidence import Evidence
from harness.judge.evidence.log_events import LogEvent, log_events
from harness.judge.questions import kernel_log as checker
from harness.judge.questions.kernel_log import kernel_log
from harness.model.fault import Fault, Misbehaviour, PlannedFault
from harness.model.plan import Setting
from harness.model.terms import LogClass
from harness.model.units import Ns
from harness.model.verdict import Blame, Finding, Verdict
from tests.unit.judge.build import ALIAS, CONTRACT, Stage, at, terms, worst

PORT = "0000:00:05.0"
GOLDEN = Path(__file__).parents[2] / "golden" / "kernel_log"
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
    return kernel_log(Evidence(history), terms(history))


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


@pytest.mark.parametrize("other", ["igb 0000:01:00.0: enabling device (0000 -> 0002)", "nvme nvme0: Tx hang"])
@pytest.mark.parametrize("place", [1, 2, 4, 8])
def test_what_another_processor_says_meanwhile_does_not_cut_a_report_up(other: str, place: int) -> None:
    lines = [*WARN[:place], other, *WARN[place:]]
    report, aside = sorted(events(*lines), key=lambda event: event.kind is not LogClass.WARN)
    assert [lines[row] for row in report.rows] == list(WARN)
    assert aside.text == other


def test_equal_reports_are_one_finding_and_others_are_not() -> None:
    other = [line.replace("pci_cfg_access_lock", "pci_wait_cfg").replace("331", "204") for line in WARN]
    found = judged(*WARN, *WARN, *other)
    assert [finding.met for finding in found] == [2, 1]
    assert found[0].claim.endswith(" (1 more like it)")
    assert "pci_wait_cfg (drivers/pci/access.c:204)" in found[1].claim


HELPER = (
    "------------[ cut here ]------------",
    "refcount_t: underflow; use-after-free.",
    "WARNING: CPU: 1 PID: {tid} at lib/refcount.c:28 refcount_warn_saturate+0xf4/0x150",
    "RIP: 0010:refcount_warn_saturate+0xf4/0x150",
    "Call Trace:",
    " <TASK>",
    " {culprit}+0x1d/0x40",
    " ksys_write+0x6b/0xf0",
    " </TASK>",
    "---[ end trace 0000000000000000 ]---",
)


def test_two_bugs_that_one_helper_finds_are_two_findings() -> None:
    one, other = (
        [line.replace("{culprit}", culprit) for line in HELPER]
        for culprit in ("pci_reset_bus_function", "vfio_pci_core_disable")
    )
    found = judged(*one, *other, *one)
    assert [finding.met for finding in found] == [2, 1]
    assert "pci_reset_bus_function (lib/refcount.c:28)" in found[0].claim
    assert "vfio_pci_core_disable (lib/refcount.c:28)" in found[1].claim


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
        (bad,) = kernel_log(Evidence(unknown), terms(unknown))
        assert "release" not in bad.claim


# what it amounts to


@pytest.mark.parametrize("kind", LogClass)
def test_every_class_means_one_thing(kind: LogClass) -> None:
    silent = kind in (LogClass.INFO, LogClass.DETAIL, LogClass.HELPER)
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
        verdict = worst(kernel_log(Evidence(replace(history, taint_after=1 << bit)), terms(history)))
        assert (verdict is Verdict.FAIL) == (bit in (4, 5, 7, 9, 14)), bit


# who speaks


@pytest.mark.parametrize(
    "text",
    [
        "Kernel panic - not syncing: said a program",
        "BUG: kernel NULL pointer dereference, address: 0",
        "igb 0000:01:00.0: what no rule knows",
        CUT,
    ],
)
def test_what_a_program_writes_is_not_the_kernels_word(text: str) -> None:
    (line,) = staged(text, level=2).log
    said = replace(staged(), log=(replace(line, facility=1),))
    assert [finding.claim for finding in kernel_log(Evidence(said), terms(said))] == [
        "1 lines of kernel log, no fault."
    ]
    believed = replace(said, log=(line,))  # as in histories that did not record who speaks
    assert worst(kernel_log(Evidence(believed), terms(believed))) is Verdict.FAIL


def test_a_program_amid_a_report_does_not_cut_it_up() -> None:
    whole = staged(*WARN)
    program = replace(whole.log[0], text="Kernel panic - not syncing", facility=3)
    torn = (*whole.log[:3], program, *whole.log[3:])
    (event,) = log_events(torn, CONTRACT.log_rules)
    assert [torn[row].text for row in event.rows] == [line.text for line in whole.log]


@pytest.mark.parametrize(
    "text",
    [
        "traps: python3[215] general protection fault ip:7f0e sp:7ffd error:0 in libc.so.6[7f0e+155000]",
        "traps: BUG: KASAN: x[215] trap invalid opcode ip:7f0e sp:7ffd error:0 in x[7f0e+1000]",
        "x[1]: segfault at 0 ip 00005599e0f0a139 sp 00007ffd03108e10 error 6 in x[5599e0f0a000+1000]",
    ],
)
def test_a_program_that_crashes_is_no_fault_of_the_kernel(text: str) -> None:
    (good,) = judged(text, level=6)
    assert good.verdict is Verdict.PASS


@pytest.mark.parametrize(
    "text",
    [
        "igb 0000:01:00.0: WARNING: CPU: 1 PID: 2 at nothing",
        "foo: BUG: is a word",
        "note: kernel BUG at foo.c:1!",
        "x: list_add corruption was mended",
        "y: Oops: no",
        "foo: this is no general protection fault",
    ],
)
def test_words_in_the_middle_of_a_line_are_no_report(text: str) -> None:
    assert worst(judged(text)) is Verdict.PASS


def test_a_panic_that_mentions_a_sanitizer_is_a_panic_and_stands_first() -> None:
    found = judged(
        "BUG: KASAN: slab-use-after-free in pci_wait_cfg+0x6d/0x150",
        "Kernel panic - not syncing: KASAN: panic_on_warn set ...",
        level=1,
    )
    assert [finding.claim.split(":")[1].strip() for finding in found] == [
        "panic",
        "sanitizer in pci_wait_cfg",
    ]


# what drivers say of their functions


def lost(
    *lines: str, after_ms: float | None = 10, level: int = 3, driver: str = "nvme", **how: int
) -> History:
    """A reset of 100 ms that reports success, and a driver that speaks so long after its beginning."""
    stage = Stage()
    stage.heartbeat()
    stage.reset(stage.resetter(), 1_000)
    history = stage.history()
    time_us = 0 if after_ms is None else (at(1_000) // 1000) + round(after_ms * 1000)
    (function,) = history.functions
    operations = history.operations.copy()
    for name, value in how.items():
        operations[name][operations["actor"] == 1] = value
    return replace(
        history,
        operations=operations,
        functions=(replace(function, driver=driver, port=PORT),),
        log=tuple(LogLine(time_us=time_us, level=level, text=line) for line in lines),
    )


LOST = "nvme nvme0: Disabling device after reset failure: -19"


@pytest.mark.parametrize(
    "line",
    [
        LOST,
        "nvme nvme0: Device not ready; aborting reset, CSTS=0x1",
        "nvme nvme0: I/O tag 3 (1003) opcode 0x2 (I/O Cmd) QID 1 timeout, reset controller",
        "nvme 0000:01:00.0: Unable to recover the controller",
        "foo 0000:01:00.0 eth0: PCIe link lost, device now detached",
        "bar 0000:01:00.0: firmware is not responding",
        "baz 0000:01:00.0: Tx hang",
    ],
)
@pytest.mark.parametrize("after_ms", [10, 500, None])
def test_a_driver_that_loses_its_function_convicts_the_reset_before(
    line: str, after_ms: float | None
) -> None:
    history = lost(line, after_ms=after_ms)
    (bad,) = kernel_log(Evidence(history), terms(history))
    assert (bad.verdict, bad.blame) == (Verdict.FAIL, Blame.RESET_FAILED)
    assert bad.claim.startswith(
        "reset/flr of disk by resetter reported success, and then the driver gave it up"
    )
    assert [str(event).split(":")[0] for event in bad.events] == ["operation", "log"]


def test_a_reset_that_failed_is_not_convicted_of_what_the_driver_says_then() -> None:
    history = lost(LOST, error=25, result=-1)
    (open_,) = kernel_log(Evidence(history), terms(history))
    assert (open_.verdict, open_.blame) == (Verdict.UNKNOWN, Blame.NOTHING)


def test_a_driver_that_gave_up_before_any_reset_leaves_the_question_open() -> None:
    history = lost(LOST, after_ms=-100)
    (open_,) = kernel_log(Evidence(history), terms(history))
    assert open_.verdict is Verdict.UNKNOWN
    assert "Nothing in the stage explains what a driver says" in open_.claim


@pytest.mark.parametrize(
    "history",
    [
        lost("igb 0000:07:00.0 eth0: PCIe link lost, device now detached"),
        lost("igb: Failed to read reg 0x8!"),
        lost("nvme nvme0: Shutdown timeout set to 8 seconds"),
        lost(LOST, level=6),
    ],
    ids=["another function", "another driver", "no trouble", "in passing"],
)
def test_what_drivers_say_otherwise_convicts_nobody(history: History) -> None:
    assert worst(kernel_log(Evidence(history), terms(history))) is Verdict.PASS


def test_a_driver_is_known_by_what_the_plan_gives_to_the_function() -> None:
    history = lost("foo foo0: controller is down; will reset", driver="")
    assert worst(kernel_log(Evidence(history), terms(history))) is Verdict.PASS
    given = Setting(function=ALIAS, attribute="driver_override", value="foo")
    history = replace(history, plan=replace(history.plan, settings=(given,)))
    assert worst(kernel_log(Evidence(history), terms(history))) is Verdict.FAIL


def test_what_was_staged_to_go_wrong_is_no_riddle() -> None:
    history = lost(LOST, "igb 0000:01:00.0: what no rule knows")
    fault = PlannedFault(function=ALIAS, fault=Fault(what=Misbehaviour.NEVER_READY))
    history = replace(history, plan=replace(history.plan, faults=(fault,)))
    assert worst(kernel_log(Evidence(history), terms(history))) is Verdict.PASS


# what no rule explains


@pytest.mark.parametrize(
    ("line", "level", "verdict"),
    [
        ("foo 0000:01:00.0: what no rule knows", 3, Verdict.UNKNOWN),
        ("pcieport 0000:00:05.0: what no rule knows", 3, Verdict.UNKNOWN),
        ("vfio-pci: what no rule knows", 3, Verdict.UNKNOWN),
        ("vfio-pci vfio0: what no rule knows", 3, Verdict.UNKNOWN),
        ("foo 0000:01:00.0: what no rule knows", 4, Verdict.PASS),
        ("foo 0000:01:00.0: what no rule knows", 6, Verdict.PASS),
        ("foo 0000:07:00.0: what no rule knows", 3, Verdict.PASS),
        ("foo: what no rule knows", 3, Verdict.PASS),
        ("foo: what no rule knows", 2, Verdict.FAIL),
    ],
)
def test_what_no_rule_explains_is_told_or_leaves_the_question_open(
    line: str, level: int, verdict: Verdict
) -> None:
    history = staged(line, level=level)
    (function,) = history.functions
    history = replace(history, functions=(replace(function, driver="vfio-pci"),))
    (finding,) = kernel_log(Evidence(history), terms(history))
    assert finding.verdict is verdict
    remarks = judge(history, terms(history)).remarks
    said = [finding.claim] if verdict is not Verdict.PASS else [remark.text for remark in remarks]
    assert [line in one and "no rule explains" in one.lower() for one in said] == [True]
    assert bool(remarks) is (verdict is Verdict.PASS)


# locks


def test_lockdep_tells_both_locks_and_both_orders() -> None:
    console = read_console((GOLDEN / "lockdep.txt").read_text())
    history = replace(staged(), log=tuple(line for line in console.lines if not line.text.startswith("#")))
    (bad,) = kernel_log(Evidence(history), terms(history))
    assert bad.blame is Blame.KERNEL_FAULT
    assert (
        "&vdev->memory_lock is taken in vfio_pci_core_ioctl while &dev->mutex, taken in pci_dev_lock, is held, but "
        "before &group->group_lock was taken in vfio_group_fops_unl_ioctl while &vdev->memory_lock was held, "
        "&dev->mutex was taken in vfio_unregister_group_dev while &group->group_lock was held"
    ) in bad.claim
    assert judge(history, terms(history)).verdict is Verdict.FAIL


def test_a_warning_about_a_function_of_the_plan_is_told_before_a_slow_machine() -> None:
    slow = "hrtimer: interrupt took 88049540 ns"
    about = "pci 0000:01:00.0: not ready 1023ms after FLR; waiting"
    (good,) = judged(slow, about, level=4)
    assert "2 of them warnings" in good.claim
    assert about in good.claim
    (good,) = judged(slow, level=4)
    assert slow in good.claim

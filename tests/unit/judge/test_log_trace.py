"""Whose doing a report is, out of all the functions that it names."""

from __future__ import annotations

import pytest

from harness.history.console import read_console
from harness.judge.evidence.log_events import LogEvent, log_events
from tests.unit.judge.build import CONTRACT

HEADS = {
    "warn": (
        "------------[ cut here ]------------",
        "WARNING: CPU: 1 PID: 9 at lib/x.c:1 {0}+0x1/0x2",
        "RIP: 0010:{0}+0x1/0x2",
    ),
    "oops": (
        "BUG: kernel NULL pointer dereference, address: 0",
        "Oops: Oops: 0000 [#1] SMP",
        "RIP: 0010:{0}+0x1/0x2",
    ),
    "sleeps": ("BUG: sleeping function called from invalid context at x.c:1",),
    "soft": ("watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [x:9]", "RIP: 0010:{0}+0x1/0x2"),
    "rcu": ("rcu: INFO: rcu_preempt self-detected stall on CPU",),
}


def event(head: str, first: str, *trace: str) -> LogEvent:
    frames = (
        f" {one}+0x1/0x2" if one[0] not in "<?R" else f" {one}" if one[0] != "R" else one for one in trace
    )
    lines = [*(line.format(first) for line in HEADS[head]), "Call Trace:", *frames]
    (found,) = log_events(read_console("\n".join(lines)).lines, CONTRACT.log_rules)
    return found


@pytest.mark.parametrize(
    ("head", "first", "trace", "symbol"),
    [
        ("warn", "guilty", ("<TASK>", "caller"), "guilty"),
        (
            "warn",
            "refcount_warn_saturate",
            ("<TASK>", "? __warn+0x1/0x2", "kobject_put", "guilty", "caller"),
            "guilty",
        ),
        ("oops", "__list_add_valid_or_report", ("<TASK>", "_raw_spin_lock", "guilty", "caller"), "guilty"),
        ("oops", "memcpy", ("<TASK>", "? unreliable+0x1/0x2", "guilty"), "guilty"),
        # an interrupt's own doing, whomever it interrupted
        (
            "sleeps",
            "",
            (
                "<IRQ>",
                "dump_stack_lvl",
                "__might_resched",
                "mutex_lock",
                "guilty",
                "call_timer_fn",
                "</IRQ>",
                "<TASK>",
                "asm_sysvec_apic_timer_interrupt",
                "RIP: 0010:victim+0x1/0x2",
                "victims_caller",
            ),
            "guilty",
        ),
        # of helpers alone the outermost thing that is known, and never the victim
        (
            "warn",
            "refcount_warn_saturate",
            ("<IRQ>", "call_timer_fn", "</IRQ>", "<TASK>", "victim"),
            "refcount_warn_saturate",
        ),
        # a stall is the doing of whom the interrupt found
        ("soft", "native_queued_spin_lock_slowpath", ("<TASK>", "_raw_spin_lock", "guilty"), "guilty"),
        ("soft", "guilty", ("<IRQ>", "watchdog_timer_fn", "</IRQ>", "<TASK>", "caller"), "guilty"),
        (
            "rcu",
            "",
            (
                "<IRQ>",
                "dump_stack_lvl",
                "nmi_cpu_backtrace",
                "handler_of_nobody",
                "</IRQ>",
                "<TASK>",
                "RIP: 0010:guilty+0x1/0x2",
                "caller",
            ),
            "guilty",
        ),
        # a stall inside of an interrupt is the interrupt's
        (
            "soft",
            "guilty_handler",
            ("<IRQ>", "handle_irq_event", "</IRQ>", "<TASK>", "victim"),
            "guilty_handler",
        ),
    ],
)
def test_the_function_to_look_at(head: str, first: str, trace: tuple[str, ...], symbol: str) -> None:
    assert event(head, first, *trace).symbol == symbol


def test_what_another_thread_did_before_is_not_the_report() -> None:
    report = "BUG: KASAN: slab-use-after-free in memcpy+0x1/0x2\nFreed by task 3:\n innocent+0x1/0x2\n"
    (found,) = log_events(read_console(report).lines, CONTRACT.log_rules)
    assert found.symbol == "memcpy"


@pytest.mark.parametrize(("module", "symbol"), [(" [ring]", "wait_for_ready"), ("", "caller")])
def test_what_a_module_has_is_never_stepped_over(module: str, symbol: str) -> None:
    head = "BUG: scheduling while atomic: x/9/0x2\nCall Trace:\n schedule+0x1/0x2\n"
    report = f"{head} wait_for_ready+0x1/0x2{module}\n caller+0x1/0x2"
    (found,) = log_events(read_console(report).lines, CONTRACT.log_rules)
    assert found.symbol == symbol

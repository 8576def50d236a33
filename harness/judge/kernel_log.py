"""Was the kernel log clean?

Source of the patterns: the contract's log rules; every rule names the kernel function that prints the line.
"""

from __future__ import annotations

import re
from typing import Final

from harness.history.history import History
from harness.judge import findings
from harness.judge.culprit import LOG_PATTERN, told
from harness.judge.lock_discipline import SOURCE, convicted
from harness.model.terms import LogClass, LogRule, Terms
from harness.model.verdict import Blame, Finding

NAME: Final = "kernel_log"
_CRITICAL: Final = 2  # syslog: emergency, alert, critical
_TAINTS: Final = {
    4: "a machine check",
    5: "a bad page",
    7: "an oops or BUG",
    9: "a kernel warning",
    14: "a soft lockup",
}
"""Bits of /proc/sys/kernel/tainted that tell of a fault (Linux admin-guide/tainted-kernels.rst)."""
_BLAMES: Final = {
    LogClass.FAULT: Blame.KERNEL_FAULT,
    LogClass.LOST: Blame.DEVICE_LOST,
    LogClass.RESET_FAILED: Blame.RESET_FAILED,
    LogClass.HUNG: Blame.TIMEOUT,
}


def kernel_log(history: History, terms: Terms) -> tuple[Finding, ...]:
    """Read every line of the kernel log by the contract's rules, and compare the taint."""
    read = [(row, _rule(text.level, text.text, terms)) for row, text in enumerate(history.log)]
    found, explained = [], []
    if faults := convicted(history):
        explained = [
            row
            for row, rule in read
            if rule and rule.kind is LogClass.FAULT and re.search(LOG_PATTERN, history.log[row].text)
        ]
    if explained:
        first = history.log[explained[0]].text.splitlines()[0]
        found.append(
            findings.failed(
                NAME,
                Blame.DRIVER_FAULT,
                f"Kernel log: {first}: that is because {told(history, faults[0])}.",
                events=[*(findings.log(row) for row in explained[:2]), *findings.kernel(faults[0].rows[-1])],
                source=SOURCE,
                met=len(explained),
            )
        )
    for kind, blame in _BLAMES.items():
        lines = [
            (row, rule)
            for row, rule in read
            if rule is not None and rule.kind is kind and row not in explained
        ]
        if lines:
            row, rule = lines[0]
            more = f" ({len(lines) - 1} more lines like it)" if len(lines) > 1 else ""
            found.append(
                findings.failed(
                    NAME,
                    blame,
                    f"Kernel log: {rule.meaning}: {history.log[row].text.splitlines()[0]}{more}",
                    events=[findings.log(row) for row, _ in lines[:4]],
                    source=rule.source,
                    met=len(lines),
                )
            )
    tainted = history.taint_after & ~history.taint_before
    if names := [name for bit, name in _TAINTS.items() if tainted >> bit & 1]:
        found.append(
            findings.failed(
                NAME,
                Blame.KERNEL_FAULT,
                f"The kernel is tainted since the stage began, by {' and '.join(names)} "
                f"({history.taint_before:#x} → {history.taint_after:#x}).",
                source="Linux Documentation/admin-guide/tainted-kernels.rst",
            )
        )
    if not history.log_complete:
        found.append(findings.unknown(NAME, "The kernel log of the stage is not complete."))
    if found:
        return tuple(found)
    warnings = [
        history.log[row].text for row, rule in read if rule is not None and rule.kind is LogClass.WARNING
    ]
    aside = f", {len(warnings)} of them warnings: {warnings[0].splitlines()[0]}" if warnings else ""
    return (
        findings.passed(
            NAME, f"{len(history.log)} lines of kernel log, no fault{aside}.", met=len(history.log)
        ),
    )


_UNREAD: Final = LogRule(
    pattern="",
    kind=LogClass.FAULT,
    meaning="a critical line that no rule explains",
    source="syslog levels 0 to 2",
)


def _rule(level: int, text: str, terms: Terms) -> LogRule | None:
    """The first rule that matches; a critical line that none explains is a fault."""
    fitting = (rule for rule in terms.log_rules if re.search(rule.pattern, text))
    return next(fitting, _UNREAD if level <= _CRITICAL else None)

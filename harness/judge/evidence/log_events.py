"""The kernel log as events: a report of many lines is one of them.

The contract says what a line is.  How lines belong together is known here: a report has a line that says what it is,
lines before and after it, and with some luck a line that ends it.  Two processors may write at the same time, so
what lies between two lines of a report need not belong to it.

Source: Linux include/asm-generic/bug.h, `CUT_HERE`; kernel/panic.c, `__warn()`; arch/x86/kernel/dumpstack.c.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from harness.history.history import LogLine
from harness.model.terms import LogClass, LogRule, nameless

_CRITICAL: Final = 2  # syslog: emergency, alert, critical
_CUT_HERE: Final = re.compile(r"-\[ cut here \]-")
_END: Final = re.compile(r"-\[ end |^ </TASK>$|^={20,}$|^[\w /-]+ has been reset", re.MULTILINE)
_BDF: Final = re.compile(r"(?<![\w:.])(?:[0-9a-f]{4,}:)?[0-9a-f]{2}:[01][0-9a-f]\.[0-7](?![\w.])")
_COMMON: Final = re.compile(
    r"^_*(schedule|io_schedule|mutex|rt_mutex|rwsem|down|wait|do_wait|preempt_schedule|dump_stack|show_|nmi_"
    r"|ubsan_|lock_acquire|lockdep_|validate_chain|check_|print_)"
)
"""Frames of whoever waits or reports; those below them tell for what, and of what."""
_PANIC: Final = re.compile(r"^v?panic$")
_OTHER_CPU: Final = re.compile(r"^NMI backtrace for cpu")
_SUFFIX: Final = re.compile(r"\.(cold|isra|part|constprop)\b.*")  # compilers cut functions up
_NEAR: Final = 8  # lines: how far apart the lines that say what a report is may be

_LINK: Final = frozenset({LogClass.AER_CORRECTABLE, LogClass.AER_UNCORRECTABLE, LogClass.DPC, LogClass.LOST})
_LINK_REPORTS: Final = _LINK - {LogClass.LOST}
REPORTS: Final = frozenset(
    {
        LogClass.WARN,
        LogClass.BUG,
        LogClass.OOPS,
        LogClass.CORRUPTION,
        LogClass.SANITIZER,
        LogClass.LOCKDEP,
        LogClass.RCU_STALL,
        LogClass.SOFT_LOCKUP,
        LogClass.HARD_LOCKUP,
        LogClass.HUNG_TASK,
        LogClass.PANIC,
    }
)
"""What the kernel tells about itself, in many lines."""
_WITH_DETAIL: Final = REPORTS | _LINK_REPORTS
_FOLLOWS: Final = {
    LogClass.CORRUPTION: {LogClass.WARN, LogClass.BUG, LogClass.OOPS},
    LogClass.BUG: {LogClass.OOPS},
    LogClass.OOPS: {LogClass.OOPS, LogClass.SANITIZER},
}
"""Which lines go on with what another has begun: `list_del corruption`, `kernel BUG at`, `Oops: invalid opcode`."""

UNLOCK_WARNING: Final = re.compile(r"\bpci_cfg_access_unlock\b")
"""In a line of the kernel log that tells of a fault: the kernel found the lock free when it was to be unlocked.

`WARNING: CPU: 1 PID: 99 at drivers/pci/access.c:331 pci_cfg_access_unlock+0x…` until Linux 6.17,
`WARNING: drivers/pci/access.c:331 at pci_cfg_access_unlock+0x…, CPU#1: name/99` since (kernel/panic.c, `__warn()`).
"""

_UNREAD: Final = LogRule(
    pattern="",
    kind=LogClass.BUG,
    meaning="a critical line that no rule explains",
    source="syslog levels 0 to 2",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEvent:
    """Something that the kernel log tells.

    Attributes:
        rule: of the contract, that read the line which says what it is.
        kind: its class; mostly that of the rule.
        text: that line; the first one of a record of several.
        row: number of that line in the log.
        rows: numbers of all lines that belong to it, in order.
        said: the words of a WARN() in front of the line; empty without.
        symbol: kernel function in which it happened; empty when it is not told.
        place: file and line in the kernel's source; empty when it is not told.
        comm, pid: the thread that was at work; empty when it is not told.
        functions: addresses of functions that are named, `0000:01:00.0`, the one in question first.
    """

    rule: LogRule
    kind: LogClass
    text: str
    row: int
    rows: tuple[int, ...]
    said: str = ""
    symbol: str = ""
    place: str = ""
    comm: str = ""
    pid: str = ""
    functions: tuple[str, ...] = ()


def log_events(lines: Sequence[LogLine], rules: tuple[LogRule, ...]) -> tuple[LogEvent, ...]:
    """Read a kernel log.

    Args:
        lines: of /dev/kmsg, or of a console.
        rules: of the contract; the first one that matches a line counts.

    Returns:
        Events in the order in which they began.  Lines that no rule knows are no events, unless their level is
        critical.
    """
    reader = _Reader(_compiled(rules))
    for row, line in enumerate(lines):
        reader.read(row, line)
    return reader.events()


@dataclass(slots=True, kw_only=True)
class _Event:
    """An event whose lines are still being read.

    `begun` is True as long as there is no line yet that says what it is, but one that announces it; `settled` once
    it is known who caused a panic.
    """

    rule: LogRule
    kind: LogClass
    text: str
    row: int
    rows: list[int]
    begun: bool = False
    ended: bool = False
    settled: bool = False
    said: str = ""
    told: dict[str, str] = field(default_factory=dict)
    functions: list[str] = field(default_factory=list)

    def hear(self, match: re.Match[str]) -> None:
        """Take over what named groups tell, unless it is known already."""
        for name, value in match.groupdict().items():
            if name == "frame" and value and _PANIC.match(value):
                self.told = {known: self.told[known] for known in ("comm", "pid") if known in self.told}
                self.settled = True
            elif value and not (name == "frame" and _COMMON.match(value)):
                self.told.setdefault(name, value)

    def turn(self) -> None:
        """Another processor is shown.  In a panic all of them are: who did it has `panic` in its trace."""
        if self.kind is LogClass.PANIC:
            self.ended = self.settled
            if not self.settled:
                self.told = {}


class _Reader:
    def __init__(self, rules: _Rules) -> None:
        self._rules = rules
        self._events: list[_Event] = []
        self._reports: list[_Event] = []  # those of them that lines of detail may belong to

    def events(self) -> tuple[LogEvent, ...]:
        """What was read.  A report that is announced and never comes counts only when nothing else came."""
        for event in self._events:
            if event.kind is LogClass.PANIC and not event.settled:
                event.told = {}
        last = max((n for n, event in enumerate(self._events) if not event.begun), default=-1)
        kept = [
            event
            for n, event in enumerate(self._events)
            if not event.begun or event.kind is LogClass.IOMMU_FAULT or n > last
        ]
        return tuple(
            LogEvent(
                rule=event.rule,
                kind=event.kind,
                text=event.text.splitlines()[0] if event.text else "",
                row=event.row,
                rows=tuple(event.rows),
                said=event.said,
                symbol=_SUFFIX.sub("", event.told.get("symbol") or event.told.get("frame", "")),
                place=event.told.get("place", ""),
                comm=event.told.get("comm", ""),
                pid=event.told.get("pid", ""),
                functions=tuple(dict.fromkeys(event.functions)),
            )
            for event in kept
        )

    def read(self, row: int, line: LogLine) -> None:
        """Read the next line."""
        found = self._rules.find(line.text)
        if found is None:
            self._unknown(row, line)
        elif found[0].kind is LogClass.DETAIL:
            self._detail(row, line, *found)
        else:
            self._head(row, line, *found)

    def _unknown(self, row: int, line: LogLine) -> None:
        event = self._events[-1] if self._events else None
        if event and event.begun and not event.said:
            event.said = line.text.splitlines()[0] if line.text else ""
            event.rows.append(row)
        elif line.level <= _CRITICAL:
            if event and event.kind in REPORTS and event.rule is not _UNREAD and not event.ended:
                event.rows.append(row)
            else:
                self._begin(row, line, _UNREAD)
        elif event and _END.search(line.text):
            event.ended = True

    def _detail(self, row: int, line: LogLine, rule: LogRule, match: re.Match[str]) -> None:
        if not self._reports:
            if match.groupdict().get("symbol"):  # its beginning is missing, but the kernel stopped here
                self._begin(row, line, rule, kind=LogClass.OOPS).hear(match)
            return
        event = self._reports[-1]
        event.rows.append(row)
        if _OTHER_CPU.search(line.text):
            event.turn()
        if not event.ended:  # after the end an oops shows again where the first one of all happened
            event.hear(match)
            event.ended = event.kind is not LogClass.PANIC and bool(_END.search(line.text))

    def _head(self, row: int, line: LogLine, rule: LogRule, match: re.Match[str]) -> None:
        event = self._events[-1] if self._events else None
        if _CUT_HERE.search(line.text):
            if event and event.kind is LogClass.CORRUPTION and row - event.rows[-1] == 1:
                event.rows.append(row)
            else:
                self._begin(row, line, rule).begun = True
            return
        functions = _functions(line.text, match)
        if event is None or not _goes_on(event, row, rule, match, functions):
            event = self._begin(row, line, rule)
            # The fault status of an IOMMU comes before the function that it is about.
            event.begun = rule.kind is LogClass.IOMMU_FAULT and not functions
        else:
            event.rows.append(row)
            if event.begun:
                event.rule, event.text, event.row, event.begun = rule, line.text, row, False
                self._call(event, rule.kind)
            elif rule.kind is LogClass.LOST:
                event.rule = rule
                self._call(event, LogClass.LOST)
        event.hear(match)
        event.functions += functions

    def _begin(self, row: int, line: LogLine, rule: LogRule, *, kind: LogClass | None = None) -> _Event:
        event = _Event(rule=rule, kind=kind or rule.kind, text=line.text, row=row, rows=[row])
        self._events.append(event)
        self._call(event, event.kind)
        return event

    def _call(self, event: _Event, kind: LogClass) -> None:
        """Say what the last of the events is."""
        event.kind = kind
        if self._reports and self._reports[-1] is event:
            self._reports.pop()
        if kind in _WITH_DETAIL:
            self._reports.append(event)


def _goes_on(event: _Event, row: int, rule: LogRule, match: re.Match[str], functions: list[str]) -> bool:
    """Whether a line that says what it is goes on with an event that was begun before."""
    if event.ended or row - event.rows[-1] > _NEAR:
        return False
    if event.begun:
        return (rule.kind is LogClass.IOMMU_FAULT) == (event.kind is LogClass.IOMMU_FAULT)
    if event.kind in _LINK_REPORTS and rule.kind in _LINK:
        announces = match.groupdict().get("bdf") and event.kind is not LogClass.DPC
        return not announces and bool(set(functions) & set(event.functions))
    return rule.kind in _FOLLOWS.get(event.kind, ())


def _functions(text: str, match: re.Match[str]) -> list[str]:
    """Addresses in a line; where a port tells of another function, that one comes first."""
    named = match.groupdict().get("bdf")
    found = [_with_domain(one) for one in _BDF.findall(text)]
    return [_with_domain(named), *found] if named else found


def _with_domain(bdf: str) -> str:
    return bdf if bdf.count(":") == 2 else f"0000:{bdf}"


class _Rules:
    """Rules that are ready for use."""

    def __init__(self, rules: tuple[LogRule, ...]) -> None:
        self._each = [(rule, re.compile(rule.pattern, re.MULTILINE)) for rule in rules]
        self._any = re.compile("|".join(nameless(rule.pattern) for rule in rules) or r"(?!)", re.MULTILINE)

    def find(self, text: str) -> tuple[LogRule, re.Match[str]] | None:
        """The first rule that matches, and how."""
        if self._any.search(text):
            for rule, pattern in self._each:
                if match := pattern.search(text):
                    return rule, match
        return None


@lru_cache(maxsize=4)
def _compiled(rules: tuple[LogRule, ...]) -> _Rules:
    return _Rules(rules)

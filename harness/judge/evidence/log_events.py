"""The kernel log as events: a report of many lines is one of them.

The contract says what a line is.  How lines belong together is known here: a report has a line that says what it is,
lines before and after it, and with some luck a line that ends it.  Two processors may write at the same time, so
what lies between two lines of a report need not belong to it.  What programs write into the log is not the kernel's
word: a line that carries another facility than the kernel's own is none.

Source: Linux include/asm-generic/bug.h, `CUT_HERE`; kernel/panic.c, `__warn()`; arch/x86/kernel/dumpstack.c;
kernel/printk/printk.c, `devkmsg_write()`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from harness.history.history import LogLine
from harness.judge.evidence.lock_order import LockOrder
from harness.judge.evidence.log_lines import Rules, compiled
from harness.judge.evidence.log_trace import Function, Trace
from harness.model.terms import LogClass, LogRule

_CRITICAL: Final = 2  # syslog: emergency, alert, critical
_CUT_HERE: Final = re.compile(r"-\[ cut here \]-")
_SWITCHED_OFF: Final = re.compile(r"^Disabling IRQ #")
"""The last line of the report of an interrupt that nobody cared for."""
_END: Final = re.compile(r"-\[ end |^ </TASK>$|^={20,}$|^[\w /-]+ has been reset", re.MULTILINE)
_BDF: Final = re.compile(r"(?<![\w:.])(?:[0-9a-f]{4,}:)?[0-9a-f]{2}:[01][0-9a-f]\.[0-7](?![\w.])")
_PANIC: Final = re.compile(r"^v?panic$")
_MODULE: Final = re.compile(r"\w \[\w+\](?:,|$)")
"""Behind the name of a function that a module has."""
_REGISTERS: Final = ("RIP: ", "pc : ")
_OTHER_CPU: Final = re.compile(r"^NMI backtrace for cpu")
_NEAR: Final = 8  # lines: how far apart the lines that say what a report is may be
_NEAR_OOPS: Final = 24  # arm64 shows page tables between "Unable to handle" and "Internal error"

_LINK: Final = frozenset({LogClass.AER_CORRECTABLE, LogClass.AER_UNCORRECTABLE, LogClass.DPC, LogClass.LOST})
_LINK_REPORTS: Final = _LINK - {LogClass.LOST}
_HARDWARE: Final = frozenset({LogClass.MACHINE_CHECK, LogClass.CORRECTED})
_OF_HARDWARE: Final = re.compile(r"\[Hardware Error\]: ")
_ANNOUNCED: Final = frozenset({LogClass.IOMMU_FAULT, LogClass.MACHINE_CHECK})
_ANNOUNCES: Final = re.compile(r"handling fault status|: event 0x\w+ received:|Hardware error from APEI")
_STALLS: Final = frozenset({LogClass.RCU_STALL, LogClass.SOFT_LOCKUP, LogClass.HARD_LOCKUP})
"""What an interrupt finds of those whom it interrupts."""
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
_DETAILED: Final = REPORTS | _LINK_REPORTS | {LogClass.IOMMU_FAULT}
_FOLLOWS: Final = {
    LogClass.CORRUPTION: {LogClass.WARN, LogClass.BUG, LogClass.OOPS},
    LogClass.BUG: {LogClass.OOPS},
    LogClass.OOPS: {LogClass.OOPS, LogClass.SANITIZER},
    LogClass.SANITIZER: {LogClass.OOPS},
}
"""Which lines go on with what another has begun: `list_del corruption`, `kernel BUG at`, `Oops: invalid opcode`."""

UNLOCK_WARNING: Final = re.compile(r"\bpci_cfg_access_unlock\b")
"""In a line of the kernel log that tells of a fault: the kernel found the lock free when it was to be unlocked.

`WARNING: CPU: 1 PID: 99 at drivers/pci/access.c:331 pci_cfg_access_unlock+0x…` until Linux 6.17,
`WARNING: drivers/pci/access.c:331 at pci_cfg_access_unlock+0x…, CPU#1: name/99` since (kernel/panic.c, `__warn()`).
"""

_FAMILIES: Final = (REPORTS, _LINK, _HARDWARE, frozenset({LogClass.IOMMU_FAULT}))
"""Classes of lines that may tell of one and the same event."""

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
        said: the words of a WARN() in front of the line, or of lockdep which locks were taken in which order; empty
            without.
        symbol: kernel function whose doing it is (:mod:`~harness.judge.evidence.log_trace`); empty when it is not
            told.
        place: file and line in the kernel's source; empty when it is not told.
        comm, pid: the thread that was at work; empty when it is not told.
        functions: addresses of functions that are named, `0000:01:00.0`, the one in question first.
        driver: whose words these are, where no address stands before them; empty otherwise.
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
    driver: str = ""


def log_events(lines: Sequence[LogLine], rules: tuple[LogRule, ...]) -> tuple[LogEvent, ...]:
    """Read a kernel log.

    Args:
        lines: of /dev/kmsg, or of a console.
        rules: of the contract; the first one that matches a line counts.

    Returns:
        Events in the order in which they began.  Lines that no rule knows are no events, unless their level is
        critical; lines of programs are none.
    """
    reader = _Reader(compiled(rules))
    for row, line in enumerate(lines):
        if line.of_the_kernel:
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
    trace: Trace = field(default_factory=Trace)
    locks: LockOrder = field(default_factory=LockOrder)

    def hear(self, found: re.Match[str]) -> None:
        """Take over what named groups tell, unless it is known already."""
        told = {name: value for name, value in found.groupdict().items() if value}
        lock, link = told.pop("lock", ""), told.pop("link", "")
        module = bool(_MODULE.search(found.string))
        functions = {
            name: Function(said, module)
            for name in ("symbol", "frame", "handler")
            if (said := told.pop(name, ""))
        }
        if lock or self.kind is LogClass.LOCKDEP:
            self.locks.hear(lock, functions.get("symbol") or functions.get("frame"), link)
        match functions:
            case {"symbol": stopped} if found.string.startswith(_REGISTERS):
                self.trace.registers(stopped)
            case {"symbol": named}:
                self.trace.names(named, traced=self.kind is LogClass.SANITIZER)
            case {"frame": frame} if _PANIC.match(frame.said):
                self.trace, self.settled = self.trace.after(), True
            case {"frame": frame}:
                self.trace.frame(frame)
            case {"handler": handler}:
                self.trace.handlers.append(handler)
        for name, value in told.items():
            self.told.setdefault(name, value)

    def turn(self) -> None:
        """Another processor is shown.  In a panic all of them are: who did it has `panic` in its trace."""
        if self.kind is LogClass.PANIC:
            self.ended = self.settled
            if not self.settled:
                self.told, self.trace = {}, Trace()


class _Reader:
    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._events: list[_Event] = []
        self._latest: dict[frozenset[LogClass], list[_Event]] = {
            family: [] for family in (*_FAMILIES, _DETAILED)
        }  # of each family its events, the latest last; some may have left it

    def events(self) -> tuple[LogEvent, ...]:
        """What was read.  A report that is announced and never comes counts only when nothing else came."""
        for event in self._events:
            if event.kind is LogClass.PANIC and not event.settled:
                event.told, event.trace = {}, Trace()
        last = max((n for n, event in enumerate(self._events) if not event.begun), default=-1)
        kept = [
            event
            for n, event in enumerate(self._events)
            if not event.begun or event.kind in _ANNOUNCED or n > last
        ]
        return tuple(
            LogEvent(
                rule=event.rule,
                kind=event.kind,
                text=event.text.splitlines()[0] if event.text else "",
                row=event.row,
                rows=tuple(event.rows),
                said=event.locks.told(self._rules.helps) or event.said,
                symbol=event.trace.culprit(self._rules.helps, interrupted=event.kind in _STALLS),
                place=event.told.get("place", ""),
                comm=event.told.get("comm", ""),
                pid=event.told.get("pid", ""),
                functions=tuple(dict.fromkeys(event.functions)),
                driver=event.told.get("driver", ""),
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
        event = self._before(LogClass.BUG)
        if event and event.begun and not event.said:
            event.said = line.text.splitlines()[0] if line.text else ""
            event.rows.append(row)
        elif line.level <= _CRITICAL:
            if event and event.rule is not _UNREAD and not event.ended:
                event.rows.append(row)
            else:
                self._begin(row, line, _UNREAD)
        elif event and _END.search(line.text):
            event.ended = True

    def _detail(self, row: int, line: LogLine, rule: LogRule, match: re.Match[str]) -> None:
        family = _HARDWARE if _OF_HARDWARE.search(line.text) else _DETAILED
        event = self._last_of(family)
        if event is None:
            if line.text.startswith(_REGISTERS) and match.groupdict().get(
                "symbol"
            ):  # its beginning is missing, but the kernel stopped here
                self._begin(row, line, rule, kind=LogClass.OOPS).hear(match)
            return
        event.rows.append(row)
        if _OTHER_CPU.search(line.text):
            event.turn()
        event.trace.turn(line.text)
        if not event.ended or "handler" in match.groupdict():
            # after the end an oops shows again where the first one of all happened
            event.hear(match)
            if not event.functions and (named := _told_of(match)):
                event.functions, event.begun = named, False
            event.ended = bool(_END.search(line.text)) and self._is_over(event)

    def _is_over(self, event: _Event) -> bool:
        """Whether what looks like the end of a report is one.

        In that of a panic or stall, others may be shown before whose doing it is.
        """
        if event.kind in _STALLS:
            return event.trace.known(self._rules.helps)
        return event.kind is not LogClass.PANIC

    def _head(self, row: int, line: LogLine, rule: LogRule, match: re.Match[str]) -> None:
        event = self._before(rule.kind)
        if _CUT_HERE.search(line.text):
            if event and event.kind is LogClass.CORRUPTION and row - event.rows[-1] == 1:
                event.rows.append(row)
            else:
                self._begin(row, line, rule).begun = True
            return
        if (
            event
            and _SWITCHED_OFF.search(line.text)
            and event.kind is rule.kind
            and row - event.rows[-1] <= _NEAR
        ):
            event.rows.append(row)
            return
        functions = _functions(line.text, match)
        if event is None or not _goes_on(event, row, rule, match, functions):
            event = self._begin(row, line, rule)
            # The fault status of an IOMMU comes before the function that it is about, and the source of an error of
            # the hardware before its severity.
            event.begun = bool(_ANNOUNCES.search(line.text))
        else:
            event.rows.append(row)
            if event.begun:
                event.rule, event.text, event.row, event.begun = rule, line.text, row, False
                self._call(event, rule.kind)
            elif rule.kind is LogClass.LOST or event.kind is LogClass.AER_CORRECTABLE:
                event.rule = rule
                self._call(event, rule.kind)
        event.hear(match)
        event.functions += functions

    def _before(self, kind: LogClass) -> _Event | None:
        """The event that a line of this class may go on with: what others say meanwhile does not cut a report up."""
        return next((self._last_of(family) for family in _FAMILIES if kind in family), None)

    def _last_of(self, family: frozenset[LogClass]) -> _Event | None:
        """The latest event of one of these classes."""
        latest = self._latest[family]
        while latest and latest[-1].kind not in family:
            latest.pop()
        return latest[-1] if latest else None

    def _call(self, event: _Event, kind: LogClass) -> None:
        """Say what an event is, or that it is something else after all."""
        event.kind = kind
        for family, latest in self._latest.items():
            if kind in family and (not latest or latest[-1] is not event):
                latest.append(event)

    def _begin(self, row: int, line: LogLine, rule: LogRule, *, kind: LogClass | None = None) -> _Event:
        event = _Event(rule=rule, kind=kind or rule.kind, text=line.text, row=row, rows=[row])
        self._events.append(event)
        self._call(event, event.kind)
        return event


def _goes_on(event: _Event, row: int, rule: LogRule, match: re.Match[str], functions: list[str]) -> bool:
    """Whether a line that says what it is goes on with an event that was begun before."""
    near = _NEAR_OOPS if event.kind is LogClass.OOPS else _NEAR
    if event.ended or row - event.rows[-1] > near:
        return False
    if event.begun or event.kind in _ANNOUNCED:
        return event.begun
    if event.kind in _LINK_REPORTS and rule.kind in _LINK:
        announces = match.groupdict().get("bdf") and event.kind is not LogClass.DPC
        return not announces and bool(set(functions) & set(event.functions))
    return rule.kind in _FOLLOWS.get(event.kind, ())


def _functions(text: str, match: re.Match[str]) -> list[str]:
    """Addresses in a line; where a port or an IOMMU tells of another function, that one comes first."""
    return [*_told_of(match), *addresses(text)]


def addresses(text: str) -> list[str]:
    """The addresses of functions in a line, each with its domain."""
    return [_with_domain(one) for one in _BDF.findall(text)]


def _told_of(match: re.Match[str]) -> list[str]:
    """The function that another one tells of, by its address or by its number on a bus."""
    told = match.groupdict()
    if named := told.get("bdf"):
        return [_with_domain(named)]
    number = int(told.get("sid") or "0", 16)
    return [f"0000:{number >> 8 & 0xFF:02x}:{number >> 3 & 0x1F:02x}.{number & 7}"] if number else []


def _with_domain(bdf: str) -> str:
    return bdf if bdf.count(":") == 2 else f"0000:{bdf}"

"""Whose doing a report of the kernel is: the function to look at, out of all that it names.

A report names who found the fault, who waited, who was interrupted.  The one to look at is the first function of the
context that reports, from the inside out, that does not report, wait or work for others; the contract says which do
(class `helper`).  Three contexts may show in one report:

* what stopped: registers before the call trace.  Of a trap it is where the fault is, of a stall what does not end;
* the call trace.  What stands between `<IRQ>` and `</IRQ>` is the interrupt's own: nothing outside of it is its
  doing.  But a stall is found by an interrupt, and is the doing of whom it interrupted;
* registers inside of a call trace: what an interrupt or a trap interrupted.

Source: Linux arch/x86/kernel/dumpstack.c, `show_trace_log_lvl()`; kernel/watchdog.c; kernel/rcu/tree_stall.h.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

_BEGINS: Final = re.compile(r"^ ?Call [Tt]race:")
_ENTERS: Final = re.compile(r"^ <(?:IRQ|NMI|SOFTIRQ|#\w+)>")
_LEAVES: Final = re.compile(r"^ </(?:IRQ|NMI|SOFTIRQ|#\w+)>|^ <(?:TASK|EOI)>|^RIP: 0010:")
_OTHERS: Final = re.compile(
    r"^(?:Allocated|Freed|Local variable \S+ created at|Last potentially|Second to last|Uninit was|Showing all locks"
    r"|The buggy address|page last|page_owner|INFO: lockdep is turned off|Memory state around)\b"
)
"""What follows is another thread's, or of another time."""
_SUFFIX: Final = re.compile(r"\.(cold|isra|part|constprop|llvm|localalias)\b.*")  # compilers cut functions up


@dataclass(frozen=True, slots=True)
class Function:
    """A function that a line of the log names: as it is there, and whether a module has it."""

    said: str
    module: bool = False

    @property
    def name(self) -> str:
        """Its name, as its source has it."""
        return _SUFFIX.sub("", self.said)


Helps = Callable[[str], bool]
"""Whether a function of the kernel proper reports, waits or works for others."""


def to_look_at(functions: Sequence[Function], helps: Helps) -> str:
    """The first that does not help others, else the first; empty without any.  What a module has is its own."""
    first = next((one for one in functions if one.module or not helps(one.name)), None)
    return (first or functions[0]).name if functions else ""


@dataclass(slots=True)
class Trace:
    """The functions that a report names, while its lines are being read.

    Attributes:
        named: in the lines that say what it is, and where a lock was taken.
        stopped: by registers before a call trace.
        frames: of call traces, and registers inside of them; True for those of an interrupt.
        handlers: who was asked whether an interrupt was his.
    """

    named: list[Function] = field(default_factory=list)
    stopped: list[Function] = field(default_factory=list)
    frames: list[tuple[Function, bool]] = field(default_factory=list)
    handlers: list[Function] = field(default_factory=list)
    _traced: bool = False
    _interrupt: bool = False

    def turn(self, text: str) -> None:
        """Take notice of a line that says what the following ones are."""
        if _BEGINS.search(text):
            self._traced, self._interrupt = True, False
        elif _ENTERS.search(text):
            self._interrupt = True
        elif _LEAVES.search(text):
            self._interrupt = False
        elif _OTHERS.search(text):
            self._traced = False

    def names(self, name: Function, *, traced: bool) -> None:
        """The function that a line names which says what the report is; some show how it came there at once."""
        self.named.append(name)
        self._traced = self._traced or traced

    def registers(self, name: Function) -> None:
        """The function that registers show."""
        if self._traced:
            self.frames.append((name, False))
        else:
            self.stopped.append(name)

    def frame(self, name: Function) -> None:
        """A frame; one that stands in no call trace of the thread that reports counts for nothing."""
        if self._traced:
            self.frames.append((name, self._interrupt))

    def after(self) -> Trace:
        """The trace from here on: what led here."""
        return Trace(_traced=self._traced, _interrupt=self._interrupt)

    def culprit(self, helps: Helps, *, interrupted: bool) -> str:
        """The function to look at; empty when the report names none.

        Args:
            helps: the contract's word on functions.
            interrupted: whether the report is about what an interrupt found, not about itself.
        """
        return to_look_at(list(self._inside_out(interrupted=interrupted)), helps)

    def known(self, helps: Helps) -> bool:
        """Whether a function of whom an interrupt found is among them that does not help others."""
        return any(one.module or not helps(one.name) for one in self._inside_out(interrupted=True))

    def _inside_out(self, *, interrupted: bool) -> Iterator[Function]:
        yield from self.named[:1]
        yield from self.stopped
        if interrupted and not self.stopped:
            yield from (name for name, within in self.frames if not within)
        within_one = bool(self.frames) and self.frames[0][1]
        for name, within in self.frames:
            if within_one and not within:
                break
            yield name
        yield from (*self.named[1:], *self.handlers)

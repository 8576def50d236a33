"""The text of a serial console as lines of the kernel log, for a target whose /dev/kmsg cannot be read any more.

A console shows the same records as /dev/kmsg, with less around them: no level, no sequence number, and only what the
console's log level lets through.  So a level is guessed, and what the text itself says of gaps is believed.

Source: Linux kernel/printk/printk.c, `print_prefix()`, `info_print_prefix()`, `console_unlock()`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from harness.history.history import LogLine
from harness.model.lines import CUT, short_lines
from harness.model.observation import KERNEL_FACILITY, MOST_FACILITY

STAGE_MARKER: Final = re.compile(r"^hil: stage [0-9a-f]{32} (begins|ends)$")
"""What the agent writes into the kernel log around each stage (harness/agent/kernel_log.py)."""

_CRITICAL: Final = 2
_WARNING: Final = 4
_INFO: Final = 6

_ESCAPE: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[()][0-9A-Za-z]|[=>78cMDEHNOZ])")
_NOT_PRINTED: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_TIME: Final = re.compile(r"(?:<(?P<priority>\d{1,3})>)?\[ *(?P<s>\d+)\.(?P<us>\d{6})\](?:\[ *[TC]\d+\])? ?")
"""Prefix of a line: its time, and with CONFIG_PRINTK_CALLER the thread (T) or processor (C) that wrote it."""
_GAP: Final = re.compile(r"\d bytes\b.* left out\b|^\*\* \d+ printk messages dropped \*\*")
"""Written by the recorder of a console that had to drop text, and by a kernel whose console was too slow."""
_REPLAY: Final = re.compile(r"^\*\* replaying previous printk message \*\*")
_DEADLY: Final = re.compile(
    r"^(?:\[ |watchdog: )?BUG: |^Oops\b|^kernel BUG at|^Kernel panic - not syncing|^general protection fault"
    r"|^Unable to handle kernel|^Internal error: |^[\w ]*watchdog: .*detected hard LOCKUP"
)
_WARNED: Final = re.compile(r"^WARNING: |UBSAN: |rcu: INFO: |INFO: task ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
    """What was read from a console.

    Attributes:
        lines: in the order in which they were written.
        complete: False when the text says that something is missing.
    """

    lines: tuple[LogLine, ...]
    complete: bool

    def of_stage(self) -> Console:
        """The lines since the last stage began; all of them when the console shows no beginning."""
        begins = [
            row
            for row, line in enumerate(self.lines)
            if (marker := STAGE_MARKER.match(line.text)) and marker[1] == "begins"
        ]
        first = begins[-1] + 1 if begins else 0
        kept = tuple(line for line in self.lines[first:] if not STAGE_MARKER.match(line.text))
        return Console(lines=kept, complete=self.complete)


def read_console(text: str) -> Console:
    """Read the text of a console.

    A line without a time (firmware, the first process, the rest of a line that was cut off) carries the time of the
    line before it, or 0.  Two messages that two processors wrote into one line are two lines.

    Args:
        text: as recorded, with its control characters; its first line may be cut off.

    Returns:
        The lines; `level` is the one of a prefix `<6>` where there is one, else 2 for a kernel that crashes, 4 for a
        warning of the kernel, 6 for anything else.
    """
    lines: list[LogLine] = []
    complete, time_us = True, 0
    for raw in short_lines(_ESCAPE.sub("", text)).split("\n"):
        plain = _NOT_PRINTED.sub("", raw).rstrip()
        for prefix, said in _messages(plain):
            if prefix:
                time_us = int(prefix["s"]) * 1_000_000 + int(prefix["us"])
            complete = complete and not said.endswith(CUT)
            if _GAP.search(said):
                complete = False
            elif said and not _REPLAY.match(said):
                facility = int(prefix["priority"] or 0) >> 3 if prefix else KERNEL_FACILITY
                lines.append(
                    LogLine(
                        time_us=time_us,
                        level=_level(prefix, said),
                        text=said,
                        facility=min(facility, MOST_FACILITY),
                    )
                )
    return Console(lines=tuple(lines), complete=complete)


def _messages(line: str) -> list[tuple[re.Match[str] | None, str]]:
    """Cut a line at the times in it: the prefix of each part, and the part."""
    prefixes = list(_TIME.finditer(line))
    ends = [*(prefix.start() for prefix in prefixes), len(line)]
    parts: list[tuple[re.Match[str] | None, str]] = [(None, line[: ends[0]])]
    parts += [(prefix, line[prefix.end() : end]) for prefix, end in zip(prefixes, ends[1:], strict=True)]
    return parts


def _level(prefix: re.Match[str] | None, said: str) -> int:
    if prefix and prefix["priority"]:
        return int(prefix["priority"]) & 7
    if _DEADLY.search(said):
        return _CRITICAL
    return _WARNING if _WARNED.search(said) else _INFO

"""The kernel log between two markers that we write into it ourselves.

Source: Linux Documentation/ABI/testing/dev-kmsg.
"""

from __future__ import annotations

import os
import re
import time
import uuid
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from typing import Final

from harness.model.observation import Log, LogLine

MARKER: Final = "hil: stage "
"""What lines between which a stage lies begin with; what follows is different for each stage."""

_RECORD_BYTES: Final = 8192  # LOG_LINE_MAX plus prefix; a shorter buffer gives EINVAL
_ESCAPED: Final = re.compile(rb"\\x([0-9a-f]{2})")
_BEGINS: Final = "<11>"  # facility user (1), severity error (3): consoles show it, and so where a stage began
_ENDS: Final = "<14>"  # severity info (6)


class KernelLog:
    """Open before the stage, :meth:`collect` after it."""

    def __init__(
        self, alarms: AbstractContextManager[None] | None = None, *, descriptor: int | None = None
    ) -> None:
        """Begin.

        Args:
            alarms: entered before the first marker and left after the last one; see :mod:`harness.agent.alarms`.
            descriptor: of an open log, which does not block and gives one record a read; it is this object's from now
                on.  None for the log of this machine.
        """
        self._marker = f"{MARKER}{uuid.uuid4().hex}"
        self._spans: dict[str, tuple[int, int]] = {}
        self._undo = ExitStack()
        self._undo.enter_context(alarms or nullcontext())
        self._fd = _this_machines() if descriptor is None else descriptor
        self._undo.callback(os.close, self._fd)
        self._say(_BEGINS, "begins")

    def collect(self) -> Log:
        """Write the end marker, read everything between the two, and leave the alarms.

        Times are CLOCK_MONOTONIC: the log's own clock is some milliseconds off, by as much as the markers tell.
        """
        with self._undo:
            self._say(_ENDS, "ends")
            records, overwritten = self._read()
        markers = {f"{self._marker} {what}": span for what, span in self._spans.items()}
        found = [(one.time_us, *markers[one.text]) for one in records if one.text in markers]
        begins = next((n for n, one in enumerate(records) if one.text == f"{self._marker} begins"), None)
        ends = next((n for n, one in enumerate(records) if one.text == f"{self._marker} ends"), None)
        lines = records[0 if begins is None else begins + 1 : ends]
        late_us = _late_us(found)
        return Log(
            lines=tuple(replace(line, time_us=line.time_us + late_us) for line in lines),
            complete=begins is not None and ends is not None and not overwritten,
        )

    def leave(self) -> None:
        """Leave the alarms and the log, if nobody has collected it."""
        self._undo.close()

    def _read(self) -> tuple[list[LogLine], bool]:
        """All records that are left, and whether some were overwritten."""
        records: list[LogLine] = []
        overwritten = False
        while True:
            try:
                raw = os.read(self._fd, _RECORD_BYTES)
            except BlockingIOError:
                return records, overwritten
            except BrokenPipeError:  # records were overwritten; the next read goes on with what is left
                overwritten = True
                continue
            record = _parse(raw)
            records.append(record)
            if record.text == f"{self._marker} ends":
                return records, overwritten

    def _say(self, severity: str, what: str) -> None:
        begun = time.monotonic_ns()
        # without the newline the record stays open for a continuation, and no reader sees it
        os.write(self._fd, f"{severity}{self._marker} {what}\n".encode())
        self._spans[what] = (begun, time.monotonic_ns())


def _this_machines() -> int:
    """A descriptor of /dev/kmsg, behind what was said before."""
    descriptor = os.open("/dev/kmsg", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    os.lseek(descriptor, 0, os.SEEK_END)
    return descriptor


def _late_us(markers: list[tuple[int, int, int]]) -> int:
    """How far the log's clock is behind CLOCK_MONOTONIC, in microseconds; 0 when no marker tells.

    Args:
        markers: time in the log (us), and CLOCK_MONOTONIC before and after it was written (ns).
    """
    if not markers:
        return 0
    least = max(before - time_us * 1000 for time_us, before, _ in markers)
    most = min(after - time_us * 1000 for time_us, _, after in markers)
    return (least + most) // 2000


def _parse(raw: bytes) -> LogLine:
    """`priority,sequence,time_us,flags;text`, and after it lines of a dictionary.

    The text is one line, which may begin with a space; bytes that are no printable ASCII are hexadecimal in it.
    """
    prefix, _, body = raw.partition(b";")
    fields = prefix.split(b",")
    text = _ESCAPED.sub(lambda found: bytes.fromhex(found[1].decode()), body.split(b"\n", 1)[0])
    return LogLine(
        time_us=int(fields[2]),
        level=int(fields[0]) & 7,
        facility=int(fields[0]) >> 3,
        text=text.decode(errors="backslashreplace"),
    )

"""The kernel log between two markers that we write into it ourselves.

Source: Linux Documentation/ABI/testing/dev-kmsg.
"""

from __future__ import annotations

import os
import uuid
from typing import Any, Final

_RECORD_BYTES: Final = 8192  # LOG_LINE_MAX plus prefix; a shorter buffer gives EINVAL
_SYSLOG_INFO: Final = "<14>"  # facility user (1) and severity info (6), as a person's message


class KernelLog:
    """Open before the stage, :meth:`collect` after it."""

    def __init__(self) -> None:
        self._marker = f"hil: stage {uuid.uuid4().hex}"
        self._fd = os.open("/dev/kmsg", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        os.lseek(self._fd, 0, os.SEEK_END)
        self._say("begins")

    def collect(self) -> dict[str, Any]:
        """Write the end marker and read everything between the two.

        Returns:
            `lines`: a list of `time_us`, `level`, `text`; `complete`: False when a marker is missing or the kernel
            had to overwrite records that we had not read.
        """
        self._say("ends")
        lines: list[dict[str, Any]] = []
        seen_begin = seen_end = False
        overwritten = False
        while not seen_end:
            try:
                raw = os.read(self._fd, _RECORD_BYTES)
            except BlockingIOError:
                break
            except BrokenPipeError:  # records were overwritten; the next read goes on with what is left
                overwritten = True
                continue
            record = _parse(raw.decode(errors="backslashreplace"))
            if record["text"] == f"{self._marker} begins":
                seen_begin = True
            elif record["text"] == f"{self._marker} ends":
                seen_end = True
            else:
                lines.append(record)
        os.close(self._fd)
        return {"lines": lines, "complete": seen_begin and seen_end and not overwritten}

    def _say(self, what: str) -> None:
        # without the newline the record stays open for a continuation, and no reader sees it
        os.write(self._fd, f"{_SYSLOG_INFO}{self._marker} {what}\n".encode())


def _parse(raw: str) -> dict[str, Any]:
    """`priority,sequence,time_us,flags;text` and, after it, dictionary lines that begin with a space."""
    prefix, _, body = raw.partition(";")
    fields = prefix.split(",")
    text = "\n".join(line for line in body.rstrip("\n").split("\n") if not line.startswith(" "))
    return {"time_us": int(fields[2]), "level": int(fields[0]) & 7, "text": text}

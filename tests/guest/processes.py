"""Which processes of this machine have to do with a test."""

from __future__ import annotations

from pathlib import Path


def whose_command_names(text: str) -> list[int]:
    """Pids of the processes whose command line contains `text`, such as the path of a test's own folder."""
    found = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = line.read_bytes()
        except OSError:  # it has ended
            continue
        if text.encode() in command:
            found.append(int(line.parent.name))
    return found

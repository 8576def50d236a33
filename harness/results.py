"""The results folder of a run: what lies where, and how a report gets there whole or not at all.

This is where journal and report meet.  `complete` makes the report of any run, dead or alive, from its
journal alone: `harness report` calls it, and so does whoever supervises a runner.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final

from harness.errors import UsageError
from harness.journal.reader import read
from harness.journal.session import Session
from harness.report.exit import ExitStatus, exit_status
from harness.report.junit import Dialect, to_junit

JUNIT: Final = "junit.xml"
JOURNAL: Final = "journal.jsonl"
ATTACHMENTS: Final = "att"
"""Folder of pictures and logs that belong to single tests."""

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """Which boot of this host this is; empty where the kernel does not tell."""
    try:
        return _BOOT_ID.read_text("ascii").strip()
    except OSError:
        return ""


def publish(path: Path, data: bytes) -> None:
    """Write a file that is either the old one or the new one, also after a power cut.

    Raises:
        UsageError: the folder cannot be written, or the disk is full; the old file is still there.
    """
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            umask = os.umask(0)
            os.umask(umask)
            Path(name).chmod(0o666 & ~umask)  # mkstemp made it private, a dashboard is another user
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise UsageError(
            f"file {path}", said=os.strerror(error.errno or 0), hint="Name a results folder with room in it."
        ) from error


def load(results: Path) -> Session:
    """Read what the journal in a results folder tells of its last session.

    Raises:
        UsageError: there is no journal, or it cannot be read.
    """
    return read(results / JOURNAL, boot_id=boot_id())


def complete(results: Path, *, dialect: Dialect | None = None) -> ExitStatus:
    """Make `junit.xml` from the journal, whatever became of the runner, and say what the run comes to.

    Doing it again changes nothing.

    Args:
        results: the folder that was given with `--hil-results`.
        dialect: which flavour of JUnit; None for the one that the run asked for.

    Raises:
        UsageError: there is no journal, or the report cannot be written.
    """
    session = load(results)
    publish(results / JUNIT, to_junit(session, dialect=dialect or Dialect(session.start.dialect)))
    return exit_status(session)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

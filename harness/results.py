"""The results folder of a run: what lies where, and how a report gets there whole or not at all.

This is where journal and report meet.  `complete` makes the report of any run, dead or alive, from its
journal alone: `harness report` calls it, and so does whoever supervises a runner.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from harness.errors import UsageError
from harness.journal.reader import read, read_lines
from harness.journal.record import TestStart
from harness.journal.session import Session
from harness.journal.writer import JournalWriter
from harness.report.exit import ExitStatus, exit_status
from harness.report.junit import Dialect, to_junit
from harness.report.lean import lean

JUNIT: Final = "junit.xml"
JOURNAL: Final = "journal.jsonl"
ATTACHMENTS: Final = "att"
"""Folder of pictures and logs that belong to single tests."""

EARLIER: Final = "earlier"
"""Folder of what the run before this one left; there is one such run."""
RESERVE: Final = ".reserve"
"""Room that is kept for the case that the disk fills (harness/journal/reserve.py)."""
SOAK: Final = "soak.json"
SOAK_PICTURE: Final = "soak.svg"
"""What a soak leaves beside its journal: statistic and picture."""

_OURS: Final = re.compile(r".*-[0-9a-f]{8}\.|shared-guest|\.ahead-")
"""What the names of attachments begin with: a slug (harness/report/identity.py), or a guest of several tests."""
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


def put_away(results: Path) -> str:
    """Move what an earlier run left out of the way of a new one, in place of what lies in :data:`EARLIER`.

    Only what is certainly ours is moved or removed.  The old `junit.xml` stays until another one takes its place.  The
    journal of a run that began no test stays, too, and what is in :data:`EARLIER` with it.

    Args:
        results: the folder; it exists.

    Returns:
        What was done, in words; empty when there was nothing to do.

    Raises:
        UsageError: another run writes there, or the folder cannot be written.
    """
    with JournalWriter(results / JOURNAL):
        try:
            for name in (f".{JUNIT}.*", RESERVE, *(f".{name}.*" for name in (SOAK, SOAK_PICTURE))):
                for path in results.glob(name):  # whoever wrote these was killed
                    path.unlink()
            left = list(_evidence(results))
            if _tells(results / JOURNAL):
                left.append(results / JOURNAL)
            if not left:
                return ""
            earlier = results / EARLIER
            for path in (earlier / JOURNAL, *_evidence(earlier)):
                path.unlink(missing_ok=True)
            (earlier / ATTACHMENTS).mkdir(parents=True, exist_ok=True)
            for path in left:
                path.replace(earlier / path.relative_to(results))
        except OSError as error:
            raise UsageError(
                f"putting away what an earlier run left in {results}",
                said=error.strerror or str(error),
                hint="Name another results folder.",
            ) from error
    return f"what an earlier run left there is in {earlier}"


def _evidence(results: Path) -> Iterator[Path]:
    """Files beside the journal that a run of ours has left, and nobody else."""
    yield from (path for name in (SOAK, SOAK_PICTURE) if (path := results / name).is_file())
    folder = results / ATTACHMENTS
    if folder.is_dir():
        yield from (path for path in folder.iterdir() if path.is_file() and _OURS.match(path.name))


def _tells(journal: Path) -> bool:
    """Whether a journal is worth the place of an older one: a test was begun, or nobody can say.

    A run that a mistake on its command line has ended tells of no function.
    """
    lines = read_lines(journal)
    return bool(lines.damaged) or any(isinstance(record, TestStart) for record in lines.records)


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
    session = read(results / JOURNAL, boot_id=boot_id(), keep=lean)
    asked = session.start.dialect  # a later harness may know more of them than we do
    known = Dialect(asked) if asked in list(Dialect) else Dialect.STRICT
    publish(results / JUNIT, to_junit(session, dialect=dialect or known))
    return exit_status(session)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

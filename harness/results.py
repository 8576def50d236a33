"""The results folder of a run: what lies where, and how a report gets there whole or not at all.

This is where journal and report meet.  `complete` makes the report of any run, dead or alive, from its
journal alone: `harness report` calls it, and so does whoever supervises a runner.
"""

from __future__ import annotations

import itertools
import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from harness import removal
from harness.errors import UsageError
from harness.journal.reader import read, read_lines
from harness.journal.record import SessionStart, TestStart
from harness.journal.session import Session
from harness.journal.writer import JournalWriter
from harness.model.exit_status import ExitStatus
from harness.model.flavour import Dialect
from harness.report.exit import exit_status
from harness.report.junit import to_junit
from harness.report.lean import lean

JUNIT: Final = "junit.xml"
JOURNAL: Final = "journal.jsonl"
ATTACHMENTS: Final = "att"
"""Folder of pictures and logs that belong to single tests."""

EARLIER: Final = "earlier"
"""Folder of what the run before this one left; there is one such run."""
SOAK: Final = "soak.json"
SOAK_PICTURE: Final = "soak.svg"
"""What a soak leaves beside its journal: statistic and picture."""

_EARLIER_PURPOSE: Final = "what an earlier run left"
_HALF_WRITTEN: Final = "a file that is being written"
_OURS: Final = re.compile(r".*-[0-9a-f]{8}\.|shared-guest|\.ahead-")
"""What the names of attachments begin with: a slug (harness/report/identity.py), or a guest of several tests."""
_BEGINS: Final = f'{{"record":"{SessionStart.KIND}"'.encode()
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
        with removal.lent(path.parent, f".{path.name}.", _HALF_WRITTEN) as folder:
            whole = folder / path.name
            with whole.open("xb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            whole.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise UsageError(
            f"file {path}", said=os.strerror(error.errno or 0), hint="Name a results folder with room in it."
        ) from error


def claim(results: Path) -> None:
    """Refuse a folder in which files that are not ours have the names that ours will have; writes nothing.

    What says that they are ours is a journal: its first record is one that we wrote.  Other files are in nobody's way.

    Args:
        results: the folder; it exists.

    Raises:
        UsageError: there are such files.
    """
    taken = [path for name in (JOURNAL, JUNIT) if os.path.lexists(path := results / name)]
    taken += _evidence(results)
    if not taken or _is_our_journal(results / JOURNAL):
        return
    names = ", ".join(str(path.relative_to(results)) for path in taken[:3])
    raise UsageError(
        f"results folder {results}",
        said=f"{names}{', ...' if taken[3:] else ''} there would be overwritten, and no journal of yours says "
        "that this harness wrote that",
        hint="Name another results folder, or move it away.",
    )


def put_away(results: Path) -> str:
    """Move what an earlier run left out of the way of a new one, in place of what lies in :data:`EARLIER`.

    Only what is ours is moved or removed (harness/removal.py).  The old `junit.xml` stays until another one takes its
    place.  The journal of a run that began no test stays, too, and what is in :data:`EARLIER` with it.

    Args:
        results: the folder; it exists.

    Returns:
        What was done, in words; empty when there was nothing to do.

    Raises:
        UsageError: another run writes there, the folder cannot be written, or what is there is not ours.
    """
    claim(results)
    with JournalWriter(results / JOURNAL):
        try:
            done = _half_written_away(results)
            left = list(_evidence(results))
            if tells(results / JOURNAL):
                left.append(results / JOURNAL)
            if left:
                done += _moved_away(results, left)
        except OSError as error:
            raise UsageError(
                f"putting away what an earlier run left in {results}",
                said=error.strerror or str(error),
                hint="Name another results folder.",
            ) from error
    return "; ".join(done)


def _half_written_away(results: Path) -> list[str]:
    """Remove what runners were writing when they were killed; what else has such a name, in words."""
    found = [path for name in (JUNIT, SOAK, SOAK_PICTURE) for path in sorted(results.glob(f".{name}.*"))]
    return [f"{path} was left alone: {why}" for path in found if (why := removal.remove(path, _HALF_WRITTEN))]


def _moved_away(results: Path, left: list[Path]) -> list[str]:
    """Put files in place of those that the last run but one left; what was done, in words."""
    names = itertools.chain([EARLIER], (f"{EARLIER}-{number}" for number in itertools.count(2)))
    done = []
    for earlier in (results / name for name in names):
        with suppress(FileExistsError):
            earlier.mkdir(mode=0o755)
            earlier.chmod(0o755)  # whatever the umask is: a dashboard is another user
            removal.mark(earlier, _EARLIER_PURPOSE)
        if not (why := removal.objection(earlier, _EARLIER_PURPOSE)):
            break
        done.append(f"{earlier} was left alone: {why}")
    for path in (earlier / JOURNAL, *_evidence(earlier)):
        path.unlink(missing_ok=True)
    (earlier / ATTACHMENTS).mkdir(parents=True, exist_ok=True)
    for path in left:
        path.replace(earlier / path.relative_to(results))
    return [*done, f"what an earlier run left there is in {earlier}"]


def _evidence(results: Path) -> Iterator[Path]:
    """Files beside the journal that a run of ours has left, and nobody else."""
    yield from (path for name in (SOAK, SOAK_PICTURE) if _is_users_file(path := results / name))
    folder = results / ATTACHMENTS
    if folder.is_dir() and not folder.is_symlink():
        yield from (path for path in folder.iterdir() if _OURS.match(path.name) and _is_users_file(path))


def _is_users_file(path: Path) -> bool:
    """Whether it is a regular file of this user's, and no link to one."""
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()


def _is_our_journal(path: Path) -> bool:
    """Whether a file begins with the record that every journal begins with, or was never written to."""
    if not _is_users_file(path):
        return False
    with path.open("rb") as stream:
        return (first := stream.read(len(_BEGINS))) == _BEGINS[: len(first)]


def tells(journal: Path) -> bool:
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

"""The cache folder: everything the lab downloads or builds, each thing once.

An entry is a folder `<root>/<kind>/<key>/` that is either complete or absent.  It is built beside its place,
stamped, and renamed into it; a half-made one is never visible.  One lock file for each entry
says who is there: its builder holds it exclusively, its users hold it shared, the kernel drops it when they
die (SIGKILL included).  So two builders never meet, a dead builder's rubbish is recognised, and cleaning
never takes an entry away from under a running guest.

This module refuses to know what is inside an entry, and how much all of them may take (lab/cache_budget.py).
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from harness.errors import SetupError, UsageError
from lab.progress import note, size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

STAMP: Final = ".complete.json"
VARIABLE: Final = "VFIO_HARNESS_CACHE"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+~.-]*")
_KIND = re.compile(r"[a-z][a-z0-9-]*")
# EFBIG is what a file size limit (ulimit -f) answers; to the user it is the same trouble as a full disk.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_ELSEWHERE = f"Free some space, or set {VARIABLE}=/another/folder"
_RESERVED = frozenset({"locks", "building", "work"})


def default_root() -> Path:
    """Return the cache folder: `$VFIO_HARNESS_CACHE`, else `vfio-harness` in the XDG cache folder.

    Source: XDG Base Directory Specification, a relative `XDG_CACHE_HOME` is to be ignored.
    """
    if chosen := os.environ.get(VARIABLE):
        return Path(chosen).expanduser().absolute()
    xdg = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (xdg if xdg.is_absolute() else Path("~/.cache").expanduser()) / "vfio-harness"


def key_of(inputs: Mapping[str, object]) -> str:
    """Hash named inputs into a key of 16 hexadecimal digits; their order does not matter.

    Args:
        inputs: whatever decides what the entry will contain, as JSON values.
    """
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One complete entry, as `Cache.entries` lists it.

    Attributes:
        size_bytes: space it takes on the disk (allocated blocks: sparse files count what they hold).
        made_s: when it was published, seconds since the epoch.
        used_s: when it was last handed out, seconds since the epoch.
        in_use: whether a process (this one included) holds it now.
    """

    kind: str
    key: str
    path: Path
    size_bytes: int
    made_s: float
    used_s: float
    in_use: bool


class Cache:
    """The cache folder, and the entries that this process holds in it.

    Every path handed out by `publish` or `entry` stays valid until `close` or the end of the process.
    """

    def __init__(self, root: Path | None = None) -> None:
        """Open the cache folder, making it when needed.

        Args:
            root: the folder; the default one when None.

        Raises:
            SetupError: it can be neither made nor written to.
        """
        self.root = (root or default_root()).absolute()
        self._held: dict[tuple[str, str], int] = {}
        try:
            for name in _RESERVED:
                (self.root / name).mkdir(parents=True, exist_ok=True)
            tag = self.root / "CACHEDIR.TAG"  # backup programs skip a folder with this file
            if not tag.exists():
                tag.write_text("Signature: 8a477f597d28d172789f06886806bc55\n# made by vfio-harness\n")
            with tempfile.TemporaryFile(dir=self.root / "building"):
                pass
        except OSError as error:
            raise self._refused("opening the cache folder", error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of every entry held by this object."""
        while self._held:
            _, descriptor = self._held.popitem()
            os.close(descriptor)

    # --- finding and making ---------------------------------------------------------------------------

    def path(self, kind: str, key: str) -> Path:
        """Name the folder of an entry, whether or not it exists.

        Raises:
            UsageError: kind or key cannot be a folder name.
        """
        if not _KIND.fullmatch(kind) or kind in _RESERVED or not _NAME.fullmatch(key):
            raise UsageError(f"naming the cache entry {kind}/{key}", said="not usable as a folder name")
        return self.root / kind / key

    def entry(self, kind: str, key: str) -> Path | None:
        """Return a complete entry and hold it, or None when there is none (or it is being built)."""
        where = self.path(kind, key)
        if (kind, key) in self._held:
            return where
        if not (where / STAMP).exists():
            return None
        descriptor = self._lock_file(kind, key)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return self._hold(kind, key, descriptor) if (where / STAMP).exists() else self._drop(descriptor)

    def publish(
        self,
        kind: str,
        key: str,
        build: Callable[[Path], None],
        *,
        need_bytes: int = 0,
        replace: bool = False,
    ) -> Path:
        """Return the entry, building it first when it is absent; two processes at once build it once.

        Args:
            kind: what sort of thing it is, a lower-case word.
            key: which one; a name or `key_of` its inputs.
            build: fills the empty folder that it is given.  That folder moves afterwards: nothing in it may
                name its own path.
            need_bytes: how much space the finished entry and its making need; 0 when unknown.
            replace: build again although a complete entry is there (the caller found it damaged).

        Returns:
            The folder of the entry, held until `close`.

        Raises:
            SetupError: the disk is full, the folder cannot be written, or a damaged entry is in use.
        """
        where = self.path(kind, key)
        if replace:
            self.discard(kind, key)
        while True:
            if found := self.entry(kind, key):
                return found
            descriptor = self._lock_file(kind, key)
            try:
                if self._becomes_builder(descriptor, f"{kind}/{key}") and not (where / STAMP).exists():
                    self._build(where, kind, key, build, need_bytes)
                fcntl.flock(descriptor, fcntl.LOCK_SH)
            except BaseException:
                os.close(descriptor)
                raise
            # The change from exclusive to shared is not atomic (flock(2)): look again, and start over
            # in the unlikely case that a cleaner came between.
            if (where / STAMP).exists():
                return self._hold(kind, key, descriptor)
            os.close(descriptor)

    def discard(self, kind: str, key: str) -> None:
        """Remove an entry found damaged, so that it is built again.

        Raises:
            SetupError: another process is using it.
        """
        where = self.path(kind, key)
        if (held := self._held.pop((kind, key), None)) is not None:
            os.close(held)
        descriptor = self._lock_file(kind, key)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SetupError(
                f"removing the cache entry {where}",
                said="another process uses it",
                hint="Wait for the other run to end and try again",
            ) from error
        else:
            self._remove(where, kind, key)
        finally:
            os.close(descriptor)

    @contextmanager
    def workspace(self, name: str) -> Iterator[Path]:
        """Lend a folder that is kept between runs and used by one process at a time.

        Unlike an entry it has no state that could be trusted: only tools that repair their own leftovers
        (apt) may live in it.
        """
        where = self.root / "work" / name
        descriptor = self._lock_file("work", name)
        try:
            if not self._becomes_builder(descriptor, f"work/{name}"):
                fcntl.flock(descriptor, fcntl.LOCK_EX)  # here the other one lets go when it is done
            where.mkdir(exist_ok=True)
            yield where
        finally:
            os.close(descriptor)

    # --- showing and cleaning -------------------------------------------------------------------------

    def entries(self) -> list[Entry]:
        """List the complete entries, the largest first."""
        found = []
        for stamp in self.root.glob(f"*/*/{STAMP}"):
            where = stamp.parent
            kind, key = where.parent.name, where.name
            with suppress(OSError, ValueError):
                made_s = float(json.loads(stamp.read_text())["made_s"])
                found.append(
                    Entry(
                        kind=kind,
                        key=key,
                        path=where,
                        size_bytes=allocated_bytes(where),
                        made_s=made_s,
                        used_s=stamp.stat().st_mtime,
                        in_use=(kind, key) in self._held or self._is_locked(kind, key),
                    )
                )
        return sorted(found, key=lambda entry: entry.size_bytes, reverse=True)

    def clean(self, *, kind: str | None = None, unused_for_s: float = 0.0) -> list[Entry]:
        """Remove entries that nobody uses, and what dead builders left behind.

        Args:
            kind: only entries of this kind; all kinds, and the working folders, when None.
            unused_for_s: only entries not handed out for so many seconds.

        Returns:
            What was removed.
        """
        removed = []
        for entry in self.entries():
            old = time.time() - entry.used_s >= unused_for_s
            if not old or entry.in_use or kind not in (None, entry.kind):
                continue
            with suppress(SetupError):  # somebody began to use it a moment ago: then it stays
                self.discard(entry.kind, entry.key)
                removed.append(entry)
        if kind is None:
            for where in (self.root / "work").iterdir():
                if not self._is_locked("work", where.name):
                    shutil.rmtree(where, ignore_errors=True)
        self.sweep()
        return removed

    def lock_of(self, kind: str, key: str) -> int:
        """Return the descriptor that holds an entry, for a child process that must go on holding it.

        A child that inherits it keeps the entry in use until it ends, whatever becomes of this process (flock(2)).

        Raises:
            UsageError: this object does not hold the entry.
        """
        try:
            return self._held[kind, key]
        except KeyError:
            raise UsageError(f"lending the lock of {kind}/{key}", said="it is not held here") from None

    def sweep(self) -> list[str]:
        """Remove the half-made folders of builders that are dead; return the names of their entries."""
        swept = []
        for rubbish in (self.root / "building").iterdir():
            kind, _, rest = rubbish.name.partition("@")
            key = rest.rpartition("@")[0]
            if not key:
                continue
            descriptor = self._lock_file(kind, key)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # its builder lives, or the entry is complete, in use, and will be swept later
            else:
                shutil.rmtree(rubbish, ignore_errors=True)
                swept.append(f"{kind}/{key}")
            finally:
                os.close(descriptor)
        return swept

    # --- inside ---------------------------------------------------------------------------------------

    def _build(
        self, where: Path, kind: str, key: str, build: Callable[[Path], None], need_bytes: int
    ) -> None:
        """Build and publish; the caller holds the entry's lock exclusively, so all rubbish here is dead."""
        for rubbish in (self.root / "building").glob(f"{kind}@{key}@*"):
            shutil.rmtree(rubbish, ignore_errors=True)
        free_bytes = shutil.disk_usage(self.root).free
        if need_bytes > free_bytes:
            raise SetupError(
                f"making {kind}/{key} in {self.root}",
                said=f"{size_text(need_bytes)} are needed there, {size_text(free_bytes)} are free",
                hint=_ELSEWHERE,
            )
        scratch: Path | None = None
        try:
            scratch = Path(tempfile.mkdtemp(prefix=f"{kind}@{key}@", dir=self.root / "building"))
            scratch.chmod(0o755)
            build(scratch)
            stamp = {"kind": kind, "key": key, "made_s": round(time.time(), 3)}
            with (scratch / STAMP).open("w") as file:
                json.dump(stamp, file)
                file.flush()
                os.sync()  # contents before the name: after a power cut there is no entry of empty files
                os.fsync(file.fileno())
            where.parent.mkdir(exist_ok=True)
            if where.exists():  # a folder without a stamp is nobody's
                shutil.rmtree(where)
            scratch.rename(where)
        except OSError as error:
            raise self._refused(f"making {kind}/{key}", error, need_bytes) from error
        finally:
            if scratch is not None and scratch.exists():
                shutil.rmtree(scratch, ignore_errors=True)

    def _remove(self, where: Path, kind: str, key: str) -> None:
        """Take an entry out of sight with one rename, then delete it."""
        if where.exists():
            grave = Path(tempfile.mkdtemp(prefix=f"{kind}@{key}@", dir=self.root / "building"))
            where.rename(grave / "removed")
            shutil.rmtree(grave, ignore_errors=True)

    def _lock_file(self, kind: str, key: str) -> int:
        try:
            return os.open(
                self.root / "locks" / f"{kind}@{key}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666
            )
        except OSError as error:
            raise self._refused(f"locking {kind}/{key}", error) from error

    def _becomes_builder(self, descriptor: int, name: str) -> bool:
        """Take the lock exclusively, or else wait until its builder is done and take it shared.

        A builder that is done goes on holding the lock shared for as long as it uses the entry: whoever
        waited for an exclusive lock would wait for the end of that run.
        """
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            note(f"waiting for another process that is making {name}")
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            return False
        except OSError as error:  # ENOLCK: a network file system without locks
            raise self._refused(f"locking {name}", error) from error
        return True

    def _hold(self, kind: str, key: str, descriptor: int) -> Path:
        self._held[kind, key] = descriptor
        where = self.path(kind, key)
        with suppress(OSError):
            os.utime(where / STAMP)
        return where

    @staticmethod
    def _drop(descriptor: int) -> None:
        os.close(descriptor)

    def _is_locked(self, kind: str, key: str) -> bool:
        descriptor = self._lock_file(kind, key)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:
            return False
        finally:
            os.close(descriptor)

    def _refused(self, tried: str, error: OSError, need_bytes: int = 0) -> SetupError:
        said = error.strerror or str(error)
        if error.errno in _FULL:
            free_bytes = shutil.disk_usage(self.root).free
            need = f", {size_text(need_bytes)} are needed in all" if need_bytes else ""
            return SetupError(
                f"{tried} in {self.root}",
                said=f"{said} ({size_text(free_bytes)} free{need})",
                hint=_ELSEWHERE,
            )
        hint = f"Make the folder writable, or set {VARIABLE}=/another/folder"
        return SetupError(f"{tried} in {self.root}", said=said, hint=hint)


def allocated_bytes(folder: Path) -> int:
    """Add up the disk space of a folder's files; a hard-linked file counts once."""
    seen: set[tuple[int, int]] = set()
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                status = os.lstat(Path(parent, name))
                if (status.st_dev, status.st_ino) not in seen:
                    seen.add((status.st_dev, status.st_ino))
                    total += status.st_blocks * 512
    return total

"""The cache folder: everything the lab downloads or builds, each thing once.

An entry is a folder `<root>/<kind>/<key>/` that is either complete or absent.  It is built beside its place,
stamped, and renamed into it; a half-made one is never visible.  One lock file for each entry
says who is there: its builder holds it exclusively, its users hold it shared, the kernel drops it when they
die (SIGKILL included).  So two builders never meet, a dead builder's rubbish is recognised, and cleaning
never takes an entry away from under a running guest.

Whose the folder is and what lies in it is told by lab/cache/root.py and lab/cache/contents.py; what is removed goes
by the law of harness/removal.py.  This module refuses to know what is inside an entry, and how much all of them may
take (lab/cache/budget.py).
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from harness import removal
from harness.closing import Closing
from harness.errors import SetupError, UsageError
from harness.lab.cache import contents as cache_contents
from harness.lab.cache import root as cache_root
from harness.lab.cache.contents import ENTRY, STAMP, WORKSPACE, Entry, allocated_bytes
from harness.lab.cache.root import RESERVED, VARIABLE
from harness.lab.progress import note, size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["STAMP", "VARIABLE", "Cache", "Entry", "allocated_bytes", "default_root", "key_of"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+~.-]*")
_KIND = re.compile(r"[a-z][a-z0-9-]*")
# EFBIG is what a file size limit (ulimit -f) answers; to the user it is the same trouble as a full disk.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_ELSEWHERE = f"Free some space, or set {VARIABLE}=/another/folder"
# ':' ends a folder in the loader's list and a target in make, which expands '$'; ',' ends a value of QEMU's; apt quotes
# with '"'.
_SPECIAL = frozenset(':$,"\\\n')


def default_root() -> Path:
    """Return the cache folder: `$VFIO_HARNESS_CACHE`, else `vfio-harness` in the XDG cache folder.

    Source: XDG Base Directory Specification, a relative `XDG_CACHE_HOME` is to be ignored.

    Raises:
        SetupError: nobody knows this user's home folder, or the path has a character that make, apt or the loader of
            Debian's QEMU take for an end of it.
    """
    xdg = Path(os.environ.get("XDG_CACHE_HOME", ""))
    chosen = os.environ.get(VARIABLE)
    tried = f"finding the cache folder {chosen or '~/.cache/vfio-harness'}"
    try:
        if chosen:
            root = Path(chosen).expanduser().absolute()
        else:
            root = (xdg if xdg.is_absolute() else Path("~/.cache").expanduser()) / "vfio-harness"
    except RuntimeError as error:  # neither HOME nor an entry in the table of users
        raise SetupError(
            tried, said=str(error).rstrip("."), hint=f"Set HOME, or {VARIABLE}=/a/folder"
        ) from error
    if found := sorted(set(str(root)) & _SPECIAL):
        raise SetupError(
            f"using the cache folder {root}",
            said=f"tools that work in it cannot name a path with {' or '.join(map(repr, found))}",
            hint=f"Set {VARIABLE}=/another/folder",
        )
    return root


def key_of(inputs: Mapping[str, object]) -> str:
    """Hash named inputs into a key of 16 hexadecimal digits; their order does not matter.

    Args:
        inputs: whatever decides what the entry will contain, as JSON values.
    """
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Cache(Closing):
    """The cache folder, and the entries that this process holds in it.

    Every path handed out by `publish` or `entry` stays valid until `close` or the end of the process.
    """

    def __init__(self, root: Path | None = None) -> None:
        """Open the cache folder, making it when needed.

        Args:
            root: the folder; the default one when None.

        Raises:
            SetupError: it can be neither made nor written to, or must not be used (lab/cache/root.py).
        """
        self.root = (root or default_root()).absolute()
        self._held: dict[tuple[str, str], int] = {}
        try:
            cache_root.make(self.root)
            with tempfile.TemporaryFile(dir=self.root / "building"):
                pass
        except OSError as error:
            raise self._refused("opening the cache folder", error) from error

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
        if not _KIND.fullmatch(kind) or kind in RESERVED or not _NAME.fullmatch(key):
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
        build: Callable[[Path], object],
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
            self._ready_to_work(where)
            yield where
        finally:
            os.close(descriptor)

    def held(self) -> tuple[tuple[str, str], ...]:
        """Kind and key of every entry that this object holds."""
        return tuple(self._held)

    # --- showing and cleaning -------------------------------------------------------------------------

    def entries(self) -> list[Entry]:
        """List the complete entries, the largest first."""
        return cache_contents.entries(self.root)

    def clean(self, *, kind: str | None = None, unused_for_s: float = 0.0) -> list[Entry]:
        """Remove what is ours and nobody uses; what is not ours is left (:func:`harness.lab.cache.contents.due`).

        Args:
            kind: only entries of this kind; all kinds, the working folders, and what dead builders left, when None.
            unused_for_s: only entries not handed out for so many seconds.

        Returns:
            What was removed.
        """
        removed = []
        for one in cache_contents.due(self.root, kind=kind, unused_for_s=unused_for_s):
            with suppress(SetupError):  # somebody began to use it a moment ago: then it stays
                match one.kind:
                    case "building":
                        gone = self._sweep(one)
                    case "work":
                        gone = self._sweep_workspace(one)
                    case _:
                        self.discard(one.kind, one.key)
                        gone = True
                removed += [one] * gone
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
        for one in cache_contents.half_made(self.root):
            if one.objection:
                note(f"left {one.path} alone: {one.objection}")
            elif not one.in_use and self._sweep(one):
                swept.append(cache_contents.lock_name(one.path).replace("@", "/", 1))
        return swept

    # --- inside ---------------------------------------------------------------------------------------

    def _build(
        self, where: Path, kind: str, key: str, build: Callable[[Path], object], need_bytes: int
    ) -> None:
        """Build and publish; the caller holds the entry's lock exclusively, so all rubbish here is dead."""
        for rubbish in (self.root / "building").glob(f"{kind}@{key}@*"):
            if why := removal.remove(rubbish, ENTRY):
                note(f"left {rubbish} alone: {why}")
        free_bytes = shutil.disk_usage(self.root).free
        if need_bytes > free_bytes:
            raise SetupError(
                f"making {kind}/{key} in {self.root}",
                said=f"{size_text(need_bytes)} are needed there, {size_text(free_bytes)} are free",
                hint=_ELSEWHERE,
            )
        scratch: Path | None = None
        try:
            scratch = removal.made(self.root / "building", f"{kind}@{key}@", ENTRY, mode=0o755)
            build(scratch)
            stamp = {"kind": kind, "key": key, "made_s": round(time.time(), 3)}
            with (scratch / STAMP).open("w") as file:
                json.dump(stamp, file)
                file.flush()
                os.sync()  # contents before the name: after a power cut there is no entry of empty files
                os.fsync(file.fileno())
            cache_root.make_below(self.root, kind)
            self._remove(where, kind, key)  # one that lost its stamp
            scratch.rename(where)
        except OSError as error:
            raise self._refused(f"making {kind}/{key}", error, need_bytes) from error
        finally:
            if scratch is not None:
                removal.remove(scratch, ENTRY)

    def _remove(self, where: Path, kind: str, key: str) -> None:
        """Take an entry out of sight with one rename, then delete it.

        Raises:
            SetupError: what is there is not ours.
        """
        if not os.path.lexists(where):
            return
        if why := removal.objection(where, ENTRY):
            raise SetupError(
                f"removing the cache entry {where}",
                said=why,
                hint=f"An earlier version may have made it.  If you do not need it, type: rm -r {where}",
            )
        grave = self.root / "building" / f"{kind}@{key}@{secrets.token_hex(4)}"
        where.rename(grave)
        if why := removal.remove(grave, ENTRY):
            note(f"left {grave} alone: {why}")

    def _sweep(self, one: Entry) -> bool:
        """Remove what a dead builder left; False when its builder lives, or it is not ours."""
        return self._swept(cache_contents.lock_name(one.path), one.path, ENTRY)

    def _sweep_workspace(self, one: Entry) -> bool:
        return self._swept(f"work@{one.key}", one.path, WORKSPACE)

    def _swept(self, lock: str, where: Path, purpose: str) -> bool:
        if removal.objection(where, purpose):
            return False
        kind, _, key = lock.partition("@")
        descriptor = self._lock_file(kind, key)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        else:
            return not removal.remove(where, purpose)
        finally:
            os.close(descriptor)

    def _ready_to_work(self, where: Path) -> None:
        """Make a workspace, marked; one that is there is used as it is, whoever made it."""
        with suppress(FileExistsError):
            where.mkdir()
            where.chmod(cache_root.mode_below(self.root))
            removal.mark(where, WORKSPACE)

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

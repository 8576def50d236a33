"""Debian packages for the lab, checked by the archive's own signatures and unpacked beside the system.

apt runs with a private state: its lists, its downloads and an empty list of installed packages live in
the cache folder, so this works as root and as an ordinary user, and nothing outside the cache changes.
The host's proxy, mirror and login settings (apt's `Acquire::*`, `http_proxy`, `auth.conf`) stay in force.

This module refuses to install anything, to run any package's scripts, and to accept a package that does not
hash to what a signed index says.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import unquote

from harness.errors import SetupError
from harness.lab import progress
from harness.lab.cache import unpacked as contents
from harness.lab.debian import apt
from harness.lab.progress import note
from harness.removal import MARKER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.lab.cache.store import Cache

STABLE: Final = "trixie"
"""The newest stable suite of Debian.  At the next release change this name; everything else follows."""

KIND: Final = "debian"
LOCK_NAME: Final = "packages.lock.json"
_RECIPE: Final = 1  # raise it when the way of unpacking changes: older entries are then made again
# What nobody reads in a tree that only serves to run one program.
_CLUTTER: Final = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/bug", "usr/share/lintian")


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One binary package of the archive, exactly.

    Attributes:
        size_bytes: size of the .deb file.
        sha256: its hash as the signed index states it, 64 hexadecimal digits.
    """

    name: str
    version: str
    architecture: str
    size_bytes: int
    sha256: str
    uri: str

    @property
    def file_name(self) -> str:
        """Name of the .deb file as apt writes it: the colon of an epoch is escaped."""
        return f"{self.name}_{self.version.replace(':', '%3a')}_{self.architecture}.deb"

    def __str__(self) -> str:
        return f"{self.name}={self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageLock:
    """The exact packages behind an unpacked tree; every report names them.

    Attributes:
        made: UTC date and time of the download, ISO 8601.
    """

    label: str
    made: str
    packages: tuple[Package, ...]

    def names(self) -> tuple[str, ...]:
        """Return `name=version` for each package."""
        return tuple(str(package) for package in self.packages)

    def version_of(self, name: str) -> str:
        """Return the version of one package.

        Raises:
            SetupError: the tree holds no such package.
        """
        for package in self.packages:
            if package.name == name:
                return package.version
        raise SetupError(f"looking up {name} in the packages of {self.label}", said="it is not among them")

    @classmethod
    def read(cls, tree: Path) -> Self:
        """Read the lock file of an unpacked tree.

        Raises:
            SetupError: it is missing or malformed.
        """
        try:
            data = json.loads((tree / LOCK_NAME).read_text())
            packages = tuple(Package(**package) for package in data["packages"])
            return cls(label=data["label"], made=data["made"], packages=packages)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SetupError(
                f"reading {tree / LOCK_NAME}", said=str(error), hint="Remove it with `harness cache --clean`"
            ) from error

    def write(self, tree: Path) -> None:
        """Write the lock file into a tree."""
        (tree / LOCK_NAME).write_text(json.dumps(asdict(self), indent=1) + "\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to fetch and unpack, as data; it decides the cache entry's key.

    Attributes:
        label: a short name for people and for the cache, "qemu".
        packages: packages wanted with their dependencies, without versions.
        newest: or, for packages with a version in their name: a pattern whose one group is that version.  The
            highest is wanted, alone: such packages are kept in the archive after their dependencies are gone.
        companions: further names that go with `newest` where they exist, with {} for the version.
        suites: where apt may look, suite names without components.
        preferred: source of `packages` when several suites have them: a suite, or "" for apt's own choice.
        from_preferred: names (apt patterns) that are taken from `preferred`; dependencies are not.
        dependencies: patterns of names; a dependency is unpacked when one of them matches it.
        without: exact names of dependencies that are left out nevertheless.
        expected_bytes: about how much will be downloaded.
        unpacked_bytes: about how much disk the tree takes.
        expected_s: about how long it takes at 10 MB/s.
    """

    label: str
    packages: tuple[str, ...] = ()
    newest: str = ""
    companions: tuple[str, ...] = ()
    suites: tuple[str, ...]
    preferred: str = ""
    from_preferred: tuple[str, ...] = ()
    dependencies: str = ".*"
    without: frozenset[str] = frozenset()
    expected_bytes: int
    unpacked_bytes: int
    expected_s: float

    @property
    def disk_bytes(self) -> int:
        """About how much disk fetching and unpacking takes at its worst moment."""
        return self.expected_bytes + self.unpacked_bytes + apt.lists_bytes(self.suites)

    def key(self) -> str:
        """Return the cache key: readable, and different for every change of the request."""
        from harness.lab.cache.store import key_of  # noqa: PLC0415 - keeps the cache out of the import of plain data

        wanted = [
            self.packages,
            self.newest,
            self.companions,
            self.suites,
            self.preferred,
            self.from_preferred,
        ]
        inputs = {
            "recipe": _RECIPE,
            "wanted": wanted,
            "deps": self.dependencies,
            "without": sorted(self.without),
        }
        return f"{self.label}-{key_of(inputs)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpacked:
    """A tree of unpacked packages in the cache, and what exactly is in it."""

    path: Path
    lock: PackageLock


def unpacked(cache: Cache, request: Request) -> Unpacked:
    """Return the tree that a request describes, downloading it first when the cache has none.

    With the entry in the cache no network is used, whatever newer packages the archive may have.

    Raises:
        SetupError: no network, a signature or hash that does not fit, a full disk.
    """

    def build(tree: Path) -> None:
        apt.require_tools()
        with cache.workspace("apt") as folder:
            session = apt.Session(
                folder=folder,
                suites=request.suites,
                preferences=[(name, request.preferred, 700) for name in request.from_preferred],
            )
            with progress.step(f"reading Debian's package lists for {request.label}", expected_s=10) as step:
                session.update(step)
            packages = closure(session, request)
            lock = PackageLock(
                label=request.label,
                made=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                packages=packages,
            )
            total_bytes = sum(package.size_bytes for package in packages)
            what = f"downloading {request.label} ({len(packages)} Debian packages)"
            with progress.step(what, total_bytes=total_bytes, expected_s=request.expected_s) as step:
                archives = session.download([str(package) for package in packages], total_bytes, step)
            with progress.step(f"unpacking {request.label}", total_bytes=request.unpacked_bytes):
                for package in packages:
                    unpack_checked(package, archives / package.file_name, tree)
            for package in packages:  # what others left there may be somebody's, or half of a later download
                (archives / package.file_name).unlink()
        for clutter in _CLUTTER:
            shutil.rmtree(tree / clutter, ignore_errors=True)
        lock.write(tree)
        contents.record(tree)

    def published(*, replace: bool = False) -> Path:
        key, need_bytes = request.key(), request.disk_bytes
        return cache.publish(KIND, key, build, need_bytes=need_bytes, replace=replace)

    path = published()
    if not (path / contents.LIST).exists() and not (path / MARKER).exists():
        note(f"{path} was unpacked by an earlier version: taking what is in it now for what belongs there")
        contents.record(path)
    if what := contents.damage(path):
        note(f"{path} is not what was unpacked there ({what}): fetching it again")
        path = published(replace=True)
    return Unpacked(path=path, lock=PackageLock.read(path))


def unpack_checked(package: Package, file: Path, tree: Path) -> None:
    """Unpack a package if it is what the signed index says; apt looked at it some time ago.

    Raises:
        SetupError: it is something else, or damaged.
        OSError: ENOSPC, when the disk is full.
    """
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != package.sha256:
        raise SetupError(
            f"unpacking {file}",
            said=f"its SHA-256 is {digest}, not {package.sha256} as the signed index says",
            hint="Remove it and try again",
        )
    apt.unpack(file, tree)


def closure(session: apt.Session, request: Request) -> tuple[Package, ...]:
    """Resolve a request to exact packages, sorted by name.

    Raises:
        SetupError: apt cannot resolve it.
    """
    if request.newest:
        chosen = [parse_uri_line(line) for line in session.uris(newest_names(session, request))]
    else:
        wanted = re.compile(request.dependencies)
        chosen = [
            package
            for package in map(parse_uri_line, session.uris_with_dependencies(request.packages))
            if package.name in request.packages
            or (wanted.fullmatch(package.name) and package.name not in request.without)
        ]
    return tuple(sorted(chosen, key=lambda package: package.name))


def newest_names(session: apt.Session, request: Request) -> list[str]:
    """Find the names that `newest` and `companions` of a request stand for.

    Raises:
        SetupError: no package matches.
    """
    prefix = re.match(r"[a-z0-9-]*", request.newest)
    version = newest_version(request.newest, session.names(prefix[0] if prefix else ""))
    if not version:
        suites = ", ".join(request.suites)
        raise SetupError(f"looking for {request.label}", said=f"Debian has none in {suites}")
    companions = [name.format(version) for name in request.companions]
    main = re.sub(r"\(.*\)", lambda _: version, request.newest)
    return [main, *(name for name in companions if name in session.names(name))]


def newest_version(pattern: str, names: Iterable[str]) -> str:
    """Return the highest version among names, comparing its numbers from left to right; "" for none.

    Args:
        pattern: a regular expression of whole names, with the version as its one group.
        names: names of packages.
    """
    versions = [match[1] for name in names if (match := re.fullmatch(pattern, name))]
    return max(versions, key=lambda version: [int(part) for part in re.findall(r"\d+", version)], default="")


def parse_uri_line(line: str) -> Package:
    """Parse a line of `apt-get --print-uris`: `'URI' NAME_VERSION_ARCH.deb SIZE SHA256:HASH`.

    Raises:
        SetupError: the line has another form, or no SHA-256.
    """
    match = re.fullmatch(
        r"'([^']+)' ([^_ ]+)_([^_ ]+)_([^_ ]+)\.deb (\d+) (?:\S+ )*?SHA256:([0-9a-f]{64})", line
    )
    if not match:
        raise SetupError("reading apt's list of downloads", said=f"not understood: {line!r}")
    uri, name, version, architecture, size, sha256 = match.groups()
    return Package(
        name=name,
        version=unquote(version),
        architecture=architecture,
        size_bytes=int(size),
        sha256=sha256,
        uri=uri,
    )

"""Debian packages: parsing, choosing, locking; and the whole way on a small signed archive made here."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from harness.errors import SetupError
from harness.lab.cache import unpacked as contents
from harness.lab.cache.store import Cache
from harness.lab.debian import apt, archive
from harness.lab.debian.archive import (
    LOCK_NAME,
    Package,
    PackageLock,
    Request,
    newest_version,
    parse_uri_line,
    unpacked,
)
from harness.lab.needs import apt_line
from harness.removal import MARKER
from tests.tools import tool

SHA = "ab" * 32

WANTED = Request(
    label="greeter",
    packages=("greeter",),
    suites=("trixie",),
    dependencies=r"lib.*",
    without=frozenset({"libunwanted"}),
    expected_bytes=1000,
    unpacked_bytes=1000,
    expected_s=1,
)


# --- parts ------------------------------------------------------------------------------------------------


def test_a_line_of_print_uris_is_parsed() -> None:
    file_name = "qemu-system-x86_1%3a11.1.3+ds-1~bpo13+1_amd64.deb"
    line = f"'http://mirror/pool/q/qemu_11.deb' {file_name} 10377056 SHA256:{SHA}"
    package = parse_uri_line(line)
    assert str(package) == "qemu-system-x86=1:11.1.3+ds-1~bpo13+1"
    assert (package.architecture, package.size_bytes, package.sha256) == ("amd64", 10377056, SHA)
    assert package.file_name == file_name


@pytest.mark.parametrize("line", ["", "Reading lists", "'http://m/x.deb' x_1_amd64.deb 5 MD5Sum:" + "0" * 32])
def test_a_line_without_a_strong_hash_is_refused(line: str) -> None:
    with pytest.raises(SetupError, match="not understood"):
        parse_uri_line(line)


def test_the_newest_version_is_chosen_by_its_numbers() -> None:
    names = [
        f"linux-image-6.12.{number}-amd64" for number in ("9+deb13", "117+deb13", "115+deb13.1", "115+deb13")
    ]
    names += ["linux-image-6.12.200+deb13-cloud-amd64", "linux-image-6.13.1+deb13-amd64"]
    pattern = r"linux-image-(6\.12\.\d+\+deb[\d.]+)-amd64"
    assert newest_version(pattern, names) == "6.12.117+deb13"
    assert newest_version(pattern, names[2:]) == "6.12.115+deb13.1"
    assert newest_version("linux-image-(5.*)", names) == ""


def test_every_field_that_decides_the_contents_changes_the_key() -> None:
    changes = {
        "packages": ("other",),
        "newest": "greeter-(.*)",
        "companions": ("friend-{}",),
        "suites": ("sid",),
        "preferred": "sid",
        "from_preferred": ("greeter",),
        "dependencies": ".*",
        "without": frozenset[str](),
    }
    keys = {dataclasses.replace(WANTED, **{name: value}).key() for name, value in changes.items()}  # type: ignore[arg-type]
    assert len(keys | {WANTED.key()}) == len(changes) + 1
    assert dataclasses.replace(WANTED, expected_s=9).key() == WANTED.key()


def test_a_lock_survives_writing_and_reading(tmp_path: Path) -> None:
    package = Package(
        name="a", version="1:2", architecture="all", size_bytes=3, sha256=SHA, uri="http://mirror/a.deb"
    )
    lock = PackageLock(label="x", made="2026-01-01T00:00:00Z", packages=(package,))
    lock.write(tmp_path)
    assert PackageLock.read(tmp_path) == lock
    assert lock.names() == ("a=1:2",)
    assert lock.version_of("a") == "1:2"
    with pytest.raises(SetupError, match="not among them"):
        lock.version_of("b")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"label": "x", "made": "", "packages": [{"name": "a"}]}'])
def test_a_damaged_lock_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / LOCK_NAME).write_text(text)
    with pytest.raises(SetupError, match="harness cache --clean"):
        PackageLock.read(tmp_path)


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("E: Failed to fetch http://m/x  404  Not Found [IP: 1]\n", "404  Not Found", "Check the network"),
        ("E: Failed to fetch http://m/x  Temporary failure resolving 'm'\n", "Temporary failure", "proxy"),
        (
            "W: GPG error: http://m x InRelease: NO_PUBKEY 123\nE: not signed",
            "GPG error",
            "keys here are old",
        ),
        ("E: The repository 'file:/m trixie Release' is not signed.\n", "is not signed", "keys here are old"),
        (
            (
                "E: Release file for http://m/trixie/InRelease is not valid yet (invalid for another 3d 2h). "
                "Updates for this repository will not be applied.\n"
            ),
            "Release file",
            "The clock of this machine says",
        ),
        (
            (
                "E: Failed to fetch https://m/x  Certificate verification failed: The certificate is NOT trusted. "
                "The certificate chain uses not yet valid certificate.\n"
            ),
            "Certificate",
            "The clock of this machine says",
        ),
        ("E: Unable to locate package x\n", "Unable to locate", "Does the mirror carry"),
        ("", "no message", "mirror"),
    ],
)
def test_what_apt_says_becomes_one_line(text: str, said: str, hint: str) -> None:
    error = apt.explain_failure("reading lists", text)
    assert said.split(maxsplit=1)[0] in str(error)
    assert hint in str(error)
    assert "\n" not in str(error)


def test_only_passing_trouble_is_tried_again() -> None:
    again = apt.explain_failure("x", "E: Failed to fetch http://m/x  Could not resolve 'm'")
    final = apt.explain_failure("x", "E: Failed to fetch http://m/x  404  Not Found")
    assert isinstance(again, apt._TransientError)
    assert not isinstance(final, apt._TransientError)


def test_a_full_disk_is_left_to_the_cache() -> None:
    with pytest.raises(OSError, match="no space left"):
        apt.explain_failure("x", "dpkg-deb: error: ... No space left on device")


# --- the whole way ----------------------------------------------------------------------------------------


def make_package(pool: Path, name: str, depends: str = "", version: str = "1:1.0") -> Path:
    tree = pool / "tree" / name
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "usr/share/doc" / name).mkdir(parents=True)
    (tree / "usr/share/doc" / name / "README").write_text("not wanted")
    (tree / "usr/bin").mkdir()
    (tree / "usr/bin" / name).write_text(f"#!/bin/sh\necho {name}\n")
    control = (
        f"Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: nobody\nDescription: test\n"
    )
    (tree / "DEBIAN/control").write_text(control + (f"Depends: {depends}\n" if depends else ""))
    script = tree / "DEBIAN" / "postinst"
    script.write_text(f"#!/bin/sh\ntouch {pool}/a-script-ran\n")
    script.chmod(0o755)
    file = pool / f"{name}.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", tree, file], check=True, capture_output=True)
    return file


def digests(data: bytes) -> str:
    return f"SHA256: {hashlib.sha256(data).hexdigest()}"


class Signer:
    """Somebody with a key."""

    def __init__(self, keyring: Path) -> None:
        self.keyring = keyring
        # gpg's agent refuses long socket paths, so its home is short and not below pytest's folders.
        self.home = Path(subprocess.check_output(["mktemp", "-d"], text=True).strip())
        self.gpg("--quick-generate-key", "--passphrase", "", "nobody@example.org", "rsa2048", "sign")
        self.keyring.write_bytes(self.gpg("--export"))

    def close(self) -> None:
        subprocess.run(["gpgconf", "--homedir", self.home, "--kill", "gpg-agent"], check=False)
        shutil.rmtree(self.home, ignore_errors=True)

    def gpg(self, *arguments: str) -> bytes:
        command = [
            "gpg",
            "--homedir",
            str(self.home),
            "--batch",
            "--yes",
            "--pinentry-mode",
            "loopback",
            *arguments,
        ]
        return subprocess.run(command, check=True, capture_output=True).stdout


class SmallArchive:
    """A Debian archive of a few packages on a `file:` URL."""

    def __init__(self, root: Path, signer: Signer) -> None:
        self.root = root
        self.signer = signer
        self.pool = root / "pool"
        self.pool.mkdir(parents=True)

    def add(self, name: str, depends: str = "") -> Path:
        return make_package(self.pool, name, depends)

    def fill(self) -> None:
        """Publish what `WANTED` asks for."""
        self.add("greeter", "libgreet, libunwanted, tool")
        for name in ("libgreet", "libunwanted", "tool"):
            self.add(name)
        self.publish()

    def publish(self) -> None:
        stanzas = []
        for file in sorted(self.pool.glob("*.deb")):
            control = subprocess.check_output(["dpkg-deb", "--field", file], text=True)
            data = file.read_bytes()
            stanzas.append(f"{control}Filename: pool/{file.name}\nSize: {len(data)}\n{digests(data)}\n")
        index = self.root / "dists/trixie/main/binary-amd64"
        index.mkdir(parents=True, exist_ok=True)
        plain = "\n".join(stanzas).encode()
        packed = gzip.compress(plain, mtime=0)
        (index / "Packages.gz").write_bytes(packed)
        lines = [
            f" {hashlib.sha256(data).hexdigest()} {len(data)} main/binary-amd64/{name}\n"
            for name, data in (("Packages", plain), ("Packages.gz", packed))
        ]
        release = "Origin: Test\nSuite: trixie\nCodename: trixie\nArchitectures: amd64\nComponents: main\n"
        release += "Date: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n" + "".join(lines)
        (self.root / "Release").write_text(release)
        target = str(self.root / "dists/trixie/InRelease")
        self.signer.gpg("--clear-sign", "--output", target, str(self.root / "Release"))


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signer]:
    tool("gpg")
    with closing(Signer(tmp_path_factory.mktemp("signer") / "keyring.gpg")) as one:
        yield one


@pytest.fixture
def small_archive(tmp_path: Path, signer: Signer, monkeypatch: pytest.MonkeyPatch) -> SmallArchive:
    for name, package in {
        "apt-get": "apt",
        "dpkg-deb": "dpkg",
        "setpriv": "util-linux",
    }.items():
        tool(name, package=package)
    made = SmallArchive(tmp_path / "debian", signer)
    monkeypatch.setattr(apt, "KEYRINGS", (signer.keyring,))
    monkeypatch.setenv("VFIO_HARNESS_MIRROR", f"file:{made.root}")
    return made


def test_packages_are_fetched_checked_and_unpacked(small_archive: SmallArchive, tmp_path: Path) -> None:
    small_archive.fill()
    with Cache(tmp_path / "cache") as cache:
        tree = unpacked(cache, WANTED)
        assert tree.lock.names() == ("greeter=1:1.0", "libgreet=1:1.0")
        assert sorted(file.name for file in (tree.path / "usr/bin").iterdir()) == ["greeter", "libgreet"]
        assert not (tree.path / "usr/share/doc").exists()
        assert (
            tree.lock.packages[0].sha256
            == hashlib.sha256((small_archive.pool / "greeter.deb").read_bytes()).hexdigest()
        )
        assert not (small_archive.pool / "a-script-ran").exists()
        # Once there, nothing of the archive is needed any more.
        shutil.rmtree(small_archive.root)
        assert unpacked(cache, WANTED) == tree


def test_the_newest_of_a_pattern_is_fetched(small_archive: SmallArchive, tmp_path: Path) -> None:
    for name in ("kernel-1.9-amd64", "kernel-1.11-cloud-amd64", "modules-1.9-amd64", "modules-1.10-amd64"):
        small_archive.add(name)
    small_archive.add("kernel-1.10-amd64", "no-longer-there")
    small_archive.publish()
    request = dataclasses.replace(WANTED, packages=(), newest=r"kernel-(1\.\d+)-amd64")
    request = dataclasses.replace(request, companions=("modules-{}-amd64", "more-{}-amd64"))
    with Cache(tmp_path / "cache") as cache:
        names = unpacked(cache, request).lock.names()
        assert names == ("kernel-1.10-amd64=1:1.0", "modules-1.10-amd64=1:1.0")
        with pytest.raises(SetupError, match="looking for greeter: Debian has none in trixie"):
            unpacked(cache, dataclasses.replace(request, newest=r"kernel-(2\.\d+)-amd64"))


def test_a_package_that_is_not_what_the_index_says_is_refused(
    small_archive: SmallArchive, tmp_path: Path
) -> None:
    file = small_archive.add("greeter")
    small_archive.publish()
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with Cache(tmp_path / "cache") as cache:
        with pytest.raises(SetupError, match="Hash Sum mismatch"):
            unpacked(cache, WANTED)
        assert cache.entries() == []


def test_an_archive_signed_by_somebody_else_is_refused(
    small_archive: SmallArchive,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small_archive.add("greeter")
    small_archive.publish()
    with closing(Signer(tmp_path / "stranger.gpg")) as stranger:
        monkeypatch.setattr(apt, "KEYRINGS", (stranger.keyring,))
    with (
        Cache(tmp_path / "cache") as cache,
        pytest.raises(SetupError, match="not Debian's, or the keys here are old"),
    ):
        unpacked(cache, WANTED)


def test_an_unsigned_archive_is_refused(small_archive: SmallArchive, tmp_path: Path) -> None:
    small_archive.add("greeter")
    small_archive.publish()
    (small_archive.root / "dists/trixie/InRelease").unlink()
    shutil.copy(small_archive.root / "Release", small_archive.root / "dists/trixie/Release")
    with Cache(tmp_path / "cache") as cache, pytest.raises(SetupError, match="is not signed"):
        unpacked(cache, WANTED)


def test_a_package_nobody_has_is_one_line(small_archive: SmallArchive, tmp_path: Path) -> None:
    small_archive.add("other")
    small_archive.publish()
    with Cache(tmp_path / "cache") as cache, pytest.raises(SetupError, match="resolving greeter in trixie"):
        unpacked(cache, WANTED)


def test_without_keys_the_line_to_type_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(apt, "KEYRINGS", (tmp_path / "absent.gpg",))
    with pytest.raises(SetupError, match=re.escape(apt_line())):
        apt.require_tools()


def test_without_apt_the_line_to_type_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError, match="no apt-get, dpkg-deb, setpriv here"):
        apt.require_tools()


def test_the_default_suite_has_its_companions_in_the_requests() -> None:
    from harness.lab.qemu.emulator import QEMU  # noqa: PLC0415 - a check of data that rests on this module's constant

    assert {suite.split("-", maxsplit=1)[0] for suite in QEMU.suites} == {archive.STABLE}


@pytest.mark.parametrize(
    "tampers", ["changes", "adds", "removes", "makes executable", "links", "loses the list"]
)
def test_what_was_tampered_with_is_fetched_again_before_it_is_used(
    small_archive: SmallArchive, tmp_path: Path, capsys: pytest.CaptureFixture[str], tampers: str
) -> None:
    small_archive.fill()
    with Cache(tmp_path / "cache") as cache:
        tree = unpacked(cache, WANTED).path
        program = tree / "usr/bin/greeter"
        before, status = program.read_bytes(), program.stat()
        match tampers:
            case "changes":
                program.write_bytes(b"!" + before[1:])  # nothing but its content tells
                os.utime(program, ns=(status.st_atime_ns, status.st_mtime_ns))
            case "adds":
                (tree / "usr/bin/libc.so.6").write_bytes(b"")
            case "removes":
                program.unlink()
            case "makes executable":
                program.chmod(status.st_mode ^ 0o111)
            case "links":
                program.unlink()
                program.symlink_to("/bin/true")
            case _:
                (tree / contents.LIST).unlink()
        capsys.readouterr()
        assert unpacked(cache, WANTED).path == tree
        assert "is not what was unpacked there" in capsys.readouterr().err
        assert (program.read_bytes(), program.is_symlink()) == (before, False)
        assert not (tree / "usr/bin/libc.so.6").exists()


def test_a_tree_of_an_earlier_version_is_used_listed_and_never_removed(
    small_archive: SmallArchive, tmp_path: Path
) -> None:
    small_archive.fill()
    with Cache(tmp_path / "cache") as cache:
        tree = unpacked(cache, WANTED).path
        for name in (contents.LIST, MARKER):
            (tree / name).unlink()
        shutil.rmtree(small_archive.root)
        assert unpacked(cache, WANTED).path == tree
        (tree / "usr/bin/greeter").write_bytes(b"tampered with")
        with pytest.raises(SetupError, match=f"type: rm -r {tree}"):
            unpacked(cache, WANTED)


def test_a_package_that_was_changed_after_its_download_is_not_unpacked(tmp_path: Path) -> None:
    file = tmp_path / "a.deb"
    file.write_bytes(b"something else")
    package = Package(
        name="a", version="1", architecture="amd64", size_bytes=14, sha256="0" * 64, uri="file:a"
    )
    with pytest.raises(SetupError, match=r"not 0000.* as the signed index says"):
        archive.unpack_checked(package, file, tmp_path / "tree")
    assert not (tmp_path / "tree").exists()


def test_what_lies_beside_the_downloads_is_left(small_archive: SmallArchive, tmp_path: Path) -> None:
    small_archive.fill()
    with Cache(tmp_path / "cache") as cache:
        mine = cache.root / "work" / "apt" / "archives" / "mine.deb"
        mine.parent.mkdir(parents=True)
        mine.write_text("mine")
        unpacked(cache, WANTED)
        assert [path.name for path in mine.parent.glob("*.deb")] == ["mine.deb"]

"""Which QEMU is taken, and that the self-test can fail.  QEMU itself is the real one (marker `guest`)."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import SetupError, UsageError
from harness.lab.cache.store import Cache
from harness.lab.kernel.find import find_kernel, pvh_image
from harness.lab.qemu import emulator as subject
from harness.lab.qemu.accelerator import prints_first_line, probe_accelerator
from harness.lab.qemu.emulator import Emulator, find_emulator, is_new_enough, version_of
from tests.unit.agent.run import until


def program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


OLD = 'echo "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)"'


@pytest.mark.parametrize(
    ("version", "enough"),
    [
        ("11.0.0", True),
        ("11.1.3 (Debian 1:11.1.3)", True),
        ("12.0", True),
        ("10.2.9", False),
        ("7.2.22", False),
    ],
)
def test_which_versions_are_new_enough(version: str, enough: bool) -> None:  # noqa: FBT001
    assert is_new_enough(version) is enough


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo hello", "hello"),
        ("echo broken >&2; exit 3", "broken"),
        ("exit 3", "exit status 3"),
    ],
)
def test_what_is_no_qemu_is_one_line(tmp_path: Path, script: str, said: str) -> None:
    with pytest.raises(SetupError, match=f"for its version: {said}"):
        version_of((str(program(tmp_path / "qemu", script)),), {})


def test_a_qemu_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with Cache(tmp_path / "cache") as cache, pytest.raises(UsageError, match="No such file"):
        find_emulator(cache, tmp_path / "absent")


def test_a_given_qemu_that_is_too_old_is_refused_and_no_other_is_tried(tmp_path: Path) -> None:
    given = program(tmp_path / "qemu", OLD)
    with Cache(tmp_path / "cache") as cache:
        with pytest.raises(UsageError, match=r"7\.2\.22.*11\.0 or newer"):
            find_emulator(cache, given)
        assert cache.entries() == []


def test_an_old_qemu_of_the_system_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program(tmp_path / "qemu-system-x86_64", OLD)
    monkeypatch.setenv("PATH", str(tmp_path))
    # Without apt on the path the next choice, Debian's, ends at once: that it was tried is the point.
    with Cache(tmp_path / "cache") as cache, pytest.raises(SetupError, match="fetching Debian packages"):
        find_emulator(cache)
    assert "is not used (11.0 or newer is needed)" in capsys.readouterr().err


def test_a_program_that_only_claims_to_be_new_fails_the_self_test(tmp_path: Path) -> None:
    given = program(tmp_path / "qemu", 'echo "QEMU emulator version 11.1.3"')
    with Cache(tmp_path / "cache") as cache, pytest.raises(UsageError, match=r"self-test of QEMU 11.1.3"):
        find_emulator(cache, given)


def test_a_program_that_hangs_is_given_up_with_all_that_it_started(tmp_path: Path) -> None:
    started = tmp_path / "started"
    given = program(tmp_path / "qemu", f"sleep 600 & echo $! > {started}; wait")
    with pytest.raises(subprocess.TimeoutExpired):
        subject._ended([str(given)], "", {**os.environ}, timeout_s=2.0)
    pid = int(started.read_text())
    until(lambda: not lives(pid))


def lives(pid: int) -> bool:
    """A zombie, which nobody has waited for yet, does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


# --- with the real one ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cache() -> Iterator[Cache]:
    with Cache() as opened:
        yield opened


@pytest.fixture(scope="module")
def qemu(cache: Cache) -> Emulator:
    return find_emulator(cache)


@pytest.mark.guest
def test_the_chosen_qemu_passes(qemu: Emulator, cache: Cache, tmp_path: Path) -> None:
    assert is_new_enough(qemu.version)
    assert find_emulator(cache) == qemu
    subject._self_test(qemu, tmp_path)
    assert (tmp_path / "passed.json").exists()


@pytest.mark.guest
def test_the_unpacked_one_takes_no_library_of_the_host(qemu: Emulator) -> None:
    if qemu.source != "unpacked":
        pytest.skip(f"this machine uses the QEMU from: {qemu.source}")
    assert any(name.startswith("qemu-system-x86=") for name in qemu.packages)
    binary = qemu.argv.index(next(part for part in qemu.argv if part.endswith("qemu-system-x86_64")))
    listed = subprocess.check_output([*qemu.argv[:binary], "--list", qemu.argv[binary]], text=True)
    tree = qemu.argv[0].split("/usr/", maxsplit=1)[0]
    outside = [line for line in listed.splitlines() if "=>" in line and tree not in line]
    assert outside == []
    assert "libc.so.6" in listed


@pytest.mark.guest
@pytest.mark.parametrize(
    ("addition", "said"),
    [
        (("-device", "no-such-device"), "no-such-device"),
        (("-object", "no-such-object,id=x"), "no-such-object"),
    ],
)
def test_a_qemu_that_lacks_a_device_fails(
    qemu: Emulator, tmp_path: Path, addition: tuple[str, ...], said: str
) -> None:
    crippled = dataclasses.replace(qemu, argv=(*qemu.argv, *addition))
    with pytest.raises(SetupError, match=said):
        subject._self_test(crippled, tmp_path)


@pytest.mark.guest
def test_a_qemu_without_its_firmware_fails(qemu: Emulator, tmp_path: Path) -> None:
    if "-L" not in qemu.argv:
        pytest.skip("this QEMU finds its firmware by itself")
    crippled = dataclasses.replace(qemu, argv=qemu.argv[: qemu.argv.index("-L")])
    with pytest.raises(SetupError, match=r"qboot\.rom"):
        subject._self_test(crippled, tmp_path)


@pytest.mark.guest
def test_a_refused_migration_capability_fails(
    qemu: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = {"capabilities": [{"capability": "no-such-capability", "state": True}]}
    first, _, *rest = subject._SELF_TEST_COMMANDS
    commands = (first, {"execute": "migrate-set-capabilities", "arguments": unknown}, *rest)
    monkeypatch.setattr(subject, "_SELF_TEST_COMMANDS", commands)
    with pytest.raises(SetupError, match="no-such-capability"):
        subject._self_test(qemu, tmp_path)


# --- KVM or TCG -------------------------------------------------------------------------------------------


@pytest.mark.guest
def test_a_kernel_that_boots_is_seen_and_one_that_does_not_is_not(
    qemu: Emulator, cache: Cache, tmp_path: Path
) -> None:
    image = pvh_image(find_kernel(cache), cache)
    assert prints_first_line(qemu, "tcg", image, deadline_s=30)
    assert not prints_first_line(qemu, "tcg", image, deadline_s=0.01)
    # The entry point jumps into zeros: the same machine, a kernel that never prints.
    dead = bytearray(image.read_bytes())
    start = 0x200000  # where the first loaded segment of an x86-64 vmlinux begins in the file
    dead[start : start + (16 << 20)] = bytes(16 << 20)
    (tmp_path / "vmlinux").write_bytes(dead)
    assert not prints_first_line(qemu, "tcg", tmp_path / "vmlinux", deadline_s=3)


@pytest.mark.guest
def test_the_answer_is_remembered(
    qemu: Emulator, cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = pvh_image(find_kernel(cache), cache)
    with Cache(tmp_path) as fresh:
        first = probe_accelerator(fresh, qemu, image)
        monkeypatch.setattr(
            "harness.lab.qemu.accelerator.prints_first_line", lambda *_: pytest.fail("probed twice")
        )
        assert probe_accelerator(fresh, qemu, image) == first


def test_without_a_kvm_device_it_is_tcg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.lab.qemu.accelerator._DEVICE", tmp_path / "kvm")
    nobody = Emulator(argv=("/nonexistent",), environment={}, version="11", source="given", packages=())
    with Cache(tmp_path / "cache") as cache:
        assert probe_accelerator(cache, nobody, tmp_path / "image") == "tcg"

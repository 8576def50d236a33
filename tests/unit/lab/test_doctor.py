"""The doctor: what it says about parts that are there, missing, or too small."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.lab import doctor
from harness.lab.cache.store import Cache
from harness.lab.cache.table import render as render_cache
from harness.lab.capacity import Room
from harness.lab.doctor import Finding, State, examine, render
from harness.lab.needs import apt_line
from harness.lab.progress import size_text


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VFIO_HARNESS_MIRROR", "file:/no/such/mirror")


def test_the_table_says_what_to_do_below_what_needs_it() -> None:
    findings = [
        Finding(name="python", state=State.OK, what="Python 3.11"),
        Finding(name="qemu", state=State.WARN, what="none", todo="Type: lab/run"),
    ]
    assert render(findings) == (
        "ok      python    Python 3.11\n"
        "warn    qemu      none\n"
        "                  -> Type: lab/run\n"
    )  # fmt: skip


def test_an_empty_cache_names_what_will_be_fetched_and_tries_the_mirror(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "PROGRAM", "no-such-qemu")
    found = by_name(examine(tmp_path))
    for name in ("qemu", "kernel", "template", "windows"):
        assert found[name].state is State.WARN
        assert "lab/run" in found[name].todo
    assert found["network"].state is State.MISSING
    assert "/no/such/mirror" in found["network"].what
    assert "VFIO_HARNESS_MIRROR" in found["network"].todo
    assert str(tmp_path) in found["cache"].what
    assert Cache(tmp_path).entries() == []


def test_a_cache_that_cannot_be_made_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = by_name(examine(tmp_path / "file" / "cache"))
    assert found["cache"].state is State.MISSING
    assert "VFIO_HARNESS_CACHE" in found["cache"].todo
    assert found.keys() == by_name(examine(tmp_path / "cache")).keys() - {"noexec", "tmpfs"}


def test_a_missing_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-cc -O2")
    finding = doctor.compiler()
    assert (finding.state, finding.what) == (State.MISSING, "no no-such-cc")
    assert finding.todo == f"Type: {apt_line()}"


def test_a_missing_static_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = tmp_path / "cc"
    fake.write_text("#!/bin/sh\necho 'ld: cannot find -lc' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("CC", str(fake))
    finding = doctor.compiler()
    assert finding.state is State.MISSING
    assert "cannot find -lc" in finding.what


@pytest.mark.parametrize(("memory_bytes", "state"), [(8_000_000_000, State.OK), (100_000_000, State.WARN)])
def test_memory(memory_bytes: int, state: State) -> None:
    finding = doctor.memory(Room(cores=8.0, memory_bytes=memory_bytes))
    assert finding.state is state
    guests = 4 if state is State.OK else 1
    assert finding.what.endswith(f"700 MB needed; with 8 cores -n auto runs {guests} at once")


def test_disk_counts_only_what_is_still_to_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("qemu", "kernel", "template", "windows")
    there = [Finding(name=name, state=State.OK, what="") for name in names]
    absent = [Finding(name=name, state=State.WARN, what="") for name in names]
    assert "0 B to come" in doctor.disk(tmp_path, there).what
    assert doctor.disk(tmp_path, absent).state is State.OK
    monkeypatch.setattr(doctor, "TEMPLATE_BYTES", 10**18)
    finding = doctor.disk(tmp_path, absent)
    assert finding.state is State.MISSING
    assert "VFIO_HARNESS_CACHE" in finding.todo


def test_what_is_used_is_what_du_says(tmp_path: Path) -> None:
    """Whatever it is for: working folders, half-made entries and locks, too; sparse files by what they hold."""
    with Cache(tmp_path / "cache") as cache:
        cache.publish("thing", "one", lambda folder: (folder / "file").write_bytes(bytes(3_000_000)))
        with cache.workspace("apt") as folder:
            (folder / "lists").write_bytes(bytes(5_000_000))
            (folder / "a name as long as it takes for a link to have a block of its own").symlink_to(
                "x" * 200
            )
        (cache.root / "building" / "dead@x@1").mkdir()
        with (cache.root / "building" / "dead@x@1" / "memory").open("wb") as sparse:
            sparse.seek(900_000_000)
            sparse.write(bytes(2_000_000))
        for number in range(99):
            os.link(cache.root / "work/apt/lists", cache.root / "locks" / f"a@{number}")
        said = subprocess.check_output(["du", "--block-size=1", "--summarize", cache.root], text=True)
        du_bytes = int(said.split()[0])
        assert du_bytes > 10_000_000
        assert f": {size_text(du_bytes)} used, " in doctor.disk(cache.root, []).what
        table = render_cache(cache)
    assert table.startswith(f"{cache.root}: {size_text(du_bytes)}, 1 entry\n")
    assert re.search(r"5\.0 MB +work +apt", table)
    assert re.search(r"2\.0 MB +building +dead@x@1", table)


def test_a_cache_where_no_program_may_be_started_and_that_is_memory(tmp_path: Path) -> None:
    looks = "print(doctor.programs(Path(sys.argv[1])), doctor.in_memory(Path(sys.argv[1])))"
    look = f"import sys; from pathlib import Path; from harness.lab import doctor; {looks}"
    assert doctor.programs(tmp_path) is None or os.statvfs(tmp_path).f_flag & os.ST_NOEXEC
    mount = 'mount -t tmpfs -o noexec cache "$1" && exec "$2" -c "$3" "$1"'
    command = [
        "unshare",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        mount,
        "sh",
        str(tmp_path),
        sys.executable,
        look,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and ("unshare:" in done.stderr or "mount:" in done.stderr):
        pytest.skip(f"nothing can be mounted here, not even in a namespace: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    assert re.search(
        r"name='noexec'.*MISSING.*VFIO_HARNESS_CACHE.*name='tmpfs'.*WARN.*takes memory", done.stdout
    )


@pytest.mark.parametrize(("kind", "said"), [("tmpfs", True), ("ramfs", True), ("ext4", False)])
def test_a_cache_in_memory_says_so(tmp_path: Path, kind: str, said: bool) -> None:  # noqa: FBT001
    device = tmp_path.stat().st_dev
    mounts = f"36 35 {os.major(device)}:{os.minor(device)} / /x rw,noatime shared:1 - {kind} none rw\n"
    finding = doctor.in_memory(tmp_path, f"35 1 0:5 / / rw - tmpfs none rw\n{mounts}")
    assert (finding is not None) is said
    assert finding is None or "takes memory" in finding.what


def test_what_stands_in_the_way_of_the_module_has_a_cure(tmp_path: Path) -> None:
    """The same law as where it is built (lab/kernel/build_module.py)."""
    with Cache(tmp_path / "a cache") as cache:
        finding = doctor.windows(cache.root, cache.entries())
    assert finding.state is State.WARN
    assert "a path with a space" in finding.what
    assert finding.todo == "Set VFIO_HARNESS_CACHE=/another/folder"


def test_tools_that_are_needed_are_missing_and_others_only_warn(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doctor.unpacking_tools(needed=True).state is State.MISSING
    assert doctor.unpacking_tools(needed=False).state is State.WARN
    assert doctor.unpacking_tools(needed=True).todo == f"Type: {apt_line()}"


@pytest.mark.parametrize(("answer", "state"), [("kvm", State.OK), ("tcg", State.WARN)])
def test_kvm_tells_what_the_last_probe_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, state: State
) -> None:
    monkeypatch.setattr(doctor, "KVM", tmp_path / "kvm")
    with Cache(tmp_path / "cache") as cache:
        assert doctor.kvm(cache.entries()).state is State.WARN  # no device
        (tmp_path / "kvm").touch()
        cache.publish("accelerator", "x", lambda folder: (folder / "answer").write_text(answer))
        assert doctor.kvm(cache.entries()).state is state


def test_the_module_for_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Cache(tmp_path / "cache") as cache:
        assert "lab/run builds it" in doctor.windows(cache.root, cache.entries()).todo
        cache.publish("kmod", "6.12", lambda folder: (folder / "hil_windows.ko").touch())
        assert doctor.windows(cache.root, cache.entries()).state is State.OK
        cache.publish("kmod", "mine", lambda folder: (folder / "why-not").write_text("error: old"))
        failed = doctor.windows(cache.root, cache.entries())
        assert (failed.state, "error: old" in failed.what) == (State.WARN, True)
        monkeypatch.setenv("PATH", str(tmp_path))
        assert doctor.windows(cache.root, cache.entries()).todo == f"Type: {apt_line()}"


@pytest.mark.guest
def test_with_all_parts_there_nothing_is_missing() -> None:
    findings = examine()
    assert [finding for finding in findings if finding.state is State.MISSING] == []
    found = by_name(findings)
    assert found["qemu"].state is found["kernel"].state is State.OK
    assert "network" not in found

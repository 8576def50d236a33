"""The doctor: what it says about parts that are there, missing, or too small."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import doctor
from lab.cache import Cache
from lab.capacity import Room
from lab.doctor import Finding, State, examine, render


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


def test_a_missing_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-cc -O2")
    finding = doctor.compiler()
    assert (finding.state, finding.what) == (State.MISSING, "no no-such-cc")
    assert "sudo apt-get install gcc" in finding.todo


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
    assert "0 B to come" in doctor.disk(tmp_path, [], there).what
    assert doctor.disk(tmp_path, [], absent).state is State.OK
    monkeypatch.setattr(doctor, "TEMPLATE_BYTES", 10**18)
    finding = doctor.disk(tmp_path, [], absent)
    assert finding.state is State.MISSING
    assert "VFIO_HARNESS_CACHE" in finding.todo


def test_tools_that_are_needed_are_missing_and_others_only_warn(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doctor.unpacking_tools(needed=True).state is State.MISSING
    assert doctor.unpacking_tools(needed=False).state is State.WARN
    assert "sudo apt-get install" in doctor.unpacking_tools(needed=True).todo


@pytest.mark.parametrize(("answer", "state"), [("kvm", State.OK), ("tcg", State.WARN)])
def test_kvm_tells_what_the_last_probe_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, state: State
) -> None:
    monkeypatch.setattr(doctor, "KVM", tmp_path / "kvm")
    with Cache(tmp_path / "cache") as cache:
        assert doctor.kvm(cache.entries()).state is State.WARN  # no device
        (tmp_path / "kvm").touch()
        cache.publish("accelerator", "x", lambda folder: (folder / "answer").write_text(answer) and None)
        assert doctor.kvm(cache.entries()).state is state


def test_the_module_for_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Cache(tmp_path / "cache") as cache:
        assert "lab/run builds it" in doctor.windows(cache.entries()).todo
        cache.publish("kmod", "6.12", lambda folder: (folder / "hil_windows.ko").touch())
        assert doctor.windows(cache.entries()).state is State.OK
        cache.publish("kmod", "mine", lambda folder: (folder / "why-not").write_text("error: old") and None)
        failed = doctor.windows(cache.entries())
        assert (failed.state, "error: old" in failed.what) == (State.WARN, True)
        monkeypatch.setenv("PATH", str(tmp_path))
        assert "sudo apt-get install gcc make" in doctor.windows(cache.entries()).todo


@pytest.mark.guest
def test_with_all_parts_there_nothing_is_missing() -> None:
    findings = examine()
    assert [finding for finding in findings if finding.state is State.MISSING] == []
    found = by_name(findings)
    assert found["qemu"].state is found["kernel"].state is State.OK
    assert "network" not in found

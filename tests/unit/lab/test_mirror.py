"""Which mirror is used, from sources in both of apt's formats."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.lab.debian.mirror import DEFAULT_MIRROR, Mirror, host_mirror


@pytest.fixture(autouse=True)
def no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VFIO_HARNESS_MIRROR", raising=False)


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    (tmp_path / "sources.list.d").mkdir()
    return tmp_path


def test_without_sources_the_default_is_used(tmp_path: Path) -> None:
    assert host_mirror(tmp_path) == Mirror(debian=DEFAULT_MIRROR, security=DEFAULT_MIRROR + "-security")


def test_the_one_line_format(sources: Path) -> None:
    (sources / "sources.list").write_text(
        "# deb http://commented/debian bookworm main\n"
        "deb-src http://source/debian bookworm main\n"
        "deb [arch=amd64 signed-by=/k.gpg] https://near/debian/ bookworm main\n"
        "deb http://far/debian trixie main\n"
        "deb http://sec/debian-security bookworm-security main\n"
    )
    assert host_mirror(sources) == Mirror(debian="https://near/debian", security="http://sec/debian-security")


def test_the_deb822_format(sources: Path) -> None:
    (sources / "sources.list.d" / "debian.sources").write_text(
        "Types: deb\nURIs: http://off/debian\nSuites: bookworm\nEnabled: no\n\n"
        "Types: deb deb-src\n# a comment\nURIs:\n http://near/debian\n http://second/debian\n"
        "Suites: bookworm bookworm-updates\nComponents: main\n\n"
        "Types: deb\nURIs: http://near/security\nSuites: bookworm-security\nComponents: main\n"
    )
    assert host_mirror(sources) == Mirror(debian="http://near/debian", security="http://near/security")


def test_other_archives_are_passed_over(sources: Path) -> None:
    (sources / "sources.list").write_text(
        "deb http://archive/ubuntu noble main\ndeb http://node/x nodistro main\n"
    )
    (sources / "sources.list.d" / "old.list.disabled").write_text("deb http://off/debian bookworm main\n")
    assert host_mirror(sources).debian == DEFAULT_MIRROR


def test_the_security_archive_is_beside_a_mirror_that_names_none(sources: Path) -> None:
    (sources / "sources.list").write_text("deb http://near/pub/debian trixie main\n")
    assert host_mirror(sources).security == "http://near/pub/debian-security"


def test_the_environment_goes_before_all(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (sources / "sources.list").write_text("deb http://near/debian trixie main\n")
    monkeypatch.setenv("VFIO_HARNESS_MIRROR", "http://mine/debian/")
    assert host_mirror(sources) == Mirror(debian="http://mine/debian", security="http://mine/debian-security")
    monkeypatch.setenv("VFIO_HARNESS_MIRROR", "http://mine/debian http://other/sec")
    assert host_mirror(sources) == Mirror(debian="http://mine/debian", security="http://other/sec")

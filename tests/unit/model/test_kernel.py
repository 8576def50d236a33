"""Kernel releases and ranges of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ContractError, UsageError
from harness.model.kernel import KernelRange, KernelVersion

VERSIONS = st.builds(KernelVersion, st.integers(2, 9), st.integers(0, 99), st.integers(0, 300))


@pytest.mark.parametrize(
    ("release", "version"),
    [
        ("6.12.117+deb13-amd64", (6, 12, 117)),
        ("6.1.0-56-amd64", (6, 1, 0)),
        ("7.0-rc3", (7, 0, 0)),
        ("6.18", (6, 18, 0)),
    ],
)
def test_a_release_begins_with_its_version(release: str, version: tuple[int, int, int]) -> None:
    found = KernelVersion.parse(release)
    assert (found.major, found.minor, found.patch) == version


@pytest.mark.parametrize("release", ["", "linux", "6", "v6.12"])
def test_what_does_not_is_refused(release: str) -> None:
    with pytest.raises(UsageError, match="does not begin with a version"):
        KernelVersion.parse(release)


@pytest.mark.parametrize(
    ("term", "inside", "outside"),
    [
        ("*", ["2.6.32", "6.12.0", "9.99.1"], []),
        ("6.10+", ["6.10.0", "6.11.7", "7.0.0"], ["6.9.99", "5.19.0"]),
        ("6.12", ["6.12.0", "6.12.117"], ["6.11.9", "6.13.0", "7.12.0"]),
        ("6.12.117+", ["6.12.117", "6.12.200"], ["6.12.116", "6.13.0", "7.0.0"]),
        ("6.12.-107", ["6.12.0", "6.12.107"], ["6.12.108", "6.11.1"]),
    ],
)
def test_each_kind_of_term(term: str, inside: list[str], outside: list[str]) -> None:
    kernels = KernelRange((term,))
    assert [text for text in inside + outside if KernelVersion.parse(text) in kernels] == inside


def test_terms_add_up_so_that_a_backport_can_be_told() -> None:
    fixed = KernelRange(("6.1.150+", "6.12.117+", "6.15+"))
    seen = {
        text: KernelVersion.parse(text) in fixed for text in ("6.1.149", "6.1.150", "6.12.116", "6.12.117")
    }
    assert list(seen.values()) == [False, True, False, True]
    assert KernelVersion(6, 14, 3) not in fixed
    assert KernelVersion(6, 15, 0) in fixed


def test_no_term_holds_for_no_kernel() -> None:
    assert KernelVersion(6, 12, 0) not in KernelRange(())


@pytest.mark.parametrize("term", ["", "6", "6.12.117", ">6.1", "6.12.-", "6.12-6.14", "6.12.1.2+", "all"])
def test_a_term_that_cannot_be_read_is_named(term: str) -> None:
    with pytest.raises(ContractError, match="not understood"):
        KernelRange((term,))


@given(VERSIONS)
def test_up_to_and_from_the_next_share_a_branch_between_them(version: KernelVersion) -> None:
    branch = f"{version.major}.{version.minor}"
    split = version.patch
    low, high = KernelRange((f"{branch}.-{split}",)), KernelRange((f"{branch}.{split + 1}+",))
    assert version in low
    assert version not in high
    assert version in KernelRange((branch,))
    assert version in KernelRange((f"{branch}+",))


@given(VERSIONS)
def test_a_version_reads_back_as_it_was_printed(version: KernelVersion) -> None:
    assert KernelVersion.parse(str(version)) == version

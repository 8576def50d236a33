"""Addresses, methods, paths, and which accesses config space knows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.model.pci import AccessPath, Bdf, ResetMethod, check_access

BDFS = st.builds(
    Bdf,
    domain=st.integers(0, 0xFFFF_FFFF),
    bus=st.integers(0, 0xFF),
    device=st.integers(0, 0x1F),
    function=st.integers(0, 7),
)


@given(BDFS)
def test_an_address_reads_back_as_it_was_printed(bdf: Bdf) -> None:
    assert Bdf.parse(str(bdf)) == bdf


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("0000:01:00.0", "0000:01:00.0"),
        ("01:00.0", "0000:01:00.0"),
        (" 10000:AB:1f.7\n", "10000:ab:1f.7"),
    ],
)
def test_the_domain_may_be_left_out(text: str, printed: str) -> None:
    assert str(Bdf.parse(text)) == printed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "01:00",
        "0000:01:00.8",
        "0000:01:20.0",
        "1:0.0",
        "0000:01:00.0.0",
        "nvme0",
        "000:01:00.0",
        "01-00.0",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not a PCI function"):
        Bdf.parse(text)


def test_addresses_sort_as_lspci_does() -> None:
    texts = ["0000:00:02.0", "0000:00:1f.2", "0000:01:00.0", "0000:01:00.1", "0001:00:00.0"]
    assert [str(bdf) for bdf in sorted(Bdf.parse(text) for text in reversed(texts))] == texts


@pytest.mark.parametrize("method", list(ResetMethod))
def test_methods_are_found_by_the_name_that_sysfs_uses(method: ResetMethod) -> None:
    assert ResetMethod.named(str(method)) is method


def test_an_unknown_method_is_answered_with_those_that_exist() -> None:
    with pytest.raises(UsageError, match=r"'flt'.*flr, af_flr, pm, bus"):
        ResetMethod.named("flt")


def test_an_unknown_path_is_answered_with_those_that_exist() -> None:
    assert AccessPath.named("proc") is AccessPath.PROC
    with pytest.raises(UsageError, match=r"'vfio'.*sysfs, proc"):
        AccessPath.named("vfio")


@pytest.mark.parametrize("size", [256, 4096])
@pytest.mark.parametrize("width", [1, 2, 4])
def test_the_first_and_the_last_access_of_each_width(size: int, width: int) -> None:
    check_access(0, width, size=size)
    check_access(size - width, width, size=size)
    for offset in (-1, size - width + 1, size):
        with pytest.raises(UsageError, match=f"last offset for this width is {size - width:#x}"):
            check_access(offset, width, size=size)


@pytest.mark.parametrize("width", [0, -1, 3, 5, 8, 4096])
def test_other_widths_do_not_exist(width: int) -> None:
    with pytest.raises(UsageError, match="1, 2 or 4 bytes"):
        check_access(0, width)


@pytest.mark.parametrize("offset", ["50ms", 4.0, None])
def test_what_is_no_offset_is_refused(offset: object) -> None:
    with pytest.raises(UsageError, match="no offset in config space"):
        check_access(offset, 4)  # type: ignore[arg-type] # a test's author may write anything


def test_an_access_need_not_be_aligned() -> None:
    check_access(1, 4)
    check_access(253, 2, size=256)

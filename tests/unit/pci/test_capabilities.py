"""The capability walk: lists as they should be, and lists as broken hardware shows them."""

from __future__ import annotations

import pytest

from harness.pci.capabilities import Capability, capabilities, find, length, loop


def space(size: int = 4096, **words: int) -> bytearray:
    """Config space with the capability list bit set; keys are `x40` for a dword at 0x40."""
    config = bytearray(size)
    config[0x06] = 0x10
    for where, word in words.items():
        at = int(where[1:], 16)
        config[at : at + 4] = word.to_bytes(4, "little")
    return config


def seen(config: bytes) -> list[tuple[int, int, bool]]:
    return [(c.id, c.offset, c.extended) for c in capabilities(config)]


def test_both_lists_are_walked_in_their_order() -> None:
    config = space(x34=0x80, x80=0x4001, x40=0x0010, x100=0x15010001, x150=0x0001_0010)
    assert seen(bytes(config)) == [
        (0x01, 0x80, False),
        (0x10, 0x40, False),
        (0x01, 0x100, True),
        (0x10, 0x150, True),
    ]


def test_the_low_bits_of_a_pointer_do_not_count() -> None:
    assert seen(bytes(space(x34=0x43, x40=0x0005))) == [(5, 0x40, False)]


@pytest.mark.parametrize(
    "config",
    [
        b"",
        bytes(64),
        bytes(256),
        b"\xff" * 64,
        b"\xff" * 256,
        b"\xff" * 4096,
        bytes(space(x34=0x40)[:0x35]),
        bytes(space(x34=0x3C)),
    ],
    ids=["empty", "zeros-64", "zeros-256", "ones-64", "ones-256", "ones-4096", "cut", "into-header"],
)
def test_nothing_is_found_where_nothing_is(config: bytes) -> None:
    found = seen(config)
    assert found == ([] if config[:1] != b"" or not config else found)


def test_a_list_bit_that_is_off_hides_the_list() -> None:
    config = space(x34=0x40, x40=0x0005)
    config[0x06] = 0
    assert seen(bytes(config)) == []


@pytest.mark.parametrize("last", [0x40, 0x50])
def test_a_loop_ends_the_walk(last: int) -> None:
    config = space(x34=0x40, x40=0x5001, x50=last << 8 | 0x05)
    assert seen(bytes(config)) == [(1, 0x40, False), (5, 0x50, False)]


def test_an_extended_loop_ends_the_walk() -> None:
    config = space(x100=0x15010001, x150=0x1001_000B)
    assert [c.offset for c in capabilities(bytes(config))] == [0x100, 0x150]


def test_an_extended_pointer_below_its_space_ends_the_walk() -> None:
    assert [c.offset for c in capabilities(bytes(space(x100=0x0401_0001)))] == [0x100]


def test_capabilities_are_found_by_name() -> None:
    config = bytes(space(x34=0x40, x40=0x5009, x50=0x0009, x100=0x0001_0001))
    assert [c.offset for c in find(config, "vendor")] == [0x40, 0x50]
    assert [c.offset for c in find(config, "aer")] == [0x100]
    assert find(config, "pm") == ()
    with pytest.raises(KeyError):
        find(config, "nonsense")


@pytest.mark.parametrize(
    ("capability", "expected"),
    [
        (Capability(id=0x09, offset=0x40, extended=False), 0x14),
        (Capability(id=0x0B, offset=0x100, extended=True), 0x30),
        (Capability(id=0x23, offset=0x140, extended=True), 0x18),
        (Capability(id=0x2E, offset=0x180, extended=True), 0x18),
        (Capability(id=0x10, offset=0x80, extended=False), 0),
    ],
)
def test_some_capabilities_say_how_long_they_are(capability: Capability, expected: int) -> None:
    config = bytes(space(x40=0x0014_0009, x104=0x0300_0000, x144=0x0180_0000))
    assert length(config, capability) == expected


def test_a_length_ends_with_config_space() -> None:
    config = bytes(space(256, xf8=0x00FF_0009))
    assert length(config, Capability(id=0x09, offset=0xF8, extended=False)) == 8


@pytest.mark.parametrize(
    ("config", "circle"),
    [
        (space(x100=0x14010003, x140=0x10010003), (0x100, 0x140, 0x100)),
        (space(x100=0x14010001, x140=0x18010003, x180=0x14010003), (0x140, 0x180, 0x140)),
        (space(x100=0x10010003), (0x100, 0x100)),
        (space(x100=0x14010003, x140=0x00010003), ()),
        (space(x100=0x14010003), ()),
        (space(), ()),
        (bytearray(b"\xff" * 4096), ()),
        (space(256), ()),
    ],
)
def test_a_list_that_leads_back_to_itself_is_told_from_one_that_ends(
    config: bytearray, circle: tuple[int, ...]
) -> None:
    assert loop(bytes(config)) == circle

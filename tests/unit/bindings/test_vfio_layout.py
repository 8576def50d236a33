"""Layouts and numbers of the kernel headers, as compiled and as they are on this machine, against literals."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from collections.abc import Callable

import pytest

from harness.bindings import _vfio, iommufd, vfio
from tests.tools import tool
from tests.unit.bindings.layouts import (
    IOMMUFD_NUMBERS,
    LAYOUTS,
    NEWER_NUMBERS,
    NUMBERS,
    Layout,
    assertions,
)

_FOR_EVERY_HEADER = [layout for layout in LAYOUTS if not layout.needs]
# A header that has one of these names has what came with it, and lacks what replaced it.
_KNOWN = {**vfio.HEADER.present, **iommufd.HEADER.present}


@pytest.fixture
def compiles() -> Callable[[str], str]:
    """Compile C; what the compiler said, empty when it was content."""
    compiler = tool(os.environ.get("CC", "gcc"))

    def run(source: str) -> str:
        command = [compiler, "-std=gnu11", "-fsyntax-only", "-x", "c", "-"]
        return subprocess.run(command, input=source, capture_output=True, text=True, check=False).stderr

    return run


@pytest.mark.parametrize(("name", "number"), NUMBERS.items())
def test_the_kernel_interface_has_the_numbers_it_always_had(name: str, number: int) -> None:
    """Source: include/uapi/linux/vfio.h; all ioctls are `_IO(';', 100 + n)`."""
    assert getattr(_vfio.lib, name) == number


@pytest.mark.parametrize(("name", "number"), {**NEWER_NUMBERS, **IOMMUFD_NUMBERS}.items())
def test_what_is_newer_has_its_number_or_is_known_to_be_lacking(name: str, number: int) -> None:
    header = iommufd.HEADER if name in IOMMUFD_NUMBERS else vfio.HEADER
    if header.present[name]:
        assert header.value(name) == number


def test_every_newer_name_is_held_against_a_literal() -> None:
    assert set(vfio.HEADER.present) == set(NEWER_NUMBERS)
    assert set(iommufd.HEADER.present) == set(IOMMUFD_NUMBERS)


@pytest.mark.parametrize("layout", _FOR_EVERY_HEADER, ids=lambda layout: f"{layout.struct}-{layout.size}")
def test_the_compiled_bindings_have_the_layouts_of_their_header(layout: Layout) -> None:
    """Cffi compares our declaration with the compiler's layout at the first use, and raises when they differ."""
    if layout.lacks and _KNOWN[layout.lacks]:
        (layout,) = (one for one in LAYOUTS if one.struct == layout.struct and one.needs == layout.lacks)
    kind = f"struct {layout.struct}"
    assert _vfio.ffi.sizeof(kind) == layout.size
    declared = dict(_vfio.ffi.typeof(kind).fields)
    assert set(declared) <= set(layout.members)
    assert {name: layout.members[name] for name in declared} == {
        name: field.offset for name, field in declared.items()
    }


def test_the_headers_of_this_machine_have_the_layouts_of_their_kernel(compiles: Callable[[str], str]) -> None:
    assert compiles(assertions()) == ""


def test_a_wrong_layout_is_noticed(compiles: Callable[[str], str]) -> None:
    for layout in _FOR_EVERY_HEADER:
        if layout.lacks:
            continue
        wrong = dataclasses.replace(layout, size=layout.size + 4)
        assert f'"{layout.struct}"' in compiles(assertions((wrong,)))

"""The function whose capabilities lie: nothing to be seen of it until a fault shows it."""

from __future__ import annotations

import pytest

from harness.lab.models.chain import FIRST, SECOND, chain
from harness.lab.models.function import Function
from harness.lab.models.interface import CONFIG_REGION
from harness.model.fault import Fault, Misbehaviour
from harness.pci.capabilities import capabilities, loop

_STANDARD = [0x01, 0x05, 0x10]


@pytest.fixture
def function() -> Function:
    return chain(lambda: 0)


def space(function: Function) -> bytes:
    return function.read(CONFIG_REGION, 0, 4096)


def leads(register: str, following: int, id_: int = 3) -> Fault:
    return Fault(what=Misbehaviour.WRONG_VALUE, register=register, value=id_ | 1 << 16 | following << 20)


def test_it_shows_no_extended_capability_when_qemu_connects(function: Function) -> None:
    config = space(function)
    assert config[0x100:] == bytes(4096 - 0x100)
    assert [one.id for one in capabilities(config)] == _STANDARD


def test_two_faults_make_a_loop_and_without_them_it_is_gone(function: Function) -> None:
    function.load([leads("first-header", SECOND), leads("second-header", FIRST)])
    config = space(function)
    assert [one.offset for one in capabilities(config) if one.extended] == [FIRST, SECOND]
    assert loop(config) == (FIRST, SECOND, FIRST)
    function.load([])
    assert loop(space(function)) == ()


def test_it_has_nothing_behind_a_bar(function: Function) -> None:
    assert function.sizes == {CONFIG_REGION: 4096}

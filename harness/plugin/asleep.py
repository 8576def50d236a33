"""The fixtures of a session that asked for no lab: a test that takes one is skipped, with the command that helps."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from harness.contract import Contract

NO_LAB = "no lab was asked for: use ./lab/run, or add --hil-lab emulated"


@pytest.fixture(scope="session")
def hil_place() -> NoReturn:
    """The lab: there is none."""
    pytest.skip(NO_LAB)


@pytest.fixture
def hil_source(hil_place: object) -> object:
    """Guests: there are none."""
    return hil_place


@pytest.fixture
def functions(hil_source: object) -> object:
    """The functions of the lab by alias: `functions("igb0")`; ports too: `functions("igb0.port")`."""
    return hil_source


@pytest.fixture
def dut(functions: object) -> object:
    """The function under test, as the marker `dut` names it."""
    return functions


@pytest.fixture
def stage(hil_source: object) -> object:
    """Stage parts together: `stage(dut.reads(actors=3), dut.resets("flr", at="50ms"), lasting="400ms", meets=3)`."""
    return hil_source


@pytest.fixture
def locks(hil_place: object) -> object:
    """Holders of a function's locks: `locks(dut).holds("config", lasting="200ms")`; skips without their module."""
    return hil_place


@pytest.fixture(scope="session")
def hil_contract() -> Contract:
    """The contract, read once a session; it needs no lab."""
    from harness.contract import load  # noqa: PLC0415 - with numpy: only for a test that takes it

    return load()

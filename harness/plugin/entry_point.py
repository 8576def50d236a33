"""What every pytest session loads: our options and markers.  The plugins come when one of the options was given.

A session that asks for nothing pays for nothing: neither numpy nor junitparser is imported, and no hook of ours looks
at its tests.
"""

from __future__ import annotations

import argparse
from collections.abc import Generator
from importlib import import_module
from types import MappingProxyType
from typing import Any, Final

import pytest

from harness.options import FUZZ, LAB, RUN, SESSION, SOAK, declare

PLUGINS: Final = MappingProxyType(
    {
        "harness_lab": "harness.plugin.lab.plugin",
        "harness_parallel": "harness.plugin.parallel",
        "harness_staging": "harness.plugin.staging.plugin",
        "harness_reporting": "harness.plugin.reporting.plugin",
        "harness_ending": "harness.plugin.reporting.ending",
        "harness_soak": "harness.plugin.soak.plugin",
    }
)
"""In the order in which pytest gets them, by the names that `-p no:NAME` takes."""

MARKERS: Final = (
    "dut(*aliases): run the test once for each of these functions, as `dut`",
    "hil_ipr: stages the ipr adapter; see docs/ipr.md",
    "hil_boots: the guest of this test is booted, never cloned",
    "hil_slow: takes a minute or more, left out unless `-m hil_slow` asks for it",
)

_OPTIONS: Final = {**LAB, **RUN, **SOAK, **FUZZ, **SESSION}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare what a session can be told; `harness run` tells it most of that."""
    group = parser.getgroup("hil", "hardware in the loop (vfio-harness)")
    declare(group.addoption, _OPTIONS, prefix="hil-")


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, Any, Any]:
    """Load what was asked for, before any test or conftest can be in its way."""
    manager = early_config.pluginmanager
    if not _asks(early_config.known_args_namespace):
        manager.register(import_module("harness.plugin.asleep"), "harness_asleep")
        return (yield)
    for name, module in PLUGINS.items():
        manager.register(import_module(module), name)
    from harness.plugin.reporting import ending  # noqa: PLC0415 - as said above

    with ending.answered_at_once(early_config):
        return (yield)


def pytest_configure(config: pytest.Config) -> None:
    """Describe our markers."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Turn `@pytest.mark.dut("igb0", "nvme0")` into one test for each alias."""
    marker = metafunc.definition.get_closest_marker("dut")
    if (
        marker is not None and marker.args and "dut" in metafunc.fixturenames
    ):  # else `dut` says that none is named
        metafunc.parametrize("dut", marker.args, indirect=True, ids=[str(alias) for alias in marker.args])


def _asks(told: argparse.Namespace) -> bool:
    """Whether any option of ours was given a value of its own."""
    return any(
        getattr(told, option.get("dest", f"hil_{name.replace('-', '_')}"))
        not in (option.get("default"), None, False)
        for name, option in _OPTIONS.items()
    )

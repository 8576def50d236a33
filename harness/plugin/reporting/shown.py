"""What pytest shows of a test that used a function, without what a terminal would act upon.

A skip's reason, an assertion's message and captured output may hold what a guest has written.  Tests that use nothing
of ours are left as they are.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final

import pytest

from harness.report.text import clean

_OURS: Final = "hil_source"
"""The fixture that all others stand on which lead to a guest."""


def is_ours(item: pytest.Item) -> bool:
    """Whether a test can have met a guest."""
    return _OURS in getattr(item, "fixturenames", ())


def make_visible(report: pytest.TestReport) -> None:
    """Spell out control characters in everything that pytest will print of a report."""
    report.longrepr = _visible(report.longrepr)
    report.sections[:] = _visible(report.sections)
    if hasattr(report, "wasxfail"):
        report.wasxfail = clean(str(report.wasxfail))


def _visible(shown: Any) -> Any:
    """The same, of texts and of pytest's own trees of them."""
    match shown:
        case str():
            return clean(shown)
        case list():
            return [_visible(one) for one in shown]
        case tuple():
            return tuple(_visible(one) for one in shown)
        case _ if dataclasses.is_dataclass(shown) and not isinstance(shown, type):
            for field in dataclasses.fields(shown):
                setattr(shown, field.name, _visible(getattr(shown, field.name)))
    return shown

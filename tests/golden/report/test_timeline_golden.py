"""The timelines of small histories, as they were when a person last looked at them.

After a wanted change: `HARNESS_UPDATE_GOLDEN=1 pytest tests/golden/report`, then look at the difference and
at the picture before it is committed.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.report.ascii.timeline import timeline_text
from harness.report.svg.timeline import timeline_svg
from tests.unit.report.drivers import race
from tests.unit.report.histories import read_in_lock_window
from tests.unit.report.served import late_after_reset
from tests.unit.report.windows import stolen_lock

HERE = Path(__file__).parent
DRAWN = {
    "read_in_lock_window.txt": lambda: timeline_text(*read_in_lock_window()).encode(),
    "read_in_lock_window.svg": lambda: timeline_svg(*read_in_lock_window()),
    "stolen_lock.txt": lambda: timeline_text(*stolen_lock()).encode(),
    "stolen_lock.svg": lambda: timeline_svg(*stolen_lock()),
    "driver_race.txt": lambda: timeline_text(*race()).encode(),
    "driver_race.svg": lambda: timeline_svg(*race()),
    "late_after_reset.txt": lambda: timeline_text(*late_after_reset()).encode(),
    "late_after_reset.svg": lambda: timeline_svg(*late_after_reset()),
}


@pytest.mark.parametrize("name", DRAWN)
def test_golden(name: str) -> None:
    drawn = DRAWN[name]()
    golden = HERE / name
    if os.environ.get("HARNESS_UPDATE_GOLDEN"):
        golden.write_bytes(drawn)
    assert drawn.decode() == golden.read_text("utf-8")

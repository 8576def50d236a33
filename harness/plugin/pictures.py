"""Pictures of stages for those who report: one that cannot be drawn costs nobody a verdict."""

from __future__ import annotations

from harness.history.history import History
from harness.history.reading import Reading
from harness.model.verdict import Judgement
from harness.report.ascii.timeline import timeline_text


def in_text(seen: History | Reading, judgement: Judgement) -> str:
    """The timeline of a stage in 80 columns, or why there is none."""
    try:
        return timeline_text(seen, judgement)
    except Exception as error:  # noqa: BLE001  whatever it is: verdict and history matter more
        return f"no picture could be drawn: {error!r}"

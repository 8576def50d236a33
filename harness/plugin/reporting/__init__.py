"""Reporting: what a session comes to, in the journal while it runs and in the report when it ends.

During a test, other plugins say what was judged with :func:`note_stage`, :func:`note_attempt` and
:func:`note_health`; these do nothing when nobody asked for results.

:mod:`~harness.plugin.reporting.plugin` has options and hooks, :mod:`~harness.plugin.reporting.notes` what others call,
:mod:`~harness.plugin.reporting.journalist` writes down what pytest says.  :mod:`~harness.plugin.reporting.classify`
tells failure from error; :mod:`~harness.plugin.reporting.again` runs a test once more, within a
:mod:`~harness.plugin.reporting.budget`, and :mod:`~harness.plugin.reporting.resuming` none that has an outcome.
"""

from harness.plugin.reporting.notes import (
    attachment_path,
    note_attempt,
    note_health,
    note_stage,
    results_folder,
)

__all__ = ["attachment_path", "note_attempt", "note_health", "note_stage", "results_folder"]

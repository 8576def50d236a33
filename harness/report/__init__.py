"""Views of a session and of a history: functions from values to bytes or text.

============================================ ==============================================================
:mod:`~harness.report.junit`                 a session as JUnit XML, strict or rich
:mod:`~harness.report.health`                the cases on the session as a whole
:mod:`~harness.report.exit`                  a session as an exit status
:mod:`~harness.report.terminal`              a session as the lines that a tired engineer reads first
:mod:`~harness.report.timeline`              a history and its judgement as a layout of lanes on one axis …
:mod:`~harness.report.ascii`                 … drawn in 80 columns of ASCII
:mod:`~harness.report.svg`                   … drawn as SVG
:mod:`~harness.report.stage`                 a history and its judgement as one record of the journal
:mod:`~harness.report.refusals`              operations that were refused and tried again, as numbers
============================================ ==============================================================

Nothing here opens a file, reads a clock or starts anything.
"""

from harness.model.exit_status import ExitStatus
from harness.report.exit import exit_status

__all__ = ["ExitStatus", "exit_status"]

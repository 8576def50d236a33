"""Staging for tests: what the fixture `stage` is and gives, and how a test is held to the verdict.

:mod:`~harness.plugin.staging.plugin` has options, fixture and hooks; :mod:`~harness.plugin.staging.stage` carries an
experiment out and keeps its evidence; :mod:`~harness.plugin.staging.run` is what it came to.
"""

from harness.plugin.staging.run import Run
from harness.plugin.staging.stage import Stage, carry_out

__all__ = ["Run", "Stage", "carry_out"]

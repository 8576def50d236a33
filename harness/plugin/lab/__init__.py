"""The lab of a run: targets and functions for tests, and what becomes of those that several tests use.

:mod:`~harness.plugin.lab.plugin` has options, markers and fixtures, :mod:`~harness.plugin.lab.functions` what a test's
author meets.  :mod:`~harness.plugin.lab.guests` makes the guests of one test, :mod:`~harness.plugin.lab.shared` lends
one to all, and :mod:`~harness.plugin.lab.quarantine` decides which functions of that one are fit for the next test.
"""

from harness.plugin.lab.functions import Functions, describe, platform_of

__all__ = ["Functions", "describe", "platform_of"]

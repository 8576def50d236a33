"""The pytest plugins: thin, loaded by entry point, inert until asked for on the command line.

:mod:`~harness.plugin.lab` provides targets and functions, :mod:`~harness.plugin.staging` stages and judges,
:mod:`~harness.plugin.reporting` keeps the journal and writes the reports.
"""

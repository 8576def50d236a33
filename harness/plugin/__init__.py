"""The pytest plugins: thin, loaded by entry point, inert until asked for on the command line.

A folder for each, whose `plugin.py` is what pytest loads:

====================================== ===================================================================
:mod:`~harness.plugin.lab`             targets and functions
:mod:`~harness.plugin.staging`         stages, judges, and holds a test to its verdict
:mod:`~harness.plugin.reporting`       keeps the journal and writes the reports
:mod:`~harness.plugin.soak`            runs tests round after round
:mod:`~harness.plugin.parallel`        many guests at once, and the next one made ahead
====================================== ===================================================================

:mod:`~harness.plugin.verdicts` is what all of them, and tests, raise; :mod:`~harness.plugin.pictures` goes with it.
"""

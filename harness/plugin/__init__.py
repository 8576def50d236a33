"""The pytest plugins: thin, and not even loaded until one of their options is given.

Every session loads :mod:`~harness.plugin.entry_point`: the options, the markers, and the others when they are asked
for.  A folder for each, with a `plugin.py`:

====================================== ===================================================================
:mod:`~harness.plugin.lab`             targets and functions
:mod:`~harness.plugin.staging`         stages, judges, and holds a test to its verdict
:mod:`~harness.plugin.reporting`       keeps the journal and writes the reports
:mod:`~harness.plugin.soak`            runs tests round after round
:mod:`~harness.plugin.parallel`        many guests at once, and the next one made ahead
====================================== ===================================================================

:mod:`~harness.plugin.verdicts` is what all of them, and tests, raise; :mod:`~harness.plugin.pictures` goes with it.
"""

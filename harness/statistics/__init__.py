"""What many rounds of one experiment come to: rates with their uncertainty, latencies, a comparison with earlier ones.

Pure values in, pure values out: no file, no clock, no pytest.  Everything here is of a size that does not grow with the
number of rounds, and statistics of two soaks merge into what one long soak would have given.

:mod:`~harness.statistics.proportion` has pass rates, :mod:`~harness.statistics.histogram` latencies,
:mod:`~harness.statistics.spans` takes them out of a history, :mod:`~harness.statistics.tally` adds rounds up, and
:mod:`~harness.statistics.comparison` holds a tally against a baseline.
"""

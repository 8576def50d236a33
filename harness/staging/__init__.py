"""Plan → History: what a test author writes, and how it is carried out on a target.

:mod:`~harness.staging.function` is the author's view of a function, :mod:`~harness.staging.part` what its verbs
make, :mod:`~harness.staging.conduct` stages the whole on a target.
"""

"""A soak: tests round after round until a time is over, summed up in bounded memory and disk.

:mod:`~harness.plugin.soak.plugin` has the options, :mod:`~harness.plugin.soak.loop` goes round,
:mod:`~harness.plugin.soak.rounds` says what a round came to, :mod:`~harness.plugin.soak.baseline` compares with earlier
soaks.
"""

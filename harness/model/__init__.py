"""Pure words: what a plan, an event, a promise and a verdict are.

Nothing here reads a clock, a file or the environment; every value is frozen and can be compared, hashed and
written down.  Start with :mod:`~harness.model.plan`, end with :mod:`~harness.model.verdict`.
"""

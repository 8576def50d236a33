"""Hypothesis for shared machines: an example may take long, and a red run must be red again.

`./lab/run` loads this file too (pytest looks for it beside the root's), where Hypothesis need not be installed.
"""

from importlib.util import find_spec

if find_spec("hypothesis"):
    from hypothesis import HealthCheck, settings

    settings.register_profile(
        "repository", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("repository")

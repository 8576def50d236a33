"""What this repository's own tests need everywhere; users' tests need nothing of this."""

from hypothesis import HealthCheck, settings

# Machines here are shared and slow at times: an example may take long, and a red run must be red again.
settings.register_profile(
    "repository", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("repository")

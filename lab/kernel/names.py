"""The names of our own kernel modules (lab/kmod), and of their device files."""

from typing import Final

WINDOWS: Final = "hil_windows"
"""The module that holds locks."""
FAULTS: Final = "hil_faults"
"""The module that breaks the kernel on request, for tests of the harness."""

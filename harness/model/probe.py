"""What a target says of a kernel probe that it could not set, where others draw conclusions from it."""

from __future__ import annotations

from typing import Final

NO_SUCH_FUNCTION: Final = "no such function in module"
"""In `Probe.reason`, before the module's name: it is loaded, and what it does not have was not called."""

"""Programs that tests use and a machine need not have: who lacks one is told what to install."""

from __future__ import annotations

import shutil

import pytest


def tool(name: str, *, package: str = "") -> str:
    """Find a program, or skip the test.

    Args:
        name: of the program.
        package: of Debian's that has it; by default of the same name.

    Returns:
        Its path.
    """
    if (found := shutil.which(name)) is None:
        pytest.skip(f"no {name} here.  Type: apt-get install {package or name}")
    return found

"""What must be installed on a Debian machine before the lab makes the rest itself: one line, the same everywhere.

README.md and lab/setup.sh, which runs before any Python of ours, say the same; tests/repo/test_documents.py compares.
"""

from __future__ import annotations

import os
from typing import Final

PACKAGES: Final = (
    "gcc",
    "git",
    "make",
    "libc6-dev",
    "linux-libc-dev",
    "python3",
    "python3-dev",
    "python3-venv",
    "util-linux",
    "debian-archive-keyring",
)


def apt_line() -> str:
    """Return the line that installs them; root has no use for sudo, and minimal systems have none."""
    return f"{'' if os.geteuid() == 0 else 'sudo '}apt-get install {' '.join(PACKAGES)}"

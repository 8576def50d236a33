"""Where this repository is, and what it tracks."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

import pytest

from harness.lab.needs import apt_line

ROOT: Final = Path(__file__).parents[2]


def tracked() -> list[Path]:
    """Files that git tracks or would add, as they are now."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
            text=True,
        )
    except FileNotFoundError:
        pytest.skip(f"no git here.  Type: {apt_line()}")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"needs a git checkout; git says of {ROOT}: {error.stderr.strip()}")
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


LINKS: Final = (ROOT / "harness" / "lab",)
"""What git tracks as links to folders: they are no files."""

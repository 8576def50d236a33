"""In which order files are dealt to the workers of `./lab/test`.

The longest comes first, so that nobody ends alone.  A guest keeps two processors busy, and what boots none waits a good
part of its time: dealt one kind after the other, guests would be in each other's way, and then the machine idle.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_GUESTS: Final = "tests/guest/"
_SHIPPED: Final = re.compile(r"^def .*\bshipped: Shipped", re.MULTILINE)


def looks_at_the_shipped(file: Path) -> bool:
    """Whether a test file asks for the run of the shipped scenarios, which takes minutes."""
    return bool(_SHIPPED.search(file.read_text()))


def dealt(files: Sequence[str], root: Path) -> list[str]:
    """Put test files into the order in which they are dealt.

    Args:
        files: relative to the root, each once.
        root: of the repository.
    """
    first = [file for file in files if looks_at_the_shipped(root / file)]
    rest = [file for file in files if file not in first]
    guests = [file for file in rest if file.startswith(_GUESTS)]
    others = [file for file in rest if not file.startswith(_GUESTS)]
    return [*first, *evenly(guests, others)]


def evenly(*rows: Sequence[str]) -> list[str]:
    """Make one row of several, in which each keeps its order and is spread over the whole."""
    places = [((number + 0.5) / len(row), one) for row in rows for number, one in enumerate(row)]
    return [one for _, one in sorted(places, key=lambda place: place[0])]

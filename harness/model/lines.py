"""Lines from outside, short enough to be looked at: what searches them may look at each of their places many times."""

from __future__ import annotations

import re
from typing import Final

from harness.model.limits import CONSOLE_LINE

_LONG: Final = re.compile(rf"([^\n]{{{CONSOLE_LINE.most}}})([^\n]+)")

CUT: Final = " characters of this line are left out]"
"""How a line ends that was cut."""


def short_lines(text: str) -> str:
    """The text with the ends of very long lines left out; each says how much that was.  Twice is as good as once."""
    return _LONG.sub(
        lambda found: found[0] if found[0].endswith(CUT) else f"{found[1]} [lab: {len(found[2])}{CUT}",
        text,
    )

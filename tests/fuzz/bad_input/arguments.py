"""Argument lists that no command understands, or understands and then finds nothing behind them."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Final

_ODD: Final = (
    "",
    " ",
    "-",
    "--",
    "---",
    "-x",
    "--x=y",
    "--svg",
    "--timeline",
    "--results",
    "--kernel=",
    "\x1b[2J",
    "\udcff",
    "ü",
    "a\nb",
    "a" * 5000,
    "/",
    "/dev/null",
    "/dev/zero",
    "/nowhere/x",
    "$HOME",
    "a:b,c=d",
    "%s%n",
    "{}",
    "-1",
    "1e999",
    "nan",
    "@file",
    "*",
    "--for",
)
ONLY_PARSED: Final = ("cache", "doctor", "setup", "make", "shell", "run", "replay")
"""What these do when they understand is not tried: it fetches, builds, removes."""


def arguments(random: Random, scratch: Path) -> list[str]:
    """Arguments that nothing good can come of."""
    odd = [_unlike(random) for _ in range(random.randrange(4))]
    match random.randrange(5):
        case 0:
            return ["judge", *odd, str(scratch / "absent")]
        case 1:
            return ["report", *odd, str(scratch / "absent")]
        case 2:
            return ["soak", "--for", random.choice(("x", "-5m", "", "9" * 400 + "s", "nan")), *odd]
        case 3:
            return [random.choice(ONLY_PARSED), *odd]
        case _:
            return [random.choice(_ODD), *odd]


def _unlike(random: Random) -> str:
    one = random.choice(_ODD)
    return one[: random.randrange(len(one) + 1)] + random.choice(_ODD)[:20] if random.random() < 0.3 else one

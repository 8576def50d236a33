"""Outcome words as numbers, so that a column of outcomes can be compared at once."""

from __future__ import annotations

import errno
from typing import Final

import numpy as np
import numpy.typing as npt

from harness.model.outcome import Outcome

PROMPT: Final = 0
"""Returned success without waiting for the lock."""
WAITED: Final = -1
"""Waited for the lock, then succeeded."""
REFUSED: Final = -2
"""Refused with an errno that has no word of its own."""
TRUNCATED: Final = -3
"""Got fewer bytes than it asked for."""
SIGBUS: Final = -7
"""Touched a mapping that the kernel had taken away: minus the signal's number, as a history keeps it."""

_ERRNOS: Final = {
    **{number: Outcome(name) for number, name in errno.errorcode.items() if name in list(Outcome)},
    SIGBUS: Outcome.SIGBUS,
}
ERRNO_NAMES: Final = frozenset(str(word) for word in _ERRNOS.values())
_NUMBERS: Final = {word: number for number, word in _ERRNOS.items()}


def number_of(outcome: Outcome) -> int:
    """The number for a promised word; words that differ only in the data share :data:`PROMPT`."""
    match outcome:
        case Outcome.BLOCKED | Outcome.BLOCKED_AND_RESET:
            return WAITED
        case Outcome.REFUSED:
            return REFUSED
        case Outcome.TRUNCATED:
            return TRUNCATED
        case _:
            return _NUMBERS.get(outcome, PROMPT)


def observed(error: npt.NDArray[np.int32], waited: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """What operations showed, as numbers: their errno if they failed, else whether they waited."""
    known = np.isin(error, list(_ERRNOS))
    numbers = np.where(waited, WAITED, PROMPT)
    return np.where(error == 0, numbers, np.where(known, error, REFUSED)).astype(np.int64)


def spoken(number: int) -> str:
    """What people call an observed number."""
    match number:
        case 0:
            return "did not wait"
        case -1:
            return "waited"
        case -3:
            return "got fewer bytes than it asked for"
        case -7:
            return "raised SIGBUS"
        case _:
            return f"was refused ({_ERRNOS[number]})" if number in _ERRNOS else "was refused"

"""What a command says to whoever started it, in a number that `git bisect run` understands.

docs/statuses.md has one row for each way to get there; `tests/plugin/test_statuses.py` a test for each row.
"""

from __future__ import annotations

import enum
from typing import Final

PYTEST_USAGE: Final = 4
"""pytest's own exit status for a mistake on its command line."""
PYTEST_NO_TESTS: Final = 5
"""pytest's own exit status for a selection that selects nothing."""


class ExitStatus(enum.IntEnum):
    """What the run says to whoever started it."""

    GOOD = 0
    """Every verdict is PASS, skipped or an expected failure."""
    BAD = 1
    """A broken promise, or a failed assertion in the body of a test; nothing else."""
    USAGE = 2
    """The caller's mistake, a selection that selects nothing among them."""
    NOTHING_SAID = 125
    """No failure, but something has no verdict: infrastructure, UNKNOWN, a dead runner."""


def of_pytest(status: int) -> ExitStatus:
    """What an exit status of pytest's own means, when there is no journal that knows better.

    pytest's 1 is no failure of ours: it may be a traceback of Python's, an error of a fixture, a process that ended
    itself.
    """
    if status in (PYTEST_USAGE, PYTEST_NO_TESTS):
        return ExitStatus.USAGE
    return ExitStatus.NOTHING_SAID if status else ExitStatus.GOOD

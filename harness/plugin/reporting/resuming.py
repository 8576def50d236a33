"""Go on where a dead run stopped: what has an outcome is not run again.

The controller reads the journal once; workers of xdist are told with their options.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import pytest

DONE: Final = "hil_done"
RUN: Final = "hil_run"

_OF_NO_MATTER: Final = (
    *("-n", "--numprocesses", "--color"),
    *("--hil-resume", "--hil-retries", "--hil-ahead", "--hil-prepared", "--hil-times"),
)
"""Options that change how a run goes, not what is tested."""
_FLAGS: Final = ("--hil-resume", "--hil-times")
"""Those without a value."""


class Resuming:
    """Deselects the tests that have an outcome, once the tests are known to be those of the dead run."""

    def __init__(self, done: Iterable[str], planned: Iterable[str] = (), *, run: int = 0) -> None:
        """Take what the journal says.

        Args:
            done: tests that came to their end.
            planned: all tests of the dead run; empty in a worker of xdist, whose controller compares.
            run: which run of the session this is, counted from 1.
        """
        self._done, self._planned, self._run = frozenset(done), frozenset(planned), run

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker of xdist what to leave out, and which run this is."""
        node.workerinput.update({DONE: sorted(self._done), RUN: self._run})

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Deselect what has an outcome.

        Raises:
            pytest.UsageError: the tests are not those of the dead run.
        """
        try:
            self._compare(item.nodeid for item in items)
        except pytest.UsageError:
            items.clear()  # they are no plan
            raise
        done = [item for item in items if item.nodeid in self._done]
        items[:] = [item for item in items if item.nodeid not in self._done]
        config.hook.pytest_deselected(items=done)

    @pytest.hookimpl(tryfirst=True, optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """Compare what a worker collected and kept.

        Raises:
            pytest.UsageError: the tests are not those of the dead run.
        """
        self._compare([*ids, *self._done])

    def _compare(self, collected: Iterable[str]) -> None:
        found = frozenset(collected)
        if self._planned and found != self._planned:
            parts = [
                f"{len(names)} {what} ({', '.join(sorted(names)[:3])}{' …' if len(names) > 3 else ''})"
                for what, names in (("more", found - self._planned), ("missing", self._planned - found))
                if names
            ]
            raise pytest.UsageError(
                f"--hil-resume: the tests are not those of the run to resume: {', '.join(parts)}.  "
                "Name the same tests, or start anew without it."
            )


def refuse_others(before: Sequence[str], now: Sequence[str]) -> None:
    """Hold the arguments of this run against those of the dead one.

    Raises:
        pytest.UsageError: they ask for something else.
    """
    then, asked = _meaning(before), _meaning(now)
    if then == asked:
        return
    gone = [word for word in then if word not in asked]
    new = [word for word in asked if word not in then]
    said = [f"it had {' '.join(gone)}"] * bool(gone) + [f"this one has {' '.join(new)}"] * bool(new)
    raise pytest.UsageError(
        f"--hil-resume: the run to resume was asked for something else: {', '.join(said) or 'in another order'}.  "
        "Ask for the same, or start anew without it."
    )


def _meaning(arguments: Sequence[str]) -> list[str]:
    """The arguments that say what is tested, and on what."""
    kept: list[str] = []
    words = iter(arguments)
    for word in words:
        name = word.partition("=")[0]
        if name in _OF_NO_MATTER:
            if "=" not in word and name not in _FLAGS:
                next(words, None)  # its value
        elif not (word.startswith("-n") and word[2:].isdecimal()):
            kept.append(word)
    return kept

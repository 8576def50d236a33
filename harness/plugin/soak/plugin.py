"""Run tests round after round until a time is over, and sum up: `--hil-soak 2h`.

Nothing grows with the number of rounds.  Of each test one round is kept that passed, the latest, and at most
three of each kind that did not, the first among them; the evidence of all others is removed.  Statistics are
counters and histograms.  The journal gets one start of each test, what was first broken, and at the end the round that
decides: of several rounds the worst, as of several phases.

Rounds are as independent as their guests.  With a fresh clone for each test, as always unless `--hil-guests shared` is
asked for, no round knows of another one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from harness.errors import UsageError
from harness.plugin import reporting
from harness.plugin.soak.baseline import Baselines
from harness.plugin.soak.loop import Soaking, Wish
from harness.statistics.comparison import FACTOR


def pytest_configure(config: pytest.Config) -> None:
    """Understand what is asked for before anything is collected."""
    option = config.option
    if option.hil_soak is None:
        return
    try:
        config.stash[_WISH] = _wish(config)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from error


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Take over the loop; registered this late, so that nobody else runs a test before us."""
    wish = session.config.stash.get(_WISH, None)
    if wish is not None:
        session.config.pluginmanager.register(Soaking(session.config, wish), "harness_soaking")


_WISH: Final = pytest.StashKey[Wish]()


def _wish(config: pytest.Config) -> Wish:
    option = config.option
    if getattr(option, "numprocesses", None):
        raise UsageError(
            "a soak with -n",
            said="rounds of several workers are not summed up",
            hint="Start one soak for each guest, each with --results of its own.",
        )
    results = reporting.results_folder(config)
    if results is None:
        raise UsageError("--hil-soak", said="no results folder", hint="Add --hil-results DIR.")
    if option.hil_update_baseline and option.hil_baseline is None:
        raise UsageError("--update-baseline", said="no baseline is named", hint="Add --baseline DIR.")
    factor = FACTOR if option.hil_factor is None else option.hil_factor
    if not factor > 1:
        raise UsageError(f"--factor {factor:g}", said="a factor above 1 is needed")
    folder: Path | None = option.hil_baseline
    return Wish(
        results=results,
        seconds=option.hil_soak,
        until_failure=option.hil_until_failure,
        baselines=None if folder is None else Baselines(config.invocation_params.dir / folder),
        update=option.hil_update_baseline,
        factor=factor,
    )

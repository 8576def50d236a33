"""Run tests round after round until a time is over, and sum up: `--hil-soak 2h`.

Nothing grows with the number of rounds.  Of each test one round is kept that passed, the latest, and at most
three of each kind that did not, the first among them; the evidence of all others is removed.  Statistics are
counters and histograms.  The journal gets one start of each test, what was first broken, and at the end the round that
decides: of several rounds the worst, as of several phases.

Rounds are as independent as their guests.  With a fresh clone for each test, as always unless `--hil-guests shared` is
asked for, no round knows of another one.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from harness.errors import UsageError
from harness.plugin import reporting
from harness.plugin.soak.baseline import Baselines
from harness.plugin.soak.loop import Soaking, Wish
from harness.statistics.comparison import FACTOR
from harness.wishes import a_path, a_word

_LENGTH: Final = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")


_LONGEST_S: Final = 366 * 86_400.0


def seconds_of(text: str) -> float:
    """Read how long a soak lasts: `90s`, `10m`, `2h`, `1h30m`.

    Returns:
        Seconds, more than 0, at most a year.

    Raises:
        UsageError: no number, no unit, another unit, no time at all, or more than a year.
    """
    match = _LENGTH.fullmatch(text.replace(" ", ""))
    hours, minutes, seconds = (float(part or 0) for part in match.groups()) if match else (0.0, 0.0, 0.0)
    found = hours * 3600 + minutes * 60 + seconds
    if not 0 < found <= _LONGEST_S:
        raise UsageError(
            f"a soak of {text!r}", said="not understood", hint="Write how long: 90s, 10m, 2h, 1h30m."
        )
    return found


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of a soak; `harness soak` sets them."""
    group = parser.getgroup("hil")
    group.addoption(
        "--hil-soak",
        type=a_word,
        metavar="TIME",
        help="run the tests round after round for so long: 90s, 10m, 2h",
    )
    group.addoption("--hil-until-failure", action="store_true", help="end a soak with the first failure")
    group.addoption(
        "--hil-baseline",
        type=a_path,
        metavar="DIR",
        help="compare a soak with the baselines in DIR, and write those that are missing",
    )
    group.addoption(
        "--hil-update-baseline", action="store_true", help="replace the baselines by what this soak gives"
    )
    group.addoption(
        "--hil-factor",
        type=float,
        default=FACTOR,
        metavar="N",
        help="how far latencies may move from the baseline (default: %(default)s times)",
    )


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
    if not option.hil_factor > 1:
        raise UsageError(f"--factor {option.hil_factor:g}", said="a factor above 1 is needed")
    folder: Path | None = option.hil_baseline
    return Wish(
        results=results,
        seconds=seconds_of(option.hil_soak),
        until_failure=option.hil_until_failure,
        baselines=None if folder is None else Baselines(config.invocation_params.dir / folder),
        update=option.hil_update_baseline,
        factor=option.hil_factor,
    )

"""What is noted while tests run: what other plugins call, and where it goes.

The runner's journal takes it at once.  A worker of xdist has none: what it notes travels with its next report, or with
its last word.  A soak holds back what a round notes until it knows which round counts.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from harness.journal.lines import to_line
from harness.journal.record import AttemptRecord, HealthRecord, KernelLog, StageRecord
from harness.plugin.reporting.classify import Classified
from harness.plugin.reporting.journalist import WORKER_HEALTH, Journalist, now
from harness.report.identity import slug
from harness.results import ATTACHMENTS

JOURNALIST: Final = pytest.StashKey[Journalist]()
"""Who keeps the journal of this session; nobody in a worker of xdist."""
RUN: Final = pytest.StashKey[int]()
"""Which run of the session this is, counted from 1, when it goes on where an earlier one stopped."""
NOTES: Final = pytest.StashKey[list[str]]()
"""Lines for the journal that a worker of xdist sends with its next report."""
ATTEMPT: Final = pytest.StashKey[int]()
"""Which try of the whole test this is, counted from 1, where tests may be run again."""
GIVEN_UP: Final = pytest.StashKey[int]()
"""How many attempts of this test gave no verdict."""
SAID: Final = pytest.StashKey[list[Classified]]()
"""The errors and failures of this try, in their order."""
PICTURED: Final = pytest.StashKey[bool]()
"""Whether a stage of this try was drawn."""
_ONLY_LOOK: Final = (
    *("collectonly", "setupplan", "setuponly", "showfixtures", "show_fixtures_per_test"),
    *("markers", "cacheshow", "help", "version"),
)
"""Options of pytest with which no test runs: what an earlier run left stays as it is."""
_FAULT_SEEN: Final = pytest.StashKey[bool]()
_HELD: Final = pytest.StashKey[tuple[str, list[StageRecord | AttemptRecord]]]()


# -- what other plugins call -------------------------------------------------------------------------


def note_stage(item: pytest.Item, stage: StageRecord) -> None:
    """Write down that a stage of this test was judged; do it before asserting on the verdict."""
    if any(name.endswith(".svg") for name in stage.attachments):
        item.stash[PICTURED] = True
    if stage.kernel_log is KernelLog.FAULT:
        item.stash[_FAULT_SEEN] = True
    _note(item, replace(stage, test=item.nodeid, at_ns=now()))


def note_attempt(item: pytest.Item, attempt: AttemptRecord) -> None:
    """Write down that an attempt of this test gave no verdict and will be made again."""
    item.stash[GIVEN_UP] = item.stash.get(GIVEN_UP, 0) + 1
    _note(item, replace(attempt, test=item.nodeid, at_ns=now()))


def note_health(config: pytest.Config, health: HealthRecord) -> None:
    """Say something about the session as a whole, such as that every function was given back."""
    record = replace(health, at_ns=now())
    journalist = config.stash.get(JOURNALIST, None)
    if journalist is not None:
        journalist.write(record)
    elif results_folder(config) is not None:  # a worker of xdist: travels with its last word
        said: list[str] = config.workeroutput.setdefault(WORKER_HEALTH, [])  # type: ignore[attr-defined]
        said.append(to_line(record).decode())


def results_folder(config: pytest.Config) -> Path | None:
    """The results folder of this run, absolute; None when nobody asked for results."""
    named = config.getoption("hil_results", None)
    return Path(os.path.abspath(config.invocation_params.dir / named)) if named else None  # noqa: PTH100


def writes_results(config: pytest.Config) -> bool:
    """Whether this run keeps a journal: it was asked for results, and does more than to look what there is to run."""
    return results_folder(config) is not None and not any(
        getattr(config.option, name, None) for name in _ONLY_LOOK
    )


def attachment_path(item: pytest.Item, kind: str) -> Path | None:
    """Where a file that belongs to this test goes, such as `history.zip` or `console.txt`; its folder exists.

    The name is unique in the run, and another one for each try of the test.  Its path relative to
    :func:`results_folder` goes into `StageRecord.attachments`.
    """
    results = results_folder(item.config)
    if results is None:
        return None
    folder = results / ATTACHMENTS
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{_file_name(item)}{kind}"


# -- what runs a test many times ---------------------------------------------------------------------


def hold(item: pytest.Item, name: str) -> list[StageRecord | AttemptRecord]:
    """Keep what this test notes from now on out of the journal, and begin the names of its files with `name`, too.

    A soak runs a test many times, and only at the end knows which of its rounds the journal wants.

    Returns:
        What it notes, as it comes; for :func:`release`.
    """
    notes: list[StageRecord | AttemptRecord] = []
    item.stash[_HELD] = (name, notes)
    return notes


def release(item: pytest.Item, notes: list[StageRecord | AttemptRecord]) -> None:
    """Write down what was held back, and hold nothing back any more."""
    if _HELD in item.stash:
        del item.stash[_HELD]
    for note in notes:
        _note(item, note)


def files_of(item: pytest.Item, name: str) -> list[Path]:
    """The files of a test that :func:`hold` gave this name."""
    results = results_folder(item.config)
    return sorted((results / ATTACHMENTS).glob(f"{slug(item.nodeid)}.{name}*")) if results else []


# -- what runs a test again --------------------------------------------------------------------------


def begin_attempt(item: pytest.Item, number: int) -> None:
    """Begin a try of a whole test, counted from 1: what is said from now on belongs to it."""
    if number == 1:
        item.stash[GIVEN_UP] = 0
    item.stash[ATTEMPT] = number
    item.stash[SAID] = []
    item.stash[PICTURED] = item.stash[_FAULT_SEEN] = False
    item._report_sections.clear()  # noqa: SLF001 - what an earlier try printed is not this one's


def give_up_attempt(item: pytest.Item, attempt: AttemptRecord) -> None:
    """Write down that a try of the whole test was given up, with every file that it left."""
    results = results_folder(item.config)
    left = sorted((results / ATTACHMENTS).glob(f"{_file_name(item)}*")) if results else []
    names = tuple(str(path.relative_to(results)) for path in left) if results else ()
    note_attempt(item, replace(attempt, attachments=(*attempt.attachments, *names)))


def said_so_far(item: pytest.Item) -> list[Classified]:
    """The errors and failures of this try, in their order."""
    return item.stash.get(SAID, [])


def kernel_fault_seen(item: pytest.Item) -> bool:
    """Whether a stage of this try has seen the kernel under test go wrong."""
    return item.stash.get(_FAULT_SEEN, False)


def _file_name(item: pytest.Item) -> str:
    """What the names of all files of this try begin with, and those of no other."""
    run, number = item.config.stash.get(RUN, 1), item.stash.get(ATTEMPT, 1)
    held, _ = item.stash.get(_HELD, ("", []))
    again = (f"run{run}." if run > 1 else "") + (f"try{number}." if number > 1 else "")
    return f"{slug(item.nodeid)}.{held}{again}"


def _note(item: pytest.Item, record: StageRecord | AttemptRecord) -> None:
    if _HELD in item.stash:
        item.stash[_HELD][1].append(record)
        return
    journalist = item.config.stash.get(JOURNALIST, None)
    if journalist is not None:
        journalist.write(record)
    elif results_folder(item.config) is not None:  # a worker of xdist: travels with the next report
        item.config.stash.setdefault(NOTES, []).append(to_line(record).decode())

"""Baselines of soaks: a file for each function, kernel series and accelerator, in a folder that can be committed.

A file says which place it is of, and holds a tally for each test, by its identity: what a test is called in every
dashboard.  Which driver was bound is no part of the key: a scenario binds what it needs, and its name says which.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from harness.errors import HistoryError, UsageError
from harness.model.limits import BASELINE_FILE
from harness.model.plain import parse
from harness.outside import read_file
from harness.report.identity import identity
from harness.report.soak import Soaked
from harness.results import publish
from harness.statistics.comparison import Change, compare
from harness.statistics.tally import Place, Tally

VERSION: Final = 1
"""Of a baseline file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What a soak came to beside its baselines.

    Attributes:
        files: those that there were, by name.
        changes: what is worse now, the gravest first.
        before: the baseline of each test that has one, by node id.
    """

    files: tuple[str, ...]
    changes: tuple[Change, ...]
    before: Mapping[str, Tally]


class Baselines:
    """A folder of baseline files, read once."""

    def __init__(self, folder: Path) -> None:
        """Read all files now: who has soaked for hours must not learn then that one is damaged.

        Args:
            folder: is made when it does not exist.

        Raises:
            UsageError: it cannot be made, or a file in it is no baseline.
        """
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            files = sorted(folder.glob("*.json"))
            self._read = {path.name: _tests(path) for path in files}
        except OSError as error:
            raise UsageError(
                f"baselines in {folder}",
                said=error.strerror or str(error),
                hint="Name a folder that can be written with --baseline DIR.",
            ) from error

    def compare(self, tests: Iterable[Soaked], *, factor: float) -> Compared:
        """Hold each test against its baseline, where there is one."""
        used: dict[str, None] = {}
        before: dict[str, Tally] = {}
        changes: list[Change] = []
        for one in tests:
            name = file_name(one.tally.place)
            found = self._read.get(name, {}).get(str(identity(one.test)))
            if found is not None:
                used[name] = None
                before[one.test] = found
                changes += compare(one.test, one.tally, found, factor=factor)
        changes.sort(key=lambda change: -change.weight.value)
        return Compared(
            files=tuple(str(self.folder / name) for name in used), changes=tuple(changes), before=before
        )

    def write(self, tests: Iterable[Soaked], *, replace: bool) -> tuple[str, ...]:
        """Write what these tests came to where there is no baseline of them yet.

        Args:
            tests: those without a single verdict are left out.
            replace: also where there is one.

        Returns:
            The files that were written.

        Raises:
            UsageError: a file cannot be written; the old one is still there.
        """
        changed: dict[str, Place] = {}
        for one in tests:
            place, test = one.tally.place, str(identity(one.test))
            known = self._read.setdefault(file_name(place), {})
            if one.tally.passes.total and (replace or test not in known):
                known[test] = one.tally
                changed[file_name(place)] = place
        for name, place in changed.items():
            publish(self.folder / name, _document(place, self._read[name]))
        return tuple(str(self.folder / name) for name in changed)


def file_name(place: Place) -> str:
    """What the baseline of a place is called: `igb0.igb.linux-6.12.tcg.json`; without a stage `no-function.json`."""
    if place == Place():
        return "no-function.json"
    parts = (place.function, place.platform, f"linux-{place.kernel}", place.accelerator or "unknown")
    return f"{'.'.join(re.sub(r'[^A-Za-z0-9.+_-]+', '-', part) for part in parts)}.json"


def _tests(path: Path) -> dict[str, Tally]:
    try:
        values = parse(read_file(path, BASELINE_FILE, what="baseline"), BASELINE_FILE)
        if values["version"] != VERSION:
            raise HistoryError(str(path), said=f"version {values['version']}, this harness reads {VERSION}")
        return {str(test): Tally.from_json(tally) for test, tally in values["tests"].items()}
    except (HistoryError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        said = str(error) if isinstance(error, HistoryError) else f"{type(error).__name__} {error}"
        raise UsageError(
            f"baseline {path}", said=said, hint="Remove it, or name another folder with --baseline DIR."
        ) from error


def _document(place: Place, tests: Mapping[str, Tally]) -> bytes:
    values: dict[str, Any] = {
        "version": VERSION,
        "function": place.function,
        "platform": place.platform,
        "kernel": place.kernel,
        "accelerator": place.accelerator,
        "tests": {test: tally.to_json() for test, tally in sorted(tests.items())},
    }
    return json.dumps(values, indent=1, sort_keys=True).encode() + b"\n"

"""The command `harness` as a user types it: a process of its own, and what it left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import xmlschema

from harness import results
from harness.history import container
from harness.history.history import History
from harness.journal.session import Session

ROOT = Path(__file__).parents[2]
_SCHEMA = ROOT / "tests" / "data" / "junit-10.xsd"


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """What became of one command.

    Attributes:
        status: its exit status.
        output: its standard output.
        errors: its standard error.
        results: its results folder.
    """

    status: int
    output: str
    errors: str
    results: Path

    @property
    def said(self) -> str:
        """Everything it printed, for messages of assertions."""
        return f"exit status {self.status}\n{self.output}\n{self.errors}"

    @property
    def session(self) -> Session:
        """The run as its journal tells it."""
        return results.load(self.results)

    def report(self) -> ET.Element:
        """Its `junit.xml`, which must be valid."""
        return report_in(self.results)

    def histories(self) -> dict[str, History]:
        """Every history that it wrote, by file name."""
        folder = self.results / results.ATTACHMENTS
        return {
            path.name: container.from_bytes(path.read_bytes())
            for path in sorted(folder.glob(f"*{container.SUFFIX}"))
        }


def report_in(folder: Path) -> ET.Element:
    """The report in a results folder, held against the schema."""
    text = (folder / results.JUNIT).read_bytes()
    xmlschema.XMLSchema(str(_SCHEMA)).validate(text.decode())
    return ET.fromstring(text)  # noqa: S314 - we made it


def red(report: ET.Element) -> list[ET.Element]:
    """All elements of a report that make it red."""
    return [*report.iter("failure"), *report.iter("error")]


def cases(report: ET.Element) -> dict[str, ET.Element]:
    """The test cases of a report by name."""
    return {str(case.get("name")): case for case in report.iter("testcase")}


def command(*arguments: str | Path) -> list[str]:
    """An argv for `harness`."""
    return [sys.executable, "-P", "-m", "harness.cli", *map(str, arguments)]


def environment(variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """Our environment without pytest's traces in it; the package is found wherever the command stands."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    return {**kept, "PYTHONPATH": str(ROOT), "COLUMNS": "120", **(variables or {})}


def harness(
    *arguments: str | Path,
    cwd: Path,
    results_folder: Path | None = None,
    variables: Mapping[str, str] | None = None,
    timeout_s: float = 300.0,
    user: int | None = None,
) -> Invocation:
    """Run `harness` to its end.

    Args:
        *arguments: as typed.
        cwd: where the user stands.
        results_folder: where the results are, when not in `cwd / "hil-results"`.
        variables: of the environment, on top of ours.
        timeout_s: until it is killed, and everything that it started with it.
        user: numeric id of the user it runs as, when not ours.
    """
    ended = subprocess.run(
        command(*arguments),
        cwd=cwd,
        env=environment(variables),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        user=user,
    )
    folder = results_folder or cwd / "hil-results"
    return Invocation(status=ended.returncode, output=ended.stdout, errors=ended.stderr, results=folder)

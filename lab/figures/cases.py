"""A journal of many cases, and the report of it made in two ways: programs of the figure `report_10k`.

`python -m harness.lab.figures.cases journal|ours|plain COUNT FOLDER`, each a process of its own, so that its peak
memory is its own; the last two print seconds and MiB as JSON.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from junitparser import Error, Failure, Skipped, xunit2

from harness import results
from harness.contract import load
from harness.journal.lines import to_line
from harness.journal.record import (
    PhaseReport,
    Record,
    SessionEnd,
    SessionStart,
    Status,
    TestFinish,
    TestPlan,
    TestStart,
)
from harness.journal.session import Entry
from harness.judge import judge
from harness.lab.figures.synthetic import synthetic
from harness.model.units import MS, SECOND, Ns
from harness.model.verdict import Blame
from harness.report.ascii.timeline import timeline_text
from harness.report.findings import as_text
from harness.report.identity import identity
from harness.report.stage import stage_record

FAILED_ONE_IN: Final = 20
_OPERATIONS: Final = 20_000
_OUTPUT: Final = "".join(f"line {number} of what a test prints\n" for number in range(60))


def journal(count: int, folder: Path) -> None:
    """Write down a session of so many tests, as a run would, but without waiting for the disk."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / results.JOURNAL).open("wb") as stream:
        stream.writelines(map(to_line, _records(count)))


def _records(count: int) -> Iterator[Record]:
    history = synthetic(_OPERATIONS)
    judgement = judge(history, load().terms_of(history))
    story = f"{as_text(judgement)}\n\n{timeline_text(history, judgement)}"
    stage = stage_record(history, judgement, file="", attachments=())
    names = [f"tests/test_lab_{n // 100}.py::test_{n % 100}[igb0-flr]" for n in range(count)]
    yield SessionStart(host="lab", pid=1, realtime_ns=Ns(1_700_000_000 * SECOND), at_ns=Ns(SECOND))
    yield TestPlan(tests=tuple(names))
    for number, name in enumerate(names):
        begin, end = Ns((number + 2) * SECOND), Ns((number + 2) * SECOND + 800 * MS)
        failed = number % FAILED_ONE_IN == 0
        yield TestStart(test=name, at_ns=begin)
        yield PhaseReport(test=name, phase="setup", status=Status.OK, seconds=0.3, at_ns=begin)
        pictures = (f"att/{number}.timeline.svg",) if failed else ()
        yield replace(
            stage,
            test=name,
            history=f"att/{number}.history.zip",
            attachments=pictures,
            seed=number,
            at_ns=end,
        )
        yield PhaseReport(
            test=name,
            phase="call",
            status=Status.FAILURE if failed else Status.OK,
            type=Blame.MISMATCH if failed else "",
            summary=f"reader {number} read what it should not" if failed else "",
            details=f"{number}\n{story}" if failed else "",
            seconds=0.5,
            output=f"{number}\n{_OUTPUT}",
            file="tests/test_lab.py",
            line=1,
            at_ns=end,
        )
        yield TestFinish(test=name, at_ns=end)
    yield SessionEnd(status=1, at_ns=Ns((count + 3) * SECOND))


def ours(_: int, folder: Path) -> None:
    """From the journal to `junit.xml`, as `harness report` does it."""
    results.complete(folder)


def plain(_: int, folder: Path) -> None:
    """From the journal to a file with the same texts, case by case with `add_testcase`."""
    session = results.load(folder)
    new_suite: Any = xunit2.TestSuite  # junitparser's methods carry no types
    suite = new_suite(session.start.suite)
    for entry in session.entries:
        suite.add_testcase(_plain_case(entry))
    root: Any = xunit2.JUnitXml("plain")
    root.add_testsuite(suite)
    root.update_statistics()
    root.write(str(folder / "plain.xml"))


def _plain_case(entry: Entry) -> Any:
    what = identity(entry.test)
    case: Any = xunit2.TestCase(what.name, what.classname, entry.seconds)
    kinds: dict[Status, Any] = {Status.FAILURE: Failure, Status.ERROR: Error, Status.SKIPPED: Skipped}
    if kind := kinds.get(entry.status):
        result = kind(entry.summary, entry.type)
        result.text = entry.details
        case.result = [result]
    case.system_out = entry.output
    return case


def main() -> None:
    """Do what the command line says."""
    name, count, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    work = {"journal": journal, "ours": ours, "plain": plain}[name]
    begin = time.perf_counter()
    work(count, folder)
    seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak": peak}))


if __name__ == "__main__":
    main()

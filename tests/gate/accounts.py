"""What a run of pytest has cost, printed at its end: the slowest files, the budgets, and last what had to run again.

`./lab/test` loads it (`-p tests.gate.accounts`), nobody else.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Final

import pytest

from tests.gate.groups import account, budget_s

SLOWEST: Final = 10
_ACCOUNT: Final = "account"


class Accounts:
    """Seconds of workers by file and by what they are counted to, and tests that ran again."""

    def __init__(self, budget_s: float | None) -> None:
        """Begin.

        Args:
            budget_s: how long the whole run may take, if it is a whole one.
        """
        self._budget_s = budget_s
        self._began = time.monotonic()
        self._files: defaultdict[str, float] = defaultdict(float)
        self._accounts: defaultdict[str, float] = defaultdict(float)
        self._again: Counter[str] = Counter()

    def add(self, report: pytest.TestReport) -> None:
        """Take one phase of one test."""
        file = report.nodeid.partition("::")[0]
        self._files[file] += report.duration
        self._accounts[str(dict(report.user_properties).get(_ACCOUNT, file))] += report.duration
        outcome: str = report.outcome  # one more than pytest knows: pytest-rerunfailures
        self._again[report.nodeid] += outcome == "rerun"

    def times(self) -> Iterator[str]:
        """Lines for the terminal: where the time went, and what was too much."""
        took = time.monotonic() - self._began
        slowest = sorted(self._files, key=self._files.__getitem__, reverse=True)
        yield f"{SLOWEST} slowest files, in seconds of a worker:"
        yield from (f"  {self._files[file]:7.1f}  {file}" for file in slowest[:SLOWEST])
        yield "budgets, in seconds of a worker:"
        for name, seconds in sorted(self._accounts.items()):
            yield _line(seconds, name, budget_s(name))
        yield _line(took, "the whole run, by the clock", self._budget_s)

    def again(self) -> Iterator[str]:
        """Lines for the terminal: which tests ran again, and how often; nothing when none did."""
        used = [(test, times) for test, times in self._again.items() if times]
        if used:
            tests = "1 test" if len(used) == 1 else f"{len(used)} tests"
            yield f"{tests} ran again.  That is a flaw of the test, whatever became of it: mend it."
            yield from (f"  {times} x {test}" for test, times in sorted(used))


def _line(seconds: float, name: str, budget_s: float | None) -> str:
    allowed = "      " if budget_s is None else f"/ {budget_s:4.0f}"
    over = "" if budget_s is None or seconds <= budget_s else "  <<<< OVER BUDGET"
    return f"  {seconds:7.1f} {allowed}  {name}{over}"


class _Plugin:
    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._accounts.add(report)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.section("time")
        for line in self._accounts.times():
            terminalreporter.write_line(line)

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self, config: pytest.Config) -> None:
        for line in self._accounts.again():
            config.get_terminal_writer().line(line)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Write down whose account a test is on: a report knows names, and no longer which of them are markers."""
    for item in items:
        markers = (marker.name for marker in item.iter_markers())
        item.user_properties.append((_ACCOUNT, account(item.nodeid.partition("::")[0], markers)))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--budget", type=float, metavar="SECONDS", help="how long all of it may take")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Plugin(Accounts(config.getoption("--budget"))))

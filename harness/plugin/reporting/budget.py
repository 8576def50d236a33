"""Stop a session that only limps: when too many tests need a second try, the lab has to be looked after first."""

from __future__ import annotations

import pytest

from harness.report.health import allowed_retries


def asked_for(config: pytest.Config) -> int | None:
    """How many tests may need a retry, as `--hil-retries` says; None for the usual share."""
    word: str = config.getoption("hil_retries")
    return int(word) if word.isdecimal() else None


class RetryBudget:
    """Counts tests that needed a retry, wherever they ran, and stops the session when they are too many."""

    def __init__(self, config: pytest.Config) -> None:
        self._config, self._asked_for = config, asked_for(config)
        self._session: pytest.Session | None = None
        self._tests = 0
        self._retried: set[str] = set()

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Remember whom to stop."""
        self._session = session

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Count the tests."""
        self._tests = len(session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """Count the tests; every worker of xdist collects the same."""
        self._tests = len(ids)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a test that needed a retry."""
        hil = getattr(report, "hil", None)
        if not hil or not hil.get("given_up"):
            return
        self._retried.add(report.nodeid)
        allowed = allowed_retries(self._tests) if self._asked_for is None else self._asked_for
        if len(self._retried) > allowed:
            self._stop(
                f"{len(self._retried)} of {self._tests} tests needed a retry, {allowed} may: look after the lab"
            )

    def _stop(self, why: str) -> None:
        controller = self._config.pluginmanager.getplugin("dsession")  # of xdist: it deals the tests out
        for session in (self._session, controller):
            if session is not None and not session.shouldstop:
                session.shouldstop = why

"""What stands last on the screen of a session that writes results: one total, pytest's, and what it means, ours.

pytest counts what was classified: a promise that was broken is `failed`, what has no verdict is an `error`, wherever it
was raised.  So its line and ours tell of the same tests.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

import pytest

from harness.journal.record import Status
from harness.plugin.reporting.journalist import Journalist
from harness.report.terminal import total

_DIED: Final = "???"
"""In what phase a test was whose worker died, as xdist says it."""


class LastWord:
    """Speaks after pytest's own last line."""

    def __init__(self, config: pytest.Config, journalist: Journalist) -> None:
        self._config, self._journalist = config, journalist

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(
        self, report: pytest.CollectReport | pytest.TestReport
    ) -> tuple[str, str, str] | None:
        """Count a test whose body came to no verdict as an error, and so one whose worker died."""
        if not report.failed or report.when not in ("call", _DIED):
            return None
        hil: dict[str, str] = getattr(report, "hil", {"status": Status.ERROR if report.when == _DIED else ""})
        return ("error", "E", "ERROR") if hil["status"] == Status.ERROR else None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self) -> Generator[None]:
        """Say it when everybody else has said theirs."""
        yield
        terminal: pytest.TerminalReporter | None = self._config.pluginmanager.getplugin("terminalreporter")
        if terminal is not None and self._journalist.session is not None:
            terminal.write_line(total(self._journalist.session))

"""The last word on the exit status of a pytest that writes results, however it ends.

The journal decides (:func:`harness.report.exit.exit_status`).  What pytest, Python or a plugin would say otherwise when
something breaks beside the tests is 1, as for a failed test.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import pytest
from _pytest.config import ConftestImportFailure

from harness import streams
from harness.journal.fold import fold
from harness.model.exit_status import ExitStatus, of_pytest
from harness.plugin.reporting import notes
from harness.report.exit import exit_status


@contextmanager
def answered_at_once(early_config: pytest.Config) -> Iterator[None]:
    """Load conftest files, and end the process with a status of ours when one of them is in the way.

    A `conftest.py` that cannot be imported is no mistake on the command line, as which pytest counts it.

    And where standard output is closed, the journal would be opened in its place.
    """
    told = early_config.known_args_namespace
    if not (told.hil_results or told.hil_lab):
        yield
        return
    try:
        streams.refuse_closed()
        yield
    except streams.Unheard as error:
        streams.complain(f"ERROR: {error}")
        raise SystemExit(ExitStatus.NOTHING_SAID) from None
    except ConftestImportFailure as error:
        traceback.print_exception(error.cause)
        streams.complain(f"ERROR: {error.path} cannot be imported: {error.cause!r}")
        raise SystemExit(ExitStatus.NOTHING_SAID) from None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, Any, Any]:
    """Turn whatever comes of a session into a status that says what was found out."""
    if hasattr(config, "workerinput"):
        return (yield)  # its controller says what it comes to
    broke, own = False, ExitStatus.NOTHING_SAID
    with _no_status_of_its_own(config):
        try:
            answer = yield
        except BaseException as error:
            refused = isinstance(error, pytest.UsageError) and notes.JOURNALIST not in config.stash
            if refused or not notes.writes_results(config):
                raise  # no session was begun: pytest's own word for usage
            broke, own = True, _said_of(error)
        else:
            if not notes.writes_results(config):
                return answer
            own = of_pytest(answer)
    status = _status(config, own, broke=broke)
    why = streams.lost()
    if why and status is ExitStatus.GOOD:
        streams.complain(f"ERROR: standard output: {why}")
        return ExitStatus.NOTHING_SAID
    return status


def _said_of(error: BaseException) -> ExitStatus:
    """Say what broke a session, as pytest would."""
    if isinstance(error, pytest.UsageError):
        streams.complain("\n".join(f"ERROR: {line}" for line in error.args))
        return ExitStatus.USAGE
    if isinstance(error, KeyboardInterrupt):
        streams.complain("stopped by the user")
    elif not streams.lost():
        streams.complain("".join(traceback.format_exception(error)).rstrip())
    return ExitStatus.NOTHING_SAID


def _status(config: pytest.Config, own: ExitStatus, *, broke: bool) -> ExitStatus:
    """What a session comes to.

    Args:
        config: of the session.
        own: what pytest itself made of it.
        broke: whether it ended by an exception, perhaps after its report was made.
    """
    journalist = config.stash.get(notes.JOURNALIST, None)
    if journalist is None:
        return own
    found = exit_status(journalist.session or fold(journalist.records))
    return own if found is not ExitStatus.BAD and (broke or journalist.session is None) else found


@contextmanager
def _no_status_of_its_own(config: pytest.Config) -> Iterator[None]:
    """See that `os._exit` of a test, or of pytest-timeout's thread, does not pass for an outcome of the session."""
    end, runner = os._exit, os.getpid()

    def ended(status: int) -> NoReturn:
        end(ExitStatus.NOTHING_SAID if os.getpid() == runner and notes.writes_results(config) else status)

    os._exit = ended
    try:
        yield
    finally:
        os._exit = end

"""Run a whole test once more when the lab was in its way.

Only trouble of the infrastructure, as :data:`harness.model.policy.INFRASTRUCTURE` lists it, is worth a second try, and
only when nothing says that the kernel under test did it: a kernel fault that any stage has seen is the result.
Everything is made anew for the second try, fixtures of module and session included: what was lost may be theirs.  Each
try that was given up is written down with its evidence.

:mod:`~harness.plugin.reporting.plugin` registers this module when tests may be run again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest
from _pytest.runner import call_and_report

from harness.journal.record import AttemptRecord, Status
from harness.model.policy import INFRASTRUCTURE, TEST_ATTEMPTS
from harness.options import OFF
from harness.plugin.reporting import notes
from harness.plugin.reporting.classify import Classified
from harness.plugin.reporting.shown import is_ours


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Run one test of ours, and report the try that counts; others run as pytest and their plugins run them."""
    if not is_ours(item):
        return None
    hook = item.ihook
    hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in _as_they_come(item, nextitem):
        hook.pytest_runtest_logreport(report=report)
    hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def reports_of(item: pytest.Item, nextitem: pytest.Item | None) -> list[pytest.TestReport]:
    """Run one test, once more if the lab was in its way, and give the reports of the try that counts.

    Nobody is told of them: that is the caller's business.  What it leaves behind is in the item alone, and it may be
    called for the same item any number of times.

    Args:
        item: a collected test.
        nextitem: what runs after it, which decides which fixtures stay; the item itself if it runs again next.
    """
    reports = list(_as_they_come(item, nextitem))
    begins = max(place for place, report in enumerate(reports) if report.when == "setup")
    return reports[begins:]


def may_run_again(config: pytest.Config) -> bool:
    """Whether a test may run once more; not with `--hil-keep`, whose user wants to look at the guest."""
    return bool(config.getoption("hil_retries") != OFF and not config.getoption("hil_keep", False))


def _as_they_come(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[pytest.TestReport]:
    """Give each report as soon as it is known to count: a runner may die in a teardown."""
    for number in range(1, TEST_ATTEMPTS + 1):
        notes.begin_attempt(item, number)
        held: list[pytest.TestReport] = []
        for report in _phases(item, nextitem):
            held.append(report)
            prepared = report.when == "setup" and report.passed
            if prepared or number == TEST_ATTEMPTS or not _may_be_given_up(item):
                yield from held
                held.clear()
        trouble = _trouble(item)
        if not held or trouble is None:
            yield from held
            return
        _give_up(item, trouble, held)


def _phases(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[pytest.TestReport]:
    """Setup, call and teardown, as pytest's own protocol does them."""
    if getattr(item, "_request", None) is False:  # it ran before: a request of its own for every run
        item._initrequest()  # type: ignore[attr-defined] # noqa: SLF001 - pytest has no public way
    try:
        setup = call_and_report(item, "setup", log=False)
        yield setup
        if setup.passed:
            yield call_and_report(item, "call", log=False)
        yield call_and_report(item, "teardown", log=False, nextitem=_what_stays_for(item, nextitem))
    finally:
        if hasattr(item, "_request"):
            item._request = False  # noqa: SLF001
            item.funcargs = None  # type: ignore[attr-defined]


def _what_stays_for(item: pytest.Item, nextitem: pytest.Item | None) -> pytest.Item | None:
    """Whose fixtures are not torn down after this test."""
    session = item.session
    if session.shouldfail or session.shouldstop or _trouble(item) is not None:
        return None
    if nextitem is item:
        return cast("pytest.Item", item.parent)  # pytest asks for its chain of collectors, no more
    return nextitem


def _may_be_given_up(item: pytest.Item) -> bool:
    """Whether this try does not count if the lab is found to have been in its way."""
    if notes.said_so_far(item):
        return _trouble(item) is not None
    return may_run_again(item.config) and not notes.kernel_fault_seen(item)


def _trouble(item: pytest.Item) -> Classified | None:
    """What the lab did to this try, if that alone is why there is no verdict and a second try may tell more."""
    said = notes.said_so_far(item)
    if not said or any(one.status is Status.FAILURE for one in said) or said[0].type not in INFRASTRUCTURE:
        return None
    if notes.kernel_fault_seen(item) or not may_run_again(item.config):
        return None
    return None if item.session.shouldfail or item.session.shouldstop else said[0]


def _give_up(item: pytest.Item, trouble: Classified, held: list[pytest.TestReport]) -> None:
    """Write the try down, and let go of everything that it used."""
    last = held[-1]
    story = [trouble.details, *(f"{title}\n{text}" for title, text in last.sections)]
    if last.failed and last.when == "teardown":
        try:
            item.session._setupstate.teardown_exact(None)  # noqa: SLF001 - plugins stand no second teardown of an item
        except Exception as error:  # noqa: BLE001 - it is a part of the story
            story.append(f"and when the rest was torn down: {error!r}")
    notes.give_up_attempt(
        item,
        AttemptRecord(type=trouble.type, summary=trouble.summary, details="\n\n".join(story), whole=True),
    )

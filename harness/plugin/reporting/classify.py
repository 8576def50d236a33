"""What one phase of a test came to, in the words of a report.

Failure means that the function, its driver or the kernel was judged faulty; an error means that there is no
verdict.  The kind of exception decides, and of an assertion where it failed: only the body of a test judges.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pytest

from harness.errors import HarnessError, UsageError
from harness.journal.record import Status
from harness.journal.session import XFAIL
from harness.model.verdict import Blame, Judgement, Verdict
from harness.plugin.pictures import in_text
from harness.plugin.reporting.body import is_of_body
from harness.plugin.verdicts import FaultNotNamed, FunctionLost, StageFailed, StageUnknown
from harness.report.findings import as_text, headline

NOT_NAMED: Final = "hil.not-named"
"""Something was staged to go wrong, and the verdict is PASS."""
_SCOPES: Final = re.compile(
    r"ScopeMismatch: You tried to access the (\w+) scoped fixture (\w+) with a (\w+) scoped request"
)
"""As pytest says it (src/_pytest/fixtures.py, `_check_scope`)."""
_VERDICTS: Final = (StageFailed, FaultNotNamed, FunctionLost)
"""What says that a promise was broken, wherever it is raised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Classified:
    """Status, `hil.*` type, one line, and the whole story."""

    status: Status
    type: str = ""
    summary: str = ""
    details: str = ""


def classify(report: pytest.TestReport | pytest.CollectReport, error: BaseException | None) -> Classified:
    """Classify one report of pytest.

    Args:
        report: as pytest and its other plugins left it.
        error: what was raised in the phase, if anything was.
    """
    body = error is not None and report.when == "call" and is_of_body(error)
    error = _decisive(error, body=body)
    if report.passed:
        return Classified(status=Status.OK)
    if report.skipped:
        return _skipped(report, error, body=body)
    match error:
        case StageFailed():
            return _failed(error)
        case FaultNotNamed():
            return _not_named(error)
        case StageUnknown():
            return _unknown(error)
        case HarnessError():
            return _harness(error, report)
        case FunctionLost():
            return Classified(
                status=Status.FAILURE, type=Blame.DEVICE_LOST, summary=str(error), details=str(error)
            )
        case AssertionError() | pytest.fail.Exception() if body:
            return _mismatch(error, report)
        case pytest.fail.Exception() if report.when == "setup" and (scopes := _SCOPES.match(str(error))):
            return _out_of_scope(scopes, report)
        case None if report.longreprtext.startswith("[XPASS(strict)]"):
            summary = (
                f"expected to fail and passed: {report.longreprtext.removeprefix('[XPASS(strict)]').strip()}"
            )
            return Classified(
                status=Status.FAILURE, type=Blame.WEAKNESS_GONE, summary=summary, details=report.longreprtext
            )
        case None:
            return _broken(_last_line(report.longreprtext), report)
        case _:
            return _broken(f"{type(error).__name__}: {error}", report)


def _skipped(
    report: pytest.TestReport | pytest.CollectReport, error: BaseException | None, *, body: bool
) -> Classified:
    expected = getattr(report, "wasxfail", None)
    if expected is None:
        kind = getattr(error, "hil_type", "hil.refused")
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
        reason = reason.removeprefix("Skipped: ") or "no reason given"
        return Classified(status=Status.SKIPPED, type=kind, summary=reason, details=reason)
    # An expected failure covers a judged one, never a missing verdict.
    if isinstance(error, StageUnknown):
        return _unknown(error)
    if isinstance(error, HarnessError):
        return _harness(error, report)
    said_so = (*_VERDICTS, pytest.xfail.Exception)  # pytest.xfail() is a pytest.fail() by descent
    if isinstance(error, AssertionError | pytest.fail.Exception) and not (body or isinstance(error, said_so)):
        return _broken(f"{type(error).__name__}: {error}", report)
    reason = str(expected).removeprefix("reason: ") or "expected to fail"
    shown = _story(error.judgement, error) if isinstance(error, StageFailed) else report.longreprtext
    details = reason if shown == reason else f"{reason}\n\n{shown}"
    return Classified(status=Status.SKIPPED, type=XFAIL, summary=reason, details=details)


def _failed(error: StageFailed) -> Classified:
    decisive = error.judgement.decisive
    blame = decisive.blame if decisive and decisive.blame is not Blame.NOTHING else Blame.MISMATCH
    return Classified(
        status=Status.FAILURE,
        type=blame,
        summary=decisive.claim if decisive else "judged FAIL without a finding",
        details=_story(error.judgement, error),
    )


def _not_named(error: FaultNotNamed) -> Classified:
    """What else was broken says more than that it was not what had been staged."""
    decisive = error.judgement.decisive
    blame = decisive.blame if decisive and error.judgement.verdict is Verdict.FAIL else NOT_NAMED
    telling = headline(error.judgement)
    found = f"{error.judgement.verdict.name}: {telling.claim}" if telling else "nothing was judged"
    return Classified(
        status=Status.FAILURE,
        type=blame,
        summary=f"staged to be {error.wanted}, and judged {found}",
        details=_story(error.judgement, error),
    )


def _unknown(error: StageUnknown) -> Classified:
    decisive = error.judgement.decisive
    return Classified(
        status=Status.ERROR,
        type=decisive.blame if decisive else Blame.NOTHING,
        summary=f"no verdict: {decisive.claim if decisive else 'nothing was judged'}",
        details=_story(error.judgement, error),
    )


def _story(judgement: Judgement, error: StageFailed | StageUnknown | FaultNotNamed) -> str:
    return f"{as_text(judgement)}\n\n{in_text(error.evidence, judgement)}"


def _harness(error: HarnessError, report: pytest.TestReport | pytest.CollectReport) -> Classified:
    shown = report.longreprtext
    said = [
        text for text in (str(error), error.evidence) if text not in shown
    ]  # the staging plugin shows both
    parts = [*said, shown]
    return Classified(
        status=Status.ERROR,
        type=error.kind,
        summary=str(error),
        details="\n\n".join(part for part in parts if part),
    )


def _mismatch(error: BaseException, report: pytest.TestReport | pytest.CollectReport) -> Classified:
    lines = str(error).splitlines()
    return Classified(
        status=Status.FAILURE,
        type=Blame.MISMATCH,
        summary=lines[0] if lines else _last_line(report.longreprtext),
        details=report.longreprtext,
    )


def _broken(summary: str, report: pytest.TestReport | pytest.CollectReport) -> Classified:
    return Classified(
        status=Status.ERROR, type=HarnessError.kind, summary=summary, details=report.longreprtext or summary
    )


def _out_of_scope(scopes: re.Match[str], report: pytest.TestReport | pytest.CollectReport) -> Classified:
    shorter, name, longer = scopes.groups()
    summary = (
        f"fixture {name}: it is made for each {shorter}, and a fixture for each {longer} asks for it.  "
        f"Ask for {name} in the test, or in a fixture with scope={shorter!r}."
    )
    return Classified(
        status=Status.ERROR,
        type=UsageError.kind,
        summary=summary,
        details=f"{summary}\n\n{report.longreprtext}",
    )


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("E").strip() if lines else "failed without a word"


def _decisive(error: BaseException | None, *, body: bool) -> BaseException | None:
    """Of an exception group (two fixtures that failed in teardown) the one that says most."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = list(_leaves(error))
    asserted = ((AssertionError, pytest.fail.Exception),) if body else ()
    order = (_VERDICTS, *asserted, StageUnknown, HarnessError)
    return next((leaf for kind in order for leaf in leaves if isinstance(leaf, kind)), leaves[0])


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error

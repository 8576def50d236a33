"""What a tired engineer reads first: every outcome that is not ok, counts, and where the rest is."""

from __future__ import annotations

import enum
import shlex
import textwrap
from collections import Counter
from collections.abc import Iterator
from typing import Final, assert_never

from harness.journal.record import Latency, Status
from harness.journal.session import ABORTED, LACKING, NOT_RUN, XFAIL, Entry, Session
from harness.model.exit_status import ExitStatus
from harness.model.policy import TEST_ATTEMPTS
from harness.model.units import as_text
from harness.model.verdict import Remark
from harness.report.exit import exit_status
from harness.report.health import health
from harness.report.identity import identities
from harness.report.lockdown import locked_down
from harness.report.refusals import as_line
from harness.report.text import one_line

_WIDTH: Final = 100
_KIND: Final = 60
_MOST_LINES: Final = 40
_MOST_OF_A_CLAIM: Final = 600  # what lockdep says of three locks and both of their orders
_RED, _YELLOW, _GREEN, _PLAIN = "\x1b[31m", "\x1b[33m", "\x1b[32m", "\x1b[0m"


class Style(enum.Enum):
    """With or without colour."""

    PLAIN = "plain"
    COLOUR = "colour"


class Times(enum.Enum):
    """With or without the table of how long operations took."""

    LEFT_OUT = "left out"
    SHOWN = "shown"


def summary(
    session: Session,
    *,
    results: str,
    harness: str = "harness",
    style: Style = Style.PLAIN,
    times: Times = Times.LEFT_OUT,
) -> str:
    """Sum a session up: at most a screen, ends with a newline.  The last word is :func:`total`'s.

    Args:
        session: what happened.
        results: the results folder as the reader would type it.
        harness: the command `harness` as the reader would type it.
        style: colour only when asked for.
        times: a table only when asked for.
    """
    names = identities(entry.test for entry in session.entries)
    lines: list[str] = []
    entries = [*((entry, str(names[entry.test])) for entry in session.entries)]
    entries += [(entry, entry.test.replace("::", ".")) for entry in health(session)]
    loud = [(entry, name) for entry, name in entries if _word(entry) not in ("ok", "skipped", "not run")]
    loud.sort(key=lambda pair: -pair[0].status.concern)
    for entry, name in loud[:_MOST_LINES]:
        lines += _lines(entry, name, style)
    if len(loud) > _MOST_LINES:
        lines.append(f"… and {len(loud) - _MOST_LINES} more")
    lines += [
        *_lacking(session),
        *_patched(session),
        *_locked_down(session),
        *_named(session),
        *_remarked(session),
        *_stopped(session),
    ]
    lines += [
        *_met(session),
        *(_latencies(session) if times is Times.SHOWN else ()),
        *_where(results, harness),
    ]
    return "\n".join(lines) + "\n"


def _word(entry: Entry) -> str:
    match entry.status:
        case Status.FAILURE:
            return "FAIL"
        case Status.ERROR:
            return "UNKNOWN" if entry.type == "hil.unknown" else "ERROR"
        case Status.SKIPPED:
            return "known" if entry.type == XFAIL else "not run" if _unreached(entry) else "skipped"
        case Status.OK:
            return "recovered" if entry.recovered else "ok"
        case _:
            assert_never(entry.status)


def _unreached(entry: Entry) -> bool:
    return entry.type in (NOT_RUN, ABORTED)


def _lines(entry: Entry, name: str, style: Style) -> Iterator[str]:
    word = _word(entry)
    colour = {"FAIL": _RED, "ERROR": _RED, "UNKNOWN": _YELLOW, "recovered": _YELLOW}.get(word, "")
    painted = f"{colour}{word:<9}{_PLAIN}" if colour and style is Style.COLOUR else f"{word:<9}"
    kind = f"  {one_line(entry.type, _KIND)}" if entry.type else ""
    tries = "".join(f"{one_line(attempt.type.removeprefix('hil.'), _KIND)}, " for attempt in entry.attempts)
    number = len(entry.attempts) + 1
    retried = f"  again {number}/{max(number, TEST_ATTEMPTS)}: {tries}{word}" if tries else ""
    time = f"  {entry.seconds:.1f} s" if entry.seconds >= 0.05 else ""
    yield f"{painted} {one_line(name, 150)}{kind}{retried}{time}"
    for line in textwrap.wrap(one_line(entry.summary, _MOST_OF_A_CLAIM), _WIDTH * 2):
        yield f"          {line}"
    for stage in entry.stages:
        for line in stage.staged:
            yield f"          {one_line(f'staged: {line}', _WIDTH * 2)}"
        for refused in stage.refusals:
            yield f"          {one_line(as_line(refused), _WIDTH * 2)}"
        for remark in stage.remarks:
            yield f"          {one_line(remark.text, _WIDTH * 2)}"


def total(session: Session) -> str:
    """How many tests came to what, and the verdict, in one line: what stands last on the screen."""
    counts = Counter(_word(entry) for entry in session.entries)
    order = ("FAIL", "ERROR", "UNKNOWN", "recovered", "ok", "known", "skipped", "not run")
    said = ", ".join(f"{counts[word]} {word}" for word in order if counts[word]) or "no tests"
    status = exit_status(session)
    return f"{said} in {session.seconds:.1f} s; exit status {int(status)}: {MEANING[status]}"


MEANING: Final = {
    ExitStatus.GOOD: "every promise was kept",
    ExitStatus.BAD: "a promise was broken",
    ExitStatus.USAGE: "the run was not asked for properly",
    ExitStatus.NOTHING_SAID: "no failure, but not everything has a verdict",
}
"""An exit status in the words of a report."""


def _lacking(session: Session) -> Iterator[str]:
    """What the lab should have and lacks, by reason: tests that it cost are no matter of the function."""
    found = Counter(entry.summary for entry in session.entries if entry.type == LACKING)
    for reason, count in found.most_common():
        tests = "1 test was" if count == 1 else f"{count} tests were"
        yield f"lacking  {one_line(f'{tests} skipped for want of it: {reason}', _WIDTH * 2)}"


def _patched(session: Session) -> Iterator[str]:
    """Modules that were not the kernel's own: what was tested is no stock kernel.  And those that nobody asked for."""
    found: dict[str, None] = {}
    used, unused = set(), dict[str, None]()
    for stage in (stage for entry in session.entries for stage in entry.stages):
        if own := stage.provenance.get("kernel.own_modules", ""):
            found[f"kernel {stage.provenance.get('kernel.release', '')} with {own} of your own"] = None
        used.update(own.split())
        unused |= dict.fromkeys(stage.provenance.get("kernel.unused_modules", "").split())
    yield from (f"patched  {one_line(said, _WIDTH * 2)}" for said in found)
    if idle := " ".join(own for own in unused if own not in used):
        yield f"unused   {one_line(f'{idle}: no stage loaded it, and what was tested is the stock kernel', _WIDTH * 2)}"


def _locked_down(session: Session) -> Iterator[str]:
    """Kernels that refuse to root what others allow: less was tested, and by other ways."""
    found: dict[str, None] = {}
    for stage in (stage for entry in session.entries for stage in entry.stages):
        found[
            locked_down(*(str(stage.provenance.get(f"kernel.{key}", "")) for key in ("release", "lockdown")))
        ] = None
    yield from (f"locked   {one_line(said, _WIDTH * 2)}" for said in found if said)


def _named(session: Session) -> Iterator[str]:
    """Stages that were judged FAIL as their tests demand: what was staged to go wrong was noticed."""
    found = Counter(kind for entry in session.entries for kind in entry.named)
    if found:
        said = ", ".join(f"{count} {one_line(kind, _KIND)}" for kind, count in sorted(found.items()))
        stages = "1 stage" if found.total() == 1 else f"{found.total()} stages"
        yield f"named    {stages} went wrong as staged, and the verdict says so; no failures: {said}"


def _remarked(session: Session) -> Iterator[str]:
    """What stages left over that decides nothing: a line for each kind, with one of them as it stands in its stage."""
    found: dict[str, list[Remark]] = {}
    for remark in (one for entry in session.entries for stage in entry.stages for one in stage.remarks):
        found.setdefault(remark.kind, []).append(remark)
    for kind, remarks in found.items():
        stages = "1 stage" if len(remarks) == 1 else f"{len(remarks)} stages"
        said = f"{kind}: {sum(remark.count for remark in remarks)} in {stages}; {remarks[0].text}"
        yield f"told     {one_line(said, _WIDTH * 2)}"


def _stopped(session: Session) -> Iterator[str]:
    """Why tests were left out, in one line; what the user did, the user knows."""
    if session.end is not None and session.end.stopped and not session.over:
        yield f"stopped  {one_line(session.end.stopped, _WIDTH * 2)}"


def _met(session: Session) -> Iterator[str]:
    stages = [stage for entry in session.entries for stage in entry.stages]
    if stages:
        operations, met = sum(stage.operations for stage in stages), sum(stage.met for stage in stages)
        plural = "" if len(stages) == 1 else "s"
        yield f"{len(stages)} stage{plural}, {operations} operations, {met} of them met a window"


def _latencies(session: Session) -> Iterator[str]:
    """Worst case over all stages for each operation: percentiles of different stages must not be averaged."""
    worst: dict[str, list[Latency]] = {}
    for entry in session.entries:
        for stage in entry.stages:
            for latency in stage.latencies:
                worst.setdefault(latency.operation, []).append(latency)
    if worst:
        yield f"{'worst stage':<26}{'count':>10}{'p50':>10}{'p99':>10}{'max':>10}"
    for operation, found in sorted(worst.items()):
        count = sum(latency.count for latency in found)
        times = [
            max(getattr(latency, field) for latency in found) for field in ("p50_ns", "p99_ns", "max_ns")
        ]
        yield f"{one_line(operation, 25):<26}{count:>10}" + "".join(f"{as_text(time):>10}" for time in times)


def _where(results: str, harness: str) -> Iterator[str]:
    yield f"report   {results}/junit.xml"
    yield f"journal  {results}/journal.jsonl"
    yield f"again    {harness} report {shlex.quote(results)}"

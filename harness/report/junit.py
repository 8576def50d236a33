"""A session as JUnit XML, for the consumers that exist.

Flat, one case a test, at most one result element, at most one output, children in Surefire's order, valid
against the xunit2 schema.  What differs between consumers is decided for the one that would lose or break
something; docs/reports.md is the page for the owners of dashboards.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, assert_never

from junitparser import Attr, Error, Failure, Skipped, xunit2

from harness.journal.record import AttemptRecord, Status
from harness.journal.session import Entry, Session
from harness.model.flavour import Dialect
from harness.report.health import CLASSNAME, health
from harness.report.identity import Identity, identities
from harness.report.refusals import as_line
from harness.report.text import fit, one_line, tag

_KIB: Final = 1024
_TAGS_LIMIT: Final = 490
"""Jenkins keeps the last 500 characters of a passing case's output: tags must fit."""
_ATTACHMENTS: Final = 4
_FILE_BUDGET: Final = 6 * _KIB * _KIB
"""For texts of all cases together: some consumers stop at 10 MB."""


_OF_A_STAGE: Final = "served."
"""What the names of values begin with that another stage has others of."""


class _RichCase(xunit2.TestCase):
    """A case with the attributes that the strict schema does not know."""

    file = Attr()
    line = Attr()
    timestamp = Attr()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Limits:
    """Bytes that one case may spend, so that the file stays readable."""

    details: int
    output: int
    passing_output: int


def to_junit(session: Session, *, dialect: Dialect = Dialect.STRICT) -> bytes:
    """Write a session as JUnit XML, UTF-8."""
    entries = (*session.entries, *health(session))
    names = identities(entry.test for entry in session.entries)
    limits = _limits(entries)
    new_suite: Any = xunit2.TestSuite  # junitparser's methods carry no types
    suite = new_suite(one_line(session.start.suite, 200) or "hil.lab")
    suite.hostname = one_line(session.start.host, 200) or "unknown"
    suite.timestamp = _utc(session.start.realtime_ns)
    for name, value in sorted(_suite_properties(session).items()):  # first: they go where they are added
        suite.add_property(name, value)
    basenames: set[str] = set()
    suite.add_testcases(
        [
            _case(
                entry,
                identity=names.get(entry.test) or _health_identity(entry),
                folder=session.start.results,
                dialect=dialect,
                limits=limits,
                basenames=basenames,
            )
            for entry in entries
        ]
    )
    root: Any = xunit2.JUnitXml("vfio-harness")
    root.add_testsuite(suite)
    root.update_statistics()
    suite.time = root.time = round(session.seconds, 3)  # after the statistics, which would put a sum there
    buffer = io.BytesIO()
    root.write(buffer)
    return buffer.getvalue()


def _case(
    entry: Entry,
    *,
    identity: Identity,
    folder: str,
    dialect: Dialect,
    limits: _Limits,
    basenames: set[str],
) -> Any:
    kind: Any = _RichCase if dialect is Dialect.RICH else xunit2.TestCase
    case = kind(identity.name, identity.classname, round(entry.seconds, 3))
    properties = _properties(entry)
    if dialect is Dialect.RICH:
        _enrich(case, entry, properties)
    result = _result(entry, limits)
    # Surefire's order: failure, rerunFailure, flakyFailure, skipped, error, system-out, system-err.
    if isinstance(result, Failure):
        case.append(result)
    for element in _interim(entry, limits):
        case.append(element)
    if result is not None and not isinstance(result, Failure):
        case.append(result)
    red = entry.status in (Status.FAILURE, Status.ERROR)
    said = "\n".join([entry.output.strip("\n"), *_staged(entry), *_refused(entry), *_remarked(entry)])
    output = fit(said.strip("\n"), limits.output if red else limits.passing_output)
    strict = properties if dialect is Dialect.STRICT else {}
    tags = _tags(entry, strict, folder, basenames)
    if output or tags:
        case.system_out = "\n".join([output, *tags] if output else tags) + "\n"
    warnings = [line for stage in entry.stages for line in stage.kernel_warnings]
    if warnings:
        case.system_err = fit("\n".join(warnings), limits.passing_output)
    return case


def _result(entry: Entry, limits: _Limits) -> Any:
    element: Any
    match entry.status:
        case Status.OK:
            return None
        case Status.SKIPPED:
            element = Skipped
        case Status.ERROR:
            element = Error
        case Status.FAILURE:
            element = Failure
        case _:
            assert_never(entry.status)
    summary = entry.summary or entry.details or entry.type
    if entry.attempts:
        tries = [attempt.type.removeprefix("hil.") for attempt in entry.attempts]
        tries.append(entry.type.removeprefix("hil."))
        summary = f"{len(tries)} attempts: {', '.join(tries)}: {summary}"
    text = entry.details
    if entry.status is Status.SKIPPED and entry.attempts:  # a skipped case must not carry rerunFailure
        text += "".join(
            f"\nattempt {n}: {try_.type}: {try_.summary}" for n, try_ in enumerate(entry.attempts, 1)
        )
    result = element(one_line(summary) or "no summary", one_line(entry.type, 100) or "hil.harness")
    result.text = fit(text, limits.details).strip() or fit(summary, limits.details).strip() or "no details"
    return result


def _interim(entry: Entry, limits: _Limits) -> list[Any]:
    if entry.status is Status.SKIPPED:
        return []
    flaky = entry.status is Status.OK or entry.type == "hil.flaky"
    kind = xunit2.FlakyFailure if flaky else xunit2.RerunFailure
    return [_attempt(kind, number, attempt, limits) for number, attempt in enumerate(entry.attempts, 1)]


def _attempt(kind: Any, number: int, attempt: AttemptRecord, limits: _Limits) -> Any:
    element = kind(
        f"attempt {number}: {one_line(attempt.summary, 200)}", one_line(attempt.type, 100) or "hil.harness"
    )
    element.stack_trace = fit(attempt.details or attempt.summary, limits.details // 4).strip() or "no details"
    return element


def _staged(entry: Entry) -> list[str]:
    """What was staged to go wrong, and of a test that is ok which verdict it asked for."""
    lines = [f"staged: {line}" for stage in entry.stages for line in stage.staged]
    lines += [f"named: {kind}: the stage was judged FAIL, as the test demands" for kind in entry.named]
    return lines


def _refused(entry: Entry) -> list[str]:
    """Operations that were refused and tried again: no attempt of the test, so never a flakyFailure."""
    return [as_line(refused) for stage in entry.stages for refused in stage.refusals]


def _remarked(entry: Entry) -> list[str]:
    """What is left over and decides nothing."""
    return [one_line(remark.text) for stage in entry.stages for remark in stage.remarks]


def _properties(entry: Entry) -> dict[str, str]:
    """What a dashboard may want of one test, the most wanted first."""
    found: dict[str, str] = {}
    if entry.stages:
        found["hil.met"] = str(entry.met)
        found["hil.ops"] = str(sum(stage.operations for stage in entry.stages))
        found["hil.kernel"] = str(max((stage.kernel_log for stage in entry.stages), key=_gravity))
        found["hil.seed"] = str(entry.stages[0].seed)
    if entry.attempts:
        found["hil.attempts"] = str(len(entry.attempts) + 1)
    if entry.named:
        found["hil.named"] = ",".join(dict.fromkeys(entry.named))
    refused = sum(refused.attempts for stage in entry.stages for refused in stage.refusals)
    if refused:
        found["hil.refused"] = str(refused)
    reads = [latency for stage in entry.stages for latency in stage.latencies]
    if reads:
        busiest = max(reads, key=lambda latency: latency.count)
        found["hil.lat.of"] = busiest.operation
        found["hil.lat.p50_us"] = f"{busiest.p50_ns / 1e3:.1f}"
        found["hil.lat.p99_us"] = f"{busiest.p99_ns / 1e3:.1f}"
    return found


def _gravity(word: str) -> int:
    return ("clean", "unknown", "warn", "provoked", "fault").index(word)


def _tags(entry: Entry, properties: dict[str, str], folder: str, basenames: set[str]) -> list[str]:
    """Lines that consumers read: properties, then attachments; the block fits where Jenkins does not trim."""
    attachments: list[str] = []
    room = _TAGS_LIMIT
    for name in entry.attachments:
        line = tag("ATTACHMENT", f"{folder}/{name}" if folder else name)
        base = name.rpartition("/")[2]
        if len(attachments) < _ATTACHMENTS and base not in basenames and len(line) < room:
            basenames.add(base)  # Jenkins keys attachments by it
            attachments.append(line)
            room -= len(line) + 1
    lines = []
    for key, value in properties.items():
        line = tag("PROPERTY", f"{key}={value}")
        if len(line) < room:
            lines.append(line)
            room -= len(line) + 1
    return lines + attachments


def _enrich(case: Any, entry: Entry, properties: dict[str, str]) -> None:
    if entry.file:
        case.file = one_line(entry.file)
    if entry.line:
        case.line = str(entry.line)
    if entry.started_ns:
        case.timestamp = _utc(entry.started_ns)
    for key, value in properties.items():
        case.add_property(key, one_line(value))


def _suite_properties(session: Session) -> dict[str, str]:
    start = session.start
    found: dict[str, str] = {
        "boot_id": start.boot_id,
        "lab.host": start.host,
        "command": " ".join(start.argv),
    }
    found |= {f"{name}.version": version for name, version in start.versions.items()}
    for entry in session.entries:  # the first stage that says something wins: one value a name
        for stage in entry.stages:
            for key, value in stage.provenance.items():
                if not key.startswith(_OF_A_STAGE):
                    found.setdefault(key, str(value))
    found |= {key: str(value) for key, value in start.provenance.items()}
    return {one_line(key, 100): one_line(value, 4000) for key, value in found.items() if one_line(value)}


def _health_identity(entry: Entry) -> Identity:
    return Identity(CLASSNAME, one_line(entry.test.removeprefix(f"{CLASSNAME}::"), 200) or "unnamed")


def _limits(entries: tuple[Entry, ...]) -> _Limits:
    red = sum(entry.status is not Status.OK for entry in entries) or 1
    share = _FILE_BUDGET // 3
    return _Limits(
        details=min(60 * _KIB, max(512, share // red)),
        output=min(64 * _KIB, max(256, share // red)),
        passing_output=min(8 * _KIB, max(256, share // (len(entries) or 1))),
    )


def _utc(realtime_ns: int) -> str:
    return datetime.fromtimestamp(realtime_ns // 1_000_000_000, UTC).isoformat(timespec="seconds")

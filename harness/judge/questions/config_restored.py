"""Did config space come back as promised after resets, and only where somebody promised to restore it?

The last call that reset a function counts, and where something is missing the one that lost it
(:mod:`~harness.judge.evidence.config_lost`).  VFIO puts back at close what it had saved at open, whether or not it
resets: config space is read before the one and after the other.

Source: Linux drivers/pci/pci.c, `pci_save_state()`, `pci_restore_state()`; `pci_dev_save_and_disable()` for
the save that is skipped when the function reads all-ones; drivers/vfio/pci/vfio_pci_core.c,
`vfio_pci_core_disable()`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from harness.history.history import FunctionRecord, LogLine
from harness.judge import findings
from harness.judge.evidence import Evidence
from harness.judge.evidence.arming import open_until
from harness.judge.evidence.at_hand import left_alone, taken_along
from harness.judge.evidence.calls import Call
from harness.judge.evidence.config_bits import differing, written
from harness.judge.evidence.config_lost import Loss, lost_in, or_earlier
from harness.judge.evidence.link_errors import link_errors
from harness.judge.evidence.log_events import addresses
from harness.judge.findings import Aspect
from harness.model.pci import BAR0, COMMAND
from harness.model.promise import ConfigSpace, Promise
from harness.model.terms import Terms
from harness.model.units import Ns, as_text
from harness.model.verdict import Blame, EventId, Finding

NAME: Final = "config_restored"
_FORGOTTEN: Final = (ConfigSpace.LOST, ConfigSpace.COMMAND_LOST)
_NOT_SAVED: Final = "Device config space inaccessible; unable to"
_HEADER_TYPE: Final = 0x0E
_BARS: Final = {0: 6, 1: 2}  # by header layout, PCIe r6.0 §7.5.1.2, §7.5.1.3


def config_restored(evidence: Evidence, terms: Terms) -> tuple[Finding, ...]:
    """Compare config space after the stage with before, for each function that was reset."""
    resetting: dict[str, list[Call]] = {}
    for call in sorted(evidence.calls, key=lambda call: call.end_ns):
        for alias in call.resets if call.succeeded else ():
            resetting.setdefault(alias, []).append(call)
    found = [*_neighbours(evidence, terms)]
    for alias, calls in resetting.items():
        call = calls[-1]
        promise = _promise(call, terms)
        if promise is None:
            continue
        function = evidence.of(alias).record
        if not function.config_after and evidence.is_gone(alias):
            continue  # there is nothing to compare, and it is nobody's fault
        if not function.config_before or len(function.config_before) != len(function.config_after):
            found.append(_unread(alias, promise))
        elif promise.config in _FORGOTTEN:
            found.append(_lost(evidence, promise, function, call))
        else:
            found.append(_restored(evidence, terms, promise, function, calls))
    return tuple(found)


def _neighbours(evidence: Evidence, terms: Terms) -> Iterator[Finding]:
    """The same of functions beside the plan's that a call reset with its own."""
    resetting: dict[str, list[Call]] = {}
    for call in sorted(evidence.calls, key=lambda call: call.end_ns):
        for one in taken_along(evidence, call) if call.succeeded else ():
            resetting.setdefault(one.alias, []).append(call)
    for record in evidence.history.neighbours or ():
        calls = resetting.get(record.alias, [])
        promise = _promise(calls[-1], terms) if calls else None
        if promise is None or promise.config in _FORGOTTEN:
            continue
        mask = left_alone(evidence, record, (*terms.volatile, *terms.unrestored))
        if not any(mask):
            continue  # the plan emptied its slot, or reset its bus by hand
        name = f"{record.alias}, beside {calls[-1].alias},"
        if not record.config_before or len(record.config_before) != len(record.config_after):
            yield _unread(name, promise)
            continue
        missing, places = differing(record.config_before, record.config_after, mask)
        if not missing:
            claim = f"({len(mask)} bytes) is what it was before {calls[-1].operation}."
            yield findings.passed(NAME, f"Config space of {name} {claim}", promise=promise, met=1)
        else:
            yield _lost_by(
                evidence,
                terms,
                promise,
                record,
                loss=Loss(calls=tuple(calls)),
                calls=calls,
                name=name,
                missing=len(missing),
                places=places,
            )


def _unread(name: str, promise: Promise) -> Finding:
    claim = f"Config space of {name} could not be read before and after the stage."
    return findings.unknown(NAME, claim, promise=promise)


def _promise(call: Call, terms: Terms) -> Promise | None:
    """The entry that says what a call does to config space."""
    return next((promise for promise in call.promises(terms) if promise.config is not None), None)


def _restored(
    evidence: Evidence, terms: Terms, promise: Promise, function: FunctionRecord, calls: Sequence[Call]
) -> Finding:
    before, after, alias = function.config_before, function.config_after, function.alias
    mask = evidence.compared(alias, (*terms.volatile, *terms.unrestored))
    missing, places = differing(before, after, mask)
    if not missing:
        return findings.passed(
            NAME,
            f"Config space of {alias} ({len(before)} bytes) is what it was before {calls[-1].operation}.",
            promise=promise,
            met=1,
            weakness=findings.weak(promise, Aspect.CONFIG),
        )
    unsaved = next((row for row, line in enumerate(evidence.history.log) if _not_saved(function, line)), None)
    if unsaved is not None:
        return findings.unknown(
            NAME,
            f"Config space of {alias} differs ({places}), but the kernel could not save it: the function "
            "read all-ones before a reset.",
            promise=promise,
            events=[findings.log(unsaved)],
        )
    loss = lost_in(evidence, evidence.of(alias), calls, {at: mask[at] for at in missing})
    took = [one for one in loss.calls if (own := _promise(one, terms)) and own.config in _FORGOTTEN]
    if took:
        return _taken(promise, alias, loss, took[0], places)
    if not loss.calls and not _closed(evidence, alias, loss):
        return _taken_again(evidence, promise, loss, alias=alias, last=calls[-1], places=places)
    return _lost_by(
        evidence,
        terms,
        promise,
        function,
        loss=loss,
        calls=calls,
        name=alias,
        missing=len(missing),
        places=places,
    )


def _lost_by(
    evidence: Evidence,
    terms: Terms,
    promise: Promise,
    record: FunctionRecord,
    *,
    loss: Loss,
    calls: Sequence[Call],
    name: str,
    missing: int,
    places: str,
) -> Finding:
    """Whoever lost it is convicted: a call, or else the last close after all `calls`."""
    calls = loss.calls or calls
    dead = not record.config_after.strip(b"\xff")
    return findings.failed(
        NAME,
        Blame.DEVICE_LOST if dead else Blame.RESET_FAILED,
        f"Config space of {name} was not restored {_when(evidence, loss, calls[-1])}: "
        f"{missing} bytes differ ({places}).",
        events=[*(findings.operation(one.row) for one in calls[:-5:-1]), *_shown(loss)],
        promise=_promise(calls[-1], terms) or promise,
        met=1,
        weakness=findings.weak(promise, Aspect.CONFIG),
    )


def _when(evidence: Evidence, loss: Loss, blamed: Call) -> str:
    """The reset that lost it, as the end of a sentence."""
    who = f"{blamed.operation} by {evidence.history.plan.actors[blamed.actor].name}"
    if not loss.calls:
        return f"when its last user closed it, later than by {who}"
    return f"after {who}{or_earlier(evidence, loss)}"


def _taken(promise: Promise, alias: str, loss: Loss, by: Call, places: str) -> Finding:
    """A reset that promises to restore nothing may have taken it: what comes later saves and restores what it finds."""
    events = [findings.operation(by.row), *_shown(loss)]
    if len(loss.calls) > 1:
        claim = f"Whether {by.operation} or a reset that restores lost what {alias} lacks is not known ({places})."
        return findings.unknown(NAME, claim, promise=promise, events=events)
    return findings.passed(
        NAME,
        f"{by.operation} lost what config space of {alias} lacks ({places}), and nobody had promised to restore it.",
        promise=promise,
        met=1,
    )


def _taken_again(
    evidence: Evidence, promise: Promise, loss: Loss, *, alias: str, last: Call, places: str
) -> Finding:
    """It was given back, and a reset that no call of the plan asked for took it away again."""
    event = evidence.history.served[loss.row]
    at = int(event["time_ns"])
    later = f"by a reset {as_text(Ns(abs(at - last.end_ns)))} {'later' if at >= last.end_ns else 'before its end'}"
    claim = f"Config space of {alias} was restored after {last.operation}, and lost again {later} ({places})"
    number = evidence.numbers[alias]
    if any(one.begin_ns <= at <= one.end_ns for one in evidence.driver_resets_of.get(number, ())):
        return findings.passed(NAME, f"{claim}, which its own driver did.", promise=promise, met=1)
    if any(one.incident.function == alias and one.begin_ns <= at for one in link_errors(evidence)):
        return findings.passed(NAME, f"{claim}, because of an error of the link.", promise=promise, met=1)
    return findings.unknown(
        NAME, f"{claim}, which nothing in the stage explains.", promise=promise, events=_shown(loss)
    )


def _closed(evidence: Evidence, alias: str, loss: Loss) -> bool:
    """Whether it was lost when the last user of a function closed it: after all that it did."""
    at = int(evidence.history.served["time_ns"][loss.row]) + evidence.history.served_error_ns
    return 0 < open_until(evidence.of(alias)) <= at


def _shown(loss: Loss) -> list[EventId]:
    return [] if loss.row is None else [findings.served(loss.row)]


def _not_saved(function: FunctionRecord, line: LogLine) -> bool:
    """Whether a line tells that the kernel could not save this function: what became of another excuses nobody."""
    return line.of_the_kernel and _NOT_SAVED in line.text and function.bdf in addresses(line.text)


def _lost(evidence: Evidence, promise: Promise, function: FunctionRecord, call: Call) -> Finding:
    """Command, and base addresses too where that is promised, must have been lost, unless the plan wrote them."""
    before, after, alias = function.config_before, function.config_after, function.alias
    own = written(evidence.of(alias), b"")
    both = promise.config is ConfigSpace.LOST
    bars = _BARS.get(before[_HEADER_TYPE] & 0x7F, 0) if both else 0
    fields = {"COMMAND": (COMMAND, 2), **{f"BAR{n}": (BAR0 + 4 * n, 4) for n in range(bars)}}
    telling = {
        name: (at, width)
        for name, (at, width) in fields.items()
        if before[at : at + width].strip(b"\x00") and not any(at + n in own for n in range(width))
    }
    # The low bits of a base address are wired; only the address itself can be lost.
    telling = {
        n: p
        for n, p in telling.items()
        if n == "COMMAND" or int.from_bytes(before[p[0] : p[0] + 4], "little") & ~0xF
    }
    if not telling:
        return findings.unknown(
            NAME,
            f"Nothing in config space of {alias} could show that {call.operation} lost it.",
            promise=promise,
        )
    kept = [
        name for name, (at, width) in telling.items() if before[at : at + width] == after[at : at + width]
    ]
    if kept:
        return findings.failed(
            NAME,
            Blame.MISMATCH,
            f"Something restored what nobody promised to restore on {alias}: {', '.join(kept)} survived "
            f"{call.operation}.",
            events=[findings.operation(call.row)],
            promise=promise,
            met=1,
            weakness=findings.weak(promise, Aspect.CONFIG),
        )
    return findings.passed(
        NAME,
        f"{call.operation} lost {', '.join(telling)} of {alias}, and nothing restored them.",
        promise=promise,
        met=1,
        weakness=findings.weak(promise, Aspect.CONFIG),
    )

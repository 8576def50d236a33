"""Did config space come back as promised after resets, and only where somebody promised to restore it?

The last call that reset a function counts.  VFIO puts back at close what it had saved at open, whether or not it
resets: config space is read before the one and after the other.

Source: Linux drivers/pci/pci.c, `pci_save_state()`, `pci_restore_state()`; `pci_dev_save_and_disable()` for
the save that is skipped when the function reads all-ones; drivers/vfio/pci/vfio_pci_core.c,
`vfio_pci_core_disable()`.
"""

from __future__ import annotations

from typing import Final

from harness.history.history import FunctionRecord, LogLine
from harness.judge import findings
from harness.judge.evidence import Evidence
from harness.judge.evidence.calls import Call
from harness.judge.evidence.config_bits import counting, differing, written
from harness.judge.evidence.log_events import addresses
from harness.judge.findings import Aspect
from harness.model.pci import BAR0, COMMAND
from harness.model.promise import ConfigSpace, Promise
from harness.model.terms import Terms
from harness.model.verdict import Blame, Finding

NAME: Final = "config_restored"
_FORGOTTEN: Final = (ConfigSpace.LOST, ConfigSpace.COMMAND_LOST)
_NOT_SAVED: Final = "Device config space inaccessible; unable to"
_HEADER_TYPE: Final = 0x0E
_BARS: Final = {0: 6, 1: 2}  # by header layout, PCIe r6.0 §7.5.1.2, §7.5.1.3


def config_restored(evidence: Evidence, terms: Terms) -> tuple[Finding, ...]:
    """Compare config space after the stage with before, for each function that was reset."""
    last: dict[str, Call] = {}
    for call in sorted(evidence.calls, key=lambda call: call.end_ns):
        if call.succeeded:
            last.update(dict.fromkeys(call.resets, call))
    found = []
    for alias, call in last.items():
        promise = next((p for p in call.promises(terms) if p.config is not None), None)
        if promise is None:
            continue
        function = evidence.of(alias).record
        if not function.config_after and evidence.is_gone(alias):
            continue  # there is nothing to compare, and it is nobody's fault
        if not function.config_before or len(function.config_before) != len(function.config_after):
            found.append(
                findings.unknown(
                    NAME,
                    f"Config space of {alias} could not be read before and after the stage.",
                    promise=promise,
                )
            )
        elif promise.config in _FORGOTTEN:
            found.append(_lost(evidence, promise, function, call))
        else:
            found.append(_restored(evidence, terms, promise, function, call))
    return tuple(found)


def _restored(
    evidence: Evidence, terms: Terms, promise: Promise, function: FunctionRecord, call: Call
) -> Finding:
    before, after, alias = function.config_before, function.config_after, function.alias
    mask = counting(len(before), (*terms.volatile, *terms.unrestored), alias)
    for offset in evidence.written[alias]:
        mask[offset] = 0
    count, places = differing(before, after, mask)
    if not count:
        return findings.passed(
            NAME,
            f"Config space of {alias} ({len(before)} bytes) is what it was before {call.operation}.",
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
    dead = not after.strip(b"\xff")
    return findings.failed(
        NAME,
        Blame.DEVICE_LOST if dead else Blame.MISMATCH,
        f"Config space of {alias} was not restored after {call.operation}: {count} bytes differ ({places}).",
        events=[findings.operation(call.row)],
        promise=promise,
        met=1,
        weakness=findings.weak(promise, Aspect.CONFIG),
    )


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

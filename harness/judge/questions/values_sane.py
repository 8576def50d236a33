"""Did every successful access carry the data that it should?

Each config read of at most four bytes must give what config space held before the stage, volatile bits excepted.
Longer reads are not atomic (the lock is checked for each dword) and are only counted, as are reads of what
the plan itself has changed, of a function whose lock had been stolen, and of one that its own driver has reset and not
yet restored: there the ids alone must be right.  What registers gave is judged in
:mod:`~harness.judge.questions.register_values`.

Source: Linux drivers/pci/access.c; Documentation/PCI/pci-error-recovery.rst on all-ones;
drivers/vfio/pci/vfio_pci_config.c on what VFIO takes from the function and what from its copy.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from harness.history.reading import OfFunction, Reading
from harness.history.steps import Rows
from harness.judge import findings
from harness.judge.evidence import Evidence
from harness.judge.evidence.accesses import UNPRIVILEGED_BYTES
from harness.judge.evidence.config_bits import IDENTITY, counting
from harness.judge.evidence.incidents import death
from harness.judge.evidence.link_errors import lost_since
from harness.judge.evidence.stolen import while_stolen
from harness.judge.questions.register_values import register_values
from harness.model.operation import RAW_RESETS, UNPRIVILEGED_READ, VFIO_COPY_READ, VFIO_READ, Operation, verb
from harness.model.outcome import Outcome
from harness.model.plan import Step
from harness.model.promise import WindowKind
from harness.model.terms import Terms
from harness.model.verdict import Blame, Finding

NAME: Final = "values_sane"
_ATOMIC: Final = (1, 2, 4)
_NEVER: Final = np.iinfo(np.int64).max
_FROM_HARDWARE: Final = frozenset({*IDENTITY[4:], 0x0C, 0x0D, 0x0F})
"""What VFIO's config region takes from the function as it is: revision, class, cache line size, latency, BIST,
subsystem.  Elsewhere it mixes in bits of its own: COMMAND's INTx Disable, STATUS' Capabilities List, PME, FLR and
payload sizes (`init_pci_cap_basic_perm()`, `init_pci_cap_pm_perm()`, `init_pci_cap_exp_perm()`)."""
_FROM_COPY: Final = frozenset({*range(4), *range(0x10, 0x28)})
"""What it answers from memory with the value that the function had: vendor, device, base addresses
(`vfio_config_init()`, `vfio_bar_fixup()`).  Not the expansion ROM, which may be a shadow, the capability pointer, which
skips what VFIO hides, nor the interrupt pin, which is 0 where VFIO offers no INTx."""
_ABSENT: Final = b"\xff\xff"
"""Vendor of a virtual function: its own config space does not hold it (PCIe r6.0 §9.3.4.1.1)."""


def values_sane(evidence: Evidence, terms: Terms) -> tuple[Finding, ...]:
    """Hold the data of all config accesses against config space before the stage."""
    reads = {step.means for _, step in evidence.steps.numbered if verb(step.means) == "config-read"}
    found = []
    for function in map(evidence.of, evidence.records):
        rows = _successful(function, "config-read")
        if len(rows):
            found.extend(_reads(evidence, terms, function, rows, _promised(terms, function.alias, reads)))
        found.extend(_short_writes(function))
    return (*found, *register_values(evidence, terms))


def _reads(
    evidence: Evidence, terms: Terms, function: OfFunction, rows: Rows, promised: Collection[Outcome]
) -> list[Finding]:
    history, alias = evidence.history, function.alias
    own, numbers = evidence.steps.apart(alias, rows)
    table = history.operations

    def column(value: Callable[[Step], Any], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        return np.array([value(step) for step in own], dtype=dtype)

    width, visible = column(lambda step: step.width, np.int64), column(_visible, np.int64)
    result = table["result"][rows]
    short = (result != width[numbers]) & (result != visible[numbers])
    if short.any():
        first = np.argmax(short)
        return [
            findings.failed(
                NAME,
                Blame.MISMATCH,
                f"{short.sum()} config reads of {alias} were short: {_where(evidence, rows[first])} asked for "
                f"{width[numbers[first]]} bytes and got {result[first]}.",
                events=[findings.operation(r) for r in rows[short][:4]],
                met=int(short.sum()),
            )
        ]
    config = function.record.config_before
    atomic = column(lambda step: step.width in _ATOMIC and step.offset + step.width <= len(config), np.bool_)
    if not atomic[numbers].any():
        if not result.any():
            return []  # nobody got a byte, as the reader may not
        reason = "its config space could not be read before the stage" if not config else "none was atomic"
        return [findings.unknown(NAME, f"No config read of {alias} can be compared: {reason}.", met=0)]
    since = _changed_since(evidence, alias)
    mask = counting(len(config), terms.volatile, alias)
    for offset, time in since.items():
        if time <= history.begin_ns and offset < len(mask):
            mask[offset] = 0
    expected = column(lambda step: _number(config, step), np.uint64)
    counts = column(lambda step: _number(_kept(mask, config, step), step), np.uint64)
    ones = column(_all_ones, np.uint64)
    until = _unchanged_until(function, own, since, lost_since(evidence, terms, alias))
    value = table["value"][rows]
    begin, end = table["begin_ns"][rows], table["end_ns"][rows]
    judged = (
        atomic[numbers]
        & (counts[numbers] != 0)
        & (result == width[numbers])
        & (end < until[numbers])
        & ~while_stolen(evidence.lock_faults, function.number, begin, end)
        & ~(_bare(function, begin, end) & ~column(_identifies, np.bool_)[numbers])
    )
    if not judged.any():
        return []
    wrong = judged & ((value ^ expected[numbers]) & counts[numbers] != 0)
    for outcome, data in ((Outcome.ALL_ONES, ones), (Outcome.ZERO, np.zeros_like(ones))):
        if outcome in promised:
            wrong &= value != data[numbers]
    skipped = int((~judged).sum())
    if not wrong.any():
        aside = f" ({skipped} others are not comparable)" if skipped else ""
        return [
            findings.passed(
                NAME,
                f"{judged.sum()} config reads of {alias} gave what was there before the stage{aside}.",
                met=int(judged.sum()),
                source="Linux drivers/pci/access.c",
            )
        ]
    dead = wrong & (value == ones[numbers])
    first = np.argmax(dead if dead.any() else wrong)
    row = rows[first]
    lost = bool(dead.any()) and (not function.record.config_after.strip(b"\xff") or bool(dead[-1]))
    return [
        findings.failed(
            NAME,
            Blame.DEVICE_LOST if lost else Blame.MISMATCH,
            f"{wrong.sum()} of {judged.sum()} config reads of {alias} gave wrong data"
            + (f", {dead.sum()} of them all-ones" if dead.any() else "")
            + f": {_where(evidence, row)} gave {int(value[first]):#x}, not {int(expected[numbers[first]]):#x}"
            f"{death(evidence.incidents, alias, int(end[first]), history.begin_ns)}.",
            events=[findings.operation(row), *(findings.operation(r) for r in rows[wrong][:3] if r != row)],
            met=int(wrong.sum()),
            source="Linux drivers/pci/access.c",
        )
    ]


def _changed_since(evidence: Evidence, alias: str) -> Mapping[int, int]:
    """Bytes that somebody of the plan changed, and since when: written, or of interrupts that were disarmed."""
    armed, written = evidence.arming[alias], evidence.written[alias]
    disarmed = {at: min(armed.since, written.get(at, armed.since)) for at in armed.bits}
    return {**written, **disarmed}


def _short_writes(function: OfFunction) -> list[Finding]:
    reading, rows = function.whole, _successful(function, "config-write")
    own, numbers = reading.steps.apart(function.alias, rows)
    length = np.array([len(step.value) for step in own], dtype=np.int64)
    short = rows[reading.history.operations["result"][rows] != length[numbers]]
    if not len(short):
        return []
    return [
        findings.failed(
            NAME,
            Blame.MISMATCH,
            f"{len(short)} config writes to {function.alias} were short: {_where(reading, short[0])}.",
            events=[findings.operation(row) for row in short[:4]],
            met=len(short),
        )
    ]


def _successful(function: OfFunction, what: str) -> Rows:
    rows = function.whole.steps.on(function.alias, lambda step: verb(step.means) == what)
    table = function.whole.history.operations
    good: Rows = rows[(table["error"][rows] == 0) & (table["end_ns"][rows] != 0)]
    return good


def _visible(step: Step) -> int:
    """How many bytes a read may see; what it sees beyond is another checker's business."""
    if step.means != UNPRIVILEGED_READ:
        return step.width
    return min(step.width, max(0, UNPRIVILEGED_BYTES - step.offset))


def _kept(mask: bytearray, config: bytes, step: Step) -> bytes:
    """The mask for one step: what is read by way of VFIO is not all the function's."""
    if step.means not in (VFIO_READ, VFIO_COPY_READ):
        return bytes(mask)
    known = _FROM_HARDWARE if step.means == VFIO_READ else _FROM_COPY
    if step.means == VFIO_COPY_READ and config[:2] == _ABSENT:
        known -= frozenset(range(4))
    return bytes(bits if offset in known else 0 for offset, bits in enumerate(mask))


def _bare(
    function: OfFunction, begin: npt.NDArray[np.int64], end: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Reads while the function's driver had not written config space back yet: only what nobody can write is there."""
    mask = np.zeros(len(begin), dtype=np.bool_)
    for one in function.driver_resets:
        if one.bare is not None:
            mask |= (begin <= one.bare[1]) & (end >= one.bare[0])
    return mask


def _identifies(step: Step) -> bool:
    """Whether a step reads bytes alone that nobody can write."""
    return set(range(step.offset, step.offset + step.width)) <= set(IDENTITY)


def _unchanged_until(
    function: OfFunction, own: Sequence[Step], since: Mapping[int, int], lost: int
) -> npt.NDArray[np.int64]:
    """For each step on a function: until when the bytes that it reads are those from before the stage.

    What had changed before the stage began is masked instead.

    Args:
        function: of which config space is.
        own: the steps.
        since: when the plan writes which bytes.
        lost: when it lost everything for a reason that is not the plan's.
    """
    history, resets = function.whole.history, function.rows(*RAW_RESETS)
    raw = int(history.operations["begin_ns"][resets[0]]) if len(resets) else _NEVER
    everything = min(raw, lost)
    later = {offset: time for offset, time in since.items() if time > history.begin_ns}
    until: npt.NDArray[np.int64] = np.array(
        [
            min([everything, *(later.get(o, _NEVER) for o in range(step.offset, step.offset + step.width))])
            if step.width in _ATOMIC
            else _NEVER
            for step in own
        ],
        dtype=np.int64,
    )
    return until


def _promised(terms: Terms, alias: str, reads: Collection[Operation]) -> frozenset[Outcome]:
    """What the contract promises of reads of this function: made-up data may be among it."""
    promises = (terms.promise(alias, operation, kind) for operation in reads for kind in WindowKind)
    return frozenset(promise.outcome for promise in promises if promise is not None)


def _number(config: bytes | bytearray, step: Step) -> int:
    return (
        int.from_bytes(config[step.offset : step.offset + step.width], "little")
        if step.width in _ATOMIC
        else 0
    )


def _all_ones(step: Step) -> int:
    return (1 << 8 * step.width) - 1 if step.width in _ATOMIC else 0


def _where(reading: Reading, row: int) -> str:
    actor, step = reading.steps.numbered[reading.steps.of_row[row]]
    return f"{actor.name} at offset {step.offset:#x}"

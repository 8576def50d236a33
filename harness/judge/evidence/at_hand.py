"""The functions at hand, the plan's and those around them: which of them a call resets, and what others change in them.

What Linux writes into a function because of another one is no loss.  A port above is enabled together with what lies
below it, and set up anew when that leaves or comes.  Behind a port everything forgets its state when its slot is
emptied, or its bus is reset without the kernel's knowledge.  QEMU, which is asked to let a port report an error, writes
Device Status as if it had 32 bits.

Source: Linux drivers/pci/pci.c, `pci_enable_bridge()`, `pci_bridge_secondary_bus_reset()`; drivers/pci/pcie/aspm.c,
`pcie_config_aspm_link()`; drivers/pci/pcie/err.c, `pcie_do_recovery()`; drivers/pci/hotplug/pciehp_pci.c;
QEMU hw/pci/pcie_aer.c, `pcie_aer_inject_uncor_error()`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import chain
from typing import Final

from harness.history.history import FunctionRecord
from harness.history.reading import OfFunction
from harness.judge.evidence.arming import MSI, is_armed, moved
from harness.judge.evidence.calls import Call
from harness.judge.evidence.config_bits import counting
from harness.judge.evidence.evidence import Evidence
from harness.model.fault import IncidentKind
from harness.model.operation import BIND, REMOVE, RESCAN, UNPLUG, VFIO_OPEN, verb
from harness.model.pci import COMMAND
from harness.model.plan import Step
from harness.model.terms import VolatileField
from harness.pci.capabilities import find

_BRIDGE_CONTROL: Final = 0x3E
_SET_UP: Final = (BIND, VFIO_OPEN)
_ENABLED: Final = 0x07  # I/O, memory, bus mastering
_LINK_CONTROL: Final = 0x10  # offset in the capability
_ASPM: Final = 0x03
_INJECTED: Final = (0x0C, 0x0D)  # the low half of Link Capabilities, likewise
_EMPTIED: Final = (IncidentKind.UNPLUGGED, IncidentKind.SERVER_RESTARTED)
_FORGETS: Final = (*_EMPTIED, IncidentKind.LINK_ERROR)


def below(evidence: Evidence, port: str) -> frozenset[str]:
    """Addresses of all functions at hand that lie behind a port, at any depth; none where `port` is empty."""
    found: set[str] = set()
    behind = {port} - {""}
    while behind:
        behind = {one.bdf for one in at_hand(evidence) if one.port in behind} - found
        found |= behind
    return frozenset(found)


def at_hand(evidence: Evidence) -> tuple[FunctionRecord, ...]:
    """The plan's functions, and those around them that were looked at."""
    history = evidence.history
    return (*history.functions, *(history.neighbours or ()))


def taken_along(evidence: Evidence, call: Call) -> tuple[FunctionRecord, ...]:
    """The neighbours that a call resets, if it succeeds."""
    if not call.resets_below:
        return ()
    behind = below(evidence, call.resets_below)
    return tuple(one for one in evidence.history.neighbours or () if one.bdf in behind)


def left_alone(evidence: Evidence, record: FunctionRecord, fields: Iterable[VolatileField]) -> bytearray:
    """A mask of config space of a function at hand: the bits that nothing which was done to others changes.

    Of one of the plan what was done to itself is left out as well, by :meth:`Evidence.compared`.  Where interrupts by
    message were armed at both readings, the kernel may have sent them to another processor meanwhile.

    Args:
        evidence: of the stage.
        record: of the function.
        fields: that do not count.
    """
    if record.alias in evidence.numbers:
        mask = evidence.compared(record.alias, fields)
    else:
        mask = counting(len(record.config_before), fields, record.alias)
    if is_armed(record.config_before, MSI) and is_armed(record.config_after, MSI):
        for at in moved(record.config_before, MSI):
            mask[at] = 0
    for at, bits in chain(_above(evidence, record), _behind(evidence, record)):
        mask[at] &= ~bits & 0xFF
    return mask


def _above(evidence: Evidence, record: FunctionRecord) -> Iterator[tuple[int, int]]:
    """Of a port: what comes of what lies below it."""
    for one in _of_the_plan(evidence, below(evidence, record.bdf)):
        if len(one.rows(REMOVE, RESCAN, UNPLUG)) or _struck(evidence, one, _EMPTIED):
            yield from _everything(record)
        if len(one.rows(*_SET_UP)):
            yield COMMAND, _ENABLED
            yield from ((at.offset + _LINK_CONTROL, _ASPM) for at in find(record.config_before, "pcie"))
        if _struck(evidence, one, (IncidentKind.LINK_ERROR,)):
            yield from (
                (at.offset + byte, 0xFF) for at in find(record.config_before, "pcie") for byte in _INJECTED
            )
    if record.alias in evidence.numbers and len(evidence.of(record.alias).rows(RESCAN)):
        yield from _everything(record)


def _behind(evidence: Evidence, record: FunctionRecord) -> Iterator[tuple[int, int]]:
    """Of what lies behind a port: it is gone, or all behind the port has forgotten its state."""
    for port in at_hand(evidence):
        if record.bdf not in (behind := below(evidence, port.bdf)):
            continue
        forgot = any(
            len(one.rows(UNPLUG)) or _struck(evidence, one, _FORGETS)
            for one in _of_the_plan(evidence, behind)
        )
        if forgot or _taken_or_reset_by_hand(evidence, port):
            yield from _everything(record)


def _of_the_plan(evidence: Evidence, bdfs: Collection[str]) -> Iterator[OfFunction]:
    return (evidence.of(one.alias) for one in evidence.history.functions if one.bdf in bdfs)


def _struck(evidence: Evidence, function: OfFunction, kinds: Collection[IncidentKind]) -> bool:
    return any(
        one.incident.function == function.alias and one.incident.kind in kinds for one in evidence.incidents
    )


def _taken_or_reset_by_hand(evidence: Evidence, port: FunctionRecord) -> bool:
    """Whether the plan took a port away, or wrote the bit that resets the bus behind it."""
    done = evidence.steps.on(
        port.alias,
        lambda step: step.means == REMOVE or (verb(step.means) == "config-write" and _resets_a_bus(step)),
    )
    return bool((evidence.history.operations["error"][done] == 0).any())


def _resets_a_bus(step: Step) -> bool:
    return step.offset <= _BRIDGE_CONTROL < step.offset + len(step.value)


def _everything(record: FunctionRecord) -> Iterator[tuple[int, int]]:
    return ((at, 0xFF) for at in range(len(record.config_before)))

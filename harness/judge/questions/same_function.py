"""Is a function that was found again still the one that it was?

After `remove` and `rescan` the kernel reads everything anew and believes it.  What nobody can write must be as before:
identity, the lists of capabilities, what capabilities say of themselves.

Source: PCIe r6.0 §7.5.1.1 (identity), §7.5.3 and §7.6.3 (lists of capabilities); Linux drivers/pci/pci.c,
`pci_find_next_ext_capability()` follows a list that loops for 480 steps and no further.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from harness.history.history import FunctionRecord
from harness.judge import findings
from harness.judge.evidence import Evidence
from harness.judge.evidence.config_bits import IDENTITY
from harness.model.operation import REMOVE, RESCAN
from harness.model.terms import Terms
from harness.model.verdict import Blame, Finding
from harness.pci.capabilities import Capability, capabilities, find, loop

NAME: Final = "same_function"
SOURCE: Final = "PCIe r6.0 §7.5.1.1, §7.5.3, §7.6.3"
_NOBODY: Final = (b"\xff\xff", b"\x01\x00")  # all-ones, and Request Retry Status as software sees it

WIRED: Final = {
    "pm": ((0x02, 2, 0xFFFF),),  # §7.5.2.1
    "msi": ((0x02, 2, 0x018E),),  # §7.7.1.2: vectors it can have, 64-bit address, masking
    "msix": ((0x02, 2, 0x07FF), (0x04, 4, 0xFFFF_FFFF), (0x08, 4, 0xFFFF_FFFF)),  # §7.7.2
    # §7.5.3.2, §7.5.3.3 (not the slot power, which the port above says), §7.5.3.6, §7.5.3.15
    "pcie": ((0x02, 2, 0x00FF), (0x04, 4, 0xF003_FFFF), (0x0C, 4, 0xFFFF_FFFF), (0x24, 4, 0xFFFF_FFFF)),
}
"""What capabilities say of themselves: offset, width and the bits that nobody can write, by name of the capability."""


def same_function(evidence: Evidence, terms: Terms) -> tuple[Finding, ...]:  # noqa: ARG001  every checker takes both
    """Compare what is wired of every function that was removed and found again."""
    if any(actor.end != "done" for actor in evidence.history.actors):
        return ()  # then nobody dared to read it again
    slots = {alias for alias, own in evidence.absences.items() if any(one.row is None for one in own)}
    return tuple(
        _judge(record, row)
        for record in evidence.history.functions
        if not (record.alias in slots and _missing(record))  # whoever looks into an empty slot finds nothing
        and (row := _rescanned(evidence, record.alias)) is not None
        and len(record.config_before) > IDENTITY[-1]
    )


def _judge(record: FunctionRecord, row: int) -> Finding:
    before, after, alias = record.config_before, record.config_after, record.alias
    events = [findings.operation(row)]
    if _missing(record):
        said = "it is not there" if not after else f"its ids read {after[:4][::-1].hex()}"
        return findings.failed(
            NAME,
            Blame.DEVICE_LOST,
            f"{alias} was not found again: {said}.",
            events=events,
            met=1,
            source=SOURCE,
        )
    if wrong := tuple(_differences(before, after)):
        return findings.failed(
            NAME,
            Blame.MISMATCH,
            f"{alias} was found again and is another function: {'; '.join(wrong[:4])}.",
            events=events,
            met=1,
            source=SOURCE,
        )
    count = len(capabilities(before))
    return findings.passed(
        NAME, f"{alias} was found again, with its {count} capabilities as they were.", met=1, source=SOURCE
    )


def _missing(record: FunctionRecord) -> bool:
    before, after = record.config_before, record.config_after
    return not after or (after[:2] in _NOBODY and after[:2] != before[:2])


def _differences(before: bytes, after: bytes) -> Iterator[str]:
    for at in dict.fromkeys(offset & ~3 for offset in IDENTITY):
        if before[at : at + 4] != after[at : at + 4]:
            yield f"{at:#05x} {before[at : at + 4].hex()} → {after[at : at + 4].hex()}"
    if circle := loop(after):
        yield f"its extended capabilities loop, {' → '.join(f'{at:#x}' for at in circle)}"
    was, now = ({one.offset: one for one in capabilities(config)} for config in (before, after))
    for at in sorted({*was, *now}):
        if was.get(at) != now.get(at):
            yield f"at {at:#x} {_called(was.get(at))} became {_called(now.get(at))}"
    for name, fields in WIRED.items():
        for capability in find(before, name):
            if now.get(capability.offset) == capability:
                yield from _bodies(name, capability, fields, before, after)


def _bodies(
    name: str, capability: Capability, fields: tuple[tuple[int, int, int], ...], before: bytes, after: bytes
) -> Iterator[str]:
    for offset, width, mask in fields:
        at = capability.offset + offset
        was, now = (int.from_bytes(config[at : at + width], "little") for config in (before, after))
        if (was ^ now) & mask:
            yield f"{name} capability at {at:#x} {was:#x} → {now:#x}"


def _called(capability: Capability | None) -> str:
    if capability is None:
        return "no capability"
    return f"{'extended ' if capability.extended else ''}capability {capability.id:#x}"


def _rescanned(evidence: Evidence, alias: str) -> int | None:
    """The operation that found a function again, if that was the last that was done about its being there."""
    rows = evidence.of(alias).rows(REMOVE, RESCAN)
    if len(rows) < 2 or evidence.history.operations["error"][rows].any():
        return None
    last = int(rows[-1])
    return last if evidence.steps.behind(last).means == RESCAN else None

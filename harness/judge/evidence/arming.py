"""What arming and disarming interrupts by message changes in config space.

Whoever opens a function through VFIO and asks for MSI or MSI-X has Linux switch them on, and the last close switches
them off: so config space that was read in between and config space that was read afterwards are not alike.

Source: Linux drivers/pci/msi/msi.c, `msi_capability_init()`, `msix_capability_init()`, `pci_msi_shutdown()`;
drivers/vfio/pci/vfio_pci_core.c, `vfio_pci_core_disable()`; PCIe r6.0 §7.7.1, §7.7.2.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from harness.history.reading import OfFunction
from harness.model.operation import VFIO_CLOSE, VFIO_OPEN
from harness.model.plan import Op
from harness.pci.capabilities import find

MSI: Final = "msi"
MSIX: Final = "msix"
_ROLES: Final = {"vfio-msi": MSI, "vfio-msix": MSIX}
_EVENTS: Final = frozenset({*_ROLES, "vfio-intx"})
_GROUP: Final = "vfio-group"
_CONTROL: Final = 0x02
_ENABLE: Final = {MSI: 0x0001, MSIX: 0x8000}
_SWITCHED: Final = {MSI: 0x0071, MSIX: 0xC000}  # enable and how many vectors; enable and the mask of all
_WIDE: Final = 0x0080  # of MSI's control: 64 bits of address
_MASKS: Final = 0x0100  # a mask bit for each vector


@dataclass(frozen=True, slots=True, kw_only=True)
class Arming:
    """Interrupts by message of one function that a user of the plan has asked for.

    Attributes:
        bits: of config space that arming and disarming them changes, by offset of the byte.
        since: when they may have been disarmed first, CLOCK_MONOTONIC; until then they are as they were before.
        again: whether somebody opened or closed the function meanwhile.
        kinds: which they are, of those that were armed when config space was read before the stage.
    """

    bits: Mapping[int, int]
    since: int
    again: bool
    kinds: tuple[str, ...]

    def apart(self, after: bytes) -> Mapping[int, int]:
        """The bits in which config space afterwards is not like that before: none where both were read armed.

        Args:
            after: config space, of the same size.
        """
        alike = bool(self.kinds) and not self.again and all(is_armed(after, kind) for kind in self.kinds)
        return {} if alike else self.bits


def arming(function: OfFunction) -> Arming:
    """What is known of the interrupts by message of a function; without bits where nobody asked for any."""
    steps = [step for _, step in function.whole.steps.numbers(function.alias) if step.file is not None]
    asked = dict.fromkeys(_ROLES[step.file.role] for step in steps if step.file and step.file.role in _ROLES)
    if not asked:
        return Arming(bits={}, since=0, again=False, kinds=())
    config = function.record.config_before
    armed = tuple(kind for kind in asked if is_armed(config, kind))
    handled = function.rows(VFIO_OPEN, VFIO_CLOSE)
    begins = function.whole.history.operations["begin_ns"]
    unlike = len(armed) < len(asked)
    times = [int(begins[handled].min())] if len(handled) else []
    return Arming(
        bits={at: bits for kind in asked for at, bits in state_bits(config, kind)},
        since=0 if unlike else min([open_until(function), *times]),
        again=bool(len(handled)),
        kinds=() if unlike else armed,
    )


def is_armed(config: bytes, kind: str) -> bool:
    """Whether config space shows interrupts of a kind switched on."""
    return any(_control(config, one.offset) & _ENABLE[kind] for one in find(config, kind))


def state_bits(config: bytes, kind: str) -> Iterator[tuple[int, int]]:
    """Offsets of bytes and the bits of them by which software switches interrupts of a kind on, and says where they go.

    Args:
        config: config space, 256 or 4096 bytes; empty gives none.
        kind: :data:`MSI` or :data:`MSIX`.
    """
    for one in find(config, kind):
        switched = _SWITCHED[kind].to_bytes(2, "little")
        yield from ((one.offset + _CONTROL + number, bits) for number, bits in enumerate(switched) if bits)
        if kind == MSI:
            control = _control(config, one.offset)
            data = one.offset + (0x0C if control & _WIDE else 0x08)
            end = data + (8 if control & _MASKS else 2)
            yield from ((at, 0xFF) for at in range(one.offset + 4, min(end, len(config))))


def moved(config: bytes, kind: str) -> Iterator[int]:
    """Offsets of bytes that say where armed interrupts of a kind go: the kernel may send them to another processor.

    Nothing where that is lost: an address of 0 leads nowhere.
    """
    for one in find(config, kind) if kind == MSI else ():
        wide = bool(_control(config, one.offset) & _WIDE)
        address = range(one.offset + 4, one.offset + (0x0C if wide else 0x08))
        if any(config[address.start : address.stop]):
            yield from (*address, address.stop, address.stop + 1)


def _control(config: bytes, at: int) -> int:
    return int.from_bytes(config[at + _CONTROL : at + _CONTROL + 2], "little")


def open_until(function: OfFunction) -> int:
    """Until when somebody certainly had the function open through VFIO: the last of its users did something then.

    0 of a function that nobody has open, or that its user opens himself.
    """
    reading, alias = function.whole, function.alias
    table, ends = reading.history.operations, [0]
    for number, actor in enumerate(reading.history.plan.actors):
        roles = {step.file.role for step in actor.steps if step.file and step.file.function == alias}
        opens = any(step.op is Op.OPEN_DEVICE for step in actor.steps)
        if opens or not any(role.startswith("vfio") for role in roles - _EVENTS - {_GROUP}):
            continue
        mine = table["end_ns"][table["actor"] == number]
        if len(mine):
            ends.append(int(mine.max() if mine.all() else reading.history.end_ns))
    return max(ends)

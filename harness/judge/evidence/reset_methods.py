"""Whether the kernel had any method to reset a function by, when somebody asked for a reset.

`reset_method` may be emptied, by a setting of the plan or by an actor, and some functions never had one.  The PCI core
then refuses before it asks for any lock, a first open through VFIO goes on without its reset, and remembers that.

Source: Linux drivers/pci/pci.c, `pci_reset_function()`, `pci_try_reset_function()`, `pci_reset_supported()`;
drivers/vfio/pci/vfio_pci_core.c, `vfio_pci_core_enable()`: `reset_works`, `vfio_pci_ioctl_reset()`.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Final

from harness.history.reading import Reading
from harness.model.operation import (
    ATTRIBUTE_WRITE,
    RESET_WITHOUT_METHOD,
    VFIO_CLOSE,
    VFIO_CLOSE_WITHOUT_METHOD,
    VFIO_FLR_BIT,
    VFIO_FLR_BIT_WITHOUT_METHOD,
    VFIO_OPEN,
    VFIO_OPEN_WITHOUT_METHOD,
    VFIO_RESET,
    VFIO_RESET_WITHOUT_METHOD,
    Operation,
    reset,
)
from harness.model.pci import ResetMethod

_ATTRIBUTE: Final = "reset_method"
_BY_NAME: Final = frozenset(map(reset, ResetMethod))
_OF_VFIO: Final = {
    VFIO_OPEN: VFIO_OPEN_WITHOUT_METHOD,
    VFIO_CLOSE: VFIO_CLOSE_WITHOUT_METHOD,
    VFIO_FLR_BIT: VFIO_FLR_BIT_WITHOUT_METHOD,
}


class ResetMethods:
    """What the kernel had to reset functions by in one history."""

    def __init__(self, reading: Reading) -> None:
        """Gather who changed it."""
        self._reading = reading
        self._first = {alias: self._at_first(alias) for alias in reading.history.plan.functions}
        self._changes: dict[str, list[tuple[int, int, bool]]] = {}
        for alias, change in self._written():
            own = self._changes.setdefault(alias, [])
            before = {own[-1][-1]} if own else self._first[alias]
            if before != {change[-1]}:  # what says the same again changes nothing
                own.append(change)

    def promised_as(self, operation: Operation, alias: str, begin: int, end: int, error: int) -> Operation:
        """The operation whose promises count: that without a method where there was none.

        Where nobody knows, because the attribute was being written meanwhile, the errno tells what was met.

        Args:
            operation: in the contract's words.
            alias: of the function.
            begin: of the call, nanoseconds.
            end: of the call, nanoseconds.
            error: its errno.
        """
        if operation == VFIO_RESET and _none(self._opened_with(alias, begin), error == errno.EINVAL):
            return VFIO_RESET_WITHOUT_METHOD
        if operation == VFIO_RESET or operation in _BY_NAME:
            lacks = _none(self._had(alias, begin, end), error == errno.ENOTTY)
            return RESET_WITHOUT_METHOD if lacks else operation
        if operation == VFIO_CLOSE:
            lacks = _none(self._opened_with(alias, begin), seen=False)
        else:
            lacks = operation in _OF_VFIO and _none(self._had(alias, begin, end), seen=False)
        return _OF_VFIO[operation] if lacks else operation

    def _had(self, alias: str, begin: int, end: int) -> frozenset[bool]:
        """Whether there was any method, as far as that is certain: one answer, or both."""
        changes = self._changes.get(alias, [])
        before = [frozenset((some,)) for _, done, some in changes if done <= begin]
        during = (some for asked, done, some in changes if done > begin and asked <= end)
        return (before[-1] if before else self._first[alias]).union(during)

    def _opened_with(self, alias: str, begin: int) -> frozenset[bool]:
        """The same when the function was opened through VFIO that is used then: by an actor, or before the stage."""
        table = self._reading.history.operations
        rows = self._reading.steps.of(alias, VFIO_OPEN)
        opened = rows[(table["begin_ns"][rows] < begin) & (table["error"][rows] == 0)]
        if not len(opened):
            return self._first[alias]
        last = table[int(opened[-1])]
        return self._had(alias, int(last["begin_ns"]), int(last["end_ns"]) or begin)

    def _at_first(self, alias: str) -> frozenset[bool]:
        """The same when the stage began; a record that names none does not say whether anybody looked."""
        settings = [
            one.value
            for one in self._reading.history.plan.settings
            if (one.function, one.attribute) == (alias, _ATTRIBUTE)
        ]
        if settings:
            return frozenset((bool(settings[-1].strip()),))
        record = self._reading.records.get(alias)
        named = record is None or record.reset_methods or len(self._reading.steps.of(alias, *_BY_NAME))
        performed = any(
            span.method is not None for span in self._reading.resets_of.get(self._number(alias), ())
        )
        return frozenset((True,) if named or performed else (True, False))

    def _number(self, alias: str) -> int:
        return self._reading.numbers.get(alias, -1)

    def _written(self) -> Iterator[tuple[str, tuple[int, int, bool]]]:
        """What actors wrote: begin and end of the write, and whether that left any method."""
        history, steps = self._reading.history, self._reading.steps
        for row in steps.rows(lambda step: step.means == ATTRIBUTE_WRITE).tolist():
            event, step = history.operations[row], steps.behind(row)
            if step.file is not None and step.file.role == _ATTRIBUTE and not event["error"]:
                end = int(event["end_ns"]) or history.end_ns
                yield step.file.function, (int(event["begin_ns"]), end, bool(step.value.strip()))


def _none(had: frozenset[bool], seen: bool) -> bool:  # noqa: FBT001  what the errno says
    return True not in had or (False in had and seen)

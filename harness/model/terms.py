"""The part of the contract that applies to one history."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from harness.model.operation import Operation
from harness.model.promise import Promise, WindowKind


@dataclass(frozen=True, slots=True, kw_only=True)
class VolatileField:
    """Bits of config space that may differ between two reads of a healthy function.

    Attributes:
        function: alias of the function, resolved from the platform.
        offset: in bytes from the start of config space.
        value: mask of the volatile bits, `width` bytes little-endian at `offset`.
        width: in bytes: 1, 2 or 4.
        source: why they may differ.
    """

    function: str
    offset: int
    width: int
    value: int
    source: str


class LogClass(enum.StrEnum):
    """What a line of the kernel log tells."""

    FAULT = "fault"
    """The kernel itself is broken: WARNING, BUG, Oops."""
    LOST = "lost"
    """The function does not answer any more."""
    RESET_FAILED = "reset-failed"
    """A reset did not bring the function back."""
    HUNG = "hung"
    """A task was blocked for longer than the kernel tolerates."""
    WARNING = "warning"
    """Worth reading, no breach."""
    INFO = "info"
    """Part of normal work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRule:
    """How to read one kind of line of the kernel log.

    Attributes:
        pattern: regular expression, searched for in the text of a line.
        kind: what such a line tells.
        meaning: half a sentence for people.
        source: who prints it.
    """

    pattern: str
    kind: LogClass
    meaning: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Promises and data of the contract, chosen for one kernel and for the functions of one history.

    Attributes:
        promises: for each alias, the entries that apply to its platform on this kernel.
        volatile: bits not to compare.
        unrestored: bits that no reset restores, so that a difference after a reset breaks no promise.
        log_rules: how to read the kernel log; the first rule that matches a line counts.
    """

    promises: dict[str, tuple[Promise, ...]]
    volatile: tuple[VolatileField, ...] = ()
    unrestored: tuple[VolatileField, ...] = ()
    log_rules: tuple[LogRule, ...] = ()

    def promise(self, function: str, operation: Operation, window: WindowKind) -> Promise | None:
        """The entry for one operation on `function` in one window; None when the contract is silent.

        Where no entry speaks of a window by name, that of the wider kind applies.
        """
        kind: WindowKind | None = window
        while kind is not None:
            for promise in self.promises.get(function, ()):
                if promise.operation == operation and promise.window is kind:
                    return promise
            kind = kind.wider
        return None

"""Config space with bits that do not count: the common ground of checkers that compare it."""

from __future__ import annotations

from collections.abc import Iterable

from harness.history.history import History
from harness.judge.steps import steps_of
from harness.model.operation import FLR_BIT, verb
from harness.model.terms import VolatileField


def counting(size: int, fields: Iterable[VolatileField], function: str) -> bytearray:
    """A mask of `size` bytes, set where bits of config space of `function` may be compared."""
    mask = bytearray(b"\xff" * size)
    for field in fields:
        if field.function == function:
            for number, bits in enumerate(field.value.to_bytes(field.width, "little")):
                if field.offset + number < size:
                    mask[field.offset + number] &= ~bits & 0xFF
    return mask


def written(history: History, function: str, baseline: bytes) -> dict[int, int]:
    """Bytes of config space that the plan's own writes changed: offset → when that first could have happened.

    Writes of the value that is there already change nothing.  A raw FLR is not listed: it changes everything.
    """
    steps = steps_of(history)
    since: dict[int, int] = {}
    for number, (_, step) in enumerate(steps.numbered):
        if verb(step.means) != "config-write" or step.means == FLR_BIT:
            continue
        if step.file is None or step.file.function != function:
            continue
        begins = history.operations["begin_ns"][steps.of_row == number]
        if not len(begins) or baseline[step.offset : step.offset + len(step.value)] == step.value:
            continue
        for offset in range(step.offset, step.offset + len(step.value)):
            since[offset] = min(since.get(offset, int(begins[0])), int(begins[0]))
    return since

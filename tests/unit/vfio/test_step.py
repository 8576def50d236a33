"""A refusal says at which step, of which function, with which errno, and what to do next where that is known."""

from __future__ import annotations

import errno
import os
import string

import pytest

from harness.errors import KernelRefusal
from harness.model.pci import Bdf
from harness.vfio.step import HINTS, Step, doing

_BDF = Bdf.parse("0000:01:00.0")


@pytest.mark.parametrize(("step", "number"), HINTS, ids=lambda value: getattr(value, "name", value))
def test_a_refusal_of_known_cause_has_a_hint(step: Step, number: int) -> None:
    with pytest.raises(KernelRefusal) as refused, doing(step, _BDF):
        raise OSError(number, os.strerror(number))
    assert refused.value.errno == number
    assert errno.errorcode[number] in str(refused.value)
    assert str(refused.value).endswith(HINTS[step, number])


@pytest.mark.parametrize("step", Step)
def test_every_step_names_its_function_and_leaves_no_brace(step: Step) -> None:
    with pytest.raises(KernelRefusal) as refused, doing(step, _BDF):
        raise OSError(errno.EXDEV, "unheard of")
    assert refused.value.hint == ""
    holes = [name for _, name, _, _ in string.Formatter().parse(step.value) if name is not None]
    assert (str(_BDF) in str(refused.value)) == bool(holes)
    assert "{" not in str(refused.value)


def test_an_error_that_is_not_the_kernels_passes() -> None:
    with pytest.raises(ValueError, match="mine"), doing(Step.RESET, _BDF):
        raise ValueError("mine")

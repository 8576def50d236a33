"""The built-in self-test of the programmable endpoint: in time and passed, failed, too slow."""

from __future__ import annotations

import pytest

from harness.errors import UsageError
from harness.lab.models.endpoint import endpoint
from harness.lab.models.interface import CONFIG_REGION, Told
from harness.model.fault import Fault, Misbehaviour
from harness.model.served import Happened
from harness.model.units import MS

BIST, COMMAND = 0x0F, 0x04


class Watched:
    """An endpoint whose time passes when a test says so, and whose self-test was started."""

    def __init__(self, *faults: Fault) -> None:
        self.now = 1_000_000
        self.told: list[Told] = []
        self.function = endpoint(lambda: self.now)
        self.function.tell = self.told.append
        self.function.load(faults)
        self.function.write(CONFIG_REGION, COMMAND, b"\x06\x00")
        self.function.write(CONFIG_REGION, BIST, b"\x40")

    def after(self, ms: int) -> int:
        self.now += ms * MS
        self.function.run_due()
        return self.function.read(CONFIG_REGION, BIST, 1)[0]

    def count(self, what: Happened) -> int:
        return sum(one.what is what for one in self.told)


def fault(what: Misbehaviour, value: int | None = None) -> Fault:
    return Fault(what=what, value=value)


def test_one_that_is_passed_resets_the_function_at_its_end() -> None:
    watched = Watched()
    assert watched.after(99) == 0xFF
    assert watched.after(1) == 0x80
    assert watched.function.read(CONFIG_REGION, COMMAND, 2) == bytes(2)
    assert watched.count(Happened.SELF_TESTED) == 1


@pytest.mark.parametrize(("value", "code"), [(None, 1), (3, 3), (15, 15)])
def test_one_that_fails_says_with_what(value: int | None, code: int) -> None:
    watched = Watched(fault(Misbehaviour.SELF_TEST_FAILS, value))
    assert watched.after(99) == 0xFF
    assert watched.count(Happened.FAULT_MET) == 0
    assert watched.after(1) == 0x80 | code
    assert watched.count(Happened.FAULT_MET) == 1


@pytest.mark.parametrize(("value", "takes"), [(None, 3000), (500, 500)])
def test_one_that_is_slow_answers_nothing_until_then(value: int | None, takes: int) -> None:
    watched = Watched(fault(Misbehaviour.SELF_TEST_SLOW, value))
    assert watched.count(Happened.FAULT_MET) == 1
    assert watched.after(takes - 1) == 0xFF
    assert watched.after(1) == 0x80


@pytest.mark.parametrize("code", [0, 16, -1])
def test_a_completion_code_has_four_bits_and_zero_is_no_failure(code: int) -> None:
    with pytest.raises(UsageError, match="self-test-fails"):
        fault(Misbehaviour.SELF_TEST_FAILS, code)

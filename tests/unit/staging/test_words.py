"""Whoever mistypes a word learns it from the verb, before there is a target to ask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, get_args

import pytest

from harness.errors import UsageError
from harness.model.pci import AccessPath, AccessWord, MethodWord, ResetMethod
from harness.staging.adapter import Adapter, Disk
from harness.staging.faulty import Faulty
from harness.staging.function import Function
from harness.staging.locks import Locks
from harness.staging.ownership import Ownership
from harness.staging.vfio_user import VfioUser


def asked() -> NoReturn:
    raise AssertionError("a target was asked, so a guest was made for a word that is none")


DUT: Any = Function("igb0", asked)  # of any type: the mistakes are those that the type checker finds, too
USER: Any = VfioUser(DUT)
LOCKS: Any = Locks(DUT)
FAULTY: Any = Faulty(DUT)
OWNER: Any = Ownership(DUT)
DISK: Any = Disk(DUT)

MISTAKES: list[tuple[Callable[[], object], str]] = [
    # methods
    (lambda: DUT.resets("flrr"), "reset method 'flrr'"),
    (lambda: DUT.resets_with_oracle("FLR"), "reset method 'FLR'"),
    (lambda: DUT.writes_reset_method("default"), "reset method 'default'"),
    (lambda: FAULTY.fails("crs", after="flrr"), "reset method 'flrr'"),
    (lambda: FAULTY.fails("crs", after="acpi"), "no model knows that reset"),
    # windows
    (lambda: LOCKS.holds("cfg", lasting="20ms"), "holding 'cfg'"),
    (lambda: LOCKS.holds("config", lasting="20"), "duration '20'"),
    (lambda: LOCKS.holds("config", lasting=20), "duration 20"),
    # ways, widths, offsets, bars
    (lambda: DUT.reads("sysf"), "access path 'sysf'"),
    (lambda: DUT.reads(width=3), "A width is 1, 2 or 4"),
    (lambda: DUT.reads(width="4"), "A width is 1, 2 or 4"),
    (lambda: DUT.reads(at="50ms"), "config access at '50ms'"),
    (lambda: DUT.reads(at=0x1000), "outside the 4096 bytes"),
    (lambda: DUT.reads(at=0x100, every="1 minute"), "duration '1 minute'"),
    (lambda: DUT.reads_without_privilege(width=8), "A width is 1, 2 or 4"),
    (lambda: DUT.reads_with_a_kept_descriptor(at=True), "config access at True"),
    (lambda: DUT.writes("sysfs", at=0, value=b"123"), "A width is 1, 2 or 4"),
    (lambda: DUT.writes("sysfs", at=0, value=7), "writing 7: no bytes"),
    (lambda: DUT.loads_register(6), "BARs are 0 to 5"),
    (lambda: DUT.loads_register(width=3), "A width is 1, 2, 4 or 8"),
    (lambda: DUT.stores_register(1 << 32, at=0), "no number of that width"),
    (lambda: DUT.stores_register(-1, at=0), "no number of that width"),
    (lambda: DUT.stores_register(1, at="0x10"), "no offset in a BAR"),
    (lambda: USER.reads(width=8), "A width is 1, 2 or 4"),
    (lambda: USER.writes(value="16"), "writing '16': no bytes"),
    (lambda: USER.reads_register(7), "BARs are 0 to 5"),
    (lambda: USER.stores_register(b"123"), "A width is 1, 2, 4 or 8"),
    (lambda: USER.stores_register(4), "writing 4: no bytes"),
    (lambda: USER.asks_for_interrupts("msi-x", trigger=0), "Choose one of: intx, msi, msix"),
    # attributes
    (lambda: DUT.reads_attribute("vendr"), "attribute 'vendr'"),
    # times and numbers
    (lambda: DUT.resets("flr", at=50), 'Write a number and a unit: "50ms"'),
    (lambda: DUT.resets("flr", at=0.05), 'Write a number and a unit: "50ms"'),
    (lambda: DUT.resets("flr", every="often"), "duration 'often'"),
    (lambda: DUT.resets("flr", times=0), "0 rounds on igb0"),
    (lambda: DUT.resets("flr", actors="2"), "'2' actors on igb0"),
    (lambda: DUT.resets_with_oracle("flr", holding=50), "duration 50"),
    (lambda: DUT.resets_with_oracle("flr", times=-1), "-1 rounds"),
    (lambda: DUT.sets_flr_bit(at="soon"), "duration 'soon'"),
    (lambda: DUT.tests_itself(waiting=300), "duration 300"),
    (lambda: USER.resets_with_oracle(at="soon"), "duration 'soon'"),
    (lambda: USER.hot_resets_with_oracle(times=0), "0 rounds"),
    (lambda: USER.sets_flr_bit(holding="1"), "duration '1'"),
    (lambda: OWNER.unbinds(at=50), "duration 50"),
    (lambda: OWNER.makes_vfs(0), "0 virtual functions"),
    (lambda: Adapter(DUT).resets(at="5"), "duration '5'"),
    (lambda: DISK.reads(every=20), "duration 20"),
]


@pytest.mark.parametrize(("mistake", "said"), MISTAKES, ids=[said for _, said in MISTAKES])
def test_a_mistyped_word_is_told_before_a_target_is_asked(mistake: Callable[[], object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        mistake()


@pytest.mark.parametrize(
    "verb",
    [
        lambda: DUT.reads(),
        lambda: DUT.reads("proc", at=0xFC),
        lambda: DUT.reads_attribute(),
        lambda: USER.reads(),
        lambda: USER.resets(),
        lambda: LOCKS.holds("config", lasting="20ms"),
    ],
)
def test_what_every_function_can_do_is_asked_of_none(verb: Callable[[], object]) -> None:
    assert verb()


@pytest.mark.parametrize("verb", [lambda: DUT.resets("flr"), lambda: DUT.reads(at=0x100)])
def test_what_a_function_must_be_able_to_do_is_asked(verb: Callable[[], object]) -> None:
    with pytest.raises(AssertionError, match="a target was asked"):
        verb()


@pytest.mark.parametrize(("words", "names"), [(MethodWord, ResetMethod), (AccessWord, AccessPath)])
def test_the_type_checker_knows_the_words_that_we_know(words: object, names: type[ResetMethod]) -> None:
    literal = next(one for one in get_args(words) if get_args(one))
    assert set(get_args(literal)) == set(map(str, names))

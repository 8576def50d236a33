"""same_function: a function that was found again as it was, as another one, or not at all."""

from __future__ import annotations

import pytest

from harness.judge.evidence import Evidence
from harness.judge.questions.same_function import same_function
from harness.model.operation import REMOVE, RESCAN
from harness.model.verdict import Blame, Finding, Verdict
from tests.unit.judge.build import Stage, terms

PM, MSI, EXPRESS, FIRST, SECOND = 0x40, 0x48, 0x58, 0x100, 0x140


def space(**changes: int) -> bytes:
    """PM, MSI and PCI Express, one extended capability; keys are `x40` for a dword at 0x40."""
    config = bytearray(4096)
    words = {
        0x00: 0x10F0_1AF4,
        0x04: 0x0010_0006,
        0x08: 0xFF00_0001,
        0x2C: 0x10F0_1AF4,
        0x34: PM,
        PM: 0x0003 << 16 | MSI << 8 | 0x01,
        MSI: 0x0080 << 16 | EXPRESS << 8 | 0x05,
        EXPRESS: 0x0002 << 16 | 0x10,
        EXPRESS + 4: 0x1000_8000,
        FIRST: 0x0001_0001,
        **{int(where[1:], 16): word for where, word in changes.items()},
    }
    for at, word in words.items():
        config[at : at + 4] = word.to_bytes(4, "little")
    return bytes(config)


def judged(
    after: bytes, *, does: tuple[str, ...] = (REMOVE, RESCAN), error: int = 0, end: str = "done"
) -> tuple[Finding, ...]:
    """What is said of a function that is like that at the end."""
    stage = Stage(before=space(), after=after)
    for number, means in enumerate(does):
        actor = stage.does(f"owner-{number}", means, "remove")
        stage.op(actor, 1_000 * number, 1_000 * number + 500, error=error)
        stage.ends(actor, end=end)
    history = stage.history()
    return same_function(Evidence(history), terms(history))


def test_one_that_is_as_it_was() -> None:
    """COMMAND, a base address, and what software writes into capabilities may be anything."""
    (good,) = judged(space(x4=0x0010_0000, x10=0xFE00_0000, x48=0x0081 << 16 | EXPRESS << 8 | 0x05))
    assert (good.verdict, good.met) == (Verdict.PASS, 1)
    assert "4 capabilities" in good.claim


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"x40": 0x0003 << 16 | MSI << 8 | 0x09}, "at 0x40 capability 0x1 became capability 0x9"),
        ({"x100": 0}, "at 0x100 extended capability 0x1 became no capability"),
        ({"x58": 0x0001 << 16 | 0x10}, "pcie capability at 0x5a 0x2 → 0x1"),
        ({"x5c": 0x0000_8000}, "pcie capability at 0x5c 0x10008000 → 0x8000"),
        ({"x40": 0x0002 << 16 | MSI << 8 | 0x01}, "pm capability at 0x42"),
        ({"x48": 0x0180 << 16 | EXPRESS << 8 | 0x05}, "msi capability at 0x4a"),
        ({"x8": 0xFF00_0002}, "0x008 010000ff → 020000ff"),
        ({"x2c": 0x10F0_BEEF}, "0x02c"),
        ({"x100": 0x1401_0003, "x140": 0x1001_0003}, "loop, 0x100 → 0x140 → 0x100"),
    ],
)
def test_one_that_is_another_function_now(changes: dict[str, int], said: str) -> None:
    (bad,) = judged(space(**changes))
    assert (bad.verdict, bad.blame) == (Verdict.FAIL, Blame.MISMATCH)
    assert said in bad.claim


@pytest.mark.parametrize(
    ("after", "said"),
    [(b"", "it is not there"), (b"\xff" * 4096, "ffffffff"), (space(x0=0xFFFF_0001), "ffff0001")],
)
def test_one_that_is_not_found_again(after: bytes, said: str) -> None:
    (bad,) = judged(after)
    assert (bad.verdict, bad.blame) == (Verdict.FAIL, Blame.DEVICE_LOST)
    assert said in bad.claim


OTHER = space(x8=0xFF00_0002)


@pytest.mark.parametrize("does", [(RESCAN,), (REMOVE,), (REMOVE, RESCAN, REMOVE)])
def test_without_having_been_found_again_nothing_is_said(does: tuple[str, ...]) -> None:
    assert judged(OTHER, does=does) == ()


def test_a_refusal_or_an_actor_that_is_stuck_is_another_checkers_business() -> None:
    assert judged(OTHER, error=5) == ()
    assert judged(OTHER, end="abandoned") == ()

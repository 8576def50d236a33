"""What a command is, as an author writes it."""

from __future__ import annotations

from typing import Any

import pytest

from harness.errors import UsageError
from harness.model.command import LONGEST, Command, commands
from harness.model.units import SECOND, Ns


def test_words_are_a_command_and_a_command_says_more() -> None:
    patient = Command(("sleep", "20"), within_ns=Ns(30 * SECOND), may_fail=True)
    assert commands([("modprobe", "nvme"), ["true"], patient]) == (
        Command(("modprobe", "nvme")),
        Command(("true",)),
        patient,
    )
    assert commands([]) == commands(()) == ()


@pytest.mark.parametrize(
    "wrong",
    [
        "modprobe nvme",
        ["modprobe nvme"],
        ("modprobe", "nvme"),
        Command(("true",)),
        [()],
        [("",)],
        [("a", 5)],
        [("a", b"b")],
        [("a", "b\0c")],
        [5],
        [None],
        [("x",) * 300],
    ],
    ids=repr,
)
def test_what_is_no_command_is_refused_before_anything_is_staged(wrong: Any) -> None:
    with pytest.raises(UsageError, match="command"):
        commands(wrong)


@pytest.mark.parametrize("within", [0, -1, LONGEST + 1])
def test_a_time_that_cannot_be_given(within: int) -> None:
    with pytest.raises(UsageError, match="at most 600 s are given"):
        Command(("true",), within_ns=Ns(within))


def test_a_command_is_shown_as_it_could_be_typed() -> None:
    assert str(Command(("sh", "-c", "echo 1 > $x", ""))) == "sh -c 'echo 1 > $x' ''"

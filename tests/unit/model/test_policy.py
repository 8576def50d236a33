"""Fail gracefully or try again: what each class of operation may do, and that nothing else may."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from harness.errors import (
    AgentLost,
    ClockError,
    GuestError,
    HarnessError,
    HistoryError,
    KernelRefusal,
    LabError,
    SetupError,
    StagingError,
    UsageError,
)
from harness.model import operation, policy
from harness.model.operation import Operation, config_read, config_write, port_lock, reset, verb
from harness.model.pci import AccessPath, ResetMethod
from harness.model.plan import Retries
from harness.model.policy import CONNECT, PLUGGED, STARVED, WILD_CLOCK, Policy, policy_of
from harness.model.units import MS, SECOND, US, Ns
from harness.model.verdict import Blame

WORDS = [
    Operation(value)
    for name, value in vars(operation).items()
    if name.isupper() and isinstance(value, str) and name != "LOCK_PORT"
]
MADE = [
    *(config_read(path) for path in AccessPath),
    *(config_write(path) for path in AccessPath),
    *(reset(method) for method in ResetMethod),
]
TRIED = {
    operation.VFIO_RESET: {errno.EAGAIN},
    operation.HOT_RESET: {errno.EAGAIN, errno.EBUSY},
    operation.VFIO_OPEN: {errno.EAGAIN, errno.EBUSY},
    operation.SUBORDINATE_RESET: {errno.EAGAIN},
    operation.TRY_CONFIG: {errno.EBUSY},
    operation.TAKE: {errno.EAGAIN},
}
TRIES = [word for word in TRIED if word != operation.TAKE]
"""Those that try for a lock."""
EVERY_ERRNO = (*errno.errorcode, 0, -7, -1, 512)
ALL = {name: value for name, value in vars(policy).items() if isinstance(value, Policy)}
SOURCE = "s"


def made(**fields: Any) -> Policy:
    return Policy(**{"reason": "r", "source": SOURCE, **fields})


@pytest.mark.parametrize("word", [*WORDS, *MADE])
def test_every_word_has_a_policy_and_only_a_refusal_is_tried_again(word: Operation) -> None:
    found = policy_of(word)
    assert {number for number in EVERY_ERRNO if found.may_retry(number)} == TRIED.get(word, set())
    assert (found.retries_plan() is not None) == (word in TRIED)


def test_the_words_were_found() -> None:
    assert len(WORDS) > 40
    assert set(TRIED) <= set(WORDS)


def test_a_reset_through_sysfs_has_begun_whatever_it_answers() -> None:
    for method in ResetMethod:
        assert policy_of(reset(method)) is policy.RESET_BEGAN
    assert "ENOTTY" in policy.RESET_BEGAN.reason


def test_a_raw_reset_bit_is_no_write_like_others() -> None:
    assert policy_of(operation.FLR_BIT) is policy.FLR_BEGAN
    assert policy_of(operation.VFIO_FLR_BIT) is policy.FLR_BEGAN
    assert policy_of(operation.VFIO_WRITE) is policy.WRITE_ONCE


@pytest.mark.parametrize("word", [Operation("surprise/vfio"), port_lock(operation.VFIO_RESET), Operation("")])
def test_what_nobody_has_thought_about_has_no_policy(word: Operation) -> None:
    with pytest.raises(UsageError, match="no operation of that name is known"):
        policy_of(word)


def test_no_entry_speaks_of_a_verb_that_does_not_exist() -> None:
    assert set(policy._BY_VERB) <= {verb(word) for word in [*WORDS, *MADE]}


@pytest.mark.parametrize("name", ALL)
def test_each_gives_a_reason_and_a_source(name: str) -> None:
    assert len(ALL[name].reason) > 20
    assert len(ALL[name].source) > 5


@pytest.mark.parametrize("word", TRIES)
def test_an_actor_tries_again_as_the_policy_says(word: Operation) -> None:
    found = policy_of(word)
    assert found.retries_plan() == Retries(
        errnos=found.errnos, attempts=48, first_ns=Ns(MS), longest_ns=Ns(64 * MS), patience_ns=Ns(2 * SECOND)
    )


def test_an_interrupt_is_waited_for_a_second_and_looked_for_every_other_millisecond() -> None:
    found = policy_of(operation.TAKE)
    pauses = [found.pause_ns(attempt) for attempt in range(1, found.attempts)]
    assert [pause // (200 * US) for pause in pauses[:6]] == [1, 2, 4, 8, 10, 10]
    assert sum(pauses) > found.patience_ns == SECOND


@pytest.mark.parametrize("word", TRIES)
def test_the_pauses_double_up_to_the_longest_and_fill_the_patience(word: Operation) -> None:
    found = policy_of(word)
    pauses = [found.pause_ns(attempt) for attempt in range(1, found.attempts)]
    assert [pause // MS for pause in pauses[:9]] == [1, 2, 4, 8, 16, 32, 64, 64, 64]
    assert sum(pauses) > found.patience_ns  # the patience decides, not the number


def test_a_pause_after_very_many_attempts_is_still_the_longest() -> None:
    found = made(attempts=2, first_ns=Ns(1), longest_ns=Ns(SECOND), patience_ns=Ns(1), errnos=(11,))
    assert found.pause_ns(10_000) == SECOND


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"attempts": 0}, "0 attempts"),
        ({"errnos": (11,)}, "in one attempt"),
        ({"errors": (ClockError,)}, "in one attempt"),
        ({"attempts": 2, "patience_ns": Ns(1), "errnos": tuple(range(1, 10))}, "at most 8"),
        ({"attempts": 2, "patience_ns": Ns(1), "errnos": (-7,)}, "all above 0"),
        ({"attempts": 2, "patience_ns": Ns(1), "errors": (GuestError,)}, "a fault may not be tried again"),
        ({"attempts": 2, "patience_ns": Ns(1), "errors": (AgentLost,)}, "a fault may not be tried again"),
        ({"attempts": 2, "patience_ns": Ns(1), "first_ns": Ns(2)}, "not between 0 and the longest"),
        ({"attempts": 2, "patience_ns": Ns(-1)}, "patience of -1 ns"),
        ({"attempts": 2}, "patience of 0 ns"),
    ],
)
def test_a_policy_that_contradicts_itself_cannot_be_made(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        made(**fields)


@pytest.mark.parametrize(
    "fault",
    [
        UsageError("x"),
        GuestError("x"),
        AgentLost("x"),
        StagingError("x"),
        HistoryError("x"),
        HarnessError("x"),
        KernelRefusal("x", errno=errno.EAGAIN),
        OSError(errno.EAGAIN, "x"),
        ValueError("x"),
        KeyboardInterrupt(),
    ],
)
def test_a_wide_policy_forgives_no_fault(fault: BaseException) -> None:
    wide = made(errors=(LabError,), attempts=2, patience_ns=Ns(1))
    assert wide.forgives(ClockError("wild"))
    assert wide.forgives(SetupError("no network"))
    assert not wide.forgives(fault)


def test_of_a_refusal_the_errno_decides() -> None:
    found = policy_of(operation.VFIO_OPEN)
    assert found.forgives(KernelRefusal("opening", errno=errno.EAGAIN))
    assert found.forgives(OSError(errno.EBUSY, "busy"))
    assert not found.forgives(KernelRefusal("opening", errno=errno.ENODEV))
    assert not found.forgives(OSError("no errno"))


def test_the_lab_is_tried_once_more_and_no_verdict_is() -> None:
    assert (WILD_CLOCK.attempts, WILD_CLOCK.errors) == (2, (ClockError,))
    assert (STARVED.attempts, STARVED.errors, STARVED.errnos) == (3, (), ())
    assert CONNECT.forgives(FileNotFoundError(errno.ENOENT, "x"))
    assert CONNECT.forgives(ConnectionRefusedError(errno.ECONNREFUSED, "x"))
    assert not CONNECT.forgives(PermissionError(errno.EACCES, "x"))
    assert PLUGGED.errors == ()


def _kinds(root: type[HarnessError]) -> set[str]:
    return {root.kind}.union(*(_kinds(child) for child in root.__subclasses__()))


def test_whole_tests_run_again_after_errors_that_exist_and_only_those_of_the_lab() -> None:
    assert set(policy.INFRASTRUCTURE) <= _kinds(HarnessError)
    assert all(kind.startswith("hil.infra.") and reason for kind, reason in policy.INFRASTRUCTURE.items())
    final = {
        "hil.usage",
        "hil.contract",
        "hil.harness",
        "hil.history",
        "hil.infra.setup",
        "hil.infra.staging",
    }
    assert not final & set(policy.INFRASTRUCTURE)
    verdicts = {str(blame) for blame in Blame}  # no verdict is asked for twice, nor is missing evidence
    assert not verdicts & set(policy.INFRASTRUCTURE)

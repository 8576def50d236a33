"""What is promised of a reset while the kernel has no method for it."""

from __future__ import annotations

import errno
from dataclasses import replace
from random import Random

import pytest

from harness.history.history import History
from harness.judge import judge
from harness.judge.evidence import Evidence
from harness.judge.questions.call_outcome import call_outcome
from harness.judge.questions.call_time import call_time
from harness.judge.questions.reset_happened import reset_happened
from harness.model import operation as words
from harness.model.operation import Operation
from harness.model.plan import File, Op, Setting, Step
from harness.model.verdict import Verdict
from tests.unit.judge.build import ALIAS, CONTRACT, FLR, worst
from tests.unit.judge.witness import CallStage

EMPTY, SOME = b"\n", b"flr"
SETTING = Setting(function=ALIAS, attribute="reset_method", value="")
REFUSED = {
    words.VFIO_RESET: "reset/vfio-without-method@none",
    FLR: "reset/without-method@none",
}
QUIET = (words.VFIO_FLR_BIT, words.VFIO_OPEN, words.VFIO_CLOSE)


def verdict(history: History) -> Verdict:
    return judge(history, CONTRACT.terms_of(history)).verdict


def outcome(history: History) -> tuple[Verdict | None, str]:
    found = (*call_outcome(Evidence(history), CONTRACT.terms_of(history)),)
    return worst(found), found[-1].promise


def stage() -> CallStage:
    made = CallStage()
    made.heartbeat()
    return made


def writes(made: CallStage, value: bytes, begin: float, end: float, *, error: int = 0) -> None:
    """An actor writes `reset_method`."""
    file = File(function=ALIAS, role="reset_method")
    writer = made.actor(
        f"writer-{begin}", Step(op=Op.WRITE, means=words.ATTRIBUTE_WRITE, file=file, value=value)
    )
    made.op(writer, begin, end, error=error)


def emptied(history: History, *settings: Setting) -> History:
    return replace(history, plan=replace(history.plan, settings=settings or (SETTING,)))


@pytest.mark.parametrize(
    ("means", "error", "expected"),
    [
        (words.VFIO_RESET, errno.EINVAL, Verdict.PASS),
        (words.VFIO_RESET, errno.ENOTTY, Verdict.FAIL),
        (words.VFIO_RESET, 0, Verdict.FAIL),
        (FLR, errno.ENOTTY, Verdict.PASS),
        (FLR, errno.EINVAL, Verdict.FAIL),
        (FLR, 0, Verdict.FAIL),
    ],
)
def test_without_a_method_vfio_says_einval_and_sysfs_says_enotty(
    means: Operation, error: int, expected: Verdict
) -> None:
    made = stage()
    made.called(made.caller(means), 100_000, 100_300, error=error)
    assert outcome(emptied(made.history())) == (expected, REFUSED[means])
    assert verdict(emptied(made.history())) is expected
    assert verdict(made.history()) is Verdict.FAIL, "with methods neither is promised"
    again = (SETTING, replace(SETTING, value="flr"))
    assert verdict(emptied(made.history(), *again)) is Verdict.FAIL, "the last setting counts"


@pytest.mark.parametrize("lost", [0, 1])
def test_it_asks_for_no_lock_so_that_no_window_excuses_another_answer(lost: int) -> None:
    made = stage()
    made.holds(90_000, 300_000, tid=900)
    made.called(made.caller(words.VFIO_RESET), 100_000, 100_300, error=errno.EAGAIN)
    history = replace(emptied(made.history()), lost_kernel_events=lost)
    assert outcome(history)[0] is Verdict.FAIL


def test_what_resets_nothing_and_says_nothing_is_right_without_a_method_and_wrong_with_one() -> None:
    for means in QUIET:
        made = stage()
        made.called(made.caller(means), 100_000, 100_900)
        assert verdict(emptied(made.history())) is Verdict.PASS, means
        assert (
            worst(reset_happened(Evidence(made.history()), CONTRACT.terms_of(made.history()))) is Verdict.FAIL
        )


def test_a_last_close_without_a_method_may_reset_the_bus() -> None:
    made = stage()
    closer = made.caller(words.VFIO_CLOSE)
    made.called(closer, 100_000, 250_000)
    made.performs(101_000, 140_000, tid=100 + closer, by="pci_reset_bus")
    assert verdict(emptied(made.history())) is Verdict.PASS


@pytest.mark.parametrize(
    ("opened", "error", "expected"),
    [
        (None, errno.EINVAL, Verdict.FAIL),  # it was open before, and its reset had worked
        (None, errno.ENOTTY, Verdict.PASS),
        (60_000.0, errno.EINVAL, Verdict.PASS),
        (60_000.0, errno.ENOTTY, Verdict.FAIL),
    ],
)
def test_vfio_remembers_what_it_had_when_the_function_was_opened(
    opened: float | None, error: int, expected: Verdict
) -> None:
    made = stage()
    writes(made, EMPTY, 50_000, 50_100)
    if opened is not None:
        made.called(made.caller(words.VFIO_OPEN), opened, opened + 500)
    made.called(made.caller(words.VFIO_RESET), 100_000, 100_300, error=error)
    assert outcome(made.history())[0] is expected


def test_while_the_attribute_is_written_the_errno_tells_what_was_met() -> None:
    for error, expected in ((errno.ENOTTY, Verdict.PASS), (errno.EINVAL, Verdict.FAIL)):
        made = stage()
        writes(made, EMPTY, 100_100, 100_200)
        made.called(made.caller(FLR), 100_000, 100_300, error=error)
        assert outcome(made.history())[0] is expected
    made = stage()
    writes(made, EMPTY, 100_100, 100_200)
    resetter = made.resetter()
    made.reset(resetter, 100_150)
    assert outcome(made.history())[0] is Verdict.PASS


def test_a_function_of_which_no_method_is_recorded_may_have_none() -> None:
    for error, expected in ((errno.EINVAL, Verdict.PASS), (errno.EIO, Verdict.FAIL)):
        made = stage()
        made.called(made.caller(words.VFIO_RESET), 100_000, 100_300, error=error)
        history = made.history()
        (function,) = history.functions
        bare = replace(history, functions=(replace(function, reset_methods=()),))
        assert outcome(bare)[0] is expected


def test_the_contract_may_be_silent() -> None:
    made = stage()
    made.holds(90_000, 300_000, tid=900)
    made.called(made.caller(words.VFIO_RESET), 100_000, 100_300, error=errno.EINVAL)
    history = emptied(made.history())
    silent = replace(CONTRACT, promises=tuple(p for p in CONTRACT.promises if "without" not in p.operation))
    found = call_outcome(Evidence(history), silent.terms_of(history))
    assert worst(found) is Verdict.UNKNOWN


@pytest.mark.parametrize("seed", range(100))
def test_the_last_write_before_a_reset_decides(seed: int) -> None:
    """Writes and resets one after another, against a twin that keeps one bit."""
    random, made, has = Random(seed), stage(), True  # noqa: S311
    resetter = made.resetter()
    now, expected = 1_000.0, Verdict.PASS
    for _ in range(random.randint(1, 8)):
        if random.random() < 0.5:
            wanted, error = random.random() < 0.5, random.choice((0, 0, 0, errno.EINVAL))
            writes(made, SOME if wanted else EMPTY, now, now + 50, error=error)
            has = has if error else wanted
            now += 100
        elif random.random() < 0.5:
            now = made.reset(resetter, now) + 100
            expected = expected if has else Verdict.FAIL
        else:
            made.called(resetter, now, now + 300, error=errno.ENOTTY)
            expected = Verdict.FAIL if has else expected
            now += 400
    history = made.history()
    found = call_outcome(Evidence(history), CONTRACT.terms_of(history))
    assert max([Verdict.PASS, *(finding.verdict for finding in found)]) is expected


def test_a_method_may_be_written_into_what_was_empty() -> None:
    made = stage()
    writes(made, SOME, 50_000, 50_100)
    resetter = made.resetter()
    made.called(resetter, 20_000, 20_300, error=errno.ENOTTY)
    made.reset(resetter, 100_000)
    history = emptied(made.history())
    assert outcome(history)[0] is Verdict.PASS
    assert verdict(history) is Verdict.PASS


@pytest.mark.parametrize(("took", "expected"), [(300, Verdict.PASS), (3_000_000, Verdict.FAIL)])
@pytest.mark.parametrize("means", [words.VFIO_OPEN, words.VFIO_FLR_BIT])
def test_what_resets_nothing_is_bounded_from_call_to_return(
    means: Operation, took: float, expected: Verdict
) -> None:
    made = CallStage()
    made.heartbeat(until_us=4e6)
    made.called(made.caller(means), 100_000, 100_000 + took)
    history = emptied(made.history())
    assert worst(call_time(Evidence(history), CONTRACT.terms_of(history))) is expected

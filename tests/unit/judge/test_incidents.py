"""What the host does to functions, told from what others do: removal, recovery, stalls, death."""

from __future__ import annotations

import errno
from dataclasses import replace

import numpy as np
import pytest

from harness.history.history import History
from harness.judge import judge
from harness.judge.evidence import Evidence
from harness.judge.questions.access_outcome import access_outcome
from harness.judge.questions.config_restored import config_restored
from harness.judge.questions.kernel_log import kernel_log
from harness.judge.questions.recovered import recovered
from harness.judge.questions.register_values import register_values
from harness.judge.questions.removed import removed
from harness.judge.questions.same_function import same_function
from harness.judge.questions.values_sane import values_sane
from harness.model.fault import Fault, IncidentKind, Misbehaviour, PlannedFault
from harness.model.operation import (
    ATTRIBUTE_WRITE,
    BAR_READ,
    BIND,
    ENABLE_VFS,
    FLR_BIT,
    HOST_RESET,
    OVERRIDE,
    REMOVE,
    RESCAN,
    UNBIND,
    VFIO_OPEN,
    VFIO_READ,
    VFIO_RESET,
    Operation,
    after_removal,
)
from harness.model.plan import File, Op, Step
from harness.model.served import Happened
from harness.model.terms import Terms
from harness.model.units import MS
from harness.model.verdict import Blame, Finding, Verdict
from tests.unit.judge.build import ALIAS, CONTRACT, FLR, PM, READ, WRITE, at, worst
from tests.unit.judge.struck import (
    BEGUN,
    CORRECTED,
    FATAL,
    GONE,
    LINK_RESET,
    NO_CALLBACK,
    NOT_RECOVERED,
    PORT,
    RECOVERED,
    Struck,
    killed,
    reported,
    stalled,
    unplugged,
)


def terms(history: History) -> Terms:
    return CONTRACT.terms_of(history)


def decisive(history: History) -> Finding:
    judgement = judge(history, terms(history))
    assert judgement.decisive is not None
    return judgement.decisive


# incidents


def test_an_incident_lasts_from_the_hosts_first_row_to_its_last_by_its_clock() -> None:
    history = replace(killed().history(), served_error_ns=5_000)
    (one,) = Evidence(history).incidents
    assert one.incident.kind is IncidentKind.SERVER_KILLED
    assert (one.begin_ns, one.end_ns) == (at(BEGUN) - 5_000, at(BEGUN + 1_000) + 5_000)


def test_an_incident_that_did_not_begin_is_none_and_one_without_end_lasts_to_the_end() -> None:
    history = killed().history()
    assert Evidence(replace(history, served=history.served[:0])).incidents == ()
    (one,) = Evidence(replace(history, served=history.served[:1])).incidents
    assert one.end_ns == history.end_ns


def test_only_uevents_of_the_function_after_the_incident_count() -> None:
    made = unplugged()
    made.uevents = [(BEGUN - 1, "remove"), (GONE, "remove"), (GONE - 1, "add"), (GONE + 5, "add")]
    (one,) = Evidence(made.history()).removals
    assert (one.gone_ns, one.back_ns) == (at(GONE), at(GONE + 5))
    history = made.history()
    other = tuple(replace(event, path=event.path[:-1] + "1") for event in history.uevents)
    (one,) = Evidence(replace(history, uevents=other)).removals
    assert (one.gone_ns, one.back_ns) == (None, None)


# removal


def test_a_removal_as_asked_is_a_pass_that_says_so() -> None:
    history = unplugged().history()
    assert judge(history, terms(history)).verdict is Verdict.PASS
    (finding,) = removed(Evidence(history), terms(history))
    assert finding.claim.startswith("disk was removed, as asked: the kernel let go of it 5.85 s after")
    after = [
        one for one in access_outcome(Evidence(history), terms(history)) if "after its removal" in one.claim
    ]
    assert {one.promise.partition("@")[0] for one in after} == {
        "config-read/removed-sysfs",
        "config-read/removed-proc",
        "config-write/removed-sysfs",
        "config-write/removed-proc",
        "attribute-read/removed-sysfs",
        "attribute-write/removed-sysfs",
    }


def test_a_removal_that_grants_no_time_is_none_that_was_asked_for() -> None:
    history = unplugged(gone=BEGUN + 3e6).history()
    (finding,) = removed(Evidence(history), terms(history))
    assert (finding.verdict, finding.blame) == (Verdict.FAIL, Blame.MISMATCH)
    assert "sooner than 5 s" in finding.claim


def test_a_refusal_long_before_the_kernel_says_that_the_function_is_gone_is_no_removal() -> None:
    made = unplugged()
    made.stage.op(1, BEGUN + 1e6, BEGUN + 1e6 + 20, error=errno.ENODEV)
    found = decisive(made.history())
    assert (found.checker, found.verdict, found.blame) == ("removed", Verdict.FAIL, Blame.MISMATCH)
    assert [str(event).partition(":")[0] for event in found.events] == ["served", "operation"]


@pytest.mark.parametrize("means", [FLR, OVERRIDE, ENABLE_VFS])
def test_a_call_that_finds_no_function_long_before_shows_the_same(means: Operation) -> None:
    made = unplugged()
    made.stage.op(made.stage.does("early", means, "reset"), BEGUN + 1e6, BEGUN + 1e6 + 20, error=errno.ENODEV)
    found = decisive(made.history())
    assert (found.checker, found.verdict, found.blame) == ("removed", Verdict.FAIL, Blame.MISMATCH)


def test_a_refusal_before_anybody_asked_is_wrong_as_ever() -> None:
    made = unplugged()
    made.stage.op(1, BEGUN - 1_000, BEGUN - 980, error=errno.ENODEV)
    found = decisive(made.history())
    assert (found.checker, found.verdict, found.blame) == ("access_outcome", Verdict.FAIL, Blame.MISMATCH)
    assert found.promise == f"{READ}@none"


def test_data_of_a_function_that_is_gone_is_wrong() -> None:
    made = unplugged()
    made.stage.op(1, GONE + 2_000, GONE + 2_020)
    found = decisive(made.history())
    assert (found.checker, found.verdict) == ("access_outcome", Verdict.FAIL)
    assert found.promise == "config-read/removed-sysfs@none"
    assert "did not wait" in found.claim
    assert found.claim.endswith("after its removal.")


def removed_by_the_plan(
    *, begun: float, took: float = 120_000, error: int = 0, back: float | None = None
) -> History:
    """A function whose slot counts its 5 s when the plan's own remover takes it away, at a time of its own."""
    made = unplugged(gone=begun + took - 1_000)
    remover = made.stage.does("remover", REMOVE, "remove")
    made.stage.op(remover, begun, begun + took, error=error)
    if back is not None:
        made.uevents.append((back, "add"))
    return made.history()


@pytest.mark.parametrize("after", [1e6, 3e6, 4.9e6])
def test_who_takes_it_away_while_its_slot_counts_is_the_plan_and_not_too_early(after: float) -> None:
    history = removed_by_the_plan(begun=BEGUN + after)
    assert judge(history, terms(history)).verdict is Verdict.PASS
    (finding,) = removed(Evidence(history), terms(history))
    assert finding.claim.startswith("disk was removed by the plan itself, ")


def test_a_removal_of_the_plan_that_failed_or_was_over_long_before_excuses_no_slot() -> None:
    history = removed_by_the_plan(begun=BEGUN + 3e6, error=errno.EINVAL)
    (finding,) = removed(Evidence(history), terms(history))
    assert (finding.verdict, "sooner than 5 s" in finding.claim) == (Verdict.FAIL, True)
    made = unplugged(gone=BEGUN + 3e6)
    remover = made.stage.does("remover", REMOVE, "remove")
    made.stage.op(remover, BEGUN - 100_000, BEGUN - 50_000)
    made.uevents = [(BEGUN - 51_000, "remove"), (BEGUN - 20_000, "add"), *made.uevents]
    (finding,) = removed(Evidence(made.history()), terms(made.history()))
    assert finding.verdict is Verdict.FAIL


def test_who_removes_a_port_removes_what_is_below() -> None:
    history = removed_by_the_plan(begun=BEGUN + 3e6)
    (function,) = history.functions
    port = replace(function, alias="port", bdf=PORT, platform="root-port", port="")
    (remover,) = (n for n, actor in enumerate(history.plan.actors) if actor.name == "remover")
    actors = list(history.plan.actors)
    (step,) = actors[remover].steps
    actors[remover] = replace(
        actors[remover], steps=(replace(step, file=File(function="port", role="remove")),)
    )
    plan = replace(history.plan, functions=(ALIAS, "port"), ports={ALIAS: "port"}, actors=tuple(actors))
    history = replace(history, plan=plan, functions=(function, port))
    assert set(Evidence(history).absences) == {ALIAS, "port"}
    (finding,) = removed(Evidence(history), terms(history))
    assert finding.verdict is Verdict.PASS


REFUSALS = {
    errno.ENODEV: Verdict.PASS,
    errno.EBUSY: Verdict.FAIL,
    errno.ENOTTY: Verdict.FAIL,
    0: Verdict.FAIL,
}


@pytest.mark.parametrize("means", [FLR, PM, OVERRIDE, ENABLE_VFS, REMOVE, WRITE, FLR_BIT, ATTRIBUTE_WRITE])
@pytest.mark.parametrize(("error", "verdict"), REFUSALS.items())
@pytest.mark.parametrize("by_the_plan", [True, False])
def test_after_a_removal_the_files_of_a_function_are_refused_with_enodev(
    means: Operation,
    error: int,
    verdict: Verdict,
    by_the_plan: bool,  # noqa: FBT001
) -> None:
    made = unplugged()
    gone: float = GONE
    if by_the_plan:
        gone = BEGUN + 1e6
        made = unplugged(gone=gone - 1_000)
        made.stage.op(made.stage.does("remover", REMOVE, "remove"), gone - 100_000, gone)
    late = made.stage.does("late", means, "config" if means in (WRITE, FLR_BIT) else "reset")
    made.stage.op(late, gone + 500_000, gone + 500_400, error=error)
    history = made.history()
    judged = judge(history, terms(history))
    assert judged.verdict is verdict
    if verdict is Verdict.FAIL:
        broken = {one.promise for one in judged.findings if one.verdict is Verdict.FAIL}
        assert f"{after_removal(means)}@none" in broken  # a reset that was none may stand first


@pytest.mark.parametrize("means", [VFIO_RESET, VFIO_OPEN, BIND, UNBIND, VFIO_READ, BAR_READ, HOST_RESET])
@pytest.mark.parametrize("when", [GONE - 100_000, GONE + 500_000])
def test_what_goes_by_a_name_is_refused_after_a_removal_and_nobody_is_to_blame(
    means: Operation, when: float
) -> None:
    """EBUSY is still nobody's promise."""
    for error, verdicts in ((errno.ENODEV, {Verdict.PASS}), (errno.EPERM, {Verdict.FAIL, Verdict.UNKNOWN})):
        made = unplugged()
        late = made.stage.does("late", means, "vfio", op=Op.READ if "read" in means else Op.WRITE)
        made.stage.op(late, when, when + 400, error=error)
        history = made.history()
        assert judge(history, terms(history)).verdict in verdicts


def test_a_reset_under_which_its_function_goes_may_find_that_it_has_no_way_any_more() -> None:
    for begin, end, verdict in (
        (GONE - 50_000, GONE + 50_000, Verdict.PASS),
        (GONE - 90_000, GONE - 50_000, Verdict.PASS),  # files are drained before the uevent comes
        (GONE - 900_000, GONE - 600_000, Verdict.FAIL),
        (GONE + 50_000, GONE + 90_000, Verdict.FAIL),
    ):
        made = unplugged()
        made.stage.op(made.stage.resetter(), begin, end, error=errno.ENOTTY)
        history = made.history()
        assert judge(history, terms(history)).verdict is verdict


def test_before_anybody_asked_a_call_that_finds_no_function_is_wrong_as_ever() -> None:
    made = unplugged()
    made.stage.op(made.stage.resetter(), BEGUN - 10_000, BEGUN - 9_000, error=errno.ENODEV)
    found = decisive(made.history())
    assert (found.checker, found.blame) == ("call_outcome", Blame.RESET_FAILED)


def test_a_slot_takes_out_all_functions_on_its_bus() -> None:
    history = unplugged().history()
    (function,) = history.functions
    sibling = replace(function, alias="sibling", bdf="0000:01:00.1")
    gone = tuple(replace(event, path=event.path[:-1] + "1") for event in history.uevents)
    plan = replace(history.plan, functions=(ALIAS, "sibling"))
    both = replace(history, plan=plan, functions=(function, sibling), uevents=(*history.uevents, *gone))
    ((one,), (other,)) = Evidence(both).absences.values()
    assert (one.gone_ns, one.leaving_ns) == (other.gone_ns, other.leaving_ns)


def test_config_space_of_a_function_that_is_gone_at_the_end_is_not_asked_for() -> None:
    made = unplugged()
    made.stage.reset(made.stage.resetter(), BEGUN + 100_000)
    history = made.history()
    (function,) = history.functions
    history = replace(history, functions=(replace(function, config_after=b""),))
    assert judge(history, terms(history)).verdict is Verdict.PASS
    staying = replace(history, uevents=())
    assert worst(config_restored(Evidence(staying), terms(staying))) is Verdict.UNKNOWN


@pytest.mark.parametrize("after", [b"", b"\xff" * 256])
@pytest.mark.parametrize(("slot", "verdict"), [(True, None), (False, Verdict.FAIL)])
def test_who_looks_into_a_slot_that_was_emptied_finds_nothing(
    after: bytes,
    slot: bool,  # noqa: FBT001
    verdict: Verdict | None,
) -> None:
    history = removed_by_the_plan(begun=BEGUN + 4.85e6)
    plan = history.plan
    (remover,) = (n for n, actor in enumerate(plan.actors) if actor.name == "remover")
    steps = (
        *plan.actors[remover].steps,
        Step(op=Op.WRITE, means=RESCAN, file=File(function=ALIAS, role="rescan"), value=b"1"),
    )
    actors = list(plan.actors)
    actors[remover] = replace(actors[remover], steps=steps)
    table = np.append(history.operations, history.operations[history.operations["actor"] == remover])
    table["step"][-1], table["begin_ns"][-1], table["end_ns"][-1] = 1, at(BEGUN + 5.1e6), at(BEGUN + 5.2e6)
    table = table[(table["actor"] == remover) | (table["error"] == 0)]
    table = table[np.argsort(table["begin_ns"], kind="stable")]
    (function,) = history.functions
    found = replace(
        history,
        plan=replace(plan, actors=tuple(actors), incidents=plan.incidents if slot else ()),
        operations=table,
        served=history.served if slot else history.served[:0],
        functions=(replace(function, config_after=after),),
    )
    assert worst(same_function(Evidence(found), terms(found))) is verdict


def test_a_removal_that_nobody_saw_is_unknown() -> None:
    made = unplugged()
    made.uevents.clear()
    history = made.history()
    assert [(one.verdict, one.claim) for one in removed(Evidence(history), terms(history))] == [
        (Verdict.UNKNOWN, "disk was not gone when the stage ended.")
    ]


@pytest.mark.parametrize("made", [unplugged(), reported(*FATAL, LINK_RESET), reported()])
def test_what_does_not_come_on_a_busy_machine_may_come_another_time(made: Struck) -> None:
    made.uevents.clear()
    history = made.history()
    table = history.operations.copy()
    beat = int(np.flatnonzero(table["actor"] == 0)[50])
    table["end_ns"][beat] += 100 * MS
    busy = replace(history, operations=table)
    (finding,) = (*removed(Evidence(busy), terms(busy)), *recovered(Evidence(busy), terms(busy)))
    assert (finding.verdict, finding.blame) == (Verdict.UNKNOWN, Blame.STARVED)
    assert finding.claim.endswith(", and a heartbeat woke 100 ms late.")


def test_without_an_entry_a_removal_is_unknown() -> None:
    history = unplugged().history()
    assert worst(removed(Evidence(history), replace(terms(history), promises={}))) is Verdict.UNKNOWN


@pytest.mark.parametrize(("back", "verdict"), [(True, Verdict.PASS), (False, Verdict.UNKNOWN)])
def test_a_function_that_is_replaced_must_come_back(back: bool, verdict: Verdict) -> None:  # noqa: FBT001
    made = unplugged(kind=IncidentKind.SERVER_RESTARTED)
    if back:
        made.uevents.append((GONE + 1.5e6, "add"))
    history = made.history()
    (finding,) = removed(Evidence(history), terms(history))
    assert finding.verdict is verdict
    assert ("another was in its place 1.5 s later" in finding.claim) is back


# recovery


def test_a_recovery_is_named_and_convicts_nobody() -> None:
    history = reported(*FATAL, LINK_RESET, RECOVERED, reset=True).history()
    assert judge(history, terms(history)).verdict is Verdict.PASS
    (finding,) = recovered(Evidence(history), terms(history))
    assert finding.claim.startswith(
        "disk was recovered by AER within 10 ms from a fatal error of the link above"
    )
    (log,) = kernel_log(Evidence(history), terms(history))
    assert "no fault but the error of a link that was staged" in log.claim


def test_a_recovery_that_failed_says_why() -> None:
    found = decisive(reported(*FATAL, NO_CALLBACK, LINK_RESET, NOT_RECOVERED, reset=True).history())
    assert (found.checker, found.verdict, found.blame) == ("recovered", Verdict.FAIL, Blame.DEVICE_LOST)
    assert found.claim == (
        "AER did not recover disk from a fatal error of the link above disk (DLP), as staged: can't recover "
        "(no error_detected callback)."
    )


@pytest.mark.parametrize(("lost", "verdict"), [(0, Verdict.FAIL), (3, Verdict.UNKNOWN)])
def test_a_recovery_without_a_reset_of_the_bus_is_none(lost: int, verdict: Verdict) -> None:
    """The kernel says that the link has been reset; the function below it knows better."""
    history = replace(reported(*FATAL, LINK_RESET, RECOVERED).history(), served_lost=lost)
    (finding,) = recovered(Evidence(history), terms(history))
    assert finding.verdict is verdict
    assert finding.claim.startswith(
        "AER called disk recovered from a fatal error of the link above disk (DLP), and its bus was not reset"
    )


LINE, ANSWER = 0x0C, 0x8000_0020
"""Where the cache line size is, and what four bytes from there on read while it is set."""


def told(*rows: tuple[float, Happened, int, int], error: int = 0) -> History:
    """A function whose cache line size is 32, that is recovered, and what it wrote down after that, in 4 bytes each."""
    history = reported(*FATAL, LINK_RESET, RECOVERED, reset=True).history()
    (function,) = history.functions
    before = bytearray(64)
    before[LINE] = ANSWER & 0xFF
    served = np.zeros(len(rows), dtype=history.served.dtype)
    for row, (us, what, address, value) in zip(served, rows, strict=True):
        row["time_ns"], row["what"], row["address"], row["value"] = at(BEGUN + us), what, address, value
        row["region"], row["width"], row["error"] = 7, 4, error
    served = np.concatenate([history.served, served])
    return replace(
        history,
        functions=(replace(function, config_before=bytes(before)),),
        served=served[np.argsort(served["time_ns"], kind="stable")],
    )


@pytest.mark.parametrize(("lost", "verdict"), [(0, Verdict.FAIL), (3, Verdict.UNKNOWN)])
@pytest.mark.parametrize(
    ("row", "what"),
    [
        ((60_000, Happened.READ, LINE, ANSWER), "its cache line size, 0x20"),
        ((60_000, Happened.READ, LINE - 2, ANSWER << 16), "its cache line size, 0x20"),
        ((60_000, Happened.LEFT_OVER, 0, 0xFFE0_2000), "the queue at 0xffe02000"),
    ],
)
def test_a_reset_of_the_bus_that_took_nothing_is_none(
    row: tuple[float, Happened, int, int], what: str, lost: int, verdict: Verdict
) -> None:
    """The function says that it was reset, and what it answers afterwards says that it was not."""
    history = replace(told(row), served_lost=lost)
    (finding,) = recovered(Evidence(history), terms(history))
    assert finding.verdict is verdict
    assert f", and the reset of its bus did not take {what} from it" in finding.claim
    if not lost:
        assert finding.blame is Blame.RESET_FAILED
        assert finding.events[-1].row == 2 + 1  # behind the two of the incident, and the reset


def test_a_write_of_another_register_hides_no_left_over() -> None:
    history = told((60_000, Happened.WRITTEN, 0x04, 0x0010_0406), (61_000, Happened.READ, LINE, ANSWER))
    assert worst(recovered(Evidence(history), terms(history))) is Verdict.FAIL


@pytest.mark.parametrize(
    "rows",
    [
        [(60_000, Happened.READ, LINE, 0x8000_0000)],
        [(60_000, Happened.WRITTEN, LINE, ANSWER), (61_000, Happened.READ, LINE, ANSWER)],
        [(40_000, Happened.READ, LINE, ANSWER), (41_000, Happened.LEFT_OVER, 0, 0x1000)],
        [(60_000, Happened.READ, LINE, 0xFFFF_FFFF)],
        [(60_000, Happened.READ, LINE + 4, ANSWER)],
        [(60_000, Happened.SELF_TESTED, 0, 9), (61_000, Happened.LEFT_OVER, 0, 0x1000)],
    ],
    ids=["gone", "written anew", "before", "silent", "another register", "after another reset"],
)
def test_what_is_no_left_over_convicts_nobody(rows: list[tuple[float, Happened, int, int]]) -> None:
    history = told(*rows)
    assert worst(recovered(Evidence(history), terms(history))) is Verdict.PASS


def test_an_answer_that_was_refused_or_staged_to_be_wrong_proves_nothing() -> None:
    row = (60_000, Happened.READ, LINE, ANSWER)
    history = told(row, error=errno.EIO)
    assert worst(recovered(Evidence(history), terms(history))) is Verdict.PASS
    history = told(row)
    fault = Fault(what=Misbehaviour.WRONG_VALUE, register="cache-line-size", value=ANSWER & 0xFF)
    history = replace(
        history, plan=replace(history.plan, faults=(PlannedFault(function=ALIAS, fault=fault),))
    )
    assert worst(recovered(Evidence(history), terms(history))) is Verdict.PASS


def test_a_recovery_without_an_end_is_unknown() -> None:
    history = reported(*FATAL, LINK_RESET).history()
    assert worst(recovered(Evidence(history), terms(history))) is Verdict.UNKNOWN


def test_an_error_that_nobody_logged_is_unknown() -> None:
    history = reported().history()
    assert worst(recovered(Evidence(history), terms(history))) is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("us", "lines"),
    [
        (BEGUN - 50_000, CORRECTED),
        (BEGUN + 5_000, [line.replace("0000:00:05.0", "0000:00:06.0") for line in CORRECTED]),
        (BEGUN + 5_000, [CORRECTED[0].replace("AER: ", "")]),
    ],
    ids=["before", "of another port", "not of AER"],
)
def test_only_what_aer_says_of_its_own_port_afterwards_is_the_staged_error(
    us: float, lines: list[str]
) -> None:
    made = reported()
    made.logs(us, *lines)
    history = made.history()
    assert worst(recovered(Evidence(history), terms(history))) is Verdict.UNKNOWN


def test_an_error_that_nobody_staged_convicts_as_ever() -> None:
    history = reported(*FATAL, LINK_RESET, RECOVERED).history()
    alone = replace(history, plan=replace(history.plan, incidents=()), served=history.served[:0])
    assert recovered(Evidence(alone), terms(alone)) == ()
    (finding, *_) = kernel_log(Evidence(alone), terms(alone))
    assert (finding.verdict, finding.blame) == (Verdict.FAIL, Blame.DEVICE_LOST)


def test_another_fault_in_the_log_is_not_covered_by_the_staged_one() -> None:
    made = reported(*FATAL, LINK_RESET, RECOVERED, reset=True)
    made.logs(BEGUN + 400_000, "pci 0000:01:00.0: not ready 65535ms after bus reset; giving up")
    found = decisive(made.history())
    assert (found.checker, found.blame) == ("kernel_log", Blame.RESET_FAILED)


def test_what_a_recovery_took_is_held_against_nobody_but_what_was_wrong_before_is() -> None:
    made = reported(*FATAL, LINK_RESET, RECOVERED, reset=True)
    made.stage.op(1, BEGUN - 100, BEGUN - 80, value=0x1234)
    history = made.history()
    bad = [one for one in values_sane(Evidence(history), terms(history)) if one.verdict is Verdict.FAIL]
    assert [one.met for one in bad] == [1]


@pytest.mark.parametrize(("us", "verdict"), [(BEGUN + 300_000, Verdict.PASS), (BEGUN, Verdict.FAIL)])
def test_registers_read_as_nothing_once_recovery_has_reset_the_bus(us: float, verdict: Verdict) -> None:
    made = reported(*FATAL, LINK_RESET, RECOVERED, reset=True)
    register = made.stage.register_reader(BAR_READ)
    made.stage.op(register, 100, 120, value=0x1234)
    made.stage.window(BEGUN - 2_000, BEGUN - 1_000)  # what the register held is known from before that
    made.stage.op(register, us, us + 20, value=0)
    history = made.history()
    assert worst(register_values(Evidence(history), terms(history))) is verdict


# stalls and deaths


def test_a_stall_is_named_and_not_taken_for_a_busy_machine() -> None:
    history = stalled().history()
    assert not Evidence(history).starvation.seen
    found = decisive(history)
    assert (found.checker, found.verdict, found.blame) == ("access_outcome", Verdict.FAIL, Blame.TIMEOUT)
    assert found.claim.endswith("took 2 s; the server of disk stood still for 2 s meanwhile, as staged.")


def test_a_machine_that_stays_busy_after_a_stall_is_busy() -> None:
    history = stalled(late_ms=2_700).history()
    assert Evidence(history).starvation.seen
    assert decisive(history).blame is Blame.STARVED


def test_a_late_access_outside_of_the_stall_is_not_its_doing() -> None:
    made = stalled()
    made.stage.op(1, BEGUN + 3e6, BEGUN + 4.5e6)
    history = made.history()
    found = [one for one in access_outcome(Evidence(history), terms(history)) if one.verdict is Verdict.FAIL]
    assert [one.met for one in found] == [2]
    alone = replace(history, plan=replace(history.plan, incidents=()), served=history.served[:0])
    assert Evidence(alone).starvation.seen


def test_a_death_is_named_also_by_a_read_that_was_under_way() -> None:
    found = decisive(killed().history())
    assert (found.checker, found.verdict, found.blame) == ("values_sane", Verdict.FAIL, Blame.DEVICE_LOST)
    assert found.claim.endswith("; its server was killed 200 ms after the release, as staged.")


def test_all_ones_before_a_death_are_not_its_doing() -> None:
    made = Struck(IncidentKind.SERVER_KILLED)
    made.stage.heartbeat(until_us=4e6)
    made.stage.op(made.stage.reader(), BEGUN - 1_000, BEGUN - 900, value=0xFFFF_FFFF)
    assert "killed" not in decisive(made.history()).claim

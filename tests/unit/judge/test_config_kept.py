"""config_kept on histories written by hand: who is asked, what explains a change, and who is convicted for one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.history.columns import SERVED
from harness.history.history import History
from harness.judge.evidence import Evidence
from harness.judge.questions.config_kept import config_kept
from harness.model import operation as words
from harness.model.fault import Fault, Incident, IncidentKind, Misbehaviour, PlannedFault
from harness.model.plan import File, Op, Step
from harness.model.served import NO_REGION, Happened
from harness.model.units import MS, Ns
from harness.model.verdict import Blame, Finding, Verdict
from tests.unit.judge.build import ALIAS, CONTRACT, WRITE, Stage, at, worst
from tests.unit.judge.surrounded import (
    BESIDE,
    LINK_STATUS,
    MEMORY_BASE,
    PORT,
    ROOT_ERRORS,
    SECONDARY_STATUS,
    surrounded,
)

CACHE_LINE = 0x0C


def kept(history: History) -> tuple[Finding, ...]:
    return config_kept(Evidence(history), CONTRACT.terms_of(history))


def reading() -> Stage:
    """A reader, and nobody who resets."""
    stage = Stage()
    stage.op(stage.reader(), 100, 120)
    return stage


def resetting() -> Stage:
    stage = Stage()
    stage.reset(stage.resetter(), 1_000)
    return stage


def test_where_nothing_changed_all_three_are_named_and_it_passes() -> None:
    (good,) = kept(surrounded(reading().history()))
    assert (good.verdict, good.met) == (Verdict.PASS, 3)
    assert f"{ALIAS}, {PORT} (a port above {ALIAS}), {BESIDE} (beside {ALIAS})" in good.claim


def test_what_nobody_looked_at_is_not_asked() -> None:
    assert kept(replace(surrounded(reading().history(), own={CACHE_LINE: 9}), neighbours=None)) == ()


@pytest.mark.parametrize("who", ["own", "port", "beside"])
def test_a_change_that_nothing_explains_is_unknown(who: str) -> None:
    bad = kept(surrounded(reading().history(), **{who: {CACHE_LINE: 0x10}}))[0]
    assert bad.verdict is Verdict.UNKNOWN
    assert "differs in 1 bytes (0x00c 00" in bad.claim
    assert "which nothing in the stage explains" in bad.claim


@pytest.mark.parametrize("who", ["port", "beside"])
def test_an_flr_of_the_function_explains_no_change_elsewhere(who: str) -> None:
    assert worst(kept(surrounded(resetting().history(), own={CACHE_LINE: 9}))) is Verdict.PASS
    assert worst(kept(surrounded(resetting().history(), **{who: {CACHE_LINE: 9}}))) is Verdict.UNKNOWN


def test_status_of_errors_and_link_at_a_port_is_noise_and_its_windows_are_not() -> None:
    noise = {LINK_STATUS: 0x11, ROOT_ERRORS: 0x7F, SECONDARY_STATUS + 1: 0xF9}
    assert worst(kept(surrounded(resetting().history(), port=noise))) is Verdict.PASS
    assert worst(kept(surrounded(resetting().history(), port={MEMORY_BASE: 0x10}))) is Verdict.UNKNOWN


def test_what_a_port_may_do_a_function_may_not() -> None:
    assert (
        worst(kept(surrounded(resetting().history(), beside={SECONDARY_STATUS + 1: 0xF9}))) is Verdict.UNKNOWN
    )


def test_a_write_of_the_plan_explains_what_it_writes_and_no_more() -> None:
    stage = reading()
    stage.op(stage.writer(CACHE_LINE, b"\x10"), 1_000, 1_020)
    assert worst(kept(surrounded(stage.history(), own={CACHE_LINE: 0x10}))) is Verdict.PASS
    assert worst(kept(surrounded(stage.history(), own={CACHE_LINE + 1: 0x10}))) is Verdict.UNKNOWN


def test_a_staged_fault_explains_its_own_function_alone() -> None:
    fault = PlannedFault(function=ALIAS, fault=Fault(what=Misbehaviour.STAY_ASLEEP))

    def faulty(history: History) -> History:
        return replace(history, plan=replace(history.plan, faults=(fault,)))

    assert worst(kept(faulty(surrounded(reading().history(), own={CACHE_LINE: 9})))) is Verdict.PASS
    assert worst(kept(faulty(surrounded(reading().history(), beside={CACHE_LINE: 9})))) is Verdict.UNKNOWN


def test_binding_a_driver_enables_the_port_above_and_writes_nothing_else_there() -> None:
    stage = reading()
    stage.op(stage.does("binder", words.BIND, "driver"), 1_000, 1_020)
    assert worst(kept(surrounded(stage.history(), port={0x04: 0x07}))) is Verdict.PASS
    assert worst(kept(surrounded(stage.history(), port={CACHE_LINE: 9}))) is Verdict.UNKNOWN


@pytest.mark.parametrize("kind", [IncidentKind.UNPLUGGED, IncidentKind.SERVER_RESTARTED])
def test_what_empties_a_slot_explains_all_behind_its_port_and_the_port(kind: IncidentKind) -> None:
    whole = surrounded(reading().history(), port={MEMORY_BASE: 9}, beside={CACHE_LINE: 9})
    served = np.zeros(1, dtype=SERVED)
    served["time_ns"], served["what"], served["region"] = at(100_000), Happened.INCIDENT_BEGINS, NO_REGION
    incident = Incident(function=ALIAS, kind=kind, at_ns=Ns(100 * MS))
    assert worst(kept(whole)) is Verdict.UNKNOWN
    planned = replace(whole, plan=replace(whole.plan, incidents=(incident,)))
    assert worst(kept(planned)) is Verdict.UNKNOWN  # it was never carried out
    assert kept(replace(planned, served=served)) == ()


def test_an_injected_error_of_the_link_clears_link_capabilities_of_the_port_and_nothing_else() -> None:
    served = np.zeros(1, dtype=SERVED)
    served["time_ns"], served["what"], served["region"] = at(100_000), Happened.INCIDENT_BEGINS, NO_REGION
    error = Incident(function=ALIAS, kind=IncidentKind.LINK_ERROR, at_ns=Ns(100 * MS), detail="DLP")

    def struck(history: History) -> History:
        return replace(history, plan=replace(history.plan, incidents=(error,)), served=served)

    assert worst(kept(struck(surrounded(reading().history(), port={0x4C: 0x04, 0x4D: 0x06})))) is Verdict.PASS
    assert worst(kept(struck(surrounded(reading().history(), port={0x4E: 0x04})))) is Verdict.UNKNOWN


def test_a_function_beside_that_left_is_unknown() -> None:
    history = surrounded(reading().history())
    port, beside = history.neighbours or ()
    left = replace(history, neighbours=(port, replace(beside, config_after=b"")))
    assert "could not be read after the stage" in kept(left)[0].claim
    assert worst(kept(left)) is Verdict.UNKNOWN


def test_behind_an_actor_that_is_stuck_nobody_looked() -> None:
    stage = reading()
    stage.ends(0, end="abandoned")
    history = surrounded(stage.history())
    unread = [replace(one, config_after=b"") for one in (*history.functions, *(history.neighbours or ()))]
    assert kept(replace(history, functions=tuple(unread[:1]), neighbours=tuple(unread[1:]))) == ()


def logged(history: History, *rows: tuple[float, Happened, int]) -> History:
    served = np.zeros(len(rows), dtype=SERVED)
    for row, (us, what, value) in zip(served, rows, strict=True):
        row["time_ns"], row["what"], row["value"] = at(us), what, value
        row["region"], row["address"], row["width"] = 7, CACHE_LINE, 4
    return replace(history, served=served)


def test_a_function_whose_log_shows_that_it_did_it_itself_is_convicted() -> None:
    history = surrounded(reading().history(), own={CACHE_LINE: 0x10})
    reads = ((100.0, Happened.READ, 0), (900.0, Happened.READ, 0x10))
    bad = kept(logged(history, *reads))[0]
    assert (bad.verdict, bad.blame) == (Verdict.FAIL, Blame.MISMATCH)
    assert [str(one) for one in bad.events] == ["served:0", "served:1"]
    for explained in (
        logged(history, reads[0], (500.0, Happened.WRITTEN, 0x10), reads[1]),
        logged(history, reads[0], (500.0, Happened.FLR, 0), reads[1]),
        logged(history, reads[0]),
        logged(history, reads[1]),
        replace(logged(history, *reads), served_lost=1),
    ):
        assert kept(explained)[0].verdict is Verdict.UNKNOWN


def test_a_reset_of_nobody_in_the_trace_is_named() -> None:
    stage = reading()
    stage.performed(1_000, 2_000, tid=900, symbol="pci_reset_bus")
    bad = kept(surrounded(stage.history(), beside={CACHE_LINE: 9}))[0]
    assert bad.verdict is Verdict.UNKNOWN
    assert "which the kernel reset for nobody of the plan" in bad.claim
    assert [str(one) for one in bad.events] == ["kernel:0"]


def test_a_bus_that_the_plan_resets_by_hand_forgets_all_behind_it() -> None:
    stage = reading()
    history = surrounded(stage.history(), beside={CACHE_LINE: 9})
    (function,), (port, beside) = history.functions, history.neighbours or ()
    write = Step(
        op=Op.WRITE,
        means=WRITE,
        file=File(function="port", role="config"),
        offset=0x3E,
        value=b"\x40\x00",
    )
    stage.actor("bridge", write)
    stage.op(1, 1_000, 1_020)
    plain = stage.history()
    plan = replace(plain.plan, functions=(ALIAS, "port"))
    taken = replace(plain, plan=plan, functions=(function, replace(port, alias="port")), neighbours=(beside,))
    assert worst(kept(taken)) is Verdict.PASS
    refused = taken.operations.copy()
    refused["error"] = np.where(refused["actor"] == 1, 1, 0)
    assert worst(kept(replace(taken, operations=refused))) is Verdict.UNKNOWN

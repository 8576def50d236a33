"""Stages that are longer than the lanes of their actors: a minute of free-running readers has a verdict."""

from __future__ import annotations

import resource

import numpy as np
import pytest

from harness.agent.room import MOST
from harness.history.container import from_bytes, to_bytes
from harness.history.reading import Reading
from harness.judge import judge
from harness.model.pci import COMMAND
from harness.model.plan import Plan
from harness.model.verdict import Verdict
from harness.staging.part import plan_of
from tests.guest.surgery import Cut, Patient

pytestmark = pytest.mark.soak

READERS = 8
ROW = 40
PEAK = """
with open("/proc/self/status") as status:
    peak = next(line for line in status if line.startswith("VmHWM"))
channel.send(int(peak.split()[1]) * 1024)
"""


def readers_and_resets(patient: Patient, *, lasting: str, at: str, holding: str, times: int = 1) -> Plan:
    igb0 = patient.function("igb0")
    return plan_of(
        (
            igb0.reads("sysfs", at=COMMAND, actors=READERS),
            igb0.resets_with_oracle("flr", at=at, holding=holding, times=times),
        ),
        title="a long stage",
        lasting=lasting,
        meets=READERS,
    )


def test_a_minute_of_eight_readers_has_a_verdict_in_bounded_memory(patient: Patient) -> None:
    """The resets come when every lane is thinned already, and all readers wait for each of them."""
    resets = 3
    outcome = patient.stage(readers_and_resets(patient, lasting="60s", at="25s", holding="8s", times=resets))
    history, agent = outcome.history, int(patient.target.agent.run_source(PEAK))
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    rows = len(history.operations)
    print(  # noqa: T201  for whoever runs it with -s
        f"{history.begun} operations, {rows} rows; peak of the agent {agent >> 20} MB, of this process {host >> 20} MB"
    )
    told = [f"{one.verdict.name} {one.claim}" for one in outcome.judgement.findings]
    assert outcome.judgement.verdict is Verdict.PASS, told
    readers = [actor for actor in history.actors if actor.name.startswith("reader")]
    assert len(readers) == READERS
    assert all(actor.lost == 0 for actor in history.actors)
    assert all(0 < actor.thinned_ns <= 5_000_000 for actor in readers)
    assert history.begun > 2 * rows
    assert rows <= MOST
    assert len(Reading(history).windows) >= resets
    assert np.count_nonzero(Reading(history).waited) >= READERS * resets
    assert agent < 3 * MOST * ROW + (64 << 20), "the lanes, two copies for the answer, and the agent itself"
    assert host < 6 * MOST * ROW + (512 << 20), (
        "the answer, the table, what the judge works out, and pytest itself"
    )
    again = from_bytes(to_bytes(history))
    assert again.begun == history.begun
    assert judge(again, patient.contract.terms_of(again)).verdict is Verdict.PASS


def test_a_reader_that_is_let_through_late_in_a_long_stage_convicts(patient: Patient) -> None:
    patient.cut(pci_user_read_config_dword=Cut.IGNORE_LOCK)
    outcome = patient.stage(readers_and_resets(patient, lasting="45s", at="42s", holding="1s"))
    thinned = [actor for actor in outcome.history.actors if actor.thinned]
    assert len(thinned) == READERS
    (inside,) = outcome.failures("access_outcome")
    assert "inside a sysfs reset window" in inside.claim
    assert outcome.judgement.decisive == inside
    operation = outcome.history.operations[inside.events[0].row]
    (window,) = [one for one in Reading(outcome.history).windows if one.opened_row == inside.events[1].row]
    assert window.opened_ns < operation["begin_ns"] < operation["end_ns"] < window.closed_ns

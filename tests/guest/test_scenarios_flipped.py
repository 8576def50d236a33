"""No entry of the contract is decoration: turn any one that was used into its opposite, and a scenario turns red.

The histories are those of the shipped scenarios; judging them again needs no guest.  Where something is staged to go
wrong the verdict may be FAIL; there, too, a flip must change what the judge complains of.  One is flipped in a run.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from harness import results
from harness.contract import Contract, load
from harness.history.history import History
from harness.judge import judge
from harness.model.operation import MISUSE, verb
from harness.model.promise import Promise
from harness.model.verdict import Judgement, Verdict
from tests.flip import flips
from tests.guest.invocation import cases, harness, red
from tests.guest.shipped import Shipped

UNSEEN = {
    # After a raw FLR the BAR is lost: no shipped scenario writes it back to read the oracle register.
    "config-write/flr-bit@none#state",
    # Of the shipped functions only edu falls under this entry, and nothing in edu shows a reset.
    "reset/bus@none#state",
    # A register can be read again only through a new open, and that resets the function.
    "close/vfio@config-lock#state",
    "close/vfio@device-lock#state",
    # Of two hot resets at once neither can be told from the other by a register.
    "reset/hot@hot-reset:igb+e1000e+nvme+virtio-rng#state",
    # Only duo0 falls under this entry, and its scenario counts what both models saw instead of reading a register.
    "reset/hot@none#state",
    # Config space is compared after the last reset of a function, and these are followed by another.
    "open/vfio@none#config",
    "reset/vfio@vfio-reset#config",
}
"""Claims of used entries that no shipped scenario looks at; a new one must be defended here."""


_Complaints = frozenset[tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Evidence:
    """A history, what the judge complains of in it, and the entries that its findings were held against."""

    name: str
    history: History
    complaints: _Complaints
    used: frozenset[Promise]


@pytest.fixture(scope="module")
def evidence(shipped: Shipped) -> list[Evidence]:
    contract, found = load(), []
    stages = [stage for entry in shipped.session.entries for stage in entry.stages]
    recorded = {stage.history.removeprefix(f"{results.ATTACHMENTS}/"): stage.verdict for stage in stages}
    for name, history in shipped.histories().items():
        if any(verb(step.means) == MISUSE for actor in history.plan.actors for step in actor.steps):
            continue  # staged to be judged FAIL, whatever the contract says
        terms = contract.terms_of(history)
        judgement = judge(history, terms)
        assert judgement.verdict.name == recorded[name], name
        assert judgement.verdict is not Verdict.UNKNOWN, name
        named = {finding.promise for finding in judgement.findings}
        mine = (promise for promises in terms.promises.values() for promise in promises)
        used = frozenset(one for one in mine if one.id in named)
        found.append(Evidence(name, history, complaints(judgement), used))
    return sorted(found, key=lambda one: len(one.history.operations))  # short ones answer sooner


def complaints(judgement: Judgement) -> _Complaints:
    """What is not as it should be: none where the verdict is PASS."""
    wrong = (finding for finding in judgement.findings if finding.verdict is not Verdict.PASS)
    return frozenset(
        (one.verdict.name, one.checker, one.blame, one.promise, *map(str, one.events)) for one in wrong
    )


def turns_red(one: Evidence, contract: Contract) -> bool:
    """Whether the judge says of a history what it should not: a PASS is lost, or a FAIL is about something else."""
    return complaints(judge(one.history, contract.terms_of(one.history))) != one.complaints


def test_every_used_entry_turns_a_scenario_red_when_flipped(
    shipped: Shipped, evidence: list[Evidence]
) -> None:
    contract, unnoticed = load(), set()
    for name, flipped in flips(contract):
        (entry,) = set(contract.promises) - set(flipped.promises)
        witnesses = [one for one in evidence if entry in one.used]
        if witnesses and not any(turns_red(one, flipped) for one in witnesses):
            unnoticed.add(name)
    assert unnoticed <= UNSEEN | shipped.part.unseen


def test_the_shipped_scenarios_use_much_of_the_contract(shipped: Shipped, evidence: list[Evidence]) -> None:
    used = frozenset[Promise]().union(*(one.used for one in evidence))
    unused = sorted(promise.id for promise in load().promises if promise not in used)
    assert len(used) >= shipped.part.used, f"used: {sorted(one.id for one in used)}; not used: {unused}"


FLIPPED = """
import pytest

from harness.contract import Contract, load
from tests.flip import flips

@pytest.fixture(scope="session")
def hil_contract() -> Contract:
    return dict(flips(load()))["config-read/sysfs@config-lock#outcome"]
"""
WAITS = """
import pytest

@pytest.mark.dut("igb0")
def test_they_wait(dut, stage):
    stage(dut.reads("sysfs"), dut.resets("flr", at="50ms"), lasting="300ms", meets=1)

@pytest.mark.dut("igb0")
def test_nobody_waits(dut, stage):
    stage(dut.reads("sysfs"), lasting="50ms")
"""


@pytest.mark.usefixtures("place")
def test_a_run_is_red_where_it_meets_a_flipped_entry(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(FLIPPED)
    (tmp_path / "test_mine.py").write_text(WAITS)
    run = harness("run", "test_mine.py", cwd=tmp_path)
    assert run.status == 1, run.said
    found = cases(run.report())
    (failure,) = red(found["test_they_wait[igb0]"])
    assert (failure.tag, failure.get("type")) == ("failure", "hil.mismatch"), run.said
    assert "config-read/sysfs@config-lock" in (failure.text or ""), run.said
    assert not red(found["test_nobody_waits[igb0]"]), run.said

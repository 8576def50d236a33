"""No entry of the contract is decoration: turn any one that was used into its opposite, and a scenario turns red.

The histories are those of the shipped scenarios; judging them again needs no guest.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from harness.contract import Contract, load
from harness.contract.flip import flips
from harness.history.history import History
from harness.judge import judge
from harness.model.operation import MISUSE, verb
from harness.model.promise import Promise
from harness.model.verdict import Verdict
from tests.guest.invocation import Invocation

FEWEST_USED = 85
"""Entries that the shipped scenarios hold somebody to; there may be more every day, not fewer.  Which window an
operation meets is a matter of milliseconds, so that a few entries are used in one run and not in the next."""

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
    # Config space is compared after the last reset of a function, and these are followed by another.
    "open/vfio@none#config",
    "reset/vfio@vfio-reset#config",
}
"""Claims of used entries that no shipped scenario looks at; a new one must be defended here."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """A history that was judged PASS, and the entries that its findings were held against."""

    name: str
    history: History
    used: frozenset[Promise]


@pytest.fixture(scope="module")
def evidence(shipped: Invocation) -> list[Evidence]:
    contract, found = load(), []
    for name, history in shipped.histories().items():
        if any(verb(step.means) == MISUSE for actor in history.plan.actors for step in actor.steps):
            continue  # staged to be judged FAIL
        terms = contract.terms_of(history)
        judgement = judge(history, terms)
        assert judgement.verdict is Verdict.PASS, name
        named = {finding.promise for finding in judgement.findings}
        mine = (promise for promises in terms.promises.values() for promise in promises)
        found.append(Evidence(name, history, frozenset(one for one in mine if one.id in named)))
    return sorted(found, key=lambda one: len(one.history.operations))  # short ones answer sooner


def turns_red(one: Evidence, contract: Contract) -> bool:
    return judge(one.history, contract.terms_of(one.history)).verdict is not Verdict.PASS


def test_every_used_entry_turns_a_scenario_red_when_flipped(evidence: list[Evidence]) -> None:
    contract, unnoticed = load(), set()
    for name, flipped in flips(contract):
        (entry,) = set(contract.promises) - set(flipped.promises)
        witnesses = [one for one in evidence if entry in one.used]
        if witnesses and not any(turns_red(one, flipped) for one in witnesses):
            unnoticed.add(name)
    assert unnoticed <= UNSEEN


def test_the_shipped_scenarios_use_much_of_the_contract(evidence: list[Evidence]) -> None:
    used = frozenset[Promise]().union(*(one.used for one in evidence))
    unused = sorted(promise.id for promise in load().promises if promise not in used)
    assert len(used) >= FEWEST_USED, f"used: {sorted(one.id for one in used)}; not used: {unused}"

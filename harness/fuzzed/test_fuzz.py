"""Random plans over healthy functions: each a test, drawn from the seed and from what the lab's functions show."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from harness.contract import Contract
from harness.errors import UsageError
from harness.fuzzed import evidence
from harness.fuzzed.learning import learn
from harness.fuzzed.pursuit import CONFIRMED, Pursuit, StageOf, pursue
from harness.fuzzing.facts import Known, to_json
from harness.fuzzing.generator import recipes
from harness.fuzzing.recipe import Recipe, cooked
from harness.history import container
from harness.history.history import History
from harness.judge import judge
from harness.model.plan import Plan
from harness.model.verdict import Finding, Judgement, Verdict
from harness.plugin import reporting, verdicts
from harness.plugin.lab.guests import TargetSource
from harness.plugin.staging import Stage, carry_out
from harness.staging.locks import Locks

if TYPE_CHECKING:
    from harness.lab.place import Place


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """As many as were asked for."""
    plans = metafunc.config.option.hil_fuzz_plans
    metafunc.parametrize("number", range(1, plans + 1))


@dataclass(slots=True)
class Drawn:
    """The recipes of a session, drawn when they are asked for.

    Attributes:
        known: the functions that they are drawn for.
        source: draws them.
        begun: CLOCK_MONOTONIC when the first could be drawn, in seconds.
        without_locks: why nobody can hold a lock here; empty when somebody can.
        recipes: so far.
    """

    known: Known
    source: Iterator[Recipe]
    begun: float
    without_locks: str
    recipes: list[Recipe] = field(default_factory=list)

    def recipe(self, number: int) -> Recipe:
        """One of them, from 1."""
        while len(self.recipes) < number:
            self.recipes.append(next(self.source))
        return self.recipes[number - 1]


@pytest.fixture(scope="session")
def drawn(
    request: pytest.FixtureRequest,
    hil_place: Place,
    hil_contract: Contract,
    tmp_path_factory: pytest.TempPathFactory,
) -> Drawn:
    """Ask a guest of this kernel what its functions are."""
    option = request.config.option
    if option.hil_fuzz is None:
        raise UsageError("random plans", said="no seed was named", hint="Use `harness fuzz --seed N`.")
    with hil_place.clone(tmp_path_factory.mktemp("functions") / "console.log") as target:
        known = learn(target, hil_place.recipe.machine.aliases, hil_contract)
    if results := reporting.results_folder(request.config):
        evidence.write_functions(results, to_json(known))
    return Drawn(
        known=known,
        source=recipes(option.hil_fuzz, known),
        begun=time.monotonic(),
        without_locks=hil_place.without_windows_module,
    )


@pytest.fixture(autouse=True)
def in_time(request: pytest.FixtureRequest, drawn: Drawn) -> None:
    """Begin no plan when the time is over that was given."""
    seconds = request.config.option.hil_fuzz_for
    if seconds is not None and time.monotonic() - drawn.begun > seconds:
        pytest.skip("time is over")


@pytest.fixture
def afresh(request: pytest.FixtureRequest, hil_source: TargetSource, hil_contract: Contract) -> StageOf:
    """Stage a plan once more, in a guest that nobody has used; the journal does not hear of it."""

    def staged(plan: Plan) -> tuple[History, Judgement]:
        hil_source.renew()
        history = carry_out(plan, hil_source, hil_contract, request.node)
        return history, judge(history, hil_contract.terms_of(history))

    return staged


def test_plan(
    number: int, drawn: Drawn, stage: Stage, afresh: StageOf, request: pytest.FixtureRequest
) -> None:
    """No plan over healthy functions fails, and none lacks a verdict but for want of collisions or of a processor."""
    recipe, option = drawn.recipe(number), request.config.option
    seed = option.hil_fuzz
    if drawn.without_locks and any(call.verb.startswith(f"{Locks.__name__}.") for call in recipe.calls):
        verdicts.lack(f"the kernel module for lock windows is missing: {drawn.without_locks}")
    print(recipe)  # noqa: T201 - the report shows it with the verdict
    evidence.write(request.node, evidence.RECIPE, evidence.as_json(recipe.to_json()))
    plan = cooked(recipe, drawn.known, title=f"fuzz seed {seed} plan {number}", seed=seed)
    run = stage.plan(plan)
    decisive = run.judgement.decisive
    if run.verdict is Verdict.FAIL and decisive is not None:
        pursuit = pursue(recipe, plan, decisive, drawn.known, afresh, most=option.hil_fuzz_stages)
        _tell(request.node, decisive, pursuit)
    if run.deserves_another:
        run.settled = True
        verdicts.leave_open(decisive.claim if decisive else "")


def _tell(node: pytest.Item, decisive: Finding, pursuit: Pursuit) -> None:
    """Keep what a pursuit came to, and say it in the report."""
    kept = ""
    if pursuit.history is not None:
        kept = evidence.write(node, evidence.SMALLEST, container.to_bytes(pursuit.history))
    found = {
        "claim": decisive.claim,
        "checker": decisive.checker,
        "blame": decisive.blame,
        "promise": decisive.promise,
        "again": pursuit.again,
        "of": CONFIRMED,
        "smallest": pursuit.shrunk.recipe.to_json() if pursuit.shrunk else None,
        "history": kept,
    }
    evidence.write(node, evidence.FOUND, evidence.as_json(found))
    print(f"failed again {pursuit.again} times of {CONFIRMED}")  # noqa: T201 - as above
    if pursuit.shrunk is not None:
        print(f"the smallest that fails, in {kept}:\n{pursuit.shrunk.recipe}")  # noqa: T201 - as above

"""`harness fuzz` as a user types it: a few random plans, and what it says of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.fuzzed import evidence
from harness.fuzzing.facts import from_json
from harness.fuzzing.recipe import Recipe, cooked
from tests.guest.invocation import harness, red

pytestmark = pytest.mark.usefixtures("place")  # the run finds everything in the cache

SEED = 18
SAMPLE = (2, 3, 18)
"""Of that seed: an edu that is reset while it is unbound, a hot reset of an nvme, readers and a writer of one of our
models.  Whoever changes the generator looks here: others may be long, or find something."""


def test_a_few_random_plans_pass_and_are_counted(tmp_path: Path) -> None:
    """A plan that shows nothing on a busy machine is skipped, and no less green."""
    chosen = " or ".join(f"[{number}]" for number in SAMPLE)
    asked = ("fuzz", "--seed", str(SEED), "--plans", str(max(SAMPLE)), "-k", chosen)
    run = harness(*asked, cwd=tmp_path, timeout_s=300.0)
    assert run.status == 0, run.said
    assert not red(run.report())
    assert f"{len(SAMPLE)} plans staged: " in run.output
    assert "0 FAIL" in run.output
    assert "covered: " in run.output
    known = from_json(evidence.read_functions(run.results))
    for entry in run.session.entries:
        recipe = Recipe.from_json(evidence.read(run.results, entry.test, evidence.RECIPE))
        kept = run.histories()[Path(entry.stages[-1].history).name].plan
        assert kept == cooked(recipe, known, title=kept.title, seed=SEED)

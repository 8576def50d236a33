"""A pytest plugin for the tests of staging: real histories, really judged, put where `stage` would put them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from harness.contract import Contract, load
from harness.history.container import from_bytes
from harness.history.history import History
from harness.history.reading import Reading
from harness.judge import judge
from harness.judge.evidence import Evidence
from harness.lab.figures.synthetic import synthetic
from harness.model.verdict import Finding, Judgement, Verdict
from harness.plugin.staging import Run
from harness.plugin.staging.plugin import _STAGED
from harness.plugin.staging.run import Staged

GOLDEN: Final = Path(__file__).parents[1] / "golden" / "history" / "v1.history.zip"
CONTRACT: Final[Contract] = load()


def _good() -> History:
    return from_bytes(GOLDEN.read_bytes())


def _bad() -> History:
    """One read of a healthy function gave all-ones."""
    good = _good()
    operations = good.operations.copy()
    operations["value"][np.flatnonzero((operations["actor"] == 0) & ~Reading(good).waited)[5]] = 0xFFFF_FFFF
    return dataclasses.replace(good, operations=operations)


HISTORIES: Final[dict[str, Callable[[], History]]] = {
    "good": _good,
    "weak": _good,
    "bad": _bad,
    "worse": _bad,
    "nothing": lambda: synthetic(40),
}
"""What a test may stage: `good` passes, `weak` shows a known weakness, `bad` fails, `worse` breaks an entry of the
contract besides, in `nothing` nothing collided."""


@pytest.fixture
def staged(request: pytest.FixtureRequest) -> Callable[[str], Run]:
    """Stage one of HISTORIES."""
    request.node.stash[_STAGED] = all_of_it = Staged()

    def make(kind: str) -> Run:
        all_of_it.asked = True
        history = HISTORIES[kind]()
        judgement = judge(history, CONTRACT.terms_of(history))
        if kind == "weak":
            seen = Finding(checker="c", verdict=Verdict.PASS, claim="seen", weakness="pm resets nothing")
            judgement = Judgement(findings=(*judgement.findings, seen))
        if kind == "worse":
            broken = Finding(checker="c", verdict=Verdict.FAIL, claim="broken", promise="reset/flr@none")
            judgement = Judgement(findings=(*judgement.findings, broken))
        run = Run(Evidence(history), judgement)
        all_of_it.runs.append(run)
        return run

    return make

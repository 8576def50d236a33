"""`harness soak` as a user types it: real rounds on fresh guests, a baseline, and a failure that is kept whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.history import container
from tests.guest.invocation import cases, harness, red

pytestmark = [pytest.mark.soak, pytest.mark.usefixtures("place")]  # the run finds everything in the cache

QUICK = """
import pathlib
import pytest

@pytest.mark.dut("rng0")
def test_quick(dut, stage):
    stage(dut.reads("sysfs", actors=2), dut.resets(dut.reset_methods[0], at="20ms"), lasting="150ms", meets=1)
"""

BREAKS = (
    QUICK
    + """
@pytest.mark.dut("rng0")
def test_breaks(dut, stage):
    counter = pathlib.Path("rounds")
    counter.write_text(str(int(counter.read_text()) + 1) if counter.exists() else "1")
    lasting = "150ms" if counter.read_text() != "2" else "151ms"
    run = stage(dut.reads("sysfs"), dut.resets(dut.reset_methods[0], at="20ms"), lasting=lasting, meets=1)
    assert counter.read_text() != "2", "broken on purpose"
"""
)


def test_a_soak_writes_a_baseline_and_the_next_one_is_compared_with_it(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(QUICK)
    asked = ("soak", "test_mine.py", "--for", "3s", "--baseline", "baselines")
    first = harness(*asked, cwd=tmp_path, timeout_s=300.0)
    assert first.status == 0, first.said
    (baseline,) = (tmp_path / "baselines").iterdir()
    assert baseline.name.startswith("rng0.")
    assert ".linux-6.12." in baseline.name
    second = harness(*asked, "--factor", "20", cwd=tmp_path, timeout_s=300.0)
    assert second.status == 0, second.said
    assert not red(second.report())
    assert "soak_baseline" in cases(second.report())
    assert "nothing is worse than in" in second.output
    statistic = json.loads((second.results / "soak.json").read_bytes())
    (test,) = statistic["tests"]
    assert test["rounds"] >= 1
    assert test["tally"]["met"] >= test["rounds"]
    assert test["latency_ns"]["config-read/sysfs"]["count"] > 0
    assert statistic["compared"] == [str(baseline)]
    assert (second.results / "soak.svg").read_bytes().startswith(b"<svg")
    assert len(second.histories()) == 1  # of the latest good round, and of no other


def test_the_first_failure_of_a_later_round_is_kept_whole(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(BREAKS)
    run = harness(
        "soak", "test_mine.py::test_breaks", "--for", "60s", "--until-failure", cwd=tmp_path, timeout_s=300.0
    )
    assert run.status == 1, run.said
    (failure,) = red(cases(run.report())["test_breaks[rng0]"])
    assert failure.get("message") == "failed in round 2 of 2: broken on purpose"
    kept = {path.name.partition(".")[2] for path in (run.results / "att").iterdir()}
    assert kept == {"round2.console.log", "round2.history.zip"}
    (path,) = (run.results / "att").glob("*.history.zip")
    assert container.from_bytes(path.read_bytes()).plan.lasting_ns == 151_000_000  # that very round
    judged = harness("judge", path, cwd=tmp_path)
    assert judged.status == 0, judged.said  # the stage was good: it was the test that asked for more

"""A kernel that is locked down, from its boot or later: less can be seen, nobody is convicted, and it is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from harness.contract import load
from harness.judge import judge
from harness.lab.place import GuestTarget, Place
from harness.lab.template.template import cold
from harness.model.promise import Lockdown
from harness.model.request import DescribeMachine
from harness.model.verdict import Verdict
from harness.plugin.lab.functions import describe, platform_of
from harness.staging.conduct import conduct
from harness.staging.part import plan_of
from harness.staging.vfio_user import VfioUser
from tests.guest.invocation import cases, harness

REFUSED: Final = "/sys/kernel/tracing/dynamic_events: Operation not permitted"
_LOCKED_WHILE_IT_RUNS: Final = """\
import pytest

LOCK = "open('/sys/kernel/security/lockdown', 'w').write(channel.receive()); channel.send(None)"


@pytest.fixture(autouse=True, params=["integrity", "confidentiality"])
def locked(request, hil_source):
    hil_source.target.agent.run_source(LOCK, request.param)


@pytest.mark.dut("igb0")
def test_writers(dut, stage):
    writes = dut.writes("sysfs", at=0x0C, value=b"\\x10")
    stage(dut.resets("flr", at="50ms"), writes, dut.reads("sysfs"), lasting="300ms", meets=1)


@pytest.mark.dut("igb0")
def test_an_oracle(dut, stage):
    stage(dut.resets_with_oracle("flr", at="50ms"), dut.reads("sysfs"), lasting="400ms", meets=1)
"""


@pytest.mark.usefixtures("place")
def test_writes_are_refused_oracles_go_through_vfio_and_it_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "test_locked.py").write_text(_LOCKED_WHILE_IT_RUNS)
    run = harness("run", "test_locked.py", cwd=tmp_path)
    assert run.status == 125, run.said  # no failure, and half of it has no verdict
    found = cases(run.report())
    for test in ("test_writers", "test_an_oracle"):
        assert not [*found[f"{test}[igb0-integrity]"].iter("error")], run.said
        error = found[f"{test}[igb0-confidentiality]"].find("error")
        assert error is not None
        assert error.get("type") == "hil.unknown"
        assert f"the kernel could not be traced ({REFUSED})" in str(error.get("message"))
    said = [line for line in run.output.splitlines() if line.startswith(("hil locked: ", "locked "))]
    assert [line.partition("amd64: ")[2].split(";")[0] for line in said] == [
        "integrity",
        "confidentiality",
    ] * 2
    provenance = {history.provenance.get("kernel.no_trace", "") for history in run.histories().values()}
    assert provenance == {"", REFUSED}


def test_a_kernel_that_was_booted_so_has_no_windows_and_convicts_nobody(place: Place, console: Path) -> None:
    contract, machine = load(), place.recipe.machine
    locked = replace(machine, parameters=(*machine.parameters, "lockdown=confidentiality"))
    with cold(replace(place.recipe, machine=locked), console=console) as guest:
        target = GuestTarget(guest, place, start="boot")
        told = target.agent.ask(DescribeMachine())
        assert (told.lockdown, told.tracefs) == (Lockdown.CONFIDENTIALITY, False)
        igb0 = describe("igb0", target, contract)
        parts = (
            igb0.reads("sysfs"),
            igb0.writes("sysfs", at=0x0C, value=b"\x10"),
            VfioUser(igb0).resets_with_oracle(),
        )
        plan = plan_of(parts, title="locked down", lasting="400ms", meets=1)
        history = conduct(plan, target, platform_of(target, contract))
    assert str(history.provenance["kernel.no_trace"]).startswith("/sys/kernel/tracing/dynamic_events: ")
    judgement = judge(history, contract.terms_of(history))
    assert judgement.verdict is Verdict.UNKNOWN, judgement
    assert "could not be traced" in str(judgement.decisive)

"""An exception in the agent that nobody expected, in a real guest: an error of the harness, at once, and only once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.guest.invocation import cases, harness

SCENARIO = r"""
import time
import pytest

SPOIL = '''
from harness.pci import condition
condition._TAINTED = None
channel.send(True)
'''

@pytest.mark.dut("igb0")
def test_with_an_agent_that_makes_a_mistake(dut, stage, hil_source):
    hil_source.target.agent.run_source(SPOIL)
    begun = time.monotonic()
    try:
        stage(dut.reads("sysfs"), lasting="50ms")
    finally:
        print(f"it took {time.monotonic() - begun:.1f} s")
"""


@pytest.mark.usefixtures("place")
def test_an_exception_in_the_agent_reaches_the_host_at_once(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(SCENARIO)
    run = harness("run", "test_mine.py", cwd=tmp_path)
    assert run.status == 125, run.said
    case = cases(run.report())["test_with_an_agent_that_makes_a_mistake[igb0]"]
    (error,) = case.iter("error")
    assert error.get("type") == "hil.agent", run.said
    assert "request 'CarryOut': AttributeError" in str(error.get("message"))
    assert "in carry_out" in str(error.text), "the agent's traceback tells where"
    assert not list(case.iter("rerunFailure")), "a mistake comes again: nobody tries twice"
    printed = str(case.findtext("system-out"))
    took_s = float(printed.partition("it took ")[2].split()[0])
    assert took_s < 10.0, printed
    (console,) = (run.results / "att").glob("*.log")
    assert "NMI" not in console.read_text(), "the guest was well: nobody need look at its kernel"

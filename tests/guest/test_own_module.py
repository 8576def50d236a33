"""A module of the user's own: built for the guest's kernel, used instead of the kernel's, and named in every report."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from harness.history.windows.drivers import PROPOSED
from harness.lab.place import Wishes, prepare
from harness.model.probe import NO_SUCH_FUNCTION
from harness.model.request import LoadModule
from tests.guest.invocation import harness

if TYPE_CHECKING:
    from pathlib import Path

    from harness.lab.cache.store import Cache

# In the place of a driver of the kernel that nobody has loaded before.
MODULE = "igbvf"
SOURCE = """
#include <linux/module.h>
static int mine = 2011;
module_param(mine, int, 0444);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("a module in the place of another, for a test");
"""
SCENARIO = f"""
import pytest
from harness.staging.part import Part

@pytest.mark.dut("igb0")
def test_readers_wait(dut, stage, hil_source):
    stage(
        Part(functions=(dut.alias,), modules=("{MODULE}",)),
        dut.reads("sysfs", actors=2),
        dut.resets("flr", at="50ms"),
        lasting="300ms",
        meets=2,
    )
    run = hil_source.target.agent.run_source
    assert run('channel.send(open("/sys/module/{MODULE}/parameters/mine").read().strip())') == "2011"
    assert int(run('channel.send(open("/proc/sys/kernel/tainted").read())')) == 1 << 12 | 1 << 13

@pytest.mark.dut("igb0")
def test_without_it(dut, stage):
    stage(dut.reads("sysfs"), lasting="50ms")
"""


def test_a_module_is_built_used_and_named(tmp_path: Path) -> None:
    """Out of tree and unsigned: the taint of that makes no verdict red."""
    sources = tmp_path / "driver"
    sources.mkdir()
    (sources / f"{MODULE}.c").write_text(SOURCE)
    (sources / "Kbuild").write_text(f"obj-m := {MODULE}.o\n")
    built = harness("make", "driver", cwd=tmp_path, timeout_s=300.0)
    assert built.status == 0, built.said
    module = sources / f"{MODULE}.ko"
    assert built.output.split() == [str(module)]

    (tmp_path / "test_mine.py").write_text(SCENARIO)
    run = harness("run", "--module", module, "test_mine.py", cwd=tmp_path, timeout_s=400.0)
    assert run.status == 0, run.said
    name = f"{MODULE}-{hashlib.sha256(module.read_bytes()).hexdigest()[:12]}"
    assert f"with {name} of your own" in run.output
    with_it, without = sorted(run.histories().values(), key=lambda history: history.plan.title)
    assert with_it.provenance["kernel.own_modules"] == without.provenance["kernel.unused_modules"] == name
    assert "kernel.unused_modules" not in with_it.provenance
    assert "kernel.own_modules" not in without.provenance
    said = {one.get("name"): one.get("value") for one in run.report().iter("property")}
    assert said["kernel.own_modules"] == name


def test_sources_that_do_not_compile_say_so_with_what_make_printed(tmp_path: Path) -> None:
    (tmp_path / "driver").mkdir()
    (tmp_path / "driver/mine.c").write_text("#include <linux/module.h>\nint mine = nowhere;\n")
    (tmp_path / "driver/Kbuild").write_text("obj-m := mine.o\n")
    run = harness("make", "driver", cwd=tmp_path)
    assert run.status == 125, run.said
    said = next(line for line in run.errors.splitlines() if line.startswith("harness: "))
    assert "mine.c:2:12: error: " in said
    assert "CC [M]" in run.errors, "all that make printed"
    assert "Traceback" not in run.said


_ARMED = """
from harness.agent import worker
trace = worker._service._trace
trace.begin([])
channel.send([[probe.symbol, probe.present, probe.reason] for probe in trace.end().probes])
"""


@pytest.mark.parametrize("branch", ["6.12", "6.1", "7.x"])
def test_a_callback_that_a_stock_driver_lacks_is_told_from_one_that_cannot_be_probed(
    cache: Cache, console: Path, branch: str
) -> None:
    """The kernel answers both alike, with EINVAL, when the probe has arguments."""
    with prepare(cache, Wishes(branch=branch)).clone(console) as target:
        target.agent.ask(LoadModule(name="ipr"))
        absent = {
            symbol: reason
            for symbol, present, reason in target.agent.run_source(_ARMED)
            if not present and "ipr" in symbol
        }
    assert set(absent) == PROPOSED
    assert all(NO_SUCH_FUNCTION in reason for reason in absent.values()), absent

"""Several kernels: one run over all of them, and probes that every one of them takes, with names or offsets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.history.columns import Edge
from harness.lab.place import Wishes, prepare
from harness.staging.trace_text import parse
from tests.guest.invocation import cases, harness

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.lab.cache.store import Cache
    from harness.lab.place import GuestTarget

SCENARIO = """
import pytest

@pytest.mark.dut("igb0")
def test_readers_wait(dut, stage):
    stage(dut.reads("sysfs", actors=2), dut.resets("flr", at="50ms"), lasting="300ms", meets=2)
"""

# Without these a stage says UNKNOWN; the functions that reset differ from kernel to kernel.
ALWAYS = {
    *("pci_cfg_access_lock", "pci_cfg_access_trylock", "pci_cfg_access_unlock", "pci_wait_cfg", "pcie_flr"),
    *("pci_reset_bus", "vfio_unregister_group_dev"),
}


@pytest.mark.kernels
def test_one_run_over_several_kernels_judges_on_each(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(SCENARIO)
    run = harness("run", "--kernels", "6.1,7.x", "test_mine.py", cwd=tmp_path, timeout_s=600.0)
    assert run.status == 0, run.said
    assert [stage.verdict for entry in run.session.entries for stage in entry.stages] == ["PASS"] * 2
    names = cases(run.report())
    assert {name for name in names if "readers_wait" in name} == {
        "test_readers_wait[igb0-6.1]",
        "test_readers_wait[igb0-7.x]",
    }
    histories = run.histories()
    releases = {
        name.rpartition("igb0-")[2][:3]: one.provenance["kernel.release"] for name, one in histories.items()
    }
    assert sorted(releases) == ["6.1", "7.x"]
    assert releases["6.1"].startswith("6.1.")
    assert releases["7.x"].startswith("7.")
    for history in histories.values():
        absent = [probe for probe in history.probes if probe.symbol in ALWAYS and not probe.present]
        assert absent == []
        assert {probe.edge for probe in history.probes if probe.symbol == "pci_reset_bus"} == set(Edge)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--kernels", "6.1,6"), "'6': write it like 6.12 or 7.x"),
        (("--kernels", "6.1", "--kernel", "vmlinux"), "--kernel names another one"),
    ],
)
def test_a_mistake_costs_no_download(tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    run = harness("run", *options, cwd=tmp_path, variables={"VFIO_HARNESS_CACHE": str(tmp_path / "cache")})
    assert run.status == 2
    assert said in run.errors
    assert not (tmp_path / "cache" / "debian").exists()


# --- the wait of an unbind --------------------------------------------------------------------------------

_UNBIND = """
import threading, time
from harness.agent import trace, worker
from harness.pci import driver
from harness.vfio.container import opened
from harness.model.pci import Bdf

bdf, service = Bdf.parse(channel.receive()), worker._service
numbers = [n for n, point in enumerate(trace.POINTS) if point.symbol == "vfio_unregister_group_dev"]
driver.bind(bdf, "vfio-pci")
user = opened(bdf)
user.__enter__()
service._trace.begin([bdf])
unbinding = threading.Thread(target=driver.unbind, args=(bdf,))
unbinding.start()
end = time.monotonic() + 20
while f" p{numbers[0]}: " not in (service._trace._instance / "trace").read_text():
    if time.monotonic() > end:
        raise TimeoutError("nobody waits")
    time.sleep(0.01)
waiting = unbinding.is_alive()
closing = time.monotonic_ns()
user.__exit__(None, None, None)
unbinding.join()
channel.send([service._trace.end().text, numbers, waiting, closing])
"""


@pytest.fixture(params=["6.12", "6.1", "7.x"])
def target(request: pytest.FixtureRequest, cache: Cache, console: Path) -> Iterator[GuestTarget]:
    with prepare(cache, Wishes(branch=request.param)).clone(console) as clone:
        yield clone


@pytest.mark.kernels
def test_an_unbind_that_waits_for_the_user_is_seen(target: GuestTarget) -> None:
    """By the name of the function, which lies two structures away from the argument."""
    bdf = str(target.address("igb0"))
    text, (entered, left), waiting, closing = target.agent.run_source(_UNBIND, bdf)
    assert waiting
    entry, back = (row for row in parse(text, {bdf: 0}) if row["probe"] in (entered, left))
    assert (entry["probe"], entry["function"], back["probe"]) == (entered, 0, left)
    assert entry["tid"] == back["tid"]
    assert entry["time_ns"] < closing < back["time_ns"]

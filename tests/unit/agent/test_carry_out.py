"""A whole stage on temporary files: what is put back after it, and what is left alone behind a stuck actor."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from harness.agent import stage as module
from harness.agent.stage import carry_out
from harness.agent.trace import KernelTrace
from harness.errors import StagingError
from harness.model.operation import ATTRIBUTE_READ
from harness.model.pci import Bdf
from harness.model.plan import Actor, File, Op, Plan, Setting, Step
from harness.model.units import MS, Ns
from tests.unit.agent.conftest import Watched
from tests.unit.agent.gate import guarded
from tests.unit.agent.run import descriptors


class Anywhere(dict[str, Bdf]):
    """No function at all, and an address for every alias: absolute paths stand for files in its folder."""

    def __missing__(self, alias: str) -> Bdf:
        return Bdf.parse("0000:ff:1f.7")


class Silence:
    """A trace of a kernel in which nothing happens."""

    def begin(self, functions: list[Bdf]) -> None:
        assert functions == []

    def end(self) -> dict[str, Any]:
        return {"text": ""}


@pytest.fixture
def attribute(tmp_path: Path) -> Path:
    path = tmp_path / "attribute"
    path.write_text("before")
    return path


@pytest.fixture
def left() -> Iterator[list[Any]]:
    """What stages could not put back; a test does it for them."""
    yield module._LEFT
    while module._LEFT:
        module._LEFT.pop().close()


def carried_out(
    nursery: Watched, setting: Path, *files: Path, modules: tuple[str, ...] = ()
) -> tuple[dict[str, Any], list[str]]:
    """One actor reads these files once; what was seen, and which modules were loaded."""
    steps = tuple(
        Step(op=Op.READ, means=ATTRIBUTE_READ, file=File(function="igb0", role=str(file)), width=8)
        for file in files
    )
    plan = Plan(
        title="files",
        functions=(),
        actors=(Actor(name="reader", steps=steps, times=1),),
        lasting_ns=Ns(50 * MS),
        deadline_ns=Ns(300 * MS),
        settings=(Setting(function="igb0", attribute=str(setting), value="during"),),
        modules=modules,
    )
    loaded: list[str] = []
    seen = carry_out(plan, Anywhere(), nursery, cast(KernelTrace, Silence()), loaded.append)
    return seen, loaded


def test_settings_are_there_during_the_stage_and_put_back_after_it(
    nursery: Watched, attribute: Path, left: list[Any]
) -> None:
    seen, _ = carried_out(nursery, attribute, attribute)
    assert seen["records"][0][16:22] == b"during"
    assert attribute.read_text() == "before"
    assert (seen["left"], left) == ([], [])
    assert [actor["end"] for actor in seen["actors"]] == ["done"]


def test_nothing_is_left_open(nursery: Watched, attribute: Path) -> None:
    def kept() -> set[tuple[str, str]]:
        carried_out(nursery, attribute, attribute)
        gc.collect()  # pyudev closes the socket of its monitor only then
        return descriptors()

    assert kept() == kept()


def test_modules_are_loaded_in_their_order(nursery: Watched, attribute: Path) -> None:
    _, loaded = carried_out(nursery, attribute, attribute, modules=("vfio_pci", "hil_windows"))
    assert loaded == ["vfio_pci", "hil_windows"]


def test_nothing_is_put_back_behind_a_stuck_actor(
    nursery: Watched, attribute: Path, left: list[Any], tmp_path: Path
) -> None:
    """Whoever writes to an attribute behind a lock that nobody gives back sleeps there for ever."""
    locked = tmp_path / "config"
    locked.write_bytes(bytes(64))
    with guarded(locked) as gate:
        rehearsal = threading.Thread(target=lambda: gate.admit(gate.arrival(10)))
        rehearsal.start()
        seen, _ = carried_out(nursery, attribute, locked)
        rehearsal.join()
        gc.collect()
        assert [actor["end"] for actor in seen["actors"]] == ["abandoned"]
        assert seen["left"] == [f"{attribute} of igb0"]
        assert attribute.read_text().startswith("during")
        assert len(left) == 1
        (stuck,) = nursery.forked
        assert stuck not in nursery.borrow(1)
    left.pop().close()
    assert attribute.read_text().startswith("before")


def test_settings_are_put_back_when_an_actor_is_refused(
    nursery: Watched, attribute: Path, left: list[Any], tmp_path: Path
) -> None:
    with pytest.raises(StagingError, match="ENOENT"):
        carried_out(nursery, attribute, tmp_path / "absent")
    assert attribute.read_text() == "before"
    assert left == []

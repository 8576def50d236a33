"""Commands of a plan, run by the real agent behind a socket."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from harness.errors import StagingError, UsageError
from harness.model.command import Command, CommandRecord
from harness.model.pci import Bdf
from harness.model.units import MS, Ns
from harness.staging.part import plan_of
from harness.staging.preparing import prepared
from harness.target.agent import Agent
from harness.target.port import connect
from harness.target.protocol import Target
from tests.unit.agent.test_command import BUSYBOX
from tests.unit.staging.functions import IGB
from tests.unit.target.conftest import peer

__all__ = ["peer"]  # a fixture

ADDRESSES = {"igb0": Bdf.parse("0000:01:00.0")}


@dataclasses.dataclass
class Bringing:
    """A target that has an agent, and a busybox of ours to bring."""

    agent: Agent
    brought: int = 0

    def busybox(self) -> bytes:
        self.brought += 1
        return BUSYBOX


@pytest.fixture
def target(peer: Callable[[], tuple[Path, Any]]) -> Iterator[Bringing]:
    agent = connect(peer()[0], deadline_s=20)
    yield Bringing(agent)
    agent.close()


def run(target: Bringing, *before: Command | tuple[str, ...]) -> Iterator[CommandRecord]:
    plan = plan_of([IGB.reads("sysfs")], title="t", lasting="1s", before=before)
    return prepared(plan, cast(Target, target), ADDRESSES)


def test_without_commands_nothing_is_asked_and_nothing_brought(target: Bringing) -> None:
    target.agent.close()
    assert not list(run(target))
    assert not target.brought


def test_commands_run_in_their_order_and_learn_addresses(target: Bringing) -> None:
    shows = (sys.executable, "-c", "import sys; print(sys.argv[1:])", "/sys/{igb0}/x", "{igb1}", "{}")
    first, second = run(target, shows, Command((sys.executable, "-c", "raise SystemExit(9)"), may_fail=True))
    assert first.output == "['/sys/0000:01:00.0/x', '{igb1}', '{}']\n"
    assert first.argv[3] == "/sys/0000:01:00.0/x"
    assert second.status == 9
    assert first.end_ns <= second.begin_ns
    assert not target.brought


def test_busybox_is_brought_once_when_it_is_named(target: Bringing) -> None:
    with pytest.raises(UsageError, match="Write 'busybox' before"):
        list(run(target, ("hil-applet",)))
    said = [one.output for one in run(target, ("busybox", "ls"), ("busybox", "id"))]
    assert said == ["busybox ls\n", "busybox id\n"]
    assert target.brought == 1


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (
            Command((sys.executable, "-c", "import sys; sys.exit('no such module')")),
            "status 1: no such module",
        ),
        (
            Command((sys.executable, "-c", "import time; time.sleep(60)"), within_ns=Ns(300 * MS)),
            "it did not end within",
        ),
    ],
    ids=["fails", "hangs"],
)
def test_what_fails_is_an_error_of_the_lab_and_nothing_comes_after_it(
    target: Bringing, command: Command, said: str
) -> None:
    ran: list[CommandRecord] = []
    with pytest.raises(StagingError) as raised:
        ran.extend(run(target, ("true",), command, ("true",)))
    assert raised.value.kind == "hil.infra.staging"
    assert said in str(raised.value)
    assert f"running {command} on the target before the stage" in str(raised.value)
    assert "may_fail=True" in str(raised.value)
    assert list(run(target, dataclasses.replace(command, may_fail=True)))

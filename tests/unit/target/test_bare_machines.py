"""A machine that lacks /sys, or hides parts of it, is a machine with fewer facts: no mistake of the agent's."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.agent import machine
from harness.errors import TargetError
from harness.model.pci import Bdf
from harness.pci import sysfs
from harness.target.port import connect
from harness.target.shapes import Fields
from tests.unit.target.conftest import Peer

NOWHERE = "ffff:ff:1f.7"
APART = ("unshare", "--map-root-user", "--mount", "sh", "-c")
WITHOUT_POWERS = 'exec setpriv --bounding-set=-all --inh-caps=-all "$@"'
MACHINES = {
    "without /sys": "mount -t tmpfs none /sys",
    "that hides its tracefs": "mount -t tmpfs none /sys && mkdir -p -m 0 /sys/kernel/tracing",
    "that hides all of it": "mount -t tmpfs -o mode=0 none /sys",
}


@pytest.fixture(params=MACHINES.values(), ids=MACHINES.keys())
def runner(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The command that runs another one on a machine without powers, made bare."""
    words = (*APART, f"{request.param} && {WITHOUT_POWERS}", "sh")
    tried = subprocess.run([*words, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"nothing can be mounted here, not even in a namespace: {tried.stderr.strip()}")
    return words


def test_an_agent_on_a_bare_machine_answers(peer: Callable[..., Peer], runner: tuple[str, ...]) -> None:
    path, _ = peer(*runner)
    agent = connect(path, deadline_s=20)
    facts = Fields("facts", agent.ask("facts"))
    assert facts.text("clocksource").startswith("unreadable: ")
    assert facts.text("release") == platform.release()
    assert facts.flag("tracefs") is False
    assert agent.ask("warm") is True
    assert agent.ask("functions") == []
    for request, more in (("function", {}), ("config_space", {}), ("bind", {"driver_name": "vfio-pci"})):
        with pytest.raises(TargetError):
            agent.ask(request, bdf=NOWHERE, **more)
    agent.close()


def test_every_fact_is_stated_where_nothing_is_told(tmp_path: Path) -> None:
    facts = Fields("facts", machine.facts(tmp_path, tracing=False))
    for name in ("command_line", "boot_id", "clocksource"):
        assert facts.text(name) == "unreadable: No such file or directory"
    assert facts.flag("vfio") is False


def test_a_function_without_a_uio_driver_is_an_error_that_says_so() -> None:
    with pytest.raises(TargetError, match=f"UIO node of {NOWHERE}: there is none. Is a UIO driver bound"):
        sysfs.path_of(Bdf.parse(NOWHERE), "uio")

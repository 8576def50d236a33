"""Commands before a stage, in a real guest: what works, fails, is missing, or is brought; and a shell."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.guest.invocation import cases, command, harness

SCENARIO = r"""
import pytest
from harness.model.command import Command

TALK = "import sys; print(open('/proc/sys/kernel/ostype').read()); sys.exit(3)"

@pytest.mark.dut("igb0")
def test_a_target_is_made_ready(dut, stage):
    run = stage(
        dut.reads("sysfs"), dut.resets("flr", at="50ms"), lasting="300ms", meets=1,
        before=[
            ("python3", "-c", "print(open('/sys/bus/pci/devices/{igb0}/vendor').read())"),
            ("busybox", "sh", "-c", "ls /proc/self | wc -l"),
            Command(("python3", "-c", TALK), may_fail=True),
            Command(("busybox", "sleep", "60"), within_ns=500_000_000, may_fail=True),
        ],
    )

@pytest.mark.dut("igb0")
def test_a_command_fails(dut, stage):
    stage(dut.reads("sysfs"), lasting="50ms", before=[("python3", "-c", TALK)])

@pytest.mark.dut("igb0")
def test_a_command_is_missing(dut, stage):
    stage(dut.reads("sysfs"), lasting="50ms", before=[("lspci", "-D")])
"""


@pytest.mark.usefixtures("place")
def test_commands_run_before_a_stage(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(SCENARIO)
    run = harness("run", "test_mine.py", cwd=tmp_path)
    found = cases(run.report())

    ready = found["test_a_target_is_made_ready[igb0]"]
    assert not list(ready.iter("error")) + list(ready.iter("failure")), run.said
    (history,) = run.histories().values()
    assert [one.argv[0] for one in history.plan.before] == ["python3", "busybox", "python3", "busybox"]
    vendor, shell, failed, slow = history.commands
    assert (vendor.status, vendor.output) == (0, "0x8086\n\n")
    assert vendor.argv[2].count(history.functions[0].bdf) == 1, (
        "the plan names the function, the command its address"
    )
    assert (shell.status, int(shell.output) > 20) == (0, True)
    assert (failed.status, failed.output) == (3, "Linux\n\n")
    assert slow.status is None
    assert all(one.end_ns < history.begin_ns for one in history.commands)

    (error,) = found["test_a_command_fails[igb0]"].iter("error")
    assert error.get("type") == "hil.infra.staging"
    assert "on the target before the stage: it ended with status 3: Linux" in str(error.get("message"))
    assert "python3 -c" in str(error.get("message"))

    (error,) = found["test_a_command_is_missing[igb0]"].iter("error")
    assert error.get("type") == "hil.usage"
    assert "running lspci -D on the target: no such program on the target" in str(error.get("message"))
    assert "python3" in str(error.get("message"))
    assert "'busybox'" in str(error.get("message"))


@pytest.mark.usefixtures("place")
def test_a_shell_carries_what_is_typed(tmp_path: Path) -> None:
    typed = "echo $((40+2)) is; ls /proc/self/comm; busybox id -un\n"
    run = subprocess.run(
        command("shell"), cwd=tmp_path, input=typed, capture_output=True, text=True, timeout=300, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "42 is" in run.stdout
    assert "/proc/self/comm" in run.stdout.splitlines()
    assert "igb0" in run.stderr, "says where functions are"

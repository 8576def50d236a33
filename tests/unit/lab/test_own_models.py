"""Models of one's own: where they are plugged, and what is refused before anything is fetched."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import ModelError, UsageError
from harness.lab.models.user_models import contents, parsed, with_own_models
from harness.lab.qemu.command_line import Boot, Memory, Wiring, arguments
from harness.lab.qemu.machine import Machine, Placement

MODEL = """
import sys

from harness.lab.models.endpoint import endpoint

def mine(clock):
    return endpoint(clock)

def raises(clock):
    raise KeyError("bar7")

def nothing(clock):
    pass

def leaves(clock):
    sys.exit(0)

NUMBER = 1
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(MODEL)
    return path


def booted(machine: Machine) -> list[str]:
    """What a template is made from: the command line of QEMU."""
    boot = Boot(kernel=Path("/k"), root=Path("/r"), pvh=True)
    wiring = Wiring(console=Path("/c"), qmp_descriptor=5, rpc_descriptor=6, ram=Path("/m"))
    return arguments(machine, boot, wiring, Memory.SHARED_FILE)


def test_each_takes_an_empty_port_and_the_machine_that_boots_stays_the_same(file: Path) -> None:
    plain = Machine()
    names = [f"mine{number}={file}:mine" for number in range(len(plain.empty_ports))]
    machine = with_own_models(plain, names)
    assert machine.ports == plain.ports
    assert booted(machine) == booted(plain)
    for number, port in enumerate(plain.empty_ports):
        one = machine.function(f"mine{number}")
        assert (one.port_name, one.placement) == (port, Placement.HOT_PLUG)
        assert one.served == f"{file}:mine"
        assert machine.port_bdf(one.alias) == plain.port_bdf(port)
        assert machine.plug_arguments(one.alias)[0]["bus"] == f"port.{port}"


def test_there_are_at_least_two_empty_ports_and_no_more_models_than_ports(file: Path) -> None:
    count = len(Machine().empty_ports)
    assert count >= 2
    with pytest.raises(UsageError, match=rf"{count + 1} models.*{count} empty ports"):
        with_own_models(Machine(), [f"mine{number}={file}:mine" for number in range(count + 1)])


def test_a_path_is_made_absolute(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    assert parsed("mine0=mine.py:mine") == ("mine0", f"{file}:mine")


def test_what_is_tested_is_told_by_the_contents_of_the_file(file: Path) -> None:
    (before,) = contents([f"mine0={file}:mine"])
    file.write_text(MODEL + "\n")
    (after,) = contents([f"mine0={file}:mine"])
    assert before.startswith("mine0-")
    assert after.startswith("mine0-")
    assert before != after


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mine0", "not of the form ALIAS=FILE.py:CALLABLE"),
        ("mine0={file}", "not of the form"),
        ("={file}:mine", "not of the form"),
        ("mine.port={file}:mine", "not of the form"),
        ("mine0=:mine", "not of the form"),
        ("mine0={file}:", "not of the form"),
        ("mine0={file}.absent:mine", "no file"),
        ("mine0={file}:absent", "no attribute 'absent'.*called with a clock"),
        ("mine0={file}:NUMBER", "NUMBER is a int, not callable"),
        ("mine0={file}:raises", r"raises raised KeyError: 'bar7' \(line 10 of mine.py\)"),
        ("mine0={file}:leaves", r"leaves raised SystemExit: 0 \(line 16 of mine.py\)"),
        ("mine0={file}:nothing", "nothing returned a NoneType"),
        ("nvme0={file}:mine", "there is a function nvme0 already.*another alias"),
    ],
)
def test_what_cannot_be_served_is_refused_with_what_to_do(file: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        with_own_models(Machine(), [text.format(file=file)])
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import sys\n\nsys.exit(0)\n", r"SystemExit: 0 \(line 3 of mine.py\)"),
        ("\n1 / 0\n", r"ZeroDivisionError: division by zero \(line 2 of mine.py\)"),
        ("def mine(:\n", r"SyntaxError: .*\(mine.py, line 1\)\. It"),
    ],
    ids=["ends the program", "raises", "no Python"],
)
def test_a_file_that_cannot_be_run_is_refused_with_its_line(file: Path, text: str, said: str) -> None:
    """One that ends the program would end the run, with its status: 0 is what a good kernel gets."""
    file.write_text(text)
    with pytest.raises(UsageError, match=said):
        parsed(f"mine0={file}:mine")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\nwhile True: pass\n", r"not returned from its loading .*line 2 of mine.py"),
        (
            "import os\n\ndef mine(clock):\n    os._exit(0)\n",
            "it ended the program with status 0 in its loading",
        ),
    ],
    ids=["loops", "ends the program"],
)
def test_one_that_says_nothing_any_more_is_told_and_takes_nobody_with_it(
    file: Path, text: str, said: str
) -> None:
    file.write_text(text)
    with pytest.raises(ModelError, match=rf"model mine0 \({file}:mine\): .*{said}"):
        parsed(f"mine0={file}:mine")


def test_two_models_cannot_share_an_alias(file: Path) -> None:
    with pytest.raises(UsageError, match="there is a function mine0 already"):
        with_own_models(Machine(), [f"mine0={file}:mine"] * 2)

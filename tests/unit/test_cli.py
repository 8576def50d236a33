"""The command `harness`: a user's mistake is one line and the right exit status, never a traceback."""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import __version__, cli, supervisor
from harness.errors import GuestError
from harness.history.container import from_bytes, to_bytes
from harness.journal.lines import to_line
from harness.journal.record import SessionStart
from harness.lab.figures.synthetic import synthetic
from harness.lab.kernel.find import Kernel
from harness.results import JUNIT
from tests.tools import tool
from tests.unit.lab.test_modules import elf

GOLDEN = Path(__file__).parents[1] / "golden" / "history" / "v1.history.zip"
USAGE, NOTHING_SAID = 2, 125


def commands() -> list[str]:
    (found,) = [action for action in cli._parser()._actions if isinstance(action, argparse._SubParsersAction)]
    return list(found.choices)


def mistake(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Run a command that cannot work: its status and the only line that it says."""
    status = cli.main(list(arguments))
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert line.startswith("harness: ")
    assert said.out == ""
    return status, line.removeprefix("harness: ")


def test_the_version_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"vfio-harness {__version__}\n"


@pytest.mark.parametrize("command", commands())
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main([command, "--help"])
    assert end.value.code == 0
    assert f"harness {command}" in capsys.readouterr().out


def test_the_help_lists_every_command_with_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    help_text = capsys.readouterr().out
    for command in commands():
        assert re.search(rf"^    {command}\s", help_text, re.MULTILINE)
    assert "125 nothing could be said" in " ".join(help_text.split())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "required: COMMAND"),
        (["dance"], "invalid choice: 'dance'"),
        (["judge"], "required: HISTORY"),
        (["cache", "--older-than-days", "soon"], "invalid float value: 'soon'"),
        (["run", "--results"], "expected one argument"),
    ],
)
def test_what_cannot_be_parsed_is_usage(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert end.value.code == USAGE
    last = capsys.readouterr().err.splitlines()[-1]
    assert says in last


@pytest.mark.parametrize("arguments", [["judge", "--nosuch", "x"], ["report", "a", "b"], ["cache", "--verb"]])
def test_options_that_a_command_does_not_know_are_usage(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    status, said = mistake(capsys, *arguments)
    assert status == USAGE
    assert re.fullmatch(
        rf"harness {arguments[0]} \S+: not understood\. +See harness {arguments[0]} --help\.", said
    )


def test_an_option_may_not_be_abbreviated(capsys: pytest.CaptureFixture[str]) -> None:
    """What is an abbreviation today is ambiguous tomorrow."""
    assert mistake(capsys, "judge", "--time", str(GOLDEN))[0] == USAGE


@pytest.mark.parametrize("errors", [subprocess.PIPE, subprocess.STDOUT], ids=["stdout", "both"])
@pytest.mark.parametrize(
    "arguments", [("judge", str(GOLDEN)), ("judge", "absent"), ("--version",)], ids=["long", "error", "short"]
)
def test_a_reader_that_goes_is_no_broken_promise(errors: int, arguments: tuple[str, ...]) -> None:
    """`harness judge … 2>&1 | head`: no traceback, and never 1, which says that a promise was broken."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "harness.cli", *arguments],
            stdout=writing,
            stderr=errors,
            text=True,
            check=False,
            timeout=60,
        )
    finally:
        os.close(writing)
    assert "Traceback" not in (done.stderr or "")
    assert done.returncode != 1


@pytest.mark.parametrize(
    "arguments", [["test_absent.py"], ["-x", "-k", "a", "absent/test_b.py::test_c[igb0]", "-n", "2"]]
)
def test_a_test_file_that_is_not_there_is_told_before_the_lab_is_made(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(supervisor, "_lab", lambda _: pytest.fail("the lab was made"))
    status, said = mistake(capsys, "run", *arguments)
    assert status == USAGE
    assert f"there is no file {tmp_path}/" in said
    assert "hil.infra" in (tmp_path / "hil-results" / JUNIT).read_text()


def test_a_value_of_an_option_need_not_be_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments in (["--deselect", "absent.py"], ["--ignore=absent.py"], ["-k", "absent.py"], ["flr"]):
        supervisor._refuse_absent(arguments)


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Makes a history of a kernel with modules of the user's own; nothing is staged."""
    monkeypatch.setattr(supervisor, "supervise", lambda *_: 0)

    def make(own: str) -> Path:
        history = from_bytes(GOLDEN.read_bytes())
        provenance = {
            **history.provenance,
            "kernel.release": "6.12.117+deb13-amd64",
            "kernel.own_modules": own,
        }
        path = tmp_path / "some.history.zip"
        path.write_bytes(to_bytes(dataclasses.replace(history, provenance=provenance)))
        return path

    return make


@pytest.mark.parametrize(
    ("own", "named", "said"),
    [
        ("", [], "6.12.117+deb13-amd64"),
        ("ipr-741f52dc4420", ["ipr.ko"], "6.12.117+deb13-amd64 with ipr-741f52dc4420"),
        ("ipr-741f52dc4420", [], "6.12.117+deb13-amd64 with ipr-741f52dc4420; no --module is named now"),
    ],
    ids=["stock", "patched", "patched, and stock now"],
)
def test_a_replay_says_what_it_was_recorded_on(
    own: str,
    named: list[str],
    said: str,
    recorded: Callable[[str], Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is staged now may be another kernel, and a stock driver in the place of a patched one."""
    path = recorded(own)
    assert cli.main(["replay", str(path), *(f"--module={name}" for name in named)]) == 0
    assert capsys.readouterr().err == f"harness: {path} was recorded on kernel {said}\n"


def test_a_report_says_in_words_what_it_comes_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "journal.jsonl").write_bytes(to_line(SessionStart()))
    assert cli.main(["report", str(tmp_path)]) == NOTHING_SAID
    assert "exit status 125: no failure, but not everything has a verdict" in capsys.readouterr().out


@pytest.mark.parametrize(
    "content", [b"rubbish\n", b"{}\n", b'{"record":"dance"}\n', b"\x89PNG\r\n\x1a\n", b"PK\x03\x04"]
)
def test_no_report_is_made_of_what_is_no_journal(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would tell of a runner with pid 0 that died in 1970."""
    (tmp_path / "journal.jsonl").write_bytes(content)
    status, said = mistake(capsys, "report", str(tmp_path))
    assert (status, "holds no record of a session" in said) == (USAGE, True)
    assert not (tmp_path / JUNIT).exists()


@pytest.mark.parametrize("command", ["judge", "replay"])
def test_a_history_that_is_not_there_is_usage(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, said = mistake(capsys, command, str(tmp_path / "absent"))
    assert (status, said) == (USAGE, f"history {tmp_path}/absent: No such file or directory")
    status, said = mistake(capsys, command, str(tmp_path))
    assert (status, said) == (USAGE, f"history {tmp_path}: Is a directory")


@pytest.mark.parametrize("command", ["judge", "replay"])
@pytest.mark.parametrize(
    "content", [b"", b"garbage", GOLDEN.read_bytes()[:5000]], ids=["empty", "text", "cut"]
)
def test_a_history_that_is_none_says_nothing_and_is_named(
    command: str, content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "some.history.zip"
    path.write_bytes(content)
    status, said = mistake(capsys, command, str(path))
    assert status == NOTHING_SAID
    assert said.startswith(f"history {path}: damaged: ")


def test_a_history_of_an_unknown_kernel_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "some.history.zip"
    history = from_bytes(GOLDEN.read_bytes())
    history.provenance.clear()
    path.write_bytes(to_bytes(history))
    status, said = mistake(capsys, "judge", str(path))
    assert status == NOTHING_SAID
    assert "kernel release ''" in said


def test_the_worst_of_several_histories_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nothing_met = tmp_path / "unknown.history.zip"
    nothing_met.write_bytes(to_bytes(synthetic(40)))
    assert cli.main(["judge", str(GOLDEN)]) == 0
    assert cli.main(["judge", str(nothing_met), str(GOLDEN)]) == NOTHING_SAID
    assert "UNKNOWN  synthetic" in capsys.readouterr().out


def test_a_picture_is_drawn_on_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "timeline.svg"
    assert cli.main(["judge", "--timeline", "--svg", str(picture), str(GOLDEN)]) == 0
    assert picture.read_bytes().startswith(b"<")
    assert "ms after release" in capsys.readouterr().out


def test_a_picture_that_cannot_be_written_is_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["judge", str(GOLDEN), "--svg", str(tmp_path / "absent" / "x.svg")]) == USAGE
    said = capsys.readouterr().err
    assert said == f"harness: writing {tmp_path}/absent/x.svg: No such file or directory\n"


def test_a_report_without_a_run_is_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = mistake(capsys, "report", str(tmp_path))
    assert status == USAGE
    assert str(tmp_path) in said


def test_results_that_cannot_be_written_are_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocked = tmp_path / "results"
    blocked.touch()
    status, said = mistake(capsys, "run", "--results", str(blocked))
    assert status == USAGE
    assert said == f"results folder {blocked}: File exists. Name one with --results DIR."


def test_results_that_somebody_else_owns_are_usage(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else; run it as root")
    tool("setpriv", package="util-linux")
    program = (
        f"import sys; sys.path[:0] = {sys.path!r}; from harness import cli; sys.exit(cli.main(sys.argv[1:]))"
    )
    tmp_path.chmod(0o755)
    probe = subprocess.run(
        [
            "setpriv",
            "--reuid",
            "65534",
            "--clear-groups",
            sys.executable,
            "-c",
            "import numpy, harness.errors",
        ],
        capture_output=True,
        check=False,
    )
    if probe.returncode != 0:
        pytest.skip("this Python or this checkout cannot be read by others")
    done = subprocess.run(
        [
            "setpriv",
            "--reuid",
            "65534",
            "--clear-groups",
            sys.executable,
            "-c",
            program,
            "run",
            "--results",
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == USAGE
    assert "Permission denied" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("wishes", "says"),
    [
        (["--modules", "/etc"], "they need their kernel. Add --kernel PATH"),
        (["--kernel", "/nonexistent"], "reading the kernel /nonexistent: No such file or directory"),
        (["--module", "/nonexistent.ko"], "No such file or directory. Name the FILE.ko that make has left."),
        (
            ["--kernels", "6.1,7.x", "--module", "/x.ko"],
            "run the others without it or with their own.",
        ),
    ],
)
def test_a_lab_that_cannot_be_had_is_one_line_and_a_red_report(
    wishes: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", *wishes, "--results", str(tmp_path)]) == USAGE
    assert capsys.readouterr().err.splitlines()[-1].endswith(says)
    assert b"<error" in (tmp_path / JUNIT).read_bytes()


def test_a_bug_of_ours_is_no_broken_promise(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Python would exit with 1, which `git bisect run` takes for a bad commit."""
    monkeypatch.setattr(cli, "_read", lambda _: 1 / 0)
    assert cli.main(["judge", "x"]) == NOTHING_SAID
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_the_last_line_is_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: Path) -> None:
        raise GuestError(
            "booting", said="no answer", hint="Look at it", evidence="last words\nof the console"
        )

    monkeypatch.setattr(cli, "_read", fail)
    assert cli.main(["judge", "x"]) == NOTHING_SAID
    assert capsys.readouterr().err.splitlines() == [
        "last words",
        "of the console",
        "harness: booting: no answer. Look at it",
    ]


def test_ctrl_c_says_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(_: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_read", interrupt)
    assert mistake(capsys, "judge", "x") == (NOTHING_SAID, "stopped by the user")


def test_a_run_is_known_by_its_kernel_and_modules_so_that_no_other_build_resumes_it(tmp_path: Path) -> None:
    image, module = tmp_path / "bzImage", tmp_path / "ipr.ko"
    kernel = Kernel(image=image, modules=None, release="6.12.0", package="", config={}, debug=False)
    options = argparse.Namespace(hil_kernels=None, hil_kernel=None, hil_models=[], hil_own_modules=[module])
    found = []
    for built, info in (
        (b"kernel", "name=ipr vermagic=6.12.0"),
        (b"kernel", "name=ipr vermagic=6.12.0 mine=y"),
        (b"another", "name=ipr vermagic=6.12.0"),
    ):
        image.write_bytes(built)
        module.write_bytes(elf(info))
        found.append(",".join((supervisor._known(kernel), *supervisor._parts_of_own(options))))
    for text in found:
        assert re.fullmatch(r"6\.12\.0-[0-9a-f]{12},ipr-[0-9a-f]{12}", text)
    assert len(set(found)) == 3

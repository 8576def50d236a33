"""The table of exit statuses in docs/statuses.md: each of its rows happens here, in processes of its own.

No lab is made: whatever would fetch a part of one finds nobody, so that a status of 2 shows that nothing was tried.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from harness import cli
from harness.history.container import to_bytes
from harness.lab.figures.synthetic import synthetic
from harness.model.exit_status import ExitStatus
from tests.unit.report.histories import read_in_lock_window

ROOT: Final = Path(__file__).parents[2]
GOOD_HISTORY: Final = ROOT / "tests" / "golden" / "history" / "v4.history.zip"
PYTEST: Final = ("pytest", "--hil-results=hil-results", "-p", "no:cacheprovider", "-q")
DEADLINE_S: Final = 120
ROWS: Final = tuple(
    (int(status), when)
    for status, when in re.findall(
        r"^\| (\d+) \| (.+) \|$", (ROOT / "docs" / "statuses.md").read_text(), re.MULTILINE
    )
)

Row = Callable[["Desk"], list[Any]]
CASES: Final[dict[str, Row]] = {}


class Desk:
    """Where a user sits: a folder, a shell, and no network."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester, self.folder = pytester, pytester.path
        self.set("PYTHONPATH", f"{ROOT}:{self.folder}")
        self.set("VFIO_HARNESS_CACHE", str(self.folder / "cache"))
        self.set("VFIO_HARNESS_MIRROR", "http://127.0.0.1:9/debian")
        self.set("no_proxy", "127.0.0.1")
        pytester.syspathinsert()

    def set(self, name: str, value: str) -> None:
        self.pytester._monkeypatch.setenv(name, value)

    def file(self, name: str, text: str | bytes) -> str:
        data = text.encode() if isinstance(text, str) else text
        (self.folder / name).write_bytes(data)
        return name

    def start(self, module: str, *arguments: str, redirected: str = "") -> subprocess.Popen[str]:
        """A command in a process group of its own, as a shell starts it."""
        return subprocess.Popen(
            ["sh", "-c", f'exec "$@" {redirected}', "sh", sys.executable, "-P", "-m", module, *arguments],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def harness(self, *arguments: str, redirected: str = "") -> int:
        """A command: what goes wrong is one line, never a traceback."""
        if redirected:
            process = self.start("harness.cli", *arguments, redirected=redirected)
            _, errors = process.communicate(timeout=DEADLINE_S)
            status = process.returncode
        else:
            heard = io.StringIO()
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(heard):
                try:
                    status = cli.main(arguments)
                except SystemExit as end:
                    status = int(end.code or 0)
            errors = heard.getvalue()
        said = [line for line in errors.splitlines() if line.startswith("harness: ")]
        said = [line for line in said if "was recorded on" not in line and "earlier run" not in line]
        assert "Traceback" not in errors
        assert len(said) <= 1
        assert said or status != ExitStatus.USAGE or "2>" in redirected
        return status

    def suite(self, text: str, *arguments: str) -> int:
        """A suite of the user's own that consists of this."""
        return self.pytest(self.file("test_it.py", text), *arguments)

    def pytest(self, *arguments: str) -> int:
        """A suite of the user's own; beside xdist pytest-rerunfailures keeps a socket of each session open."""
        alone = ("-p", "no:rerunfailures")
        return int(self.pytester.runpytest_inprocess(*PYTEST[1:], *alone, *arguments).ret)

    def suite_apart(self, text: str, *arguments: str, redirected: str = "") -> int:
        """The same in a process that may end itself."""
        process = self.start(*PYTEST, self.file("test_it.py", text), *arguments, redirected=redirected)
        process.communicate(timeout=DEADLINE_S)
        return process.returncode

    def interrupted(self, times: int, text: str, *command: str) -> int:
        """A command on a suite, which is sent SIGINT whenever the suite has made a file with the next number."""
        begun = [self.folder / str(number) for number in range(times)]
        for file in begun:
            file.unlink(missing_ok=True)
        process = self.start(*command, self.file("test_it.py", SLOW + text))
        for file in begun:
            until(file.exists)
            os.killpg(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=DEADLINE_S)
        assert "Traceback" not in output + errors
        return process.returncode


SLOW = """
import pathlib, time, pytest
def slow(number):
    pathlib.Path(str(number)).touch()
    time.sleep(60)
"""


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def row(when: str) -> Callable[[Row], Row]:
    def note(case: Row) -> Row:
        CASES[when] = case
        return case

    return note


def test_every_row_of_the_table_has_a_case_and_every_status_of_ours_a_row() -> None:
    assert [when for _, when in ROWS] == list(CASES)
    assert {status for status, _ in ROWS} == set(ExitStatus)


@pytest.mark.parametrize(("status", "when"), ROWS, ids=[f"{status}-{when[:50]}" for status, when in ROWS])
def test_what_the_table_says_is_so(status: int, when: str, pytester: pytest.Pytester) -> None:
    found = CASES[when](Desk(pytester))
    assert found == [status] * len(found)


# --- 0 ----------------------------------------------------------------------------------------------------


@row("every test passed, was skipped, or met a known weakness as expected")
def good(desk: Desk) -> list[int]:
    return [
        desk.suite(
            """
            import pytest
            def test_good(): pass
            def test_skipped(): pytest.skip("not here")
            @pytest.mark.xfail
            def test_known(): assert 0
            """.replace("\n            ", "\n")
        )
    ]


@row("`harness judge`: every history is judged PASS")
def judged_pass(desk: Desk) -> list[int]:
    return [desk.harness("judge", str(GOOD_HISTORY))]


@row("something was only looked at: `--help`, `--version`, `--collect-only`")
def looked_at(desk: Desk) -> list[int]:
    desk.file("test_it.py", "def test_bad(): assert 0")
    found = [
        desk.harness("--version"),
        desk.harness("run", "--help"),
        desk.harness("run", "--collect-only"),
        desk.harness("run", "test_it.py", "--collect-only"),
        desk.pytest("--collect-only", "test_it.py"),
    ]
    assert [path.name for path in desk.folder.iterdir() if path.name != "__pycache__"] == ["test_it.py"]
    return found


# --- 1 ----------------------------------------------------------------------------------------------------

STAGED = """
import pytest
from harness.plugin import verdicts
from tests.unit.report.histories import read_in_lock_window
def fail():
    history, judgement = read_in_lock_window()
    raise verdicts.StageFailed(judgement, history)
@pytest.fixture
def fails(): fail()
@pytest.fixture
def fails_late():
    yield
    fail()
@pytest.fixture
def loses():
    yield
    raise verdicts.FunctionLost("igb0 answers no more")
"""


@row("a stage was judged FAIL, or a function was lost, wherever that was noticed")
def staged(desk: Desk) -> list[int]:
    tests = ("(): fail()", "(fails): pass", "(fails_late): pass", "(loses): pass")
    return [desk.suite(f"{STAGED}\ndef test_it{test}") for test in tests]


@row("an assertion or `pytest.fail` failed in the body of a test, or in what it calls")
def body(desk: Desk) -> list[int]:
    return [
        desk.suite("def test_it(): assert 0"),
        desk.suite("import pytest\ndef helper(): pytest.fail('no')\ndef test_it(): helper()"),
        desk.suite("import pytest\ndef test_it():\n with pytest.raises(KeyError): pass", "-n1"),
        desk.suite("import unittest\nclass T(unittest.TestCase):\n def test_it(self): self.assertTrue(0)"),
        desk.suite("def test_it(): raise ExceptionGroup('two', [ValueError(), AssertionError()])"),
        desk.suite("def test_bad(): assert 0\ndef test_later(): pass", "-x"),
    ]


@row("a weakness that was expected for certain (`xfail(strict=True)`) is gone")
def gone(desk: Desk) -> list[int]:
    return [desk.suite("import pytest\n@pytest.mark.xfail(strict=True)\ndef test_it(): pass")]


@row("`harness judge`: a history is judged FAIL")
def judged_fail(desk: Desk) -> list[int]:
    history, _ = read_in_lock_window()
    return [desk.harness("judge", str(GOOD_HISTORY), desk.file("bad.history.zip", to_bytes(history)))]


# --- 2 ----------------------------------------------------------------------------------------------------


@row("an option or a word is not understood")
def not_understood(desk: Desk) -> list[int]:
    desk.file("test_it.py", "def test_it(): pass")
    return [
        desk.harness("dance"),
        desk.harness("judge"),
        desk.harness("report", "--frobnicate"),
        desk.harness("run", "--frobnicate"),
        desk.harness("run", "-k", "(("),
        desk.harness("soak", "flr", "--for", "ever"),
        desk.harness("fuzz", "--plans", "5"),
        desk.harness("fuzz", "--seed", "five"),
        desk.harness("fuzz", "--seed", "5", "--plans", "0"),
        desk.harness("fuzz", "--seed", "5", "--plans", "5", "--for", "5s"),
        desk.pytest("test_it.py", "-k", "(("),
    ]


@row("a word or a value is empty, as of a variable that is not set")
def empty(desk: Desk) -> list[int]:
    options = ("results", "kernel", "qemu", "modules", "module", "model", "kernels", "gdb")
    return [
        *(desk.harness("run", f"--{name}", "") for name in options),
        *(desk.harness("run", *words) for words in (("",), ("-k", ""), ("-m", ""), ("--deselect=",))),
        desk.harness("judge", ""),
        desk.harness("report", ""),
        desk.harness("replay", ""),
        desk.harness("make", ""),
        desk.harness("shell", "--plug="),
        desk.harness("soak", "", "--for", "1s"),
        desk.harness("soak", "flr", "--for", ""),
        desk.harness("fuzz", "--seed", ""),
        desk.harness("soak", "flr", "--for", "1s", "--baseline", ""),
    ]


@row("the selection selects nothing: `-k`, `-m`, a folder without tests, a scenario that is not there")
def nothing(desk: Desk) -> list[int]:
    desk.file("test_it.py", "def test_it(): pass")
    (desk.folder / "bare").mkdir()
    return [
        desk.harness("run", "-k", "no_such_scenario"),
        desk.harness("run", "test_it.py", "-m", "no_such_marker"),
        desk.harness("run", "-n", "2", "bare"),
        desk.harness("soak", "no_such_scenario", "--for", "1s"),
        desk.harness("replay", str(GOOD_HISTORY), "-k", "no_such_test"),
        desk.pytest("test_it.py", "-k", "no_such_test"),
        desk.pytest("-n1", "bare"),
    ]


@row("a file that is named is not there: history, results, test")
def absent(desk: Desk) -> list[int]:
    return [
        desk.harness("judge", "absent.history.zip"),
        desk.harness("replay", "absent.history.zip"),
        desk.harness("report", "absent"),
        desk.harness("run", "absent.py"),
        desk.harness("run", "absent/"),
        desk.harness("soak", "absent.py", "--for", "1s"),
        desk.pytest("absent.py"),
    ]


@row("`--qemu` or `--kernel` names what is none, or a QEMU that is too old")
def wrong_lab(desk: Desk) -> list[int]:
    for name, script in (
        ("old", "echo QEMU emulator version 7.2.0"),
        ("claims", "echo QEMU emulator version 11.1.0"),
        ("mute", "cat"),
    ):
        desk.file(name, f"#!/bin/sh\n{script}\n")
        (desk.folder / name).chmod(0o755)
    desk.file("plain", "text")
    wrong = ("/bin/true", "/", "absent", "plain", "old", "claims", "mute")
    return [
        *(desk.harness("setup", "--qemu", name) for name in wrong),
        desk.harness("run", "--qemu", "/bin/true", "-k", "two_endless"),
        *(desk.harness("setup", "--kernel", name) for name in ("/", "absent", "plain")),
    ]


@row("the results folder cannot be made")
def no_results(desk: Desk) -> list[int]:
    desk.file("hil-results", "a file")
    return [desk.harness("run")]


@row("`harness shell`: standard input is neither a terminal nor a pipe")
def no_terminal(desk: Desk) -> list[int]:
    return [desk.harness("shell", redirected=where) for where in ("</dev/null", "<&-")]


@row("the body of a test asks for something that cannot be meant (`hil.usage`)")
def meant(desk: Desk) -> list[int]:
    raises = "from harness.errors import UsageError\ndef test_it(): raise UsageError('width 3')"
    return [desk.suite(raises)]


# --- 125 --------------------------------------------------------------------------------------------------


@row("the verdict is UNKNOWN, or evidence cannot be read")
def unknown(desk: Desk) -> list[int]:
    return [
        desk.harness("judge", str(GOOD_HISTORY), desk.file("unknown.history.zip", to_bytes(synthetic(40)))),
        desk.harness("judge", desk.file("junk.history.zip", "junk")),
    ]


@row("there is no lab: something could not be fetched or built, or there is no home folder for the cache")
def no_lab(desk: Desk) -> list[int]:
    found = [desk.harness("run", "-k", "two_endless")]
    for cache in ("/a:b", "/a$b", "~nobody_of_that_name/a"):
        desk.set("VFIO_HARNESS_CACHE", cache)
        found.append(desk.harness("setup"))
    return found


AROUND = """
import pytest, unittest
@pytest.fixture
def asserts(): assert 0
@pytest.fixture
def fails(): pytest.fail("no")
@pytest.fixture
def asserts_late():
    yield
    assert 0
@pytest.fixture(scope="session")
def fails_late():
    yield
    pytest.fail("no")
@pytest.fixture(scope="session")
def too_broad(asserts): pass
"""


@row("set-up or tear-down fails, whatever the exception: a fixture, its scope, `setUp`, a hook")
def around(desk: Desk) -> list[int]:
    tests = (
        *(
            f"def test_it({name}): pass"
            for name in ("asserts", "fails", "asserts_late", "fails_late", "too_broad")
        ),
        "def test_it(request): request.getfixturevalue('asserts')",
        "def test_it(request): request.getfixturevalue('too_broad')",
        "def test_it(request): request.addfinalizer(lambda: pytest.fail('no'))",
        "@pytest.mark.xfail\ndef test_it(asserts): pass",
        "class T(unittest.TestCase):\n def setUp(self): assert 0\n def test_it(self): pass",
        "class T(unittest.TestCase):\n def tearDown(self): self.fail()\n def test_it(self): pass",
        "class T(unittest.TestCase):\n def test_it(self): self.addCleanup(self.fail)",
        "class T(unittest.IsolatedAsyncioTestCase):\n async def asyncSetUp(self): assert 0\n def test_it(self): 0",
        "class TestIt:\n def setup_method(self): assert 0\n def test_it(self): pass",
    )
    found = [desk.suite(f"{AROUND}\n{test}") for test in tests]
    desk.file("conftest.py", "def pytest_runtest_call(item): assert 0")
    return [*found, desk.suite("def test_it(): pass")]


@row("the body of a test raises anything but an assertion")
def raised(desk: Desk) -> list[int]:
    return [desk.suite("def test_it(): raise ValueError"), desk.suite("def test_it(): int('x')", "-n1")]


@row("a time limit of pytest-timeout is over, by any of its methods")
def time_limit(desk: Desk) -> list[int]:
    sleeps = "import time\ndef test_it(): time.sleep(60)"
    insists = "import time\ndef test_it():\n try: time.sleep(60)\n finally: assert 0"
    return [
        desk.suite(sleeps, "--timeout=0.5", "--timeout-method=signal"),
        desk.suite(insists, "--timeout=0.5", "--timeout-method=signal"),
        desk.suite_apart(sleeps, "--timeout=0.5", "--timeout-method=thread"),
        desk.suite("def test_a(): pass\ndef test_b(): pass", "--session-timeout=0.0001"),
    ]


@row("a module cannot be collected, or a `conftest.py` not be imported")
def not_collected(desk: Desk) -> list[int]:
    found = [
        desk.suite("assert 0"),
        desk.suite("import nowhere", "-n1"),
        desk.suite("def test_it(): pass\nraise SystemExit(1)"),
    ]
    desk.file("conftest.py", "import nowhere")
    return [*found, desk.suite_apart("def test_it(): pass")]


@row("pytest itself, or a plugin, breaks")
def breaks(desk: Desk) -> list[int]:
    hooks = (
        "configure",
        "collection_modifyitems",
        "runtest_logreport",
        "terminal_summary",
        "sessionfinish",
        "unconfigure",
    )
    found = []
    for hook in hooks:
        desk.file("broken.py", f"def pytest_{hook}(): raise AssertionError")
        found.append(desk.suite("def test_it(): pass", "-p", "broken"))
    desk.file("broken.py", "import sys\ndef pytest_sessionfinish(): sys.exit(1)")
    return [*found, desk.suite("def test_it(): pass", "-p", "broken")]


@row("a test ends the process (`os._exit`, `sys.exit`, `pytest.exit`), or a worker is killed")
def ends(desk: Desk) -> list[int]:
    return [
        desk.suite_apart("import os\ndef test_it(): os._exit(0)"),
        desk.suite_apart("import os\ndef test_it(): os._exit(1)"),
        desk.suite("import sys\ndef test_it(): sys.exit(1)"),
        desk.suite("import pytest\ndef test_it(): pytest.exit('no', returncode=1)"),
        desk.suite_apart("import os\ndef test_it(): os.kill(os.getpid(), 9)", "-n1"),
    ]


@row("the session stops before its end, and nothing failed so far: `-x`, `--maxfail`, too many second tries")
def stops(desk: Desk) -> list[int]:
    two = "def test_a(): raise ValueError\ndef test_b(): pass"
    return [desk.suite(two, "-x"), desk.suite(two, "--maxfail=1", "-n1")]


@row("the user stops it: Ctrl-C, once or more often, early or late")
def stopped(desk: Desk) -> list[int]:
    def early() -> int:
        """Before Python is up."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # as its supervisor does
        process = desk.start("harness.supervised", "--version")
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=DEADLINE_S)
        assert errors == "harness: stopped by the user\n"
        return process.returncode

    body = "def test_it(): slow(0)"
    twice = (
        "@pytest.fixture\ndef waits():\n yield\n slow(1)\ndef test_it(waits): slow(0)\ndef test_later(): pass"
    )
    return [
        early(),
        desk.interrupted(1, "slow(0)", "harness.cli", "run"),  # while it is collected
        desk.interrupted(1, body, *PYTEST),
        desk.interrupted(2, twice, *PYTEST),
    ]


@row("standard output is closed, full, or read by nobody")
def unheard(desk: Desk) -> list[int]:
    history, good = str(GOOD_HISTORY), "def test_it(): pass"
    redirections = (">&-", ">/dev/full", ">/dev/full 2>&1", ">&- 2>&-")
    found = [desk.harness("judge", history, redirected=where) for where in redirections]
    found += [desk.suite_apart(good, redirected=where) for where in redirections]
    reading, writing = os.pipe()
    os.close(reading)
    os.set_inheritable(writing, True)
    try:
        nobody = subprocess.run(
            [sys.executable, "-m", "harness.cli", "judge", "--timeline", history],
            stdout=writing, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    finally:
        os.close(writing)
    assert nobody.stderr == "harness: standard output: Broken pipe\n"
    return [
        *found,
        nobody.returncode,
        desk.harness("--help", redirected=">/dev/full"),
        desk.suite_apart(good, "-s", redirected=">/dev/full"),
        desk.suite_apart(good, "-n1", redirected=">/dev/full"),
        desk.harness("run", redirected=">&-"),
    ]

"""Soaks in sessions of their own: what they count, keep, forget, and leave behind when they are killed.

The rounds need no guest: the histories that they stage were recorded or made up, and are read back like any.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from harness.plugin.soak.loop import HOPELESS, KEPT
from harness.report import ExitStatus
from harness.results import JOURNAL, JUNIT, complete

ALONE = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-q")
ROOT = Path(__file__).parents[2]

BEGIN = f"""
import os, pathlib, signal, sys
sys.path.insert(0, {str(ROOT)!r})
import pytest
from harness.errors import GuestError
from harness.history.container import to_bytes
from harness.lab.figures.synthetic import synthetic
from harness.model.verdict import Finding, Judgement, Verdict
from harness.plugin import reporting, verdicts
from harness.report.stage import stage_record

def number(name="rounds"):
    path = pathlib.Path(name)
    path.write_text(str(int(path.read_text()) + 1 if path.exists() else 1))
    return int(path.read_text())

def stage(request, verdict=Verdict.PASS, reads=400):
    history = synthetic(reads)
    history.provenance["lab.accelerator"] = "tcg"
    finding = Finding(checker="collided", verdict=verdict, claim="it collided", met=7)
    judgement = Judgement(findings=(finding,))
    path = reporting.attachment_path(request.node, "history.zip")
    path.write_bytes(to_bytes(history))
    reporting.attachment_path(request.node, "console.log").write_text("console")
    name = str(path.relative_to(reporting.results_folder(request.config)))
    reporting.note_stage(request.node, stage_record(history, judgement, file=name))
    if verdict is Verdict.FAIL:
        raise verdicts.StageFailed(judgement, history)
    if verdict is Verdict.UNKNOWN:
        raise verdicts.StageUnknown(judgement, history)
"""


ENOUGH = """
@pytest.fixture(autouse=True)
def _enough(request):
    if request.node is request.session.items[0] and number("begun") > {rounds}:
        raise KeyboardInterrupt  # the way in which a user ends a soak
"""


def soak(
    pytester: pytest.Pytester, body: str, *arguments: str, rounds: int = 8, lasting: str = "60s"
) -> pytest.RunResult:
    """So many rounds of these tests, however slow the machine is."""
    (pytester.path / "begun").unlink(missing_ok=True)
    pytester.makepyfile(BEGIN + ENOUGH.format(rounds=rounds) + body)
    return pytester.runpytest_inprocess(
        "--hil-results", "r", "-p", "no:xdist", *ALONE, f"--hil-soak={lasting}", *arguments
    )


def apart(pytester: pytest.Pytester, body: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, which may die."""
    pytester.makepyfile(BEGIN + body)
    command = [sys.executable, "-m", "pytest", "--hil-results", "r", *ALONE, *arguments]
    return subprocess.run(command, cwd=pytester.path, capture_output=True, text=True, check=False)


def statistic(pytester: pytest.Pytester) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((pytester.path / "r" / "soak.json").read_text())
    return found


def cases(pytester: pytest.Pytester) -> dict[str, tuple[str, str, str]]:
    """Tag, type and message of each case."""
    root = ET.parse(pytester.path / "r" / JUNIT).getroot()  # noqa: S314 - we made it
    found = {}
    for case in root.iter("testcase"):
        name = str(case.get("name"))
        assert name not in found, f"{name} is there twice"
        element = next((child for child in case if child.tag in ("failure", "error", "skipped")), None)
        found[name] = (
            ("ok", "", "")
            if element is None
            else (element.tag, str(element.get("type")), str(element.get("message")))
        )
    return found


def evidence(pytester: pytest.Pytester) -> list[str]:
    """Kinds of the files in att/, by round."""
    names = [path.name for path in (pytester.path / "r" / "att").glob("*")]
    return sorted(re.sub(r"^test-[a-z]+-[0-9a-f]{8}\.", "", name) for name in names)


# --- what decides ---------------------------------------------------------------------------------------------


def test_the_worst_round_decides_and_each_test_is_told_once(pytester: pytest.Pytester) -> None:
    done = soak(
        pytester,
        """
def test_good(request): stage(request)
def test_bad(request): stage(request, Verdict.FAIL if number() == 3 else Verdict.PASS)
""",
    )
    assert done.ret == ExitStatus.BAD
    found = cases(pytester)
    assert found["test_good"] == ("ok", "", "")
    assert found["soak"] == ("ok", "", "")
    tag, kind, message = found["test_bad"]
    assert (tag, kind) == ("failure", "hil.mismatch")
    assert message == "failed in round 3 of 8: it collided"
    text = done.stdout.str()
    assert "first failed in round 3 of" in text
    assert "exit status 1" in text


def test_a_failure_outranks_an_error_that_came_before(pytester: pytest.Pytester) -> None:
    done = soak(
        pytester,
        """
KINDS = {2: Verdict.UNKNOWN, 4: Verdict.FAIL, 5: Verdict.UNKNOWN}
def test_it(request): stage(request, KINDS.get(number(), Verdict.PASS))
""",
    )
    assert done.ret == ExitStatus.BAD
    assert cases(pytester)["test_it"][2].startswith("failed in round 4 of ")
    (test,) = statistic(pytester)["tests"]
    assert [(seen["outcome"], seen["round"]) for seen in test["first"]] == [("failed", 4), ("unjudged", 2)]
    assert test["tally"]["outcomes"]["unjudged"] == 2
    assert [name for name in evidence(pytester) if name.endswith("history.zip")] == [
        "round2.history.zip",
        "round4.history.zip",
        "round5.history.zip",
    ]


def test_no_verdict_in_one_round_is_an_error(pytester: pytest.Pytester) -> None:
    done = soak(
        pytester,
        "\ndef test_it(request): stage(request, Verdict.UNKNOWN if number() == 2 else Verdict.PASS)\n",
    )
    assert done.ret == ExitStatus.NOTHING_SAID
    assert cases(pytester)["test_it"] == ("error", "hil.unknown", "no verdict in round 2 of 8: it collided")
    assert statistic(pytester)["tests"][0]["pass_rate"] == 1.0


def test_an_expected_failure_counts_as_a_pass_and_stays_expected(pytester: pytest.Pytester) -> None:
    done = soak(
        pytester,
        """
@pytest.mark.xfail(reason="erratum 7")
def test_it(request): stage(request, Verdict.FAIL)
""",
    )
    assert done.ret == ExitStatus.GOOD
    assert cases(pytester)["test_it"] == ("skipped", "pytest.xfail", "erratum 7")
    outcomes = statistic(pytester)["tests"][0]["tally"]["outcomes"]
    assert outcomes == {"known": 8}


def test_what_is_refused_is_asked_once(pytester: pytest.Pytester) -> None:
    done = soak(
        pytester,
        """
def test_good(): number()
def test_refused():
    number("refused")
    verdicts.refuse("no such capability")
""",
    )
    assert done.ret == ExitStatus.GOOD
    assert cases(pytester)["test_refused"] == ("skipped", "hil.refused", "no such capability")
    assert (pytester.path / "refused").read_text() == "1"
    assert (pytester.path / "rounds").read_text() == "8"


def test_when_all_is_refused_nobody_waits(pytester: pytest.Pytester) -> None:
    soak(pytester, "\ndef test_refused(): verdicts.refuse('policy')\n")
    assert statistic(pytester)["ended"] == "every test was skipped"


def test_retries_are_the_labs_and_no_failures(pytester: pytest.Pytester) -> None:
    done = soak(
        pytester,
        """
def test_it(request):
    if number() % 2:
        raise GuestError("cloning", said="QEMU died")
    stage(request)
""",
    )
    assert done.ret == ExitStatus.GOOD
    tally = statistic(pytester)["tests"][0]["tally"]
    assert set(tally["outcomes"]) == {"passed"}
    assert tally["retried"] == tally["outcomes"]["passed"] == tally["attempts"]["hil.infra.guest"]
    done.stdout.fnmatch_lines(["*needed a retry (hil.infra.guest *"])


def test_a_lab_that_never_gives_a_verdict_is_given_up(pytester: pytest.Pytester) -> None:
    done = soak(
        pytester,
        "\ndef test_it(request): stage(request, Verdict.UNKNOWN)\ndef test_too(request): raise KeyError(1)\n",
        rounds=2 * HOPELESS,
    )
    assert done.ret == ExitStatus.NOTHING_SAID
    assert statistic(pytester)["rounds"] == HOPELESS
    assert cases(pytester)["soak"][:2] == ("error", "hil.infra.lab")


# --- how it ends ----------------------------------------------------------------------------------------------


def test_every_test_runs_once_however_short_the_time(pytester: pytest.Pytester) -> None:
    soak(
        pytester,
        "\nimport time\n@pytest.mark.parametrize('n', range(3))\ndef test_it(n): time.sleep(0.02)\n",
        lasting="0.01s",
    )
    assert [test["rounds"] for test in statistic(pytester)["tests"]] == [1, 1, 1]
    assert statistic(pytester)["ended"] == "time is over"


def test_until_failure_ends_with_the_first(pytester: pytest.Pytester) -> None:
    done = soak(
        pytester,
        "\ndef test_bad(): assert number() != 4\ndef test_good(): pass\n",
        "--hil-until-failure",
    )
    assert done.ret == ExitStatus.BAD
    assert (pytester.path / "rounds").read_text() == "4"
    assert cases(pytester)["test_bad"][2].startswith("failed in round 4 of 4: ")


def test_ctrl_c_ends_it_in_good_order_and_the_results_decide(pytester: pytest.Pytester) -> None:
    done = soak(
        pytester,
        """
def test_it(request):
    if number() == 5: raise KeyboardInterrupt
    stage(request)
""",
    )
    assert done.ret == ExitStatus.GOOD
    assert cases(pytester)["test_it"] == ("ok", "", "")
    assert cases(pytester)["session_complete"] == ("ok", "", "")
    assert statistic(pytester)["ended"] == "stopped by the user in round 5"
    assert statistic(pytester)["rounds"] == 4


def test_ctrl_c_before_a_round_is_complete_says_nothing(pytester: pytest.Pytester) -> None:
    done = soak(pytester, "\ndef test_one(): pass\ndef test_two(): raise KeyboardInterrupt\n")
    assert done.ret == ExitStatus.NOTHING_SAID
    assert cases(pytester)["session_complete"][:2] == ("error", "hil.aborted")


def test_a_soak_that_is_killed_is_red_and_complete_and_keeps_what_it_knew(
    pytester: pytest.Pytester,
) -> None:
    done = apart(
        pytester,
        """
def test_good(request): stage(request)
def test_bad(request):
    now = number()
    if now == 6: os.kill(os.getpid(), signal.SIGKILL)
    stage(request, Verdict.FAIL if now == 2 else Verdict.PASS)
""",
        "--hil-soak=1h",
    )
    assert done.returncode == -9
    assert complete(pytester.path / "r") is ExitStatus.BAD
    found = cases(pytester)
    assert found["test_good"][:2] == ("error", "hil.incomplete")
    assert found["test_bad"] == ("failure", "hil.mismatch", "failed in round 2: it collided")
    assert found["session_complete"][:2] == ("error", "hil.incomplete")
    story = (pytester.path / "r" / JUNIT).read_text()
    assert "ms after release" in story  # the picture of the failure
    so_far = statistic(pytester)
    assert so_far["ended"] == ""
    assert so_far["tests"][1]["first"][0]["round"] == 2
    for name in so_far["tests"][1]["first"][0]["files"]:
        assert (pytester.path / "r" / name).exists()


def test_a_soak_that_is_killed_before_anything_failed_is_red_too(pytester: pytest.Pytester) -> None:
    apart(
        pytester,
        "\ndef test_it():\n    if number() == 3: os.kill(os.getpid(), signal.SIGKILL)\n",
        "--hil-soak=1h",
    )
    assert complete(pytester.path / "r") is ExitStatus.NOTHING_SAID
    assert cases(pytester)["test_it"][:2] == ("error", "hil.incomplete")


# --- what is kept ---------------------------------------------------------------------------------------------


def test_the_latest_good_round_and_the_first_bad_ones_are_kept(pytester: pytest.Pytester) -> None:
    soak(
        pytester,
        """
def test_good(request): stage(request)
def test_bad(request): stage(request, Verdict.FAIL if number() % 2 else Verdict.PASS)
""",
    )
    good, bad = statistic(pytester)["tests"]
    assert bad["rounds"] == 8 > 2 * KEPT
    kept = evidence(pytester)
    assert f"round{good['rounds']}.history.zip" in kept
    bad_rounds = range(1, 2 * KEPT, 2)
    assert [name for name in kept if not name.startswith(f"round{good['rounds']}.")] == sorted(
        f"round{number}.{kind}"
        for number in bad_rounds
        for kind in ("console.log", "history.zip", "timeline.svg")
    )
    report = (pytester.path / "r" / JUNIT).read_text()
    assert re.search(r"ATTACHMENT\|r/att/test-bad-\w+\.round1\.timeline\.svg", report)
    named = re.findall(r"ATTACHMENT\|(r/[^\]]+)", report)
    assert named
    for name in named:
        assert (pytester.path / name).exists(), name


GROWS = """
@pytest.fixture(scope="session")
def lab(): return object()
@pytest.fixture
def guest(lab, request): return bytearray(10_000)

def size(folder): return sum(path.stat().st_size for path in pathlib.Path(folder).rglob("*") if path.is_file())

def test_it(request, guest, tmp_path):
    now = number()
    print(str(now) * 20_000)
    (tmp_path / "scratch").write_bytes(b"x" * 10_000)
    stage(request, Verdict.FAIL if now % 5 == 3 else Verdict.PASS)
    if now in (20, 120):
        pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
        print(pages, size("r"), file=open("measured", "a"))
    if now == 121:
        raise KeyboardInterrupt
"""


def test_memory_and_disk_do_not_grow_with_rounds(pytester: pytest.Pytester) -> None:
    done = apart(
        pytester,
        GROWS,
        "--hil-soak=1h",
        "--basetemp=scratch",
        "-o",
        "tmp_path_retention_policy=failed",
    )
    assert done.returncode == ExitStatus.BAD, done.stdout + done.stderr
    before, after = [
        [int(word) for word in line.split()] for line in (pytester.path / "measured").read_text().splitlines()
    ]
    page = os.sysconf("SC_PAGE_SIZE")
    assert (after[0] - before[0]) * page < 2_000_000, (
        f"{before[0] * page} → {after[0] * page} bytes of memory"
    )
    assert after[1] - before[1] < 20_000, f"{before[1]} → {after[1]} bytes on disk"


def test_the_journal_does_not_grow_with_rounds(pytester: pytest.Pytester) -> None:
    lines = []
    for rounds in (5, 25):
        (pytester.path / "rounds").unlink(missing_ok=True)
        body = "\ndef test_it(request): stage(request, Verdict.FAIL if number() % 2 else Verdict.PASS)\n"
        assert soak(pytester, body, rounds=rounds).ret == ExitStatus.BAD
        assert statistic(pytester)["rounds"] == rounds
        text = (pytester.path / "r" / JOURNAL).read_text()
        lines.append(len(text[text.rindex('"session-start"') :].splitlines()))
    assert lines[0] == lines[1]


def test_fixtures_of_a_module_stay_those_of_a_test_do_not(pytester: pytest.Pytester) -> None:
    soak(
        pytester,
        """
@pytest.fixture(scope="module")
def wide():
    number("wide")
    yield
    number("wide-ended")
@pytest.fixture
def narrow(wide):
    number("narrow")
    yield
    number("narrow-ended")
def test_it(narrow): number()
""",
        rounds=102,
    )
    counts = {name: int((pytester.path / name).read_text()) for name in ("rounds", "narrow", "narrow-ended")}
    assert set(counts.values()) == {102}
    assert [(pytester.path / name).read_text() for name in ("wide", "wide-ended")] == ["2", "2"]


# --- baselines ------------------------------------------------------------------------------------------------

BASED = """
def test_it(request): stage(request)
"""


def test_a_baseline_is_written_once_and_then_compared_with(pytester: pytest.Pytester) -> None:
    first = soak(pytester, BASED, "--hil-baseline", "b")
    assert first.ret == ExitStatus.GOOD
    (path,) = (pytester.path / "b").iterdir()
    assert path.name == "dut.nvme.linux-6.12.tcg.json"
    written = path.read_bytes()
    first.stdout.fnmatch_lines(["baseline written: *dut.nvme.linux-6.12.tcg.json"])
    second = soak(pytester, BASED, "--hil-baseline", "b")
    assert second.ret == ExitStatus.GOOD
    second.stdout.fnmatch_lines(["nothing is worse than in *"])
    assert cases(pytester)["soak_baseline"] == ("ok", "", "")
    assert path.read_bytes() == written
    soak(pytester, BASED, "--hil-baseline", "b", "--hil-update-baseline", rounds=9)
    assert path.read_bytes() != written


def test_failing_more_often_than_the_baseline_is_a_regression(pytester: pytest.Pytester) -> None:
    soak(pytester, BASED, "--hil-baseline", "b", rounds=20)
    done = soak(
        pytester,
        "\ndef test_it(request): stage(request, Verdict.FAIL if number() % 2 else Verdict.PASS)\n",
        "--hil-baseline",
        "b",
        rounds=20,
    )
    assert done.ret == ExitStatus.BAD
    tag, kind, message = cases(pytester)["soak_baseline"]
    assert (tag, kind) == ("failure", "hil.soak-regression")
    assert "passes less often" in message
    done.stdout.fnmatch_lines(["REGRESSION: test_it passes less often*"])


def test_slower_and_fewer_meetings_under_emulation_are_a_warning(pytester: pytest.Pytester) -> None:
    soak(pytester, BASED, "--hil-baseline", "b")
    (path,) = (pytester.path / "b").iterdir()
    values = json.loads(path.read_bytes())
    (tally,) = values["tests"].values()
    tally["met"] *= 3
    reads = tally["latencies"]["config-read/sysfs"]
    reads["counts"] = {str(int(bucket) - 50): count for bucket, count in reads["counts"].items()}
    path.write_text(json.dumps(values))
    done = soak(pytester, BASED, "--hil-baseline", "b")
    assert done.ret == ExitStatus.GOOD
    assert cases(pytester)["soak_baseline"][:2] == ("skipped", "hil.soak-moved")
    done.stdout.fnmatch_lines(["moved, as emulated machines do: test_it collides less often*"])
    done.stdout.fnmatch_lines(["moved, as emulated machines do: test_it config-read/sysfs takes longer*"])
    assert soak(pytester, BASED, "--hil-baseline", "b", "--hil-factor=4").ret == ExitStatus.GOOD
    assert cases(pytester)["soak_baseline"] == ("ok", "", "")


def test_a_picture_shows_both(pytester: pytest.Pytester) -> None:
    soak(pytester, BASED, "--hil-baseline", "b")
    soak(pytester, BASED, "--hil-baseline", "b")
    picture = (pytester.path / "r" / "soak.svg").read_text()
    root = ET.fromstring(picture)  # noqa: S314 - we made it
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "config-read/sysfs" in picture
    assert "of the baseline" in picture
    assert "style" not in picture
    assert "ATTACHMENT|r/soak.svg" in (pytester.path / "r" / JUNIT).read_text()


# --- mistakes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--hil-soak=10"], "'10' is no time.  Write how long"),
        (["--hil-soak=1s", "-n2"], "rounds of several workers are not summed up"),
        (["--hil-soak=1s", "--hil-update-baseline"], "no baseline is named"),
        (["--hil-soak=1s", "--hil-factor=1"], "a factor above 1 is needed"),
        (["--hil-soak=1s", "--hil-baseline=bad"], "Remove it, or name another folder"),
        (["--hil-soak=1s", "-k", "absent"], "nothing to soak: no test is selected by"),
    ],
)
def test_mistakes_are_one_line_before_anything_runs(
    pytester: pytest.Pytester, arguments: list[str], says: str
) -> None:
    (pytester.path / "bad").mkdir()
    (pytester.path / "bad" / "igb0.json").write_text("{}")
    pytester.makepyfile(BEGIN + "\ndef test_it(): number()\n")
    done = pytester.runpytest_inprocess("--hil-results", "r", *ALONE, *arguments)
    assert done.ret in (ExitStatus.USAGE, pytest.ExitCode.USAGE_ERROR)  # in a session, or before one begins
    said = done.stdout.str() + done.stderr.str()
    assert says in said
    assert "Traceback" not in said
    assert not (pytester.path / "rounds").exists()


def test_without_a_results_folder_there_is_no_soak(pytester: pytest.Pytester) -> None:
    done = pytester.runpytest_inprocess(*ALONE, "--hil-soak=1s")
    assert done.ret == 4
    done.stderr.fnmatch_lines(["*Add --hil-results DIR.*"])


def test_a_file_that_cannot_be_imported_is_told_as_always(pytester: pytest.Pytester) -> None:
    done = soak(pytester, "\nimport nowhere\n")
    assert done.ret == ExitStatus.NOTHING_SAID
    assert not (pytester.path / "r" / "soak.json").exists()

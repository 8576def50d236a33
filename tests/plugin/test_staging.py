"""The staging plugin: a test answers for every run, whether it looks at the verdict or not.

The runs are real histories that were really judged; the plugin staged.py puts them where `stage` would.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from tests.plugin import staged

# Hypothesis's plugin imports all of Hypothesis at the end of every session
ALONE = ("-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:hypothesispytest", "-p", staged.__name__)


def outcome(pytester: pytest.Pytester, body: str, *, before: str = "") -> tuple[int, str, str, str]:
    """Exit status, tag, type and message of the only test, whose body this is."""
    pytester.makepyfile(
        "import pytest\nfrom harness.model.verdict import Blame, Verdict\n"
        f"{before}\ndef test_it(staged):\n" + "".join(f"    {line}\n" for line in body.split("; "))
    )
    done = pytester.runpytest_inprocess(*ALONE, "--hil-results", "r")
    root = ET.parse(pytester.path / "r" / "junit.xml").getroot()  # noqa: S314 - we made it
    (case,) = [case for case in root.iter("testcase") if case.get("name") == "test_it"]
    elements = [child for child in case if child.tag in ("failure", "error", "skipped")]
    if not elements:
        return int(done.ret), "ok", "", ""
    (element,) = elements
    return int(done.ret), element.tag, str(element.get("type")), str(element.get("message"))


def test_a_run_that_passes_lets_the_test_pass(pytester: pytest.Pytester) -> None:
    assert outcome(pytester, 'staged("good")') == (0, "ok", "", "")


def test_a_run_that_fails_fails_a_test_that_asserts_nothing(pytester: pytest.Pytester) -> None:
    status, tag, kind, message = outcome(pytester, 'staged("bad")')
    assert (status, tag) == (1, "failure")
    assert kind in ("hil.mismatch", "hil.device-lost")
    assert "e1000e0" in message


def test_a_run_that_says_nothing_is_an_error_never_a_pass(pytester: pytest.Pytester) -> None:
    status, tag, kind, message = outcome(pytester, 'staged("nothing")')
    assert (status, tag, kind) == (125, "error", "hil.unknown")
    assert "met a lock window" in message


def test_a_known_weakness_is_one_line(pytester: pytest.Pytester) -> None:
    pytester.makepyfile('def test_it(staged):\n    staged("weak")\n')
    done = pytester.runpytest_inprocess(*ALONE, "-rx", "--xfail-tb", "--hil-results", "r")
    done.assert_outcomes(xfailed=1)
    done.stdout.fnmatch_lines(["pm resets nothing", "XFAIL * - pm resets nothing"])
    said = done.stdout.str()
    assert "History(" not in said
    assert "enforce" not in said
    assert ">" not in said.partition("XFAILURES")[2].partition("hil")[0]


def test_a_known_weakness_is_an_expected_failure(pytester: pytest.Pytester) -> None:
    assert outcome(pytester, 'staged("weak")') == (0, "skipped", "pytest.xfail", "pm resets nothing")


@pytest.mark.parametrize(
    "look",
    [
        "print(run.verdict)",
        "print(run.judgement)",
        "assert run.verdict is not Verdict.PASS",
        "assert run.judgement.verdict in (Verdict.FAIL, Verdict.UNKNOWN)",
        "run.judgement.decisive; run.deserves_another; run.settled; repr(run)",
    ],
)
def test_looking_at_a_verdict_waives_nothing(pytester: pytest.Pytester, look: str) -> None:
    assert outcome(pytester, f'run = staged("bad"); {look}')[:2] == (1, "failure")
    assert outcome(pytester, f'run = staged("nothing"); {look}')[:3] == (125, "error", "hil.unknown")
    if "assert" not in look:
        assert outcome(pytester, f'run = staged("weak"); {look}')[:2] == (0, "skipped")


@pytest.mark.parametrize("kind", ["good", "bad"])
@pytest.mark.parametrize("use", ["assert run.verdict", "assert not run.verdict", "run.verdict or 1 / 0"])
def test_a_verdict_is_no_truth_value(pytester: pytest.Pytester, kind: str, use: str) -> None:
    status, tag, found, message = outcome(pytester, f'run = staged("{kind}"); {use}')
    assert (status, tag, found) == (2, "error", "hil.usage")
    assert "run.verdict is Verdict.PASS" in message


@pytest.mark.parametrize(
    "words", ["", ', "all-ones"', ', "all-ones", "e1000e0"'], ids=["nothing more", "a word", "two words"]
)
def test_a_fault_that_is_named_is_what_the_test_wanted(pytester: pytest.Pytester, words: str) -> None:
    assert outcome(pytester, f'staged("bad").names(Blame.MISMATCH{words})') == (0, "ok", "", "")


@pytest.mark.parametrize(
    ("body", "kind", "wanted"),
    [
        ('staged("good").names(Blame.MISMATCH)', "hil.not-named", "hil.mismatch, and judged PASS"),
        ('staged("bad").names(Blame.TIMEOUT)', "hil.mismatch", "hil.timeout, and judged FAIL"),
        (
            'staged("bad").names(Blame.MISMATCH, "all-ones", "never-ready")',
            "hil.mismatch",
            "hil.mismatch all-ones never-ready, and judged FAIL",
        ),
        ('staged("weak").names(Blame.WEAKNESS_GONE)', "hil.not-named", "hil.xpass, and judged PASS"),
        (
            'staged("worse").names(Blame.MISMATCH)',
            "hil.mismatch",
            "hil.mismatch, and not reset/flr@none besides, and judged FAIL",
        ),
    ],
    ids=["passes", "another blame", "other words", "a weakness", "another promise broken"],
)
def test_a_fault_that_the_verdict_does_not_name_fails_the_test(
    pytester: pytest.Pytester, body: str, kind: str, wanted: str
) -> None:
    status, tag, found, message = outcome(pytester, body)
    assert (status, tag, found) == (1, "failure", kind)
    assert message.startswith(f"staged to be {wanted}: ")


def test_no_verdict_names_nothing(pytester: pytest.Pytester) -> None:
    status, tag, kind, _ = outcome(pytester, 'staged("nothing").names(Blame.MISMATCH)')
    assert (status, tag, kind) == (125, "error", "hil.unknown")


def test_naming_one_run_does_not_excuse_the_other(pytester: pytest.Pytester) -> None:
    body = 'staged("bad").names(Blame.MISMATCH); staged("bad")'
    assert outcome(pytester, body)[:2] == (1, "failure")


def test_who_asserts_the_wrong_verdict_fails(pytester: pytest.Pytester) -> None:
    status, tag, kind, _ = outcome(pytester, 'assert staged("good").verdict is Verdict.FAIL')
    assert (status, tag, kind) == (1, "failure", "hil.mismatch")


def test_looking_and_then_enforcing_enforces(pytester: pytest.Pytester) -> None:
    body = 'run = staged("nothing"); print(run.verdict); run.enforce()'
    assert outcome(pytester, body)[:3] == (125, "error", "hil.unknown")


# --- when a test is held to what it staged ----------------------------------------------------------------


def test_a_skip_takes_back_nothing_that_was_staged(pytester: pytest.Pytester) -> None:
    assert outcome(pytester, 'staged("bad"); pytest.skip("enough")')[:2] == (1, "failure")
    assert outcome(pytester, 'staged("nothing"); pytest.skip("enough")')[:2] == (125, "error")
    assert outcome(pytester, 'staged("good"); pytest.skip("enough")')[:2] == (0, "skipped")


FIXTURES = """
@pytest.fixture
def early(staged):
    staged("bad")

@pytest.fixture
def late(staged):
    yield
    staged("bad")

@pytest.fixture
def unsteady(staged):
    return staged
"""


@pytest.mark.parametrize("fixture", ["early", "late"])
def test_what_fixtures_stage_counts(pytester: pytest.Pytester, fixture: str) -> None:
    mark = f"@pytest.mark.usefixtures('{fixture}')"
    assert outcome(pytester, 'staged("good")', before=FIXTURES + mark)[:2] == (1, "failure")


def test_what_a_method_of_a_test_case_stages_counts(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        "import unittest\nimport pytest\n"
        "class TestIt(unittest.TestCase):\n"
        "    @pytest.fixture(autouse=True)\n"
        "    def _stage(self, staged):\n"
        "        self.staged = staged\n"
        "    def test_it(self):\n"
        "        self.staged('bad')\n"
    )
    assert pytester.runpytest_inprocess(*ALONE, "--hil-results", "r").ret == 1


def test_a_test_that_forgets_to_stage_is_a_mistake(pytester: pytest.Pytester) -> None:
    """Its verbs only describe: without `stage(…)` nothing happened, and green would be a lie."""
    status, tag, kind, message = outcome(pytester, "pass")
    assert (status, tag, kind) == (2, "error", "hil.usage")
    assert "staged nothing" in message
    status, tag, kind, message = outcome(
        pytester, "pass", before=f"{FIXTURES}@pytest.mark.usefixtures('unsteady')"
    )
    assert (status, tag, kind) == (2, "error", "hil.usage")


def test_a_fixture_that_outlives_the_stage_is_a_mistake_that_is_named(pytester: pytest.Pytester) -> None:
    """Whatever fails in set-up says nothing of a commit: 125, though it is the author's mistake."""
    wide = '@pytest.fixture(scope="module")\ndef prepared(staged):\n    return staged\n'
    wide += '@pytest.mark.usefixtures("prepared")'
    status, tag, kind, message = outcome(pytester, 'staged("good")', before=wide)
    assert (status, tag, kind) == (125, "error", "hil.usage")
    assert "Ask for staged in the test, or in a fixture with scope='function'" in message


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('pytest.skip("not here")', (0, "skipped", "hil.refused")),
        ('pytest.xfail("some day")', (0, "skipped", "pytest.xfail")),
        ("assert 1 == 2", (1, "failure", "hil.mismatch")),
    ],
)
def test_a_test_that_ends_before_it_stages_is_what_it_is(
    pytester: pytest.Pytester, body: str, expected: tuple[int, str, str]
) -> None:
    assert outcome(pytester, body)[:3] == expected


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        (("weak", "bad"), "failure"),
        (("nothing", "bad"), "failure"),
        (("bad", "nothing"), "failure"),
        (("weak", "nothing"), "error"),
        (("good", "weak", "good"), "skipped"),
    ],
)
def test_the_worst_of_several_runs_decides(
    pytester: pytest.Pytester, kinds: tuple[str, ...], expected: str
) -> None:
    assert outcome(pytester, "; ".join(f'staged("{kind}")' for kind in kinds))[1] == expected


def test_what_the_body_raises_comes_first(pytester: pytest.Pytester) -> None:
    status, tag, kind, message = outcome(pytester, 'staged("nothing"); assert 1 == 2, "mine"')
    assert (status, tag, kind) == (1, "failure", "hil.mismatch")
    assert "mine" in message


def test_an_xfail_mark_covers_a_failure_but_never_a_missing_verdict(pytester: pytest.Pytester) -> None:
    mark = "@pytest.mark.xfail(reason='known', strict=True)"
    assert outcome(pytester, 'staged("bad")', before=mark)[:3] == (0, "skipped", "pytest.xfail")
    assert outcome(pytester, 'staged("nothing")', before=mark)[:3] == (125, "error", "hil.unknown")
    assert outcome(pytester, 'staged("good")', before=mark)[:3] == (1, "failure", "hil.xpass")


def test_a_failure_is_told_with_its_timeline_and_without_our_traceback(pytester: pytest.Pytester) -> None:
    pytester.makepyfile('def test_it(staged):\n    staged("bad")\n')
    done = pytester.runpytest_inprocess(*ALONE, "--hil-results", "r")
    assert done.ret == 1
    done.stdout.fnmatch_lines(["two readers meet a reset: FAIL", "FAIL*", "*ms after release*", "reader-1*"])
    done.stdout.no_fnmatch_line("*harness/plugin/staging/*")


def test_replaying_without_a_history_is_usage(pytester: pytest.Pytester) -> None:
    """What `harness replay` sets; nobody needs to know it."""
    help_text = pytester.runpytest_inprocess("--help").stdout.str()
    assert "--hil-lab" in help_text
    assert "--hil-replay" not in help_text


@pytest.mark.parametrize(
    ("value", "said"),
    [("1", "2 at least"), ("soon", "'soon' is no number of seconds"), ("nan", "2 at least")],
)
def test_a_silence_that_means_nothing_is_refused(pytester: pytest.Pytester, value: str, said: str) -> None:
    pytester.makepyfile("def test_it():\n    pass\n")
    done = pytester.runpytest_inprocess(*ALONE, "--hil-silence", value)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines([f"*--hil-silence: *{said}*"])


def test_one_total_stands_last_and_the_verdict_with_it(pytester: pytest.Pytester) -> None:
    """Pytest counts as we do: what has no verdict is an error, wherever it was raised."""
    pytester.makepyfile(
        """
        from harness.errors import UsageError

        def test_good(staged): staged("good")
        def test_weak(staged): staged("weak")
        def test_bad(staged): staged("bad")
        def test_nothing(staged): staged("nothing")
        def test_mistaken(): raise UsageError("a", said="b")
        def test_theirs(): assert False
        """
    )
    done = pytester.runpytest_inprocess(*ALONE, "--hil-results", "r")
    done.assert_outcomes(passed=1, xfailed=1, failed=2, errors=2)
    said = [line for line in done.outlines if line]
    assert said[-1].startswith("2 FAIL, 1 ERROR, 1 UNKNOWN, 1 ok, 1 known in ")
    assert said[-1].endswith("exit status 1: a promise was broken")
    assert all(words in said[-2] for words in ("2 failed, 1 passed, 1 xfailed", "2 errors in "))
    assert sum("exit status" in line for line in said) == 1
    assert not any("worst stage" in line for line in said)

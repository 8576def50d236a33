"""Run pytest as a child that may die, and leave a complete report whatever happens to it.

The report is red from the first second; when the child is gone, by itself or by a signal, it is made again from the
journal.  Should the supervisor itself be killed, the child and every guest die with it, and `harness report`
completes what is left.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import math
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import harness
from harness import results, streams
from harness.errors import AgentError, LabError, ModelError, SetupError, UsageError
from harness.journal.record import HealthRecord, SessionStart, Status
from harness.journal.session import Session
from harness.journal.writer import JournalWriter
from harness.model.exit_status import PYTEST_NO_TESTS, PYTEST_USAGE, ExitStatus, of_pytest
from harness.model.units import Ns
from harness.options import branches_of, for_pytest, wishes_of
from harness.report.junit import to_junit
from harness.report.terminal import MEANING
from harness.visible import visible

if TYPE_CHECKING:
    from harness.lab.kernel.find import Kernel

SCENARIOS: Final = ("--pyargs", "harness.scenarios")
_ROOT: Final = f"--rootdir={Path(harness.__file__).parents[1]}"
"""The same identities wherever one stands and however the harness was installed."""
_PLANS: Final = 500
"""Random plans, unless a number or a time is asked for: in so many each verb comes twenty times."""
_FORWARDED: Final = (signal.SIGTERM, signal.SIGHUP)
_ONLY_LOOKS: Final = frozenset(
    {
        *(
            "--collect-only",
            "--collectonly",
            "--co",
            "--setup-plan",
            "--setup-only",
            "--markers",
            "--version",
            "-V",
        ),
        *("--fixtures", "--funcargs", "--fixtures-per-test", "--cache-show"),
    }
)
"""Options of pytest with which nothing is run: then nothing is prepared, and no report is touched."""
_OUR_OWN: Final = (
    "ignore:Module already imported so cannot be rewritten; harness:pytest.PytestAssertRewriteWarning"
)
"""A warning that is no user's business: this package runs their pytest, so it was imported before it."""
_COMPLAINT: Final = re.compile(r"^(?:\S+: error|ERROR): (?!usage: )(.+)$", re.MULTILINE)
"""Of all that pytest says of a mistake on its command line the sentence that tells."""
_MISNAMED: Final = re.compile(r"^hil: (\S+: function .+)$", re.MULTILINE)
"""What our plugin says of a test that names a function which is not there: said before a lab is made for the others."""


def supervise(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Prepare the lab, run pytest in it, complete the report.

    Args:
        options: of `harness run`.
        arguments: for pytest; the shipped scenarios are run unless they name tests.

    Returns:
        0 good, 1 a promise was broken, 2 usage, 125 nothing could be said.

    Raises:
        UsageError: the results folder cannot be written, a file of tests is not there, pytest does not understand the
            arguments, or they select nothing.
    """
    folder: Path = options.results.absolute()
    if not _ONLY_LOOKS.isdisjoint(arguments):
        return of_pytest(_wait(_start_pytest(_pytest_arguments(options, folder, arguments))))
    if options.hil_resume:
        over = _what_is_over(folder)
        if over is not None:
            return over
    else:
        _redden(folder)
    with ExitStack() as run:
        try:
            _refuse_absent(arguments)
            own = _parts_of_own(options)
            _refuse_nothing(options, folder, arguments)
            shared, kernels = run.enter_context(_lab(options))
        except (LabError, AgentError, ModelError, UsageError) as error:
            _say_why_not(folder, error)
            raise
        ours = [f"--hil-prepared={shared}", f"--hil-under-test={','.join((*kernels, *own))}"]
        child = _start_pytest([*ours, *_pytest_arguments(options, folder, arguments)])
        for number in _FORWARDED:
            signal.signal(number, lambda received, _: child.send_signal(received))
        status = _wait(child)
    verdict = results.complete(folder)
    if status in (PYTEST_USAGE, ExitStatus.USAGE) and not results.tells(folder / results.JOURNAL):
        return ExitStatus.USAGE
    if status < 0:
        died = f"the runner was killed by {signal.Signals(-status).name}"
        streams.complain(f"harness: {died}; {folder / results.JUNIT} is complete: {MEANING[verdict]}")
    return verdict


def soak(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Run scenarios round after round, under supervision like any run.

    Args:
        options: of `harness soak`.
        arguments: scenarios, then what pytest understands.

    Returns:
        As :func:`supervise`.

    Raises:
        UsageError: a scenario is not understood, or the results folder cannot be written.
    """
    from harness.scenarios.named import named  # noqa: PLC0415 - not needed to judge and report

    scenarios = list(itertools.takewhile(lambda word: not word.startswith("-"), arguments))
    rest = list(arguments[len(scenarios) :])
    selected = named(scenarios)
    if "-k" in selected and any(word == "-k" or word.startswith("-k=") for word in rest):
        raise UsageError("-k", said=f"{' '.join(scenarios)} selects already", hint="Leave one of them out.")
    ours = [f"--hil-soak={options.hil_soak:g}s", "-q", "-o", "tmp_path_retention_policy=failed"]
    return supervise(options, [*ours, *selected, *rest])


def fuzz(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Stage random plans under supervision like any run, and say what they came to and covered.

    Args:
        options: of `harness fuzz`.
        arguments: what pytest understands.

    Returns:
        As :func:`supervise`.

    Raises:
        UsageError: as :func:`supervise`.
    """
    from harness.fuzzed import evidence  # noqa: PLC0415 - not needed to judge and report
    from harness.fuzzing import facts, recipe, summary  # noqa: PLC0415

    plans = options.plans or (_PLANS if options.seconds is None else math.ceil(options.seconds))
    ours = [
        "--pyargs",
        "harness.fuzzed",
        _ROOT,
        f"--hil-fuzz={options.seed}",
        f"--hil-fuzz-plans={plans}",
        f"--hil-fuzz-stages={options.stages}",
        f"--hil-retries={plans * (len(branches_of(options)) or 1)}",  # chance is right, and no reason to end
        "-q",
    ]
    if options.seconds is not None:
        ours.append(f"--hil-fuzz-for={options.seconds:g}s")
    status = supervise(options, [*ours, *arguments])
    folder: Path = options.results.absolute()
    known = evidence.read_functions(folder)
    if known is not None and _ONLY_LOOKS.isdisjoint(arguments):
        outcomes = [
            summary.Outcome(
                entry=entry,
                recipe=recipe.Recipe.from_json(drawn) if drawn else None,
                found=evidence.read(folder, entry.test, evidence.FOUND),
            )
            for entry in results.load(folder).entries
            for drawn in (evidence.read(folder, entry.test, evidence.RECIPE),)
        ]
        streams.say(summary.as_text(outcomes, facts.from_json(known)))
    return status


def _refuse_absent(arguments: Sequence[str]) -> None:
    """Say now that a file of tests is not there, not when the lab is ready and as a package that is missing.

    What follows an option may be its value, and is left to pytest.

    Raises:
        UsageError: a word names a Python file, and there is none.
    """
    for before, word in itertools.pairwise(("", *arguments)):
        file = _file_of(word)
        if (
            file.suffix == ".py"
            and not before.startswith("-")
            and not word.startswith("-")
            and not file.exists()
        ):
            raise UsageError(
                f"tests of {word}", said=f"there is no file {file.absolute()}", hint="Is its name right?"
            )


def _refuse_nothing(options: argparse.Namespace, folder: Path, arguments: Sequence[str]) -> None:
    """Let pytest collect, and say now, not when the lab is ready, that there is nothing to run.

    Tests that cannot be collected are the run's business: its report tells of them.  So are those that name a function
    which is not there, but they are named.

    Raises:
        UsageError: no test is selected, or pytest does not understand.
    """
    told = [*_pytest_arguments(options, folder, arguments), "--collect-only", "--quiet"]
    looking = _start_pytest(told, subprocess.PIPE)
    said = looking.communicate()[0].decode(errors="replace")
    if looking.returncode not in (PYTEST_USAGE, PYTEST_NO_TESTS):
        sys.stderr.writelines(f"harness: {visible(one)}\n" for one in _MISNAMED.findall(said))
        return
    why = _COMPLAINT.search(said)
    asked = f"harness {options.command.__name__}"
    if why is not None:
        raise UsageError(asked, said=why[1].rstrip("."), hint=f"See {asked} --help.")
    raise UsageError(
        asked,
        said=f"no test is selected by {shlex.join(arguments)}",
        hint="harness run --collect-only lists what is there.",
    )


def _file_of(word: str) -> Path:
    """The file or folder that a test's identity begins with."""
    return Path(word.partition("::")[0])


def _parts_of_own(options: argparse.Namespace) -> tuple[str, ...]:
    """Look at what the user brings to the lab, before anything is fetched.

    Returns:
        Name and digest of their modules, alias and digest of their models.

    Raises:
        UsageError: a branch is not written like one, `--kernels` meets `--kernel`, or several of them a module of the
            user's own, which is no module, or a model of theirs cannot be served.
        ModelError: a model of theirs never returned while it was loaded, or ended the program.
    """
    from harness.lab.kernel.own_modules import own_modules  # noqa: PLC0415
    from harness.lab.models.user_models import contents, with_own_models  # noqa: PLC0415
    from harness.lab.qemu.machine import Machine  # noqa: PLC0415 - the lab is not needed to judge and report

    branches_of(options)
    with_own_models(Machine(), options.hil_models)
    return (*map(str, own_modules(options.hil_own_modules)), *contents(options.hil_models))


@contextmanager
def _lab(options: argparse.Namespace) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Fetch and build here, where progress can be seen, what every test will use; it stays in the cache until the end.

    Yields:
        the folder in which the run's processes find it (:mod:`harness.lab.prepared`), and what each kernel is called.

    Raises:
        LabError: there is no lab.
    """
    from harness.lab.cache.store import Cache  # noqa: PLC0415
    from harness.lab.prepared import prepared  # noqa: PLC0415
    from harness.lab.qemu.run_folder import run_folder  # noqa: PLC0415

    with Cache() as cache, run_folder() as shared:
        places = [
            prepared(cache, wishes_of(options, branch), shared) for branch in branches_of(options) or ("",)
        ]
        yield shared, tuple(_known(place.recipe.kernel) for place in places)


def _known(kernel: Kernel) -> str:
    """Release and digest of a kernel: no other build of it may go on with a run."""
    return f"{kernel.release}-{hashlib.sha256(kernel.image.read_bytes()).hexdigest()[:12]}"


def _pytest_arguments(options: argparse.Namespace, folder: Path, arguments: Sequence[str]) -> list[str]:
    ours = ["--hil-lab=emulated", f"--hil-results={folder}", "-p", "no:cacheprovider", "--tb=short", "-rN"]
    ours += ["-W", _OUR_OWN]
    ours += for_pytest(options)
    if options.hil_keep:
        ours.append("--capture=no")
    names_tests = "--pyargs" in arguments or any(_file_of(word).exists() for word in arguments)
    if names_tests:
        return [*ours, *arguments]
    return [*ours, _ROOT, *SCENARIOS, *arguments]


def _start_pytest(arguments: Sequence[str], output: int | None = None) -> subprocess.Popen[bytes]:
    """Start pytest as a child that does not outlive us: nobody may go on touching functions that nobody watches.

    Args:
        arguments: what it is told.
        output: where what it says goes, as `subprocess` takes it; None for where ours goes.
    """
    command = [
        "setpriv",
        "--pdeathsig",
        "KILL",
        "--",
        sys.executable,
        "-P",
        "-m",
        "harness.supervised",
        *arguments,
    ]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # until it can answer in one line
    try:
        return subprocess.Popen(command, stdout=output, stderr=None if output is None else subprocess.STDOUT)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _wait(child: subprocess.Popen[bytes]) -> int:
    """Wait for the child; Ctrl-C reaches it by itself, and it needs the time to give everything back.

    From the first on none concerns us: what is left to do is the report.
    """
    while True:
        try:
            return child.wait()
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def _redden(folder: Path) -> None:
    """Put a red report in place of whatever an earlier run left, and everything else of it away.

    Raises:
        UsageError: the folder cannot be written, another run writes there, or what is there is not ours.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"results folder {folder}", said=error.strerror or str(error), hint="Name one with --results DIR."
        ) from error
    results.claim(folder)
    JournalWriter(folder / results.JOURNAL).close()  # whoever writes there keeps us out
    results.publish(folder / results.JUNIT, to_junit(Session(start=_start())))
    done = results.put_away(folder)
    if done:
        sys.stderr.write(f"harness: {done}\n")
    journal = JournalWriter(folder / results.JOURNAL)  # pytest may die before it writes one
    journal.append(_start())
    journal.close()


def _what_is_over(folder: Path) -> ExitStatus | None:
    """See what there is to resume; make its report red, for it is not complete yet.

    Returns:
        The outcome of a run that came to its end; None when there is something to do.

    Raises:
        UsageError: there is no journal, another run writes to it, or nothing of its run had begun.
    """
    session = results.load(folder)
    JournalWriter(folder / results.JOURNAL).close()  # whoever writes there keeps us out
    if not session.entries and session.end is None:
        raise UsageError(
            f"resuming the run in {folder}",
            said="it stopped before it knew its tests: there is nothing to resume",
            hint="Start anew without --resume.",
        )
    if session.over:
        status = results.complete(folder)
        sys.stderr.write(
            f"harness: nothing to resume: the run in {folder} came to its end: {MEANING[status]}; "
            "nothing was run now. Leave --resume out to run anew.\n"
        )
        return status
    results.publish(folder / results.JUNIT, to_junit(replace(session, end=None)))
    return None


def _say_why_not(folder: Path, error: LabError | AgentError | ModelError | UsageError) -> None:
    """No lab, no tests: the report says so."""
    kind = SetupError.kind if isinstance(error, UsageError) else error.kind
    journal = JournalWriter(folder / results.JOURNAL)
    session = results.load(folder)
    if session.entries:  # a run to resume: no verdict of it is lost, and it can be resumed again
        journal.append(replace(_start(), resumes=session.runs))
    journal.append(
        HealthRecord(
            name="lab_prepared", status=Status.ERROR, type=kind, summary=str(error), details=error.evidence
        )
    )
    journal.close()
    results.complete(folder)


def _start() -> SessionStart:
    return SessionStart(
        boot_id=results.boot_id(),
        realtime_ns=Ns(time.time_ns()),
        at_ns=Ns(time.monotonic_ns()),
        argv=tuple(sys.argv),
    )

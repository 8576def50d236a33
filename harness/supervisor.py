"""Run pytest as a child that may die, and leave a complete report whatever happens to it.

The report is red from the first second; when the child is gone, by itself or by a signal, it is made again from the
journal.  Should the supervisor itself be killed, the child and every guest die with it, and `harness report`
completes what is left.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import harness
from harness import results
from harness.errors import LabError, SetupError, UsageError
from harness.journal.record import HealthRecord, SessionStart, Status
from harness.journal.session import Session
from harness.journal.writer import JournalWriter
from harness.model.units import Ns
from harness.report.exit import PYTEST_USAGE, ExitStatus
from harness.report.junit import to_junit

SCENARIOS: Final = ("--pyargs", "harness.scenarios")
_FORWARDED: Final = (signal.SIGTERM, signal.SIGHUP)


def supervise(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Prepare the lab, run pytest in it, complete the report.

    Args:
        options: of `harness run`.
        arguments: for pytest; the shipped scenarios are run unless they name tests.

    Returns:
        0 good, 1 a promise was broken, 2 usage, 125 nothing could be said.

    Raises:
        UsageError: the results folder cannot be written.
    """
    folder: Path = options.results.absolute()
    _redden(folder)
    try:
        _prepare(options)
    except (LabError, UsageError) as error:
        _say_why_not(folder, error)
        raise
    command = [
        *_dying_with_us(),
        sys.executable,
        "-P",
        "-m",
        "pytest",
        *_pytest_arguments(options, folder, arguments),
    ]
    child = subprocess.Popen(command)
    for number in _FORWARDED:
        signal.signal(number, lambda received, _: child.send_signal(received))
    status = _wait(child)
    verdict = results.complete(folder)
    if status == PYTEST_USAGE:
        return ExitStatus.USAGE
    if status < 0:
        died = f"the runner was killed by {signal.Signals(-status).name}"
        sys.stderr.write(f"harness: {died}; {folder / results.JUNIT} is complete: {verdict.name.lower()}\n")
    return verdict


def _prepare(options: argparse.Namespace) -> None:
    """Fetch and build here, where progress can be seen, what every test will use from the cache.

    Raises:
        UsageError: a branch is not written like one, or `--kernels` meets `--kernel`: before anything is fetched.
    """
    from lab.cache import Cache  # noqa: PLC0415 - the lab is not needed to judge and report
    from lab.kernel import parse_branches  # noqa: PLC0415
    from lab.place import Wishes, prepare  # noqa: PLC0415

    branches = ("",) if options.kernels is None else parse_branches(options.kernels)
    if options.kernels is not None and options.kernel is not None:
        raise UsageError("--kernels", said="--kernel names another one", hint="Leave one of them out.")
    for branch in branches:
        with Cache() as cache:
            prepare(
                cache,
                Wishes(emulator=options.qemu, kernel=options.kernel, modules=options.modules, branch=branch),
            )


def _pytest_arguments(options: argparse.Namespace, folder: Path, arguments: Sequence[str]) -> list[str]:
    ours = ["--hil-lab=emulated", f"--hil-results={folder}", "-p", "no:cacheprovider", "--tb=short", "-rN"]
    for name in ("qemu", "kernel", "kernels", "modules", "gdb"):
        value = getattr(options, name)
        if value is not None:
            ours.append(f"--hil-{name}={value.absolute() if isinstance(value, Path) else value}")
    ours += [f"--hil-{name}" for name in ("cold", "keep") if getattr(options, name)]
    if options.keep:
        ours.append("--capture=no")
    names_tests = "--pyargs" in arguments or any(Path(word.partition("::")[0]).exists() for word in arguments)
    if names_tests:
        return [*ours, *arguments]
    # The same identities wherever one stands and however the harness was installed.
    return [*ours, f"--rootdir={Path(harness.__file__).parents[1]}", *SCENARIOS, *arguments]


def _dying_with_us() -> tuple[str, ...]:
    """The child must not outlive us: no process may go on touching functions that nobody watches."""
    return ("setpriv", "--pdeathsig", "KILL", "--")


def _wait(child: subprocess.Popen[bytes]) -> int:
    """Wait for the child; Ctrl-C reaches it by itself, and it needs the time to give everything back."""
    while True:
        try:
            return child.wait()
        except KeyboardInterrupt:
            continue


def _redden(folder: Path) -> None:
    """Put a red report in place of whatever an earlier run left."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / results.JOURNAL).unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(
            f"results folder {folder}", said=error.strerror or str(error), hint="Name one with --results DIR."
        ) from error
    results.publish(folder / results.JUNIT, to_junit(Session(start=_start())))
    journal = JournalWriter(folder / results.JOURNAL)  # pytest may die before it writes one
    journal.append(_start())
    journal.close()


def _say_why_not(folder: Path, error: LabError | UsageError) -> None:
    """No lab, no tests: the report says so."""
    kind = error.kind if isinstance(error, LabError) else SetupError.kind
    journal = JournalWriter(folder / results.JOURNAL)
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

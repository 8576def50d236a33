"""Targets and functions for tests: `--hil-lab emulated` gives every test a guest of its own.

Without `--hil-lab` its fixtures skip with the command that helps, as those of `asleep` do.
"""

from __future__ import annotations

import enum
import itertools
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from harness.contract import Contract, load
from harness.errors import ModelError, UsageError
from harness.journal.record import HealthRecord, Status
from harness.model.request import DescribeMachine
from harness.options import branches_of, wishes_of
from harness.plugin import reporting, verdicts
from harness.plugin.lab import quarantine
from harness.plugin.lab.functions import Functions, traits_of
from harness.plugin.lab.guests import Ahead, TargetSource
from harness.plugin.lab.shared import SharedGuest
from harness.plugin.verdicts import FunctionLost
from harness.report.lockdown import locked_down
from harness.results import ATTACHMENTS
from harness.staging.function import Function, Traits
from harness.staging.locks import Locks
from harness.target.protocol import Make

if TYPE_CHECKING:
    from harness.lab.cache.store import Cache
    from harness.lab.place import Place
    from harness.lab.qemu.machine import Machine

MISNAMED: Final = "hil: "
"""What a line of the collection begins with that tells of a function which is not there."""
RESULTS: Final = "hil-results"
SLOW: Final = "hil_slow"


class Guests(enum.StrEnum):
    """Whose guest a test has."""

    FRESH = "fresh"
    """Its own: what it breaks ends with it."""
    SHARED = "shared"
    """That of all tests: what one breaks, later ones find broken."""


_WENT_WRONG: Final = pytest.StashKey[bool]()
_SHARED: Final = pytest.StashKey[Iterator[int]]()
_MACHINE: Final = pytest.StashKey["Machine"]()
_BRANCHES: Final = pytest.StashKey[tuple[str, ...]]()
_LOCKED: Final = pytest.StashKey[set[str]]()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """A lab without a results folder would lose its evidence, so there always is one."""
    if config.option.hil_lab and not config.option.hil_results:
        config.option.hil_results = RESULTS
    config.stash[_BRANCHES] = _branches(config)
    if config.option.hil_lab or config.option.hil_models:
        with suppress(ImportError):  # without the package `lab`: the fixture `hil_place` says so
            config.stash[_MACHINE] = _machine(config)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Turn a test that needs a lab into one for each kernel of `--hil-kernels`."""
    branches = metafunc.config.stash[_BRANCHES]
    if branches and "hil_place" in metafunc.fixturenames:
        # The scope makes pytest run all tests of a kernel before those of the next one.
        metafunc.parametrize("hil_place", branches, indirect=True, scope="session")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Look for the function that a test names, before a guest is made for it.

    Raises:
        UsageError: the lab has no function of that name.
    """
    if (alias := _named(item)) is not None:
        _refuse_unknown(item.config, alias)


@pytest.hookimpl(trylast=True)
def pytest_report_collectionfinish(config: pytest.Config, items: Sequence[pytest.Item]) -> list[str]:
    """Say which functions tests name that are not there, when all were collected; each costs its own test alone."""
    said = []
    for item in items:
        try:
            if (alias := _named(item)) is not None:
                _refuse_unknown(config, alias)
        except UsageError as error:
            said.append(f"{MISNAMED}{item.nodeid}: {error}")
    return said


def _named(item: pytest.Item) -> object | None:
    """The function that a test's marker names."""
    call = getattr(item, "callspec", None)
    return call.params.get("dut") if call is not None and item.get_closest_marker("dut") else None


def _refuse_unknown(config: pytest.Config, alias: object) -> None:
    """See that the lab has a function of a name, which needs no guest."""
    if _MACHINE in config.stash:
        config.stash[_MACHINE].refuse_unknown(str(alias))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave slow tests of a lab out, unless `-m` speaks of them or a test is named itself."""
    if config.option.hil_lab is None or SLOW in config.option.markexpr:
        return
    named = tuple(argument.partition("::")[2] for argument in config.args if "::" in argument)
    parts = tuple(f"{one}{end}" for one in named for end in ("[", "::"))  # its parameters, or a class's tests
    slow = [
        item
        for item in items
        if item.get_closest_marker(SLOW)
        and (within := item.nodeid.partition("::")[2]) not in named
        and not within.startswith(parts)
    ]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]


def _branches(config: pytest.Config) -> tuple[str, ...]:
    """What `--hil-kernels` says, understood before anything is collected or fetched."""
    try:
        return branches_of(config.option)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from error


def _machine(config: pytest.Config) -> Machine:
    """The machine that is tested, with what `--hil-model` names, tried before anything is collected or fetched."""
    from harness.lab.models.user_models import with_own_models  # noqa: PLC0415
    from harness.lab.qemu.machine import Machine  # noqa: PLC0415 - optional at run time, as below

    try:
        return with_own_models(Machine(), config.option.hil_models)
    except (ModelError, UsageError) as error:
        raise pytest.UsageError(str(error)) from error


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember that a test went wrong: `--hil-keep` wants to know when its guest is about to end."""
    report = yield
    if report.failed:
        item.stash[_WENT_WRONG] = True
    if call.excinfo is not None and isinstance(call.excinfo.value, FunctionLost):
        report.longrepr = str(call.excinfo.value)  # the traceback leads through the harness, not to the cause
    return report


@pytest.fixture(scope="session")
def hil_place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The lab, prepared once in a run, or once for each kernel of `--hil-kernels`."""
    options = request.config.option
    if options.hil_lab is None:
        verdicts.refuse("no lab was asked for: use ./lab/run, or add --hil-lab emulated")
    try:
        from harness.lab.cache.store import Cache  # noqa: PLC0415 - optional at run time: only this plugin needs a lab of QEMU guests
        from harness.lab.prepared import prepared  # noqa: PLC0415
    except ImportError as error:
        raise UsageError(
            "--hil-lab emulated", said=f"the package `lab` cannot be imported: {error}"
        ) from error
    cache: Cache
    with Cache() as cache:
        wishes = wishes_of(options, branch=getattr(request, "param", ""))
        yield prepared(cache, wishes, _shared(request.config, tmp_path_factory))


@pytest.fixture(scope="session")
def hil_shared(request: pytest.FixtureRequest, hil_place: Place) -> Iterator[SharedGuest | None]:
    """The guest that all tests on one kernel share, with `--hil-guests shared`."""
    config, option = request.config, request.config.option

    def say(health: HealthRecord) -> None:
        reporting.note_health(config, health)

    if Guests(option.hil_guests) is Guests.FRESH:
        yield None
        # Guests take their functions with them: none can be left bound.
        say(
            HealthRecord(
                name=quarantine.DEVICES_RETURNED,
                status=Status.OK,
                summary="every function belonged to a guest that is gone",
            )
        )
        return
    results = reporting.results_folder(config)
    if results is None:
        raise _no_results()
    release = hil_place.recipe.kernel.release if option.hil_kernels else ""
    worker = str(getattr(config, "workerinput", {}).get("workerid", ""))  # each of xdist's has its own guest
    name = "-".join(word for word in ("shared-guest", release, worker) if word)
    number = config.stash.setdefault(_SHARED, itertools.count(1))
    shared = SharedGuest(
        partial(hil_place.boot if option.hil_cold else hil_place.clone, gdb=option.hil_gdb),
        consoles=(results / ATTACHMENTS / f"{name}-{one}.console.log" for one in number),
        say=say,
    )
    try:
        yield shared
        shared.say_how_it_went()
    finally:
        shared.close()


@pytest.fixture(scope="session")
def hil_contract() -> Contract:
    """The contract, read once a session."""
    return load()


@pytest.fixture
def hil_source(
    request: pytest.FixtureRequest,
    hil_place: Place,
    hil_shared: SharedGuest | None,
    hil_ahead: Ahead | None,
) -> Iterator[TargetSource]:
    """Guests for this test."""
    option = request.config.option
    boots = request.node.get_closest_marker("hil_boots") is not None
    with ExitStack() as ending:
        source: TargetSource
        if hil_shared is not None and not boots:
            source = ending.enter_context(hil_shared.lent(request.node.nodeid))
        else:
            console = reporting.attachment_path(request.node, "console.log")
            if console is None:
                raise _no_results()
            make: Make
            if boots or option.hil_cold:
                make = partial(hil_place.boot, gdb=option.hil_gdb)
            elif hil_ahead is None or option.hil_gdb is not None:
                make = partial(hil_place.clone, gdb=option.hil_gdb)
            else:
                make = hil_ahead.lend
            source = TargetSource(make, console, hil_ahead)
            ending.callback(source.close)
        yield source
        if source is not hil_shared:
            source.check()
        if option.hil_keep and source.consoles and request.node.stash.get(_WENT_WRONG, False):
            _hold(request.config, source)


@pytest.fixture
def functions(request: pytest.FixtureRequest, hil_source: TargetSource, hil_contract: Contract) -> Functions:
    """The functions of the lab by alias: `functions("igb0")`; ports too: `functions("igb0.port")`."""

    def find(alias: str) -> Function:
        _refuse_unknown(request.config, alias)
        hil_source.borrow(alias)

        def look() -> Traits:
            traits = traits_of(alias, hil_source.target, hil_contract)
            if traits.locked_down:
                _say_once(request.config, hil_source)
            return traits

        return Function(alias, look)

    return find


@pytest.fixture
def dut(request: pytest.FixtureRequest, functions: Functions) -> Function:
    """The function under test, as the marker `dut` names it."""
    if not hasattr(request, "param"):
        raise UsageError(
            "fixture dut",
            said="no function was named",
            hint='Mark the test: @pytest.mark.dut("igb0", "nvme0").',
        )
    return functions(request.param)


@pytest.fixture
def locks(hil_place: Place) -> type[Locks]:
    """Holders of a function's locks: `locks(dut).holds("config", lasting="200ms")`; skips without their module."""
    if hil_place.without_windows_module:
        verdicts.lack(f"the kernel module for lock windows is missing: {hil_place.without_windows_module}")
    return Locks


def _say_once(config: pytest.Config, source: TargetSource) -> None:
    """Say at the start of a run what a kernel refuses that is locked down; a worker has nobody to say it to."""
    machine = source.target.agent.ask(DescribeMachine())
    said, reporter = (
        config.stash.setdefault(_LOCKED, set()),
        config.pluginmanager.getplugin("terminalreporter"),
    )
    line = locked_down(machine.release, machine.lockdown)
    if line not in said and reporter is not None:
        said.add(line)
        with _uncaptured(config):
            reporter.ensure_newline()
            reporter.write_line(f"hil locked: {line}")


def _uncaptured(config: pytest.Config) -> AbstractContextManager[None]:
    """Where words reach the terminal, though a test is running."""
    capture = config.pluginmanager.getplugin("capturemanager")
    uncaptured: AbstractContextManager[None] = (
        capture.global_and_fixture_disabled() if capture else nullcontext()
    )
    return uncaptured


def _shared(config: pytest.Config, temporary: pytest.TempPathFactory) -> Path:
    """The folder that the processes of this run share: its supervisor's, or that of all workers of xdist."""
    told: Path | None = config.option.hil_prepared
    if told is not None:
        return told
    own = temporary.getbasetemp()
    return own.parent if hasattr(config, "workerinput") else own


def _no_results() -> UsageError:
    return UsageError("recording a console", said="no results folder", hint="Add --hil-results DIR.")


def _hold(config: pytest.Config, source: TargetSource) -> None:
    """Keep a guest until its owner has seen enough; without a terminal there is nobody to wait for."""
    target = source.target
    with _uncaptured(config):
        sys.stderr.write(f"\nkept: {target.by_hand}\n")
        if sys.stdin is not None and sys.stdin.isatty():
            input("Enter ends it: ")
        else:
            sys.stderr.write("not kept any longer: --keep waits for Enter, and there is no terminal\n")

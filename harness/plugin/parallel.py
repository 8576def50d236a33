"""Many guests at once: `-n N` and `-n auto` of pytest-xdist in a lab, and the next guest made ahead.

Inert without `--hil-lab`, except that whatever starts workers may go on as it always did.  Each worker is a process
with a guest of its own.  It dies with the runner that started it, SIGKILL included, and its QEMU dies with it.

Guests that share cores starve each other.  Nothing here hides that: the heartbeat of each stage sees it, the stage is
carried out once more, and the report says so (harness/judge/evidence/starvation.py).  `auto` lets no two guests
share a core.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any, Final

import pytest

from harness.plugin import reporting
from harness.plugin.lab.guests import Ahead, TargetSource
from harness.results import ATTACHMENTS

if TYPE_CHECKING:
    from harness.lab.capacity import Room
    from harness.lab.place import Place

DISTRIBUTION: Final = "worksteal"
"""Each worker gets one stretch of the tests in their order, and whoever is done takes from the end of another's.

Of xdist's ways the one that suits guests: tests take from 0.1 to 10 s, so that who is done early must take over
("loadfile", "loadscope" wait for the longest file); neighbours stay together, so that with several kernels a worker
changes its template once or twice and not at every other test ("load" deals tests out in turns).
"""

_WITH_PARENT: Final = ("setpriv", "--pdeathsig", "KILL", "--")
_PARENT: Final = "hil_controller"
_NEXT_WANTS_ONE: Final = pytest.StashKey[bool]()


# --- workers ----------------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, Any, Any]:
    """Refuse what cannot be shared out, and choose how tests are dealt to workers, before xdist does.

    Raises:
        pytest.UsageError: `--keep` or `--gdb` with `-n`.
    """
    option = config.option
    if option.hil_lab is not None and getattr(option, "numprocesses", None):
        for name, why in (
            ("keep", "a kept guest waits for Enter, and workers have no terminal"),
            ("gdb", "all guests would open the same port"),
        ):
            if getattr(option, f"hil_{name}"):
                raise pytest.UsageError(f"--{name} and -n: {why}. Leave one of them out.")
        if option.dist == "no":
            option.dist = DISTRIBUTION
    return (yield)


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Answer `-n auto`: as many as do not share a core, as far as memory goes; without a lab it is xdist's business."""
    return None if config.option.hil_lab is None else _room().guests()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Let workers die with us; in a worker, see that whom it is to die with was still there."""
    parent = getattr(config, "workerinput", {}).get(_PARENT)
    if parent is not None and os.getppid() != parent:
        os._exit(1)  # it died before setpriv had asked to be told; nothing was begun
    if config.option.hil_lab is not None and getattr(config.option, "tx", None):
        # xdist starts workers, also those in place of one that died, from its main thread, which lives until the
        # end: PR_SET_PDEATHSIG speaks of the thread that forked (prctl(2)).
        python = shlex.join([*_WITH_PARENT, sys.executable])
        config.option.tx = [
            f"popen//python={python}" if spec == "popen" else spec for spec in config.option.tx
        ]


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker whose child it is."""
    if node.config.option.hil_lab is not None:
        node.workerinput[_PARENT] = os.getpid()


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say how many guests run at once, and why."""
    if config.option.hil_lab is None:
        return None
    room, guests = _room(), _at_once(config)
    fits = "" if guests <= room.guests() else f" though {room.guests()} would not share cores or memory"
    ahead = "made ahead" if _is_ahead(config) else "made when it is needed"
    return f"hil guests: {guests} at once{fits} ({room.why()}); the next one is {ahead}"


def _room() -> Room:
    from harness.lab.capacity import look  # noqa: PLC0415 - optional at run time: only a run with guests needs the lab

    return look()


def _at_once(config: pytest.Config) -> int:
    """How many guests this run stages in at once."""
    worker: dict[str, Any] = getattr(config, "workerinput", {})
    return int(worker.get("workercount") or len(getattr(config.option, "tx", ())) or 1)


# --- guests made ahead ------------------------------------------------------------------------------------


def _is_ahead(config: pytest.Config) -> bool:
    """Whether the next guest is made while a test runs.

    One that comes up keeps a core busy, for half a second: with `auto` each running guest leaves it one, and there
    are two at least, as a stage that has lost a core for a moment is worth less than what is won.
    """
    if config.option.hil_guests == "shared":
        return False
    wish: str = config.option.hil_ahead
    guests = _at_once(config)
    return wish == "on" or (wish == "auto" and _room().spare_cores(guests) >= max(2, guests))


@pytest.fixture(scope="session")
def hil_ahead(request: pytest.FixtureRequest, hil_place: Place) -> Iterator[Ahead | None]:
    """What keeps the next guest ready; None where a guest is made when it is needed."""
    config = request.config
    results = reporting.results_folder(config)
    if results is None or not _is_ahead(config) or config.option.hil_cold:
        yield None
        return
    folder = results / ATTACHMENTS
    folder.mkdir(parents=True, exist_ok=True)
    worker: dict[str, Any] = getattr(config, "workerinput", {})
    ahead = Ahead(hil_place.clone, folder, str(worker.get("workerid", "gw")))
    try:
        yield ahead
    finally:
        ahead.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, Any, Any]:
    """Look whether the next test will want a guest that is cloned."""
    item.stash[_NEXT_WANTS_ONE] = (
        nextitem is not None
        and "hil_source" in getattr(nextitem, "fixturenames", ())
        and nextitem.get_closest_marker("hil_boots") is None
        and _kernel(nextitem) == _kernel(item)
    )
    return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """Begin to make the next test's guest, as soon as this one has its own."""
    source: TargetSource | None = getattr(item, "funcargs", {}).get("hil_source")
    if source is not None and item.stash.get(_NEXT_WANTS_ONE, False):
        source.another_follows()


def _kernel(item: pytest.Item) -> object:
    """The kernel that `--hil-kernels` chose for a test."""
    call = getattr(item, "callspec", None)
    return call.params.get("hil_place") if call is not None else None

"""Guests for tests: everything they need is prepared once a session, and each test clones what it wants."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.contract import Contract, load
from harness.lab.cache.store import Cache
from harness.lab.place import Place, prepare
from tests.gate.groups import BY_NAME
from tests.guest.invocation import harness
from tests.guest.shipped import PARTS, Shipped
from tests.guest.surgery import Patient, addresses, on_the_table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything below this folder: it needs QEMU."""
    here = __file__.rsplit("/", 1)[0]
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker(pytest.mark.guest)


@pytest.fixture(scope="session")
def cache() -> Iterator[Cache]:
    """The user's cache: what is downloaded and built once serves all."""
    with Cache() as opened:
        yield opened


@pytest.fixture(scope="session")
def place(cache: Cache) -> Place:
    """The default emulated lab, with its template."""
    return prepare(cache)


@pytest.fixture
def console(tmp_path: Path) -> Path:
    """Where the test's guest records its console."""
    return tmp_path / "console.log"


@pytest.fixture(
    scope="session",
    params=[
        pytest.param(name, marks=getattr(pytest.mark, name) if name in BY_NAME else ()) for name in PARTS
    ],
)
def shipped(
    place: Place,  # noqa: ARG001  prepared, so that the run finds everything in the cache
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Shipped:
    """The shipped scenarios, run once by the command a user types; takes minutes.  Those of the adapter are a group."""
    folder, part = tmp_path_factory.mktemp("shipped"), PARTS[request.param]
    results = folder / "results"
    asked: tuple[str | Path, ...] = ("run", *part.asked, "--results", results)
    run = harness(*asked, cwd=folder, results_folder=results, timeout_s=1500.0)
    return Shipped(status=run.status, output=run.output, errors=run.errors, results=run.results, part=part)


@pytest.fixture(scope="session")
def contract() -> Contract:
    return load()


@pytest.fixture(scope="session")
def where(place: Place, tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    with place.clone(tmp_path_factory.mktemp("symbols") / "console.log") as target:
        return addresses(target)


@pytest.fixture
def patient(place: Place, console: Path, where: dict[str, int], contract: Contract) -> Iterator[Patient]:
    with on_the_table(place, console, where, contract) as one:
        yield one

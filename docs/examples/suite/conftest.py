"""What the tests of this suite share: nothing of ours is needed here, these are the suite's own fixtures."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.staging.function import Function
from harness.staging.part import Part


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Something that lasts as long as the session: a power supply, a licence, a folder."""
    yield tmp_path_factory.mktemp("bench")


@pytest.fixture
def readers(dut: Function) -> Callable[[], tuple[Part, ...]]:
    """Parts that several tests stage.  What asks for `dut` or `stage` has the scope of a test: so has its guest."""
    return lambda: (dut.reads("sysfs", actors=2), dut.reads("proc"))

"""Hypothesis for shared machines: an example may take long, and a red run must be red again.  And who runs what.

`./lab/run` loads this file too (pytest looks for it beside the root's), where Hypothesis need not be installed.
"""

import os
import re
import signal
from importlib.util import find_spec
from typing import Any

import pytest

from tests.gate.deal import dealt, looks_at_the_shipped
from tests.gate.groups import GROUPS, left_out

if find_spec("hypothesis"):
    from hypothesis import HealthCheck, settings

    settings.register_profile(
        "repository", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("repository")


def pytest_configure(config: pytest.Config) -> None:
    """Each group is a marker."""
    for group in GROUPS:
        config.addinivalue_line("markers", f"{group.name}: {group.holds}; runs when it is asked for")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is in a group that nobody asked for."""
    asked = re.findall(r"\w+", config.option.markexpr)
    named = {(config.invocation_params.dir / word.partition("::")[0]).resolve() for word in config.args}
    waiting = [
        item
        for item in items
        if left_out((one.name for one in item.iter_markers()), asked=asked, named=item.path in named)
    ]
    if waiting:
        config.hook.pytest_deselected(items=waiting)
        items[:] = [item for item in items if item not in waiting]
    if "--dist=loadfile" in getattr(config, "workerinput", {}).get("mainargv", ()):  # `./lab/test`
        order = dealt(list(dict.fromkeys(map(file_of, items))), config.rootpath)
        place = {file: number for number, file in enumerate(order)}
        items.sort(key=lambda item: place[file_of(item)])


def file_of(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


def pytest_sessionstart() -> None:
    """A pytest that a test starts is no worker of ours; what a test interrupts hears it, in the background, too."""
    for name in [name for name in os.environ if name.startswith("PYTEST_XDIST_")]:
        del os.environ[name]
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell has it for what it starts with `&`
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Deal whole files to the workers of `./lab/test`; all that look at the shipped scenarios go to one of them."""
    if config.option.dist != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling  # noqa: PLC0415 - `./lab/run` may be without

    class OneForTheShipped(LoadFileScheduling):
        """Whoever asks for the fixture `shipped` has them run, in minutes: once, not once in each worker."""

        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "shipped" if looks_at_the_shipped(config.rootpath / file) else file

    return OneForTheShipped(config, log)

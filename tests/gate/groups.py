"""What `./lab/test` runs, in parts, and how long each may take: names and numbers, and nothing else.

A test is in a group by a marker of that name: `pytestmark = pytest.mark.kills`, or `marks=` of a parameter.  What is in
no group is run by default.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Tests that run when they are asked for.

    Attributes:
        name: for `--group`, and their marker.
        under: the folder that they are in.
        holds: what they look at, and so whose change they are for.
        budget_s: how long they may take together, in seconds of one worker.
    """

    name: str
    under: str
    holds: str
    budget_s: int


GROUPS: Final = (
    Group(
        name="adapter",
        under="tests/guest",
        holds="all scenarios of the ipr adapter, and each entry of the contract that they use, flipped",
        budget_s=420,
    ),
    Group(
        name="kernels",
        under="tests/guest",
        holds="three Debian kernels in one run, and their probes; kernels and VFIO drivers that were broken on purpose",
        budget_s=300,
    ),
    Group(
        name="kills",
        under="tests/guest",
        holds="who dies, hangs or is killed in the middle of a stage: agent, kernel, QEMU, runner, supervisor",
        budget_s=400,
    ),
    Group(
        name="setup",
        under="tests/setup",
        holds="Python environments that are changed, killed and spoilt; wheel and sdist in new ones, from PyPI",
        budget_s=900,
    ),
    Group(
        name="soak",
        under="tests/guest",
        holds="rounds in guests until a time is over; stages that are longer than their lanes",
        budget_s=300,
    ),
)
BY_NAME: Final = {group.name: group for group in GROUPS}

QUICK: Final = ("tests/repo", "tests/unit", "tests/property", "tests/golden")
"""Folders of `--quick`: no guest, and no pytest inside pytest.  Long files come first, so that no worker ends alone."""

WORKERS: Final = 3
"""One more than processors: half of what tests take is waiting, in guests most of all."""
QUICK_WORKERS: Final = 5
"""Of `--quick`: no guest takes a processor meanwhile."""
DEFAULT_S: Final = 900
QUICK_S: Final = 150
GROUP_S: Final = 45 * 60
"""How long a run may take: all that is in no group; `--quick`; any one group.  On two idle cores, with a warm cache."""

FOLDERS: Final = {
    "tests/fuzz": 85,
    "tests/golden": 20,
    "tests/guest": 1550,
    "tests/plugin": 290,
    "tests/property": 50,
    "tests/repo": 60,
    "tests/setup": 40,
    "tests/unit": 440,
}
"""How long the tests of a folder that are in no group may take together, in seconds of one worker."""


def left_out(markers: Iterable[str], *, asked: Iterable[str], named: bool) -> bool:
    """Whether a test waits for somebody who asks for its group.

    Args:
        markers: names of its markers.
        asked: names of the markers that a run is about, as in `-m "kills or soak"`.
        named: whether its own file was named on the command line: whoever does that wants it.
    """
    groups = BY_NAME.keys() & set(markers)
    return bool(groups) and not named and not groups & set(asked)


def account(file: str, markers: Iterable[str]) -> str:
    """What a test's time is counted to: its group, or else its folder below `tests`."""
    groups = sorted(BY_NAME.keys() & set(markers))
    return groups[0] if groups else "/".join(file.split("/")[:2])


def budget_s(name: str) -> int | None:
    """The budget of a group or folder; None for what nobody has declared."""
    return BY_NAME[name].budget_s if name in BY_NAME else FOLDERS.get(name)

"""Which kernel is tested, as a value, decided before anything is looked at or fetched.  Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.errors import UsageError

DEFAULT_BRANCH: Final = "6.12"
"""The branch of Debian's newest stable release."""


@dataclass(frozen=True, slots=True)
class OfDebian:
    """Debian's newest kernel of a branch: "6.12", "6.1", or "7.x" for the newest of a major version.

    Raises:
        UsageError: the branch is not written like one.
    """

    branch: str = DEFAULT_BRANCH

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\d+\.(?:\d+|x)", self.branch):
            raise UsageError(f"choosing the kernel branch {self.branch!r}", said="write it like 6.12 or 7.x")


@dataclass(frozen=True, slots=True)
class Given:
    """A kernel of the user's own.

    Attributes:
        path: a bzImage, a vmlinux, or a built kernel tree; absolute.
        modules: `lib/modules/RELEASE`, or a folder above it; None where they lie beside it, or there are none.
    """

    path: Path
    modules: Path | None = None


Choice = OfDebian | Given


def choose(given: Path | None = None, modules: Path | None = None, branch: str = "") -> Choice:
    """Decide for one kernel.

    Args:
        given: the user's `--kernel`.
        modules: the user's `--modules`.
        branch: one of the user's `--kernels`; empty for that of Debian stable.

    Raises:
        UsageError: `modules` without `given`, `given` with a branch, or a branch that is not written like one.
    """
    match given, modules:
        case None, None:
            return OfDebian(branch or DEFAULT_BRANCH)
        case None, _:
            raise UsageError(
                f"using the modules in {modules}", said="they need their kernel", hint="Add --kernel PATH"
            )
        case path, _ if not branch:
            return Given(path.absolute(), modules and modules.absolute())
    raise UsageError(f"using the kernel {given} and {branch}", said="a guest boots only one of them")


def parse_branches(text: str) -> tuple[str, ...]:
    """Read the user's `--kernels`: branches with commas between them.

    Raises:
        UsageError: one is not written like a branch, or named twice.
    """
    branches = tuple(OfDebian(word.strip()).branch for word in text.split(","))
    if twice := next((one for one in branches if branches.count(one) > 1), ""):
        raise UsageError(f"choosing the kernels {text!r}", said=f"{twice} is there twice")
    return branches

"""Kernel releases, and ranges of them that know about stable branches.

Behaviour is backported: two builds of one branch can differ.  A range is therefore a list of terms:

========== ==========================================================
`*`        every kernel
`6.10+`    branch 6.10 and every later branch
`6.12`     every build of the branch 6.12
`6.12.117+` the branch 6.12 from its patch level 117 on (no other branch)
`6.12.-107` the branch 6.12 up to its patch level 107
========== ==========================================================
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from harness.errors import ContractError, UsageError

_N: Final = r"\d{1,9}"
_RELEASE: Final = re.compile(rf"({_N})\.({_N})(?:\.({_N}))?(?!\d)")
_TERM: Final = re.compile(rf"(?P<branch>{_N}\.{_N})(?:(?P<later>\+)|\.(?P<since>{_N})\+|\.-(?P<until>{_N}))?")


@dataclass(frozen=True, slots=True, order=True)
class KernelVersion:
    """`major.minor.patch` of a running kernel; distributions' suffixes do not count."""

    major: int
    minor: int
    patch: int

    @classmethod
    def parse(cls, release: str) -> KernelVersion:
        """Read the front of `uname -r`, such as `6.12.117+deb13-amd64`.

        Raises:
            UsageError: the text does not begin with a version.
        """
        match = _RELEASE.match(release)
        if match is None:
            raise UsageError(f"kernel release {release!r}", said="does not begin with a version")
        return cls(int(match[1]), int(match[2]), int(match[3] or 0))

    @property
    def branch(self) -> tuple[int, int]:
        """Major and minor."""
        return (self.major, self.minor)

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


@dataclass(frozen=True, slots=True)
class KernelRange:
    """A set of kernels, as terms of which any may hold."""

    terms: tuple[str, ...]

    def __post_init__(self) -> None:
        for term in self.terms:
            if term != "*" and _TERM.fullmatch(term) is None:
                raise ContractError(
                    f"kernel range {term!r}",
                    said="not understood",
                    hint='Write "*", "6.10+", "6.12", "6.12.117+" or "6.12.-107".',
                )

    def __contains__(self, version: KernelVersion) -> bool:
        return any(_holds(term, version) for term in self.terms)


def _holds(term: str, version: KernelVersion) -> bool:
    if term == "*":
        return True
    match = _TERM.fullmatch(term)
    if match is None:  # __post_init__ has refused it
        return False
    major, minor = match["branch"].split(".")
    branch = (int(major), int(minor))
    if match["later"]:
        return version.branch >= branch
    if version.branch != branch:
        return False
    if match["since"]:
        return version.patch >= int(match["since"])
    return version.patch <= int(match["until"]) if match["until"] else True

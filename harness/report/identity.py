"""The identity of a test in every dashboard: class name and name, made of pytest's node id.

Nothing volatile is in it: no address, kernel, host, date, seed or attempt, and not where the package happens
to be installed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from harness.report.text import clean

_LONGEST: Final = 200
_LONGEST_SLUG: Final = 48
# Anchored: tried at each place of a long name, they would take minutes.
_PACKAGES: Final = re.compile(r"\A.*(?:site|dist)-packages/")
_SHIPPED: Final = "harness/scenarios/"
_ELSEWHERE: Final = re.compile(r"\A([^/]*?)(?:\.\.?/|/).*", re.DOTALL)
_UNWANTED: Final = re.compile(r"[/|\x00-\x20\\]+|\[\[|\]\]")


@dataclass(frozen=True, slots=True, order=True)
class Identity:
    """What a consumer tells tests apart by, together with the suite's name."""

    classname: str
    name: str

    def __str__(self) -> str:
        return f"{self.classname}.{self.name}" if self.classname else self.name


def identity(node_id: str) -> Identity:
    """Class name and name of one node id.

    `harness/scenarios/test_flr.py::TestRead::test_blocks[igb-flr]` becomes
    `harness.scenarios.test_flr.TestRead` and `test_blocks[igb-flr]`.
    """
    body, bracket, parameters = node_id.partition("[")
    path, *names = body.split("::")
    path = _PACKAGES.sub("", path)
    before, shipped, after = path.partition(_SHIPPED)
    if shipped:
        path = _ELSEWHERE.sub(r"\1", before) + shipped + after
    path = path.lstrip("./")
    module = path.removesuffix(".py").replace("/", ".")
    if not names:
        return Identity(_short(module), "collection")
    name = names[-1] + bracket + parameters
    return Identity(_short(".".join([module, *names[:-1]])), _short(name) or "unnamed")


def identities(node_ids: Iterable[str]) -> dict[str, Identity]:
    """Identities of all tests of a session; those that cleaning made equal get a stable suffix."""
    chosen: dict[str, Identity] = {}
    taken: set[Identity] = set()
    for node_id in node_ids:
        found = identity(node_id)
        if found in taken:
            found = Identity(found.classname, f"{found.name[:190]}-{_digest(node_id)}")
        taken.add(found)
        chosen[node_id] = found
    return chosen


def slug(node_id: str) -> str:
    """A file name for what belongs to this test: letters, digits, dot, dash; unique in a session."""
    words = re.sub(r"[^A-Za-z0-9.]+", "-", identity(node_id).name).strip("-.").split("-")
    while len(words) > 1 and len("-".join(words)) > _LONGEST_SLUG:
        words.pop(0)  # parameters stand last and tell most
    return f"{'-'.join(words)[-_LONGEST_SLUG:].lstrip('.') or 'test'}-{_digest(node_id)}"


def _short(text: str) -> str:
    line = _UNWANTED.sub("-", clean(text)).strip("-")
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 9]}-{_digest(line)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:8]

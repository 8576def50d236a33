"""Whoever is not of the lab knows targets as `harness.target.protocol` has them: nobody reaches through to a guest."""

from __future__ import annotations

import ast

import pytest

from tests.repo.tree import ROOT


def reaches(source: str) -> list[str]:
    """What names a guest: an attribute `guest`, the class of such targets, the room of the lab that makes them."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(attr="guest"):
                found.append(ast.unparse(node))
            case ast.Call(func=ast.Name(id="getattr"), args=[_, ast.Constant(value="guest"), *_]):
                found.append(ast.unparse(node))
            case ast.Name(id="GuestTarget") | ast.alias(name="GuestTarget"):
                found.append("GuestTarget")
            case ast.ImportFrom(module=str(module)) if module.startswith("harness.lab.guest"):
                found.append(module)
            case ast.Import(names=names):
                found += [one.name for one in names if one.name.startswith("harness.lab.guest")]
    return found


def test_nobody_outside_the_lab_names_a_guest() -> None:
    lab = ROOT / "harness" / "lab"
    read = [path for path in sorted((ROOT / "harness").glob("**/*.py")) if lab not in path.parents]
    assert len(read) > 200
    found = {str(path.relative_to(ROOT)): reaches(path.read_text()) for path in read}
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    "source",
    [
        "starved_process(target.guest.pid)",
        "source.target.guest.check_clock()",
        "guest = getattr(target, 'guest')",
        "def describe(target: GuestTarget) -> None: ...",
        "from harness.lab.place import GuestTarget",
        "from harness.lab.guest.guest import Guest",
        "import harness.lab.guest.watch",
    ],
)
def test_whoever_does_is_noticed(source: str) -> None:
    assert reaches(source)

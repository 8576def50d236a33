"""Every verb has a word on its manners, and what random plans use is what minds them."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

from harness import staging
from harness.fuzzing.verbs import VERBS
from harness.staging.manners import MANNERS, Manners
from harness.staging.part import Part


def verbs() -> set[tuple[type, str]]:
    """Every public method of a class of the author's that makes a part."""
    modules = [
        importlib.import_module(f"{staging.__name__}.{one.name}")
        for one in pkgutil.iter_modules(staging.__path__)
    ]
    classes = {kind for module in modules for _, kind in inspect.getmembers(module, inspect.isclass)}
    return {
        (kind, name)
        for kind in classes
        if kind.__module__.startswith(staging.__name__)
        for name, method in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_") and method.__annotations__.get("return") == Part.__name__
    }


def test_every_verb_has_a_word() -> None:
    assert set(MANNERS) == verbs()


def test_random_plans_use_all_that_mind_their_manners_and_nothing_else() -> None:
    minded = {f"{kind.__name__}.{name}" for (kind, name), one in MANNERS.items() if one is Manners.MINDED}
    assert set(VERBS) == minded

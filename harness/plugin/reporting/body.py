"""Whether an exception comes from the body of a test.

Only there an assertion speaks of what is tested: one that fails in a fixture, in a hook or in `setUp` says that a test
could not be carried out, and a time limit that it was not finished.  pytest's phase "call" alone does not tell: a body
may ask for a fixture itself, `unittest` runs `setUp` in it, hooks of plugins run around it.  The traceback does.
"""

from __future__ import annotations

import itertools
import traceback
from collections.abc import Iterator
from types import FrameType
from typing import Final

_HOOK_CALLER: Final = "pluggy."
_RUNS_BODIES: Final = ("pytest_runtest_call", "pytest_pyfunc_call")
"""Hooks that run bodies; the first of them only where pytest itself implements it."""
_FIXTURES: Final = "_pytest.fixtures"
"""Whose code makes fixtures."""
_TIME_LIMIT: Final = "pytest_timeout"
"""Whose code ends a test when its time is up, wherever that is."""
_AROUND: Final = frozenset({"_callSetUp", "_callTearDown", "_callCleanup"})
"""Functions of `unittest` that run what is around a body (Lib/unittest/case.py, async_case.py)."""


def is_of_body(error: BaseException) -> bool:
    """Whether it was raised by the body of a test, in what pytest calls the phase "call".

    Args:
        error: as it was caught, with its traceback.
    """
    if any(_module(frame) == _TIME_LIMIT for one in _with_its_causes(error) for frame in _frames(one)):
        return False
    frames = _frames(error)
    hooks = [
        called for caller, called in itertools.pairwise(frames) if _module(caller).startswith(_HOOK_CALLER)
    ]
    innermost = [hook for hook in hooks if not _module(hook).startswith(_HOOK_CALLER)][-1:]
    return all(map(_runs_bodies, innermost)) and not any(
        _module(frame) == _FIXTURES
        or (_module(frame).startswith("unittest.") and frame.f_code.co_name in _AROUND)
        for frame in frames
    )


def _frames(error: BaseException) -> list[FrameType]:
    return [frame for frame, _ in traceback.walk_tb(error.__traceback__)]


def _runs_bodies(hook: FrameType) -> bool:
    name = hook.f_code.co_name
    return name in _RUNS_BODIES and (name != _RUNS_BODIES[0] or _module(hook).startswith("_pytest."))


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _with_its_causes(error: BaseException) -> Iterator[BaseException]:
    """It, and what it was raised in answer to: a `finally` may still assert when the time is up."""
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__ or following.__context__

"""The models by name, and models of one's own by file."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from harness.errors import UsageError
from lab.models.endpoint import endpoint
from lab.models.function import Function

Maker = Callable[[Callable[[], int]], Function]
"""Makes a function that has just been powered on, given a clock: CLOCK_MONOTONIC, nanoseconds."""

MODELS: Final[Mapping[str, Maker]] = {"endpoint": endpoint}


def maker(named: str) -> Maker:
    """Find a model.

    Args:
        named: a name of :data:`MODELS`, or `FILE.py:CALLABLE`.

    Raises:
        UsageError: there is none, or its file cannot be run.
    """
    path, colon, name = named.rpartition(":")
    if not colon:
        if named in MODELS:
            return MODELS[named]
        hint = f"There are: {', '.join(MODELS)}; or name your own as FILE.py:CALLABLE."
        raise UsageError(f"model {named!r}", said="unknown", hint=hint)
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    if spec is None or spec.loader is None or not Path(path).is_file():
        raise UsageError(f"model {named!r}", said=f"no Python file {path}")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        made: Maker = getattr(module, name)
    except Exception as error:
        raise UsageError(f"model {named!r}", said=f"{type(error).__name__}: {error}") from error
    return made

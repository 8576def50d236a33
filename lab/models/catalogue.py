"""The models by name, and models of one's own by file."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from harness.errors import UsageError
from harness.lab.models.chain import chain
from harness.lab.models.endpoint import endpoint
from harness.lab.models.function import Function
from harness.lab.models.ipr import crocodile, obsidian_e, obsidian_e_warm
from harness.lab.models.journal import journal
from harness.lab.models.variants import of_two, with_msix

Maker = Callable[[Callable[[], int]], Function]
"""Makes a function that has just been powered on, given a clock: CLOCK_MONOTONIC, nanoseconds."""

MODELS: Final[Mapping[str, Maker]] = {
    "endpoint": endpoint,
    "chain": chain,
    "journal": journal,
    "endpoint-msix": with_msix,
    "endpoint-of-two": of_two,
    "ipr": obsidian_e,
    "ipr-sis64": crocodile,
    "ipr-warm": obsidian_e_warm,
}


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
    spec = importlib.util.spec_from_file_location(f"hil_model_{Path(path).stem}", path)
    if spec is None or spec.loader is None or not Path(path).is_file():
        raise UsageError(f"model {named!r}", said=f"no Python file {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
        made: Maker = getattr(module, name)
    except (Exception, SystemExit) as error:
        raise UsageError(f"model {named!r}", said=f"{type(error).__name__}: {error}") from error
    return made

"""A model by its name, made: everything that can be wrong with a name, a file or a callable is said here."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path

from harness.errors import UsageError
from harness.lab.models.catalogue import maker
from harness.lab.models.function import Function


def loaded(model: str, clock: Callable[[], int]) -> Function:
    """Make the function that a model is.

    Args:
        model: which, as :func:`harness.lab.models.catalogue.maker` takes it.
        clock: CLOCK_MONOTONIC, nanoseconds.

    Raises:
        UsageError: there is none, its file cannot be run, or what it names makes no function.
    """
    file, _, name = model.rpartition(":")
    try:
        made: object = maker(model)
    except UsageError as error:
        raise UsageError(error.tried, said=f"{error.said}{_line(error, file)}", hint=error.hint) from error
    if not callable(made):
        raise UsageError(f"model {model!r}", said=f"{name} is a {type(made).__name__}, not callable")
    try:
        function = made(clock)
    except (Exception, SystemExit) as error:
        said = f"{name} raised {type(error).__name__}: {error}{_line(error, file)}"
        raise UsageError(f"model {model!r}", said=said) from error
    if not isinstance(function, Function):
        raise UsageError(f"model {model!r}", said=f"{name} returned a {type(function).__name__}")
    return function


def _line(error: BaseException, file: str) -> str:
    """Where in the user's file it was raised, as ` (line 7 of mychip.py)`; empty when it was nowhere in it."""
    frames = traceback.extract_tb((error.__cause__ or error).__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == file]
    return f" (line {lines[-1]} of {Path(file).name})" if lines else ""

"""Models of one's own, as a user names them: `ALIAS=FILE.py:CALLABLE`, each served on an empty root port.

Everything that is wrong with one is said here, before anything is fetched or booted.
"""

from __future__ import annotations

import hashlib
import re
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from harness.errors import UsageError
from lab.machine import Machine, served_function
from lab.models.catalogue import maker
from lab.models.function import Function

_FORM: Final = "ALIAS=FILE.py:CALLABLE"
_ALIAS: Final = re.compile(r"[a-z][a-z0-9_]*", re.IGNORECASE)
"""QEMU's ids begin with a letter; a dot would make it the name of a port."""


def with_own_models(machine: Machine, named: Sequence[str]) -> Machine:
    """The machine with these models on its empty ports; the machine that is booted stays the same.

    Args:
        machine: without them.
        named: as the user named them, in the order in which they take the empty ports.

    Raises:
        UsageError: one cannot be served, its alias is taken, or there are more of them than empty ports.
    """
    taken = set(machine.aliases)
    free = [port for port in machine.empty_ports if port not in {one.port_name for one in machine.functions}]
    if len(named) > len(free):
        raise UsageError(
            f"{len(named)} models of one's own",
            said=f"the machine has {len(free)} empty ports",
            hint="Leave some of them out, or run them one after another.",
        )
    functions = list(machine.functions)
    for text, port in zip(named, free, strict=False):
        alias, model = parsed(text)
        if alias in taken:
            raise UsageError(
                f"model {text!r}",
                said=f"there is a function {alias} already",
                hint=f"Choose another alias than {', '.join(sorted(taken))}.",
            )
        taken.add(alias)
        functions.append(served_function(alias, model, port=port))
    return replace(machine, functions=tuple(functions))


def parsed(text: str) -> tuple[str, str]:
    """What the user wrote, as alias and model, with the file's path made absolute; its function was made once.

    Raises:
        UsageError: it has another form, or there is no function to be had from it.
    """
    alias, equals, model = text.partition("=")
    path, colon, name = model.rpartition(":")
    if not (equals and colon and path and name and _ALIAS.fullmatch(alias)):
        raise UsageError(
            f"model {text!r}",
            said=f"not of the form {_FORM}",
            hint="As in mychip0=mychip.py:mychip; an alias is a letter, then letters, digits and underscores.",
        )
    file = Path(path).expanduser().absolute()
    if not file.is_file():
        raise UsageError(f"model {text!r}", said=f"no file {file}", hint=f"Name one: {alias}=FILE.py:{name}.")
    _check(text, file, name)
    return alias, f"{file}:{name}"


def contents(named: Sequence[str]) -> tuple[str, ...]:
    """For each model of one's own its alias and the digest of its file, as in `mychip0-1f0c…`.

    Raises:
        UsageError: as :func:`parsed`.
    """
    told = []
    for alias, model in map(parsed, named):
        data = Path(model.rpartition(":")[0]).read_bytes()
        told.append(f"{alias}-{hashlib.sha256(data).hexdigest()[:12]}")
    return tuple(told)


def _check(text: str, file: Path, name: str) -> None:
    """Make the function once: what its process would stumble over is told now, in one line.

    Raises:
        UsageError: its file cannot be run, has nothing of that name, or that makes no function.
    """
    hint = f"It is called with a clock and returns a lab.models.function.Function: def {name}(clock)."
    try:
        made: object = maker(f"{file}:{name}")
    except UsageError as error:
        raise UsageError(f"model {text!r}", said=f"{error.said}{_line(error, file)}", hint=hint) from error
    if not callable(made):
        raise UsageError(
            f"model {text!r}", said=f"{name} is a {type(made).__name__}, not callable", hint=hint
        )
    try:
        function = made(time.monotonic_ns)
    except (
        Exception,
        SystemExit,
    ) as error:  # sys.exit() of a model would end the run, and be its exit status
        raise UsageError(
            f"model {text!r}",
            said=f"{name} raised {type(error).__name__}: {error}{_line(error, file)}",
            hint=hint,
        ) from error
    if not isinstance(function, Function):
        raise UsageError(f"model {text!r}", said=f"{name} returned a {type(function).__name__}", hint=hint)


def _line(error: BaseException, file: Path) -> str:
    """Where in the user's file it was raised, as ` (line 7 of mychip.py)`; empty when it was nowhere in it."""
    frames = traceback.extract_tb((error.__cause__ or error).__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(file)]
    return f" (line {lines[-1]} of {file.name})" if lines else ""

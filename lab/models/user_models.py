"""Models of one's own, as a user names them: `ALIAS=FILE.py:CALLABLE`, each served on an empty root port.

Everything that is wrong with one is said here, before anything is fetched or booted.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from harness.errors import GuestError, UsageError
from harness.lab.models.process import ModelProcess
from harness.lab.qemu.machine import Machine, served_function
from harness.lab.qemu.run_folder import run_folder

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
        ModelError: one never returned while it was loaded, or ended the program.
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
        ModelError: it never returned while it was loaded, or ended the program.
    """
    alias, equals, model = text.partition("=")
    path, colon, name = model.rpartition(":")
    if not (equals and colon and path and name and _ALIAS.fullmatch(alias)):
        raise UsageError(
            f"model {text!r}",
            said=f"not of the form {_FORM}",
            hint="As in mychip0=mychip.py:mychip; an alias is a letter, then letters, digits and underscores.",
        )
    try:
        file = Path(path).expanduser().absolute()
    except RuntimeError as error:  # nobody knows whose home folder `~` is
        raise UsageError(f"model {text!r}", said=str(error)) from error
    if not file.is_file():
        raise UsageError(f"model {text!r}", said=f"no file {file}", hint=f"Name one: {alias}=FILE.py:{name}.")
    _check(text, alias, f"{file}:{name}")
    return alias, f"{file}:{name}"


def contents(named: Sequence[str]) -> tuple[str, ...]:
    """For each model of one's own its alias and the digest of its file, as in `mychip0-1f0c…`.

    Raises:
        UsageError, ModelError: as :func:`parsed`.
    """
    told = []
    for alias, model in map(parsed, named):
        data = Path(model.rpartition(":")[0]).read_bytes()
        told.append(f"{alias}-{hashlib.sha256(data).hexdigest()[:12]}")
    return tuple(told)


def _check(text: str, alias: str, model: str) -> None:
    """Let its own process make the function once: what that would stumble over is told now, in one line.

    In a process of its own, because a model may loop, or end the program, and is not to take the run with it.

    Raises:
        UsageError: its file cannot be run, has nothing of that name, or that makes no function.
        ModelError: it never returned, or ended the program.
    """
    try:
        _tried(alias, model, Path(model.rpartition(":")[0]).read_bytes())
    except GuestError as error:
        name = model.rpartition(":")[2]
        hint = f"It is called with a clock and returns a harness.lab.models.function.Function: def {name}(clock)."
        raise UsageError(f"model {text!r}", said=error.said, hint=hint) from error


@functools.cache
def _tried(alias: str, model: str, _content: bytes) -> None:
    """Start it and end it, once for each content of its file."""
    with run_folder() as folder, ModelProcess(model, folder, alias=alias):
        pass

"""Compile init.c: the first program of every guest, static because there is nothing to load before it.

It is the one part of a guest that a compiler must make, so it is asked for before anything is fetched: whoever has no
compiler learns it at once.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.errors import SetupError
from harness.lab.cache.store import key_of
from harness.lab.needs import apt_line

if TYPE_CHECKING:
    from harness.lab.cache.store import Cache

SOURCE: Final = Path(__file__).with_name("init.c")
_COMMAND: Final = ("gcc", "-static", "-O2", "-s", "-Wall", "-Wextra")


def compiled_init(cache: Cache) -> Path:
    """Provide the program, from the cache when its source and the way it is made are the same.

    Raises:
        SetupError: no C compiler, or no static C library.
    """
    key = key_of({"source": SOURCE.read_text(), "command": _COMMAND})
    return cache.publish("init", key, _compile) / "init"


def _compile(folder: Path) -> None:
    command = [*_COMMAND, "-o", str(folder / "init"), str(SOURCE)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise SetupError(
            "compiling the guest's init", said="no gcc here", hint=f"Type: {apt_line()}"
        ) from error
    if done.returncode:
        raise SetupError("compiling the guest's init", said=done.stderr[-300:], hint=f"Type: {apt_line()}")

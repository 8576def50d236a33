"""What is looked at before anything runs, fastest first: one that is red, or missing, ends the gate."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Lint:
    """A program that looks at the whole tree, as pyproject.toml says.

    Attributes:
        title: what it looks at, for a reader.
        command: its file in `bin` of the environment, and its arguments.
        mend: what to type when it is red, if there is anything but to read what it says.
        quiet: whether a warning on standard error makes it red: mypy ends with 0 where it knows an option no more.
    """

    title: str
    command: tuple[str, ...]
    mend: str = ""
    quiet: bool = False


TREE: Final = ("cdefs", "conftest.py", "docs", "harness", "lab", "setup.py", "tests")
"""All Python that is tracked, and nothing that somebody keeps beside it."""
LINTS: Final = (
    Lint(title="lint", command=("ruff", "check", *TREE), mend="ruff check --fix mends some"),
    Lint(title="format", command=("ruff", "format", "--check", *TREE), mend="ruff format does it"),
    Lint(title="import contracts", command=("lint-imports",)),
    Lint(title="types", command=("mypy",), quiet=True),
)


@dataclass(frozen=True, slots=True)
class Stop:
    """Why the gate is closed.

    Attributes:
        line: for the last line of the terminal.
        said: what the program printed, if it ran.
        missing: whether there is no such program, so that nothing can be said of the tree.
    """

    line: str
    said: str = ""
    missing: bool = False


def stop(tree: Path, programs: Path, lints: Sequence[Lint] = LINTS) -> Stop | None:
    """Look at a tree until something is red.

    Args:
        tree: the folder of `pyproject.toml`.
        programs: the folder `bin` of the environment that has the lints: those of the machine are of other versions.
        lints: what to run, in this order.

    Returns:
        What stops the gate, or None.
    """
    for lint in lints:
        program, *arguments = lint.command
        try:
            done = subprocess.run(
                [programs / program, *arguments], cwd=tree, capture_output=True, text=True, check=False
            )
        except OSError as error:
            wrong = f"{lint.title}: cannot start {programs / program}: {error.strerror}"
            return Stop(f"{wrong}.  Type: rm -r .venv, and run this again", missing=True)
        if done.returncode or (lint.quiet and done.stderr):
            mend = f" ({lint.mend})" if lint.mend else ""
            return Stop(f"{lint.title}: {program} is red{mend}", done.stdout + done.stderr)
    return None

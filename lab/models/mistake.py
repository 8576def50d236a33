"""How a model ended that nobody ended, as the error that its author reads.  Pure."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Final

from harness.errors import ModelError
from harness.lab.models.handlers import Called, Handler
from harness.model.units import SECOND, Ns

_RAISED: Final = (1, -signal.SIGINT)
"""Python's status after an exception that nobody caught; the other after a KeyboardInterrupt."""
_TRACEBACK: Final = "Traceback (most recent call last)"
_FRAME: Final = re.compile(r'^  File "(.*)", line (\d+) in (.*)$', re.MULTILINE)


def ended(named: str, status: int, handler: Handler, wrote: str) -> ModelError:
    """A model whose process ended by itself.

    Args:
        named: alias and model, for people.
        status: of the process; negative: the signal that killed it.
        handler: what had been called when it ended.
        wrote: on its standard error and output.
    """
    if status in _RAISED and _TRACEBACK in wrote:
        return ModelError(
            f"model {named}",
            said=f"it raised {wrote.rpartition(chr(10))[2]}",
            hint="Mend the model: its traceback is below.",
            evidence=wrote,
        )
    how = f"ended the program with status {status}" if status >= 0 else f"was killed by {_name(-status)}"
    during = f" in {handler}" if handler.called is not Called.NOTHING else ""
    hint = "A model that cannot go on raises; only the lab ends its process."
    if status == -signal.SIGKILL:
        hint = "Unless it did that itself, the machine ran out of memory, or somebody sent the signal."
    return ModelError(f"model {named}", said=f"it {how}{during}", hint=hint, evidence=wrote)


def stuck(named: str, file: str, handler: Handler, limit: Ns, stack: str) -> ModelError:
    """A model that does not return.

    Args:
        named: alias and model, for people.
        file: that it is in; empty: it is one of ours.
        handler: what was called.
        limit: how long a call may take.
        stack: of its Python, as faulthandler writes it, the innermost frame first; empty: there was none to be had.
    """
    return ModelError(
        f"model {named}",
        said=f"it has not returned from {handler} for {limit / SECOND:g} s of its own time{_where(file, stack)}",
        hint="A model never waits: what takes its time is a state, or is put off by later() (docs/write-a-model.md).",
        evidence=stack or "it gave no stack",
    )


def _where(file: str, stack: str) -> str:
    """Where the innermost frame of the user's own file is, else the innermost of all, as `: line 7 of mychip.py`."""
    frames: list[tuple[str, str, str]] = _FRAME.findall(stack)
    own = [frame for frame in frames if frame[0] == file] or frames
    if not own:
        return ""
    path, line, function = own[0]
    return f": line {line} of {Path(path).name}, in {function}"


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"

"""Standard input, output and error of a process: what the caller closed, and what did not arrive.

Python ends with status 1 or 120 when its standard output is closed, full, or read by nobody.  Here a status says what
was found out, so whoever says something on standard output asks :func:`lost` before the process ends.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import TextIO

from harness.errors import HarnessError


class Unheard(HarnessError):
    """What was found out could not be said."""


def refuse_closed() -> None:
    """See that descriptors 0, 1 and 2 are open, or the next file that is opened would become one of them.

    Raises:
        Unheard: standard output is closed: nothing could be said there.
    """
    closed = sys.stdout is None
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
            os.set_inheritable(number, True)
    # typeshed calls them never None; Python makes them None when their descriptor is closed (sys.stdout, "Note").
    sys.stdin, sys.stdout, sys.stderr = (
        stream if stream is not None else open(number, mode)  # noqa: PTH123, SIM115 - as long as the process
        for number, (stream, mode) in enumerate(((sys.stdin, "r"), (sys.stdout, "w"), (sys.stderr, "w")))
    )
    if closed:
        raise Unheard("standard output", said="it is closed", hint="Send it somewhere, were it /dev/null.")


def say(text: str) -> None:
    """Write lines on standard output.

    Raises:
        Unheard: it takes nothing.
    """
    try:
        sys.stdout.write(f"{text}\n")
    except OSError as error:
        raise Unheard("standard output", said=error.strerror or str(error)) from error


def lost() -> str:
    """Why something that was said on standard output did not arrive; empty when all of it did.

    What could not be written on standard output or error is given up: nothing fails there when the process ends.
    """
    why = _given_up(sys.stdout)
    _given_up(sys.stderr)
    return why


def _given_up(stream: TextIO) -> str:
    try:
        stream.flush()
    except OSError as error:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        return os.strerror(error.errno or errno.EIO)
    return ""


def complain(line: str) -> None:
    """Say something on standard error; if nobody can hear it, the status alone has to do."""
    try:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
    except OSError:
        lost()

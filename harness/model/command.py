"""A command that the target runs before a stage, and what became of it.

No shell is in between: a command is the program and its arguments, word by word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from harness.errors import UsageError
from harness.model.limits import ENTRIES, OUTPUT
from harness.model.plain import Between
from harness.model.units import SECOND, Ns, as_text
from harness.model.wire import Message

BUSYBOX: Final = "busybox"
"""Whoever names it first is brought it: Debian's static busybox, with a shell and some 270 small programs."""
LONGEST: Final = Ns(600 * SECOND)

_Status = Annotated[int, Between(-64, 255)]


@dataclass(frozen=True, slots=True)
class Command:
    """One command: `Command(("busybox", "mount", "-t", "tmpfs", "none", "/mnt"))`.

    Attributes:
        argv: the program, by its name or path on the target, and its arguments.
        within_ns: how long it may take, 1 ns to 10 minutes; then it is killed with all of its process group.
        may_fail: whether the stage goes on when it ends with another status than 0, or does not end in time.
    """

    argv: tuple[str, ...]
    within_ns: Ns = Ns(10 * SECOND)
    may_fail: bool = False

    def __post_init__(self) -> None:
        words: object = self.argv  # authors may run without a type checker
        if not isinstance(words, tuple) or not words or not all(map(_is_word, words)) or not words[0]:
            raise UsageError(
                f"command {words!r}",
                said="not a program and its arguments",
                hint='Give them word by word, as in ("busybox", "mount", "-a"); for what a shell does: '
                '("busybox", "sh", "-c", "…").',
            )
        if ENTRIES.excess(len(self.argv)):
            raise UsageError(f"command {self.argv[0]!r}", said=ENTRIES.excess(len(self.argv)))
        if not 0 < self.within_ns <= LONGEST:
            raise UsageError(
                f"command {self}", said=f"{self.within_ns} ns: at most {as_text(LONGEST)} are given"
            )

    def __str__(self) -> str:
        return " ".join(map(_quoted, self.argv))


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRecord(Message):
    """What became of a command.

    Attributes:
        argv: as it was asked for.
        status: with which it ended, 0 to 255, or minus the signal that ended it; None: it did not end in time, and was
            killed.
        output: what it wrote to standard output and standard error, in that order of time; the end of it.
        lost_bytes: how much of its output came before, and was not kept.
        begin_ns, end_ns: CLOCK_MONOTONIC of the target.
    """

    argv: tuple[str, ...]
    status: _Status | None
    output: Annotated[str, OUTPUT]
    lost_bytes: int = 0
    begin_ns: Ns
    end_ns: Ns

    @property
    def said(self) -> str:
        """How it ended, in words; its last line of output, if there is one."""
        match self.status:
            case None:
                ended = f"it did not end within {as_text(Ns(self.end_ns - self.begin_ns))}"
            case status if status < 0:
                ended = f"signal {-status} ended it"
            case status:
                ended = f"it ended with status {status}"
        last = self.output.strip().rpartition("\n")[2]
        return f"{ended}: {last[-300:]}" if last else ended


def commands(wanted: Sequence[Command | Sequence[str]]) -> tuple[Command, ...]:
    """Commands, of which some are given by their words alone.

    Raises:
        UsageError: something is neither.
    """
    if isinstance(wanted, Command | str):
        raise UsageError(f"commands {wanted!r}", said="not a list of commands", hint="Write before=[…].")
    return tuple(
        one if isinstance(one, Command) else Command(tuple(one) if isinstance(one, list) else one)  # type: ignore[arg-type] # it looks itself
        for one in wanted
    )


def _is_word(word: object) -> bool:
    return isinstance(word, str) and "\0" not in word


def _quoted(word: str) -> str:
    return word if word and not set(word) & set(" \t\n'\"\\$") else repr(word)

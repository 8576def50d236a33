"""What a line of the kernel log is: the contract's rules, ready for use.

Most lines are plain, and a kernel may write thousands of them: a rule whose pattern holds only at the beginning of a
line is asked together with all others of its kind, in one look.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from harness.model.terms import LogClass, LogRule, nameless

_PIECE: Final = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|.", re.DOTALL)
_DEPTH: Final = {"(": 1, ")": -1}


class Rules:
    """Rules that are ready for use."""

    def __init__(self, rules: tuple[LogRule, ...]) -> None:
        """Compile them; their order stays."""
        lines = [rule for rule in rules if rule.kind is not LogClass.HELPER]
        self._each = [
            (rule, re.compile(rule.pattern, re.MULTILINE), begins_lines(rule.pattern)) for rule in lines
        ]
        self._beginnings = _any_of([rule for rule, _, begins in self._each if begins])
        self._helper = _any_of([rule for rule in rules if rule.kind is LogClass.HELPER])

    def helps(self, function: str) -> bool:
        """Whether a function of the kernel proper reports, waits or works for others."""
        return bool(self._helper.search(function))

    def find(self, text: str) -> tuple[LogRule, re.Match[str]] | None:
        """The first rule that matches, and how."""
        begun = "\n" in text or bool(self._beginnings.match(text))
        for rule, pattern, begins in self._each:
            if (begun or not begins) and (match := pattern.search(text)):
                return rule, match
        return None


def begins_lines(pattern: str) -> bool:
    """Whether every alternative of a pattern holds at the beginning of a line alone."""
    depth, beginning = 0, True
    for piece in _PIECE.findall(pattern):
        if beginning and piece != "^":
            return False
        depth += _DEPTH.get(piece, 0)
        beginning = piece == "|" and not depth
    return not beginning


def _any_of(rules: Sequence[LogRule]) -> re.Pattern[str]:
    return re.compile("|".join(nameless(rule.pattern) for rule in rules) or r"(?!)", re.MULTILINE)


@lru_cache(maxsize=4)
def compiled(rules: tuple[LogRule, ...]) -> Rules:
    """The rules of a contract, compiled once."""
    return Rules(rules)

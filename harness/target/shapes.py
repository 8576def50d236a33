"""What an agent sends, read as what it should be: a wrong shape is an agent that is lost, never an error of Python.

Thin on purpose: a :class:`Fields` reads one dictionary, and says of a value that is missing or of another type where it
stood and what was there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sized
from typing import Any, Final

from harness.errors import AgentLost

MOST: Final = (1 << 63) - 1
"""What a column of a history holds."""


class Fields:
    """One dictionary that an agent sent."""

    def __init__(self, where: str, value: object) -> None:
        """Take it.

        Args:
            where: what it is, as the error names it: `the answer to 'stage'`.
            value: what was sent.

        Raises:
            AgentLost: it is no dictionary with names for keys.
        """
        self.where = where
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise wrong(where, value, "a dictionary with names")
        self._values: Mapping[str, object] = value

    def only(self, *names: str) -> None:
        """Refuse what has other names in it than these.

        Raises:
            AgentLost: one is not known.
        """
        if unknown := sorted(self._values.keys() - set(names)):
            raise AgentLost(f"reading {self.where}", said=f"{_shown(unknown[0])} is not known there")

    def __contains__(self, name: str) -> bool:
        return name in self._values

    @property
    def raw(self) -> dict[str, Any]:
        """As it was sent."""
        return dict(self._values)

    def value(self, name: str) -> Any:
        """Whatever it is."""
        return self._get(name)

    def number(self, name: str, least: int = -MOST - 1, most: int = MOST) -> int:
        """A number within bounds."""
        value = self._get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise wrong(self._of(name), value, f"a number from {least} to {most}")
        return value

    def text(self, name: str, default: str | None = None) -> str:
        """A text; the default when it is absent and there is one."""
        if default is not None and name not in self._values:
            return default
        value = self._get(name)
        if not isinstance(value, str):
            raise wrong(self._of(name), value, "text")
        return value

    def flag(self, name: str) -> bool:
        """True or False."""
        value = self._get(name)
        if not isinstance(value, bool):
            raise wrong(self._of(name), value, "true or false")
        return value

    def data(self, name: str, default: bytes | None = None) -> bytes:
        """Bytes; the default when they are absent and there is one."""
        if default is not None and name not in self._values:
            return default
        value = self._get(name)
        if not isinstance(value, bytes):
            raise wrong(self._of(name), value, "bytes")
        return value

    def part(self, name: str) -> Fields:
        """A dictionary in it."""
        return Fields(self._of(name), self._get(name))

    def parts(self, name: str, count: int | None = None) -> list[Fields]:
        """A list of dictionaries, of so many when somebody knows."""
        return [Fields(f"{self._of(name)}, {at}", one) for at, one in enumerate(self.items(name, count))]

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts."""
        found = self.items(name)
        for value in found:
            if not isinstance(value, str):
                raise wrong(self._of(name), value, "a list of texts")
        return tuple(str(value) for value in found)

    def items(self, name: str, count: int | None = None) -> list[Any]:
        """A list, of so many when somebody knows."""
        value = self._get(name)
        if not isinstance(value, list) or count not in (None, len(value)):
            raise wrong(self._of(name), value, "a list" if count is None else f"a list of {count}")
        return value

    def numbers(self, name: str) -> dict[int, int]:
        """A dictionary of numbers by numbers, both at least 0."""
        value = self._get(name)
        if not isinstance(value, dict) or not all(map(_is_count, (*value, *value.values()))):
            raise wrong(self._of(name), value, "numbers by numbers")
        return value

    def _get(self, name: str) -> object:
        if name not in self._values:
            raise AgentLost(f"reading {self.where}", said=f"{name!r} is missing")
        return self._values[name]

    def _of(self, name: str) -> str:
        return f"{name!r} of {self.where}"


def wrong(where: str, value: object, wanted: str) -> AgentLost:
    """The error for a value of a wrong shape."""
    return AgentLost(
        f"reading {where}",
        said=f"{_shown(value)} is not {wanted}",
        hint="Whoever answers is no agent of this harness, or is out of its mind.",
    )


def _shown(value: object) -> str:
    """A value as an error shows it: small, whatever it holds."""
    if isinstance(value, str | int | float | None):
        return repr(value[:60] if isinstance(value, str) else value)[:80]
    return f"{type(value).__name__} of {len(value)}" if isinstance(value, Sized) else type(value).__name__


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST * 2 + 1

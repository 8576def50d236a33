"""What host and agent say to each other, as plain values and back.  Pure; both ends use it.

A message is a dataclass, and its fields are its schema: :meth:`Message.to_wire` says every one of them, and
:meth:`Message.from_wire` takes neither more nor less.  Both ends are of one version (:data:`PROTOCOL`, which they tell
each other when they meet), so what is not known is a mistake, where in a file it may be of a later writer.
"""

from __future__ import annotations

import dataclasses
import enum
import json
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final, Self

from harness.model.limits import MESSAGE_TEXT, MESSAGE_VALUES, Limit
from harness.model.pci import Bdf
from harness.model.plain import Misfit, Reader, Unicode, shown

PROTOCOL: Final = 4
"""Version of everything here and in :mod:`harness.model.request`: raised when a message changes."""

_HEX: Final = "hil:hex"  # no message has a field of that name


class Conversation(enum.StrEnum):
    """What the host opens a channel for."""

    SERVE = "serve"
    """Requests and their answers, one at a time (:mod:`harness.model.request`)."""
    SHELL = "shell"
    """Bytes both ways, of a terminal on the target: its shell reads what is typed, until it ends."""


class _Wire(Reader):
    """Reads what the other end said: every field is there, and no other."""

    def strange(self, names: AbstractSet[Any]) -> None:
        """Refuse what is not known."""
        raise Misfit("is not known").inside(min(map(str, names))[:60])

    def data(self, value: Any) -> bytes:
        """Bytes are bytes."""
        if type(value) is not bytes:
            raise Misfit(f"is {shown(value)}, not bytes")
        return value


WIRE: Final = _Wire(
    lambda _: False,
    MESSAGE_TEXT,
    Unicode(),
    entries=Limit(what="one list", most=MESSAGE_VALUES.most, unit="entries"),
)
"""Reads values of the types that messages have."""


class Message:
    """A dataclass that crosses the wire."""

    __slots__ = ()

    def to_wire(self) -> dict[str, Any]:
        """Say it in plain values: numbers, text, bytes, lists, dictionaries."""
        said: dict[str, Any] = plain(self)
        return said

    @classmethod
    def from_wire(cls, value: object) -> Self:
        """Read it.

        Raises:
            Misfit: a field is missing, not known, or of another type; names message and field.
        """
        try:
            return WIRE.read(cls, value)
        except Misfit as error:
            raise error.inside(cls.__name__) from None


def plain(value: Any) -> Any:
    """A value of a message in plain values."""
    match value:
        case Bdf():
            return str(value)
        case enum.Enum():
            return value.value
        case Mapping():
            return {plain(key): plain(one) for key, one in value.items()}
        case list() | tuple():
            return [plain(one) for one in value]
        case _ if dataclasses.is_dataclass(value):
            return {one.name: plain(getattr(value, one.name)) for one in dataclasses.fields(value)}
        case _:
            return value


def to_line(value: Any) -> bytes:
    """Plain values as a line of JSON, which has no bytes: they are `{"hil:hex": TEXT}` in it."""
    return json.dumps(value, default=lambda data: {_HEX: data.hex()}).encode() + b"\n"


def from_line(line: bytes) -> Any:
    """Read a line of JSON.

    Raises:
        ValueError: it is none.
        RecursionError: it is nested too deeply.
    """
    return json.loads(line, object_hook=lambda one: bytes.fromhex(one[_HEX]) if one.keys() == {_HEX} else one)

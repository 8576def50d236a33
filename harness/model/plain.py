"""Values out of plain JSON, by what a dataclass says of its fields.  Pure.

The annotation of a field is the only place that says what is taken: its type, and in `Annotated` what else is asked of
it (:class:`Between`, :class:`OneOf`, :class:`Form`, :class:`Lengths`, a :class:`~harness.model.limits.Limit`).  Where
nothing is said, an integer is 0 to 2^63-1, a text and a list have the limits of their kind.  Fields that a class does
not know are ignored: a later writer may have added them (on the wire nobody may: :mod:`harness.model.wire`).
Everything else is a :class:`Misfit`, which names the field and shows the value.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import math
import re
import reprlib
import types
import typing
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Annotated, Any, Final, Protocol, TypeVar, cast

from harness.errors import UsageError
from harness.model import limits
from harness.model.limits import Limit
from harness.model.pci import Bdf
from harness.model.units import Ns

_Kind = TypeVar("_Kind")
_Read = Callable[[Any], Any]

_SHOWN: Final = reprlib.Repr()
_SHOWN.maxstring = _SHOWN.maxother = _SHOWN.maxlong = 60
_SHOWN.maxlevel = 3
_MARKS: Final = (b",", b"[", b"{")
_QUOTED: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class Misfit(ValueError):
    """A value is not what its place asks for.

    Attributes:
        place: where it is, as in `plan.actors[0].times`; empty for the whole.
        said: half a sentence on it, as in `is 'x', not an integer`.
    """

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.place, self.said = "", said

    def inside(self, place: str) -> Misfit:
        """The same, seen from outside: `place` is a field, or `[3]`."""
        self.place = f"{place}{'' if self.place.startswith('[') or not self.place else '.'}{self.place}"
        return self

    def __str__(self) -> str:
        return f"{self.place} {self.said}".strip()


class Demand(Protocol):
    """What is asked of a value, beside its type."""

    def refusal(self, value: Any, /) -> str:
        """Half a sentence on why it will not do; empty when it will."""


@dataclass(frozen=True, slots=True)
class Between:
    """A number from `least` to `most`; NaN is none."""

    least: int | float
    most: int | float

    def refusal(self, value: Any, /) -> str:
        """See :class:`Demand`."""
        return "" if self.least <= value <= self.most else f"not from {self.least} to {self.most}"


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of a few values."""

    values: tuple[Any, ...]

    def refusal(self, value: Any, /) -> str:
        """See :class:`Demand`."""
        return "" if value in self.values else f"none of {', '.join(map(repr, self.values))}"


@dataclass(frozen=True, slots=True)
class Form:
    """A text that a regular expression matches as a whole; `like` shows one."""

    pattern: str
    like: str

    def refusal(self, value: Any, /) -> str:
        """See :class:`Demand`."""
        return "" if re.fullmatch(self.pattern, value) else f"not like {self.like}"


@dataclass(frozen=True, slots=True)
class Lengths:
    """Bytes of one of a few lengths."""

    lengths: tuple[int, ...]

    def refusal(self, value: Any, /) -> str:
        """See :class:`Demand`."""
        fits = len(value) in self.lengths
        return "" if fits else f"{len(value)} bytes long, not {' or '.join(map(str, self.lengths))}"


U16 = Annotated[int, Between(0, 0xFFFF)]
U32 = Annotated[int, Between(0, 0xFFFF_FFFF)]
U64 = Annotated[int, Between(0, 0xFFFF_FFFF_FFFF_FFFF)]
Thread = Annotated[int, Between(0, 0x7FFF_FFFF)]

_NUMBER: Final = Between(0, (1 << 63) - 1)
_TIME: Final = Between(0, limits.LONGEST_TIME.most)
Span = Annotated[int, _TIME]
"""A length of time in nanoseconds that is no :data:`~harness.model.units.Ns`."""


def shown(value: Any) -> str:
    """A value in a few words, whatever it is."""
    return _SHOWN.repr(value)


def parse(data: bytes, limit: Limit) -> Any:
    """Read one JSON text.

    Args:
        data: UTF-8.
        limit: of its length.

    Raises:
        Misfit: it is too long, has too many values, is nested too deeply, or is no JSON.
    """
    if excess := limit.excess(len(data)) or limits.VALUES.excess(_marks(data)):
        raise Misfit(excess)
    try:
        return json.loads(data.decode())
    except RecursionError as error:
        raise Misfit(
            f"nested too deeply: at most {limits.DEPTH.most} {limits.DEPTH.unit} are taken"
        ) from error
    except UnicodeDecodeError as error:
        raise Misfit(f"no UTF-8: {error.reason} at byte {error.start}") from error
    except ValueError as error:  # Python's limit of an integer's digits is one, too
        raise Misfit(f"no JSON: {error}") from error


def _marks(data: bytes) -> int:
    """How many values a JSON text can have at most: of these marks it has one for each, outside of its texts."""
    found = sum(map(data.count, _MARKS))
    return sum(map(_QUOTED.sub(b"", data).count, _MARKS)) if found > limits.VALUES.most else found


Absent = Callable[["dataclasses.Field[Any]"], bool]
"""Whether a field may be absent; then it has its default."""

SINCE: Final = "since"
"""In a field's metadata: the version of the container that brought it."""


def later(field: dataclasses.Field[Any]) -> bool:
    """Only fields that a later version brought may be absent: what evidence does not say is not made up."""
    return SINCE in field.metadata


def defaulted(field: dataclasses.Field[Any]) -> bool:
    """Every field with a default may be absent."""
    return not (field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING)


class Reader:
    """Reads dataclasses of one kind of file."""

    def __init__(
        self,
        may_be_absent: Absent,
        *texts: Demand,
        entries: Limit = limits.ENTRIES,
    ) -> None:
        """Begin without having read anything.

        Args:
            may_be_absent: which fields need not be there.
            texts: what is asked of every text.
            entries: of a list of which nothing else is said.
        """
        self._may_be_absent, self._texts, self._entries = may_be_absent, texts, entries
        self._known: dict[Any, _Read] = {}

    def read(self, kind: type[_Kind], value: Any) -> _Kind:
        """Make a dataclass of a JSON object.

        Raises:
            Misfit: something is missing, or is not what its field asks for.
        """
        return cast("_Kind", self._of(kind)(value))

    def fields(self, kind: type[Any], value: Any, without: frozenset[str] = frozenset()) -> dict[str, Any]:
        """The values of a dataclass by field; `without` are not looked at.

        Raises:
            Misfit: as :meth:`read`.
        """
        return self._fields(kind, without)(value)

    def strange(self, names: AbstractSet[Any]) -> None:
        """Take note of fields that a class does not know.

        Raises:
            Misfit: this kind of reader knows all there can be.
        """

    def data(self, value: Any) -> bytes:
        """Read bytes: in a file they are hexadecimal.

        Raises:
            Misfit: it is nothing of the kind.
        """
        try:
            return bytes.fromhex(value)
        except (TypeError, ValueError) as error:
            raise Misfit(f"is {shown(value)}, no bytes in hexadecimal") from error

    def _of(self, hint: Any) -> _Read:
        known = self._known.get(hint)
        if known is None:
            known = self._known[hint] = self._made(hint)
        return known

    def _made(self, hint: Any) -> _Read:
        origin, arguments = typing.get_origin(hint), typing.get_args(hint)
        if origin is Annotated:
            return self._demanding(hint.__origin__, hint.__metadata__)
        if origin in (types.UnionType, typing.Union):
            (inner,) = (self._of(one) for one in arguments if one is not types.NoneType)
            return lambda value: None if value is None else inner(value)
        if origin is tuple:
            return self._list(arguments[0], self._entries)
        if origin in (dict, Mapping):
            return self._table(*arguments)
        if hint is Ns:
            return _asked(_typed(int, "an integer"), _TIME)
        if hint is int:
            return _asked(_typed(int, "an integer"), _NUMBER)
        if hint is str:
            return self._text()
        if hint is bytes:
            return _asked(self.data, limits.BYTES)
        if hint in (bool, types.NoneType):
            return _typed(hint, "true or false" if hint is bool else "nothing")
        if hint is Bdf:
            return _address
        if hint is float:
            return _number
        if hint is Any:
            return lambda value: self._free(value, limits.DEPTH.most)
        if hasattr(hint, "__supertype__"):
            return self._of(hint.__supertype__)
        if issubclass(hint, enum.StrEnum):
            return _word(hint)
        fields = self._fields(hint, frozenset())

        def record(value: Any) -> Any:
            try:
                return hint(**fields(value))
            except UsageError as error:
                raise Misfit(f"cannot be meant: {error}") from error

        return record

    def _fields(self, kind: type[Any], without: frozenset[str]) -> Callable[[Any], dict[str, Any]]:
        hints = typing.get_type_hints(kind, include_extras=True)
        known = [
            (field.name, self._of(hints[field.name]), self._may_be_absent(field))
            for field in dataclasses.fields(kind)
            if field.name not in without
        ]
        names = {name for name, _, _ in known}

        def fields(value: Any) -> dict[str, Any]:
            if not isinstance(value, dict):
                raise Misfit(f"is {shown(value)}, not an object")
            if strangers := value.keys() - names:
                self.strange(strangers)
            taken = {}
            for name, read, may_be_absent in known:
                if name in value:
                    try:
                        taken[name] = read(value[name])
                    except Misfit as wrong:
                        raise wrong.inside(name) from None
                elif not may_be_absent:
                    raise Misfit("is missing").inside(name)
            return taken

        return fields

    def _demanding(self, hint: Any, demands: tuple[Any, ...]) -> _Read:
        """A reader of what is asked more of than its type says."""
        match hint:
            case _ if typing.get_origin(hint) is tuple:
                return self._list(typing.get_args(hint)[0], *demands)
            case _ if hint is str:
                return self._text(*demands)
            case _ if hint in (int, Ns):
                return _asked(_typed(int, "an integer"), *demands)
            case _ if hint is bytes:
                return _asked(self.data, *demands)
            case _:
                return _asked(self._of(hint), *demands)

    def _text(self, *demands: Demand) -> _Read:
        return _asked(_typed(str, "a text"), *self._texts, *demands)

    def _list(self, hint: Any, limit: Limit) -> _Read:
        read = self._of(hint)

        def entries(value: Any) -> tuple[Any, ...]:
            if not isinstance(value, list):
                raise Misfit(f"is {shown(value)}, not a list")
            if excess := limit.excess(len(value)):
                raise Misfit(f"is too long: {excess}")
            taken = []
            for number, one in enumerate(value):
                try:
                    taken.append(read(one))
                except Misfit as wrong:
                    raise wrong.inside(f"[{number}]") from None
            return tuple(taken)

        return entries

    def _table(self, key: Any, hint: Any) -> _Read:
        named, read = self._of(key), self._of(hint)

        def table(value: Any) -> dict[Any, Any]:
            if not isinstance(value, dict):
                raise Misfit(f"is {shown(value)}, not an object")
            taken = {}
            for name, one in value.items():
                try:
                    taken[named(name)] = read(one)
                except Misfit as wrong:
                    raise wrong.inside(f"[{shown(name)}]") from None
            return taken

        return table

    def _free(self, value: Any, depth: int) -> Any:
        """Any JSON value, of a bounded depth."""
        if depth < 0:
            raise Misfit(f"is nested too deeply: at most {limits.DEPTH.most} {limits.DEPTH.unit} are taken")
        match value:
            case str():
                return self._of(str)(value)
            case float():
                return _number(value)
            case list():
                return [self._free(one, depth - 1) for one in value]
            case dict():
                return {self._of(str)(name): self._free(one, depth - 1) for name, one in value.items()}
            case _:
                return value


def _asked(read: _Read, *demands: Demand) -> _Read:
    def asked(value: Any) -> Any:
        taken = read(value)
        for demand in demands:
            if refusal := demand.refusal(taken):
                raise Misfit(f"is {shown(value)}: {refusal}")
        return taken

    return asked


def _typed(kind: type[Any], words: str) -> _Read:
    def typed(value: Any) -> Any:
        if type(value) is not kind:  # a bool is an int to isinstance
            raise Misfit(f"is {shown(value)}, not {words}")
        return value

    return typed


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise Misfit(f"is {shown(value)}, not a number")
    try:
        if math.isfinite(value):  # Python's reader takes NaN and Infinity, which are no JSON
            return float(value)
    except OverflowError:
        pass
    raise Misfit(f"is {shown(value)}, not a number that can be")


def _address(value: Any) -> Bdf:
    try:
        bdf = Bdf.parse(value)
    except (AttributeError, TypeError, UsageError) as error:
        raise Misfit(f"is {shown(value)}, not the address of a function") from error
    if str(bdf) != value:
        raise Misfit(f"is {shown(value)}, not written {bdf}")
    return bdf


def _word(words: type[enum.StrEnum]) -> _Read:
    def word(value: Any) -> enum.StrEnum:
        try:
            return words(value)
        except ValueError as error:
            raise Misfit(f"is {shown(value)}: none of {', '.join(words)}") from error

    return word


class Unicode:
    """Text that can be written as UTF-8: without halves of surrogate pairs."""

    def refusal(self, value: Any, /) -> str:
        """See :class:`Demand`."""
        return "half of a surrogate pair" if _SURROGATE.search(value) else ""


HISTORIES: Final = Reader(later, limits.TEXT, Unicode())
"""Reads what is in a history."""

"""Any message of the wire, for Hypothesis: made of what its fields say of themselves."""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections.abc import Mapping
from typing import Annotated, Any

from hypothesis import strategies as st

from harness.model import observation, request
from harness.model.command import Command, CommandRecord
from harness.model.pci import Bdf
from harness.model.plain import Between, OneOf
from harness.model.plan import Plan
from harness.model.wire import Message
from tests.unit.model.strategies import COMMANDS, PLANS

MESSAGES: tuple[type[Message], ...] = (
    CommandRecord,
    *(
        one
        for one in vars(observation).values()
        if isinstance(one, type) and issubclass(one, Message) and one is not Message
    ),
    *request.REQUESTS.values(),
)
BDFS = st.builds(Bdf, st.integers(0, 2**32 - 1), st.integers(0, 255), st.integers(0, 31), st.integers(0, 7))
TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
_MADE: dict[Any, st.SearchStrategy[Any]] = {
    Plan: PLANS,
    Bdf: BDFS,
    Command: COMMANDS,
    str: TEXTS,
    int: st.integers(0, 2**63 - 1),
    bool: st.booleans(),
    bytes: st.binary(max_size=8),
    types.NoneType: st.none(),
}


def any_of(hint: Any) -> st.SearchStrategy[Any]:
    """Any value of a type, within what is asked of it."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    match hint:
        case _ if hint in _MADE:
            return _MADE[hint]
        case _ if origin is Annotated:
            for demand in hint.__metadata__:
                if isinstance(demand, OneOf):
                    return st.sampled_from(demand.values)
                if isinstance(demand, Between):
                    return st.integers(int(demand.least), int(demand.most))
            return any_of(hint.__origin__)
        case _ if origin in (types.UnionType, typing.Union):
            return st.one_of([any_of(one) for one in arguments])
        case _ if origin is tuple:
            return st.lists(any_of(arguments[0]), max_size=2).map(tuple)
        case _ if origin is Mapping:
            return st.dictionaries(any_of(arguments[0]), any_of(arguments[1]), max_size=2)
        case _ if hasattr(hint, "__supertype__"):
            return st.integers(0, 2**60)
        case _ if issubclass(hint, enum.Enum):
            return st.sampled_from(hint)
    hints = typing.get_type_hints(hint, include_extras=True)
    return st.builds(hint, **{one.name: any_of(hints[one.name]) for one in dataclasses.fields(hint)})

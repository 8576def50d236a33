"""Every message comes back from the wire as what it was, and whatever is wrong with it is named, never taken."""

from __future__ import annotations

import copy
import dataclasses
import typing
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from execnet.gateway_base import dumps_internal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.model import request
from harness.model.observation import Beat, Failure, Phase, Reached
from harness.model.pci import Bdf
from harness.model.plain import Misfit
from harness.model.request import Request, read_progress, read_request
from harness.model.wire import WIRE, Message, from_line, plain, to_line
from harness.target.gateway import loads
from tests.unit.model.messages import MESSAGES, any_of

Path = tuple[Any, ...]
RELAXED = settings(max_examples=8, suppress_health_check=list(HealthCheck), deadline=None)


def name(kind: type) -> str:
    return kind.__name__


@pytest.mark.parametrize("kind", MESSAGES, ids=name)
def test_a_message_comes_back_as_what_it_was(kind: type[Message]) -> None:
    @RELAXED
    @given(any_of(kind))
    def comes_back(message: Message) -> None:
        said = message.to_wire()
        assert kind.from_wire(said) == message
        assert kind.from_wire(loads(dumps_internal(said))) == message  # through execnet
        assert int_keys(said) or kind.from_wire(from_line(to_line(said))) == message  # before it

    comes_back()


def int_keys(value: Any) -> bool:
    """Whether JSON cannot say it: only what is told of a stage has such keys, and that goes through execnet."""
    if isinstance(value, list):
        return any(map(int_keys, value))
    return isinstance(value, dict) and any(type(key) is int or int_keys(one) for key, one in value.items())


@pytest.mark.parametrize("kind", request.REQUESTS.values(), ids=name)
def test_an_answer_comes_back_as_what_it_was(kind: type[Request[Any]]) -> None:
    (hint,) = typing.get_args(kind.__orig_bases__[0])  # type: ignore[attr-defined]

    @RELAXED
    @given(any_of(kind), any_of(hint))
    def comes_back(asked: Request[Any], answer: Any) -> None:
        assert asked.read_answer(loads(dumps_internal(plain(answer)))) == answer
        with pytest.raises(Misfit):
            asked.read_answer(2.5)

    comes_back()


def fields(value: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """The way to every field of every dataclass in a message, and its name."""
    if isinstance(value, Bdf):
        return
    if dataclasses.is_dataclass(value):
        for one in dataclasses.fields(value):
            yield path, one.name
            yield from fields(getattr(value, one.name), (*path, one.name))
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from fields(inner, (*path, plain(key)))
    elif isinstance(value, tuple):
        for at, inner in enumerate(value):
            yield from fields(inner, (*path, at))


OTHERS: tuple[Any, ...] = (
    2.5,
    float("nan"),
    True,
    7,
    -1,
    "x",
    "\x1b[2J",
    b"x",
    b"",
    [],
    [None],
    {},
    {"x": 1},
    (),
    ("x",),
)


def damages(said: Any, path: Path, key: str) -> Iterator[tuple[str, Any]]:
    """A message with something wrong at one field, and what must be named."""

    def damaged() -> tuple[Any, dict[str, Any]]:
        changed = copy.deepcopy(said)
        holder = changed
        for step in path:
            holder = holder[step]
        return changed, holder

    missing, holder = damaged()
    right = holder.pop(key)
    yield key, missing
    added, holder = damaged()
    holder[f"{key}_x"] = right
    yield f"{key}_x is not known", added
    for wrong in OTHERS:
        if type(wrong) is float or (right is not None and type(wrong) is not type(right)):
            changed, holder = damaged()
            holder[key] = wrong
            yield key, changed


@pytest.mark.parametrize("kind", [one for one in MESSAGES if dataclasses.fields(one)], ids=name)  # type: ignore[arg-type]
def test_whatever_is_wrong_with_a_message_is_named(kind: type[Message]) -> None:
    @RELAXED
    @given(any_of(kind), st.data())
    def is_named(message: Message, data: st.DataObject) -> None:
        path, key = data.draw(st.sampled_from(list(fields(message))))
        for named, damaged in damages(message.to_wire(), path, key):
            with pytest.raises(Misfit) as raised:
                kind.from_wire(damaged)
            assert str(raised.value).startswith(kind.__name__)
            assert named in str(raised.value)

    is_named()


@given(
    st.recursive(
        st.none() | st.booleans() | st.text() | st.binary(),
        lambda one: st.lists(one) | st.dictionaries(st.text(), one),
    )
)
def test_nothing_else_is_a_message_and_nothing_raises_another_error(value: Any) -> None:
    for kind in MESSAGES:
        try:
            kind.from_wire(value)
        except Misfit:
            continue
        assert value == {}
        assert not dataclasses.fields(kind)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", ["answer", "carry", "__init__", "warm", "", None, 5, [], "import os"])
def test_requests_are_a_closed_set(wrong: object) -> None:
    with pytest.raises(Misfit, match="is not known: there are Warm, DescribeMachine"):
        read_request(wrong, {})


def test_what_is_told_before_an_answer_is_a_closed_set() -> None:
    reached = Reached(phase=Phase.OPENING, alive_ns=5)
    assert read_progress({"Reached": reached.to_wire()}) == reached
    others: tuple[Any, ...] = (None, {}, {"Failure": {}}, {"Reached": {}, "Beat": {}}, [], {5: {}})
    for wrong in others:
        with pytest.raises(Misfit):
            read_progress(wrong)
    with pytest.raises(Misfit, match=r"Beat\.alive_ns is missing"):
        read_progress({"Beat": {"release_ns": 0, "pages": {}}})


@pytest.mark.parametrize(
    "text", ["01:00.0", "0000:01:00.0 ", "0000:01:1f.9", "somewhere", "", "0000:01:00.0\x1b"]
)
def test_an_address_is_written_in_one_way(text: str) -> None:
    with pytest.raises(Misfit, match=r"ReadConfig\.bdf"):
        request.ReadConfig.from_wire({"bdf": text})


def test_pages_are_bounded() -> None:
    beat = Beat(alive_ns=0, release_ns=0, pages=dict.fromkeys(range(5000), 0))
    with pytest.raises(Misfit, match="at most 1,024 are taken"):
        Beat.from_wire(beat.to_wire())


def test_long_words_of_an_error_arrive_to_be_cut() -> None:
    failure = Failure(kind="X", tried="t" * 100_000, said="", hint="", evidence="e" * 1_000_000, errno=0)
    assert Failure.from_wire(failure.to_wire()) == failure


def test_an_answer_that_is_nothing_is_nothing() -> None:
    assert WIRE.read(type(None), None) is None
    with pytest.raises(Misfit, match="not nothing"):
        request.SetRealtime(realtime_ns=1).read_answer(True)

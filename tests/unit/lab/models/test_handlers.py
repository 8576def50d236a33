"""What of a model is running, as somebody else reads it."""

from __future__ import annotations

import pytest

from harness.lab.models.handlers import BYTES, Called, Handler, Handlers
from harness.lab.models.interface import CONFIG_REGION


def test_calls_are_told_apart_and_those_within_one_belong_to_it() -> None:
    said: list[Handler] = []
    handlers = Handlers(lambda data: said.append(Handler.from_bytes(data)))
    with handlers.calling(Called.DUE), handlers.waiting(), handlers.calling(Called.READ, 0, 8, 4):
        pass
    with pytest.raises(ZeroDivisionError), handlers.calling(Called.WRITTEN, 1, 16, 2):
        raise ZeroDivisionError
    assert [(one.entry, one.called, one.waits) for one in said] == [
        (1, Called.DUE, False),
        (1, Called.DUE, True),
        (1, Called.READ, False),
        (1, Called.DUE, True),
        (1, Called.DUE, False),
        (0, Called.NOTHING, False),
        (2, Called.WRITTEN, False),
        (0, Called.NOTHING, False),
    ]


@pytest.mark.parametrize(
    "handler",
    [Handler(), Handler(2**64 - 1, 2**64 - 1, 2**32 - 1, Called.ORDERED, CONFIG_REGION, waits=True)],
)
def test_it_survives_the_log(handler: Handler) -> None:
    assert len(handler.to_bytes()) == BYTES
    assert Handler.from_bytes(handler.to_bytes()) == handler


@pytest.mark.parametrize("data", [b"", b"\1" * 8, b"\xff" * BYTES])
def test_what_makes_no_sense_is_no_call(data: bytes) -> None:
    assert Handler.from_bytes(data) == Handler()


def test_people_read_which_register_it_is_about() -> None:
    assert str(Handler(1, 0x44, 2, Called.READ, CONFIG_REGION)) == "a read of 2 bytes at 0x44 of config space"
    assert str(Handler(1, 0x10, 4, Called.WRITTEN, 2)) == "a write of 4 bytes at 0x10 of BAR 2"
    assert all(str(Handler(1, called=called)) for called in Called)

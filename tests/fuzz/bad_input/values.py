"""JSON values that are not what anybody expects, put anywhere into a good value."""

from __future__ import annotations

import copy
from random import Random
from typing import Any, Final

_NESTED: Final[Any] = __import__("json").loads("[" * 200 + "]" * 200)
ODD: Final[tuple[Any, ...]] = (
    None,
    True,
    False,
    -1,
    0,
    1,
    255,
    2**16,
    2**31,
    2**32 - 1,
    2**60,
    2**63 - 1,
    2**63,
    2**64,
    -(2**63),
    10**40,
    0.5,
    -0.0,
    1e300,
    float("nan"),
    float("inf"),
    "",
    "x",
    "0",
    "abc",
    "igb0",
    "config-read/sysfs",
    "oracle/check",
    "reset/flr",
    "\ud800",
    "\x1b[2J\x00",
    "{bdf}",
    "9" * 5000,
    "ff" * 4096,
    "a" * 70_000,
    [],
    [None],
    [[]],
    ["x", "x"],
    [0] * 300,
    {},
    {"x": 1},
    {"": {"": {}}},
    _NESTED,
)


def mutated(random: Random, value: Any) -> Any:
    """The value with one to three places in it changed."""
    changed = copy.deepcopy(value)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        places = list(_places(changed))
        if not places:
            return random.choice(ODD)
        holder, key = random.choice(places)
        _change(random, holder, key)
    return changed


def _change(random: Random, holder: Any, key: Any) -> None:
    match random.randrange(6):
        case 0 | 1 | 2:
            holder[key] = copy.deepcopy(random.choice(ODD))
        case 3:
            del holder[key]
        case 4 if isinstance(holder, list):
            holder[key:key] = [copy.deepcopy(holder[key])] * random.choice((1, 2, 300))
        case 4:
            holder[f"{key}{random.choice('_x ')}"] = holder.pop(key)
        case _:
            other = random.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
            holder[key], holder[other] = holder[other], holder[key]


def _places(value: Any) -> Any:
    """Every place in a value, as what holds it and its key."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield value, key
            yield from _places(inner)


def spoilt(random: Random, data: bytes) -> bytes:
    """Bytes that were cut, flipped, doubled or filled with noise somewhere."""
    at = random.randrange(len(data) + 1)
    match random.randrange(5):
        case 0:
            return data[:at]
        case 1:
            flipped = bytearray(data)
            for _ in range(random.choice((1, 1, 4, 40))):
                flipped[random.randrange(len(flipped))] ^= 1 << random.randrange(8)
            return bytes(flipped)
        case 2:
            return data[:at] + data
        case 3:
            return data[:at] + random.randbytes(random.choice((1, 16, 1000))) + data[at:]
        case _:
            return data[at:]

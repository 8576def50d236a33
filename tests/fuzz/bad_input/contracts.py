"""Contract files that are none: TOML whose values, keys and tables were changed, and what is no TOML."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from random import Random
from typing import Final

from tests.fuzz.bad_input.values import spoilt

_ODD: Final = (
    '""',
    '"x"',
    "[]",
    '["x"]',
    "[[1], {a = 1}]",
    "{}",
    "{a = {b = {c = 1}}}",
    "true",
    "-1",
    "3",
    "0xffffffffffffffffffff",
    "9" * 5000,
    "1.5",
    "nan",
    "inf",
    "1979-05-27",
    "'''" + "y" * 5000 + "'''",
    "[" * 300 + "]" * 300,
    '"999999999999999999999999s"',
    '"(?P<bdf>["',
    '"(?i)x"',
    '"a{99999999999}"',
    '"(?P=x)"',
    '["6.999999999999999999999+"]',
    '"\\u0000"',
)


@cache
def good() -> dict[str, str]:
    """The shipped files, shortened to some of their entries."""
    shipped = (file for file in files("harness.contract").iterdir() if file.name.endswith(".toml"))
    return {file.name: "\n[[".join(file.read_text("utf-8").split("\n[[")[:6]) for file in shipped}


def contract(random: Random) -> dict[str, bytes]:
    """The files of a contract, one of which is mostly none."""
    name = random.choice(list(good()))
    lines = good()[name].splitlines()
    text = "\n".join(lines).encode()
    for _ in range(random.choice((1, 1, 3))):
        at = random.randrange(len(lines))
        key, equals, _value = lines[at].partition(" = ")
        match random.randrange(8):
            case 0 | 1 | 2 if equals:
                lines[at] = f"{key} = {random.choice(_ODD)}"
            case 3:
                del lines[at]
                lines = lines or [""]
            case 4:
                lines[at:at] = [lines[at]] * random.choice((1, 40))
            case 5:
                lines[at] = random.choice(
                    (
                        "[promise]",
                        "[[x]]",
                        "[[log.x]]",
                        "[a" + ".b" * 30 + "]",
                        f"{'a.' * 500}a = 1",
                        "[[log]]",
                    )
                )
            case 6:
                return _platforms() | {name: spoilt(random, text)}
            case _:
                lines[at] = f"{key}x{equals}{random.choice(_ODD)}"
    text = "\n".join(lines).encode()
    special = (b"", b"# nothing\n", b"\xff\xfe", text + b"\xe9", b"x = " + b"[" * 50_000, b"#" * 300_000)
    return _platforms() | {name: random.choice(special) if random.random() < 0.1 else text}


def _platforms() -> dict[str, bytes]:
    return {"platforms.toml": good()["platforms.toml"].encode()}

"""Journals that are none: torn and strange lines among good ones."""

from __future__ import annotations

import json
from random import Random

from harness.journal.lines import to_line
from tests.fuzz.bad_input.values import mutated, spoilt
from tests.unit.journal.test_record import RECORDS


def journal(random: Random) -> bytes:
    """A journal that is mostly none."""
    lines = [to_line(record) for record in RECORDS]
    for _ in range(random.choice((1, 1, 2, 5))):
        at = random.randrange(len(lines))
        match random.randrange(8):
            case 0 | 1 | 2 | 3:
                lines[at] = json.dumps(mutated(random, json.loads(lines[at]))).encode() + b"\n"
            case 4:
                lines[at] = spoilt(random, lines[at])
            case 5:
                lines[at] = random.choice(
                    (b"\n", b"\0" * 100, b"null\n", b"{" * 3000, b"[" * 90_000, b"\xff\xfe\n")
                )
            case 6:
                lines[at:at] = [random.choice(lines)] * random.choice((1, 3, 200))
            case _:
                return spoilt(random, b"".join(lines))
        lines = [line for line in lines if line] or [b"\n"]
        if not all(_is_json(line) for line in lines):
            break
    return b"".join(lines)


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True

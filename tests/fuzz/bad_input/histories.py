"""Histories that are none: fields, tables and archives that were changed in one way or another."""

from __future__ import annotations

import io
import json
import zipfile
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, Final

import numpy as np

from harness.history.columns import KERNEL, OPERATION, SERVED
from harness.history.container import to_bytes
from harness.lab.figures.synthetic import synthetic
from tests.fuzz.bad_input.values import mutated, spoilt
from tests.unit.judge.build import Stage
from tests.unit.report.histories import read_in_lock_window

GOLDEN: Final = Path(__file__).parents[2] / "golden" / "history"
_TABLES: Final = {"operations.npy": OPERATION, "kernel.npy": KERNEL, "served.npy": SERVED}
Members = dict[str, bytes]


@cache
def good() -> tuple[Members, ...]:
    """Small histories that are good."""
    collided, _ = read_in_lock_window()
    stage = Stage()
    stage.heartbeat()
    reader = stage.reader()
    stage.op(reader, 10, 20)
    stage.window(100_000, 200_000)
    stage.log("igb 0000:01:00.0: not ready 1023ms after FLR; waiting")
    made = [to_bytes(history) for history in (synthetic(8), collided, stage.history())]
    made += [(GOLDEN / f"{name}.history.zip").read_bytes() for name in ("v2", "v3", "v4")]
    return tuple(_short(members(data)) for data in made)


def members(data: bytes) -> Members:
    """What is in an archive."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _short(whole: Members) -> Members:
    """The same with few rows, so that many of them can be tried."""
    return whole | {
        name: npy(table(whole[name], dtype)[:60]) for name, dtype in _TABLES.items() if name in whole
    }


def table(data: bytes, dtype: Any) -> Any:
    """A table that can be changed."""
    return np.load(io.BytesIO(data)).astype(dtype)


def npy(rows: Any) -> bytes:
    """A table as a file."""
    buffer = io.BytesIO()
    np.save(buffer, rows, allow_pickle=False)
    return buffer.getvalue()


def archive(parts: Members, method: int = zipfile.ZIP_DEFLATED, comment: bytes = b"") -> bytes:
    """Members as an archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method, compresslevel=1) as writer:
        for name, content in parts.items():
            writer.writestr(name, content)
        writer.comment = comment
    return buffer.getvalue()


def history(random: Random) -> bytes:
    """A history that is mostly none."""
    parts = dict(random.choice(good()))
    match random.randrange(10):
        case 0 | 1 | 2 | 3:
            parts["history.json"] = json.dumps(mutated(random, json.loads(parts["history.json"]))).encode()
        case 4 | 5:
            _change_rows(random, parts)
        case 6:
            name = random.choice(list(parts))
            parts[name] = spoilt(random, parts[name])
        case 7:
            return spoilt(random, archive(parts))
        case 8:
            _change_members(random, parts)
        case _:
            return _strange_archive(random, parts)
    return archive(parts)


def _change_rows(random: Random, parts: Members) -> None:
    """Numbers in a table that may point nowhere, or back in time."""
    name = random.choice([name for name in _TABLES if name in parts])
    rows = table(parts[name], _TABLES[name])
    if not len(rows):
        rows = np.zeros(random.randrange(4), _TABLES[name])
    for _ in range(random.choice((1, 1, 3))):
        column = random.choice(rows.dtype.names)
        limits = np.iinfo(rows.dtype[column])
        number = random.choice((0, 1, 7, 255, -1, limits.min, limits.max, random.getrandbits(40)))
        if len(rows):
            rows[column][random.randrange(len(rows))] = max(limits.min, min(number, limits.max))
    if random.random() < 0.2:
        rows = np.repeat(rows, random.choice((0, 2, 50)))
    parts[name] = npy(rows)


def _change_members(random: Random, parts: Members) -> None:
    names = list(parts)
    match random.randrange(4):
        case 0:
            del parts[random.choice(names)]
        case 1:
            parts[random.choice(names)] = parts[random.choice(names)]
        case 2:
            parts[random.choice(names)] = npy(
                np.zeros(random.choice((0, 3)), random.choice("iObU").replace("O", "f"))
            )
        case _:
            name = random.choice([name for name in _TABLES if name in parts])
            shape = random.choice((b"(999999999999,)", b"(-1,)", b"()", b"(2, 3)", b"(None,)", b"(1e9,)"))
            begin = parts[name].index(b"'shape': ") + 9
            end = parts[name].index(b")", begin) + 1
            parts[name] = parts[name][:begin] + shape + parts[name][end:]


def _strange_archive(random: Random, parts: Members) -> bytes:
    match random.randrange(6):
        case 0:
            return archive(parts, random.choice((zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)))
        case 1:
            return archive(parts, comment=random.randbytes(random.choice((1, 30, 60_000))))
        case 2:
            return archive(parts | {f"m{number}": b"" for number in range(random.choice((3, 100, 3000)))})
        case 3:
            return archive(parts | {random.choice(list(parts)): bytes(random.choice((1 << 20, 12 << 20)))})
        case 4:
            return archive({"x/" + name: content for name, content in parts.items()})
        case _:
            return random.randbytes(random.choice((0, 1, 22, 500)))

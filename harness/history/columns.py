"""The tables of a history as numpy structured arrays, little-endian, sorted by time.

A million operations must not be a million Python objects: checkers work on whole columns.
"""

from __future__ import annotations

import re
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from harness.errors import HistoryError
from harness.model.limits import Limit
from harness.model.observation import Edge
from harness.model.plain import shown

__all__ = [
    "HEADER_BYTES",
    "INTERRUPT",
    "KERNEL",
    "OPERATION",
    "SERVED",
    "Edge",
    "Table",
    "empty",
    "read_table",
]

Table = npt.NDArray[np.void]
"""A structured array, one row an event."""

OPERATION: Final = np.dtype(
    [
        (
            "begin_ns",
            "<i8",
        ),  # CLOCK_MONOTONIC before the call or load: just before, or when the last one ended
        ("end_ns", "<i8"),  # just after; 0: never returned
        ("value", "<u8"),  # first 8 bytes read or written, little-endian
        ("result", "<i4"),  # what the call returned, -1 for an error
        ("error", "<i4"),  # errno of a failed call, else 0
        ("actor", "<u2"),  # index into History.actors and Plan.actors
        ("step", "<u2"),  # index into Plan.actors[actor].steps
        ("round", "<u4"),  # how often the actor had been through its steps, from 0
    ]
)
"""One operation of one actor; rows are sorted by `begin_ns`."""

KERNEL: Final = np.dtype(
    [
        ("time_ns", "<i8"),  # CLOCK_MONOTONIC, resolution 1000 ns: true time is within 500 ns
        ("value", "<i8"),  # argument or return value that the probe fetches, else 0
        ("tid", "<i4"),  # thread, or INTERRUPT
        ("probe", "<u2"),  # index into History.probes
        ("function", "<i2"),  # index into Plan.functions, -1: another function or not known
    ]
)
"""One hit of a kernel probe; rows are sorted by `time_ns`."""

INTERRUPT: Final = 0
"""Stands for the thread of a hit in an interrupt, a timer's included: the one that it came over has no part in it."""

SERVED: Final = np.dtype(
    [
        ("time_ns", "<i8"),  # CLOCK_MONOTONIC of the target, within History.served_error_ns
        ("value", "<u8"),
        ("address", "<u8"),
        ("function", "<i2"),  # index into Plan.functions
        ("what", "u1"),  # a number of harness.model.served.Happened, which says what the columns hold
        ("region", "u1"),  # 0 to 5 a BAR, 7 config space, 255 none
        ("width", "<u4"),
        ("error", "<i4"),
    ]
)
"""What a model of ours saw or did (`harness.model.served`); rows are sorted by `time_ns`."""


def empty(dtype: np.dtype[Any], rows: int = 0) -> Table:
    """A table of `rows` rows of zeros."""
    return np.zeros(rows, dtype=dtype)


HEADER_BYTES: Final = 4096
"""More than the header of any of these tables has, in NumPy's format 1.0."""
_MAGIC: Final = b"\x93NUMPY\x01\x00"
_HEADER: Final = re.compile(
    r"\{'descr': (?P<columns>.*), 'fortran_order': False, 'shape': \((?P<rows>\d{1,18}),\), \} *\n"
)
"""As NumPy writes it: to read it as Python, as NumPy does, is to trust it."""


def read_table(name: str, data: bytes, dtype: np.dtype[Any], limit: Limit) -> Table:
    """Read a table in NumPy's format 1.0; the result shares its memory with `data` and cannot be written.

    Args:
        name: of the table, for messages.
        data: the whole file.
        dtype: what its columns must be.
        limit: of its rows.

    Raises:
        HistoryError: it is none, has other columns, or not as many rows as it says.
    """
    start = len(_MAGIC) + 2
    begin = start + int.from_bytes(data[len(_MAGIC) : start], "little")
    header = _HEADER.fullmatch(data[start : min(begin, HEADER_BYTES)].decode("latin-1"))
    if not data.startswith(_MAGIC) or header is None:
        raise HistoryError("history", said=f"damaged: {name}.npy is no table in NumPy's format 1.0")
    if header["columns"] != repr(dtype.descr):
        raise HistoryError(
            "history", said=f"{name}.npy has the columns {shown(header['columns'])}, not {dtype.names}"
        )
    rows = int(header["rows"])
    if excess := limit.excess(rows):
        raise HistoryError("history", said=f"{name}.npy has {excess}")
    if len(data) != begin + rows * dtype.itemsize:
        held = f"{rows} rows of {dtype.itemsize} bytes in {len(data) - begin} bytes"
        raise HistoryError("history", said=f"damaged: {name}.npy has {held}")
    return np.frombuffer(data, dtype=dtype, count=rows, offset=begin)

"""What a model writes down is the history's table, byte for byte."""

from __future__ import annotations

import numpy as np

from harness.history.columns import SERVED
from harness.model.served import NO_REGION, RESETS, ROW, Happened

ORDER = ("time_ns", "value", "address", "function", "what", "region", "width", "error")


def test_a_row_is_a_row_of_the_table() -> None:
    assert SERVED.names == ORDER
    assert SERVED.itemsize == ROW.size == 36
    values = (-(2**63), 2**64 - 1, 2**63, -2, 255, NO_REGION, 2**32 - 1, -(2**31))
    (row,) = np.frombuffer(ROW.pack(*values), dtype=SERVED)
    assert row.item() == values
    assert [SERVED.fields[name][1] for name in ORDER] == [0, 8, 16, 24, 26, 27, 28, 32]  # type: ignore[index]


def test_words_fit_their_column_and_their_numbers_never_change() -> None:
    """They are written into histories, which are readable for ever."""
    assert {one.name: one.value for one in Happened} == {
        "READ": 1,
        "WRITTEN": 2,
        "FLR": 3,
        "BUS_RESET": 4,
        "WAKE": 5,
        "SELF_TESTED": 6,
        "FLR_IGNORED": 7,
        "FAULT_BEGINS": 8,
        "FAULT_ENDS": 9,
        "FAULT_MET": 10,
        "INTERRUPT": 11,
        "INTERRUPT_LOST": 12,
        "DMA_READ": 13,
        "DMA_WRITTEN": 14,
        "CONNECTED": 15,
        "DISCONNECTED": 16,
        "INCIDENT_BEGINS": 17,
        "INCIDENT_ENDS": 18,
        "NOTED": 19,
        "CRITICAL_BEGINS": 20,
        "CRITICAL_ENDS": 21,
        "CORRUPTED": 22,
        "LOST": 23,
        "LEFT_OVER": 24,
    }
    assert {Happened.FLR, Happened.BUS_RESET, Happened.WAKE, Happened.SELF_TESTED} == RESETS

"""The log of a model: rows in a file, read by somebody else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.history.columns import SERVED
from harness.lab.models import row_log
from harness.lab.models.interface import Told
from harness.lab.models.row_log import RowLog, read_rows, unanswered
from harness.model.served import NO_REGION, Happened

READ = Told(Happened.READ, 5, 0x10F0_1AF4, 0, 7, 4)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log"


def test_rows_are_read_while_it_writes(path: Path) -> None:
    log = RowLog(path)
    assert read_rows(path) == (b"", 0)
    log(READ)
    log(Told(Happened.DMA_READ, -1, 2**64 - 1, 2**64 - 1, NO_REGION, 2**32 - 1, 5))
    data, lost = read_rows(path)
    assert lost == 0
    assert [row.item() for row in np.frombuffer(data, dtype=SERVED)] == [
        (5, 0x10F0_1AF4, 0, -1, Happened.READ, 7, 4, 0),
        (-1, 2**64 - 1, 2**64 - 1, -1, Happened.DMA_READ, NO_REGION, 2**32 - 1, 5),
    ]


def test_what_finds_no_room_is_counted_and_spoils_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_log, "LENGTH", 3)
    log = RowLog(path)
    for at in range(5):
        log(READ._replace(at_ns=at))
    data, lost = read_rows(path)
    assert lost == 2
    assert np.frombuffer(data, dtype=SERVED)["time_ns"].tolist() == [0, 1, 2]
    log.begin()
    assert read_rows(path) == (b"", 0)
    log(READ)
    assert len(read_rows(path)[0]) == SERVED.itemsize


def test_it_says_which_request_is_being_answered(path: Path) -> None:
    log = RowLog(path)
    assert unanswered(path) == b""
    log.answering(b"sixteen bytes!!!")
    log(READ)
    assert unanswered(path) == b"sixteen bytes!!!"
    assert len(read_rows(path)[0]) == SERVED.itemsize
    log.answering(bytes(16))
    assert unanswered(path) == b""


def test_a_log_that_there_is_not_is_an_error(path: Path) -> None:
    for read in (read_rows, unanswered):
        with pytest.raises(FileNotFoundError):
            read(path)

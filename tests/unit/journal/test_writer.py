from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.journal.reader import parse, read
from harness.journal.record import (
    PhaseReport,
    Record,
    SessionEnd,
    SessionStart,
    Status,
    TestFinish,
    TestStart,
)
from harness.journal.reserve import SIZE, Reserve
from harness.journal.writer import JournalWriter


def test_records_come_back_in_their_order(tmp_path: Path) -> None:
    written: list[Record] = [SessionStart(), TestStart(test="a"), TestFinish(test="a"), SessionEnd(status=0)]
    with JournalWriter(tmp_path / "journal.jsonl") as journal:
        for record in written:
            journal.append(record)
    assert not journal.trouble
    assert list(parse((tmp_path / "journal.jsonl").read_bytes().splitlines()).records) == written


def test_an_older_session_stays_in_the_file_but_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    for name in ("old", "new"):
        with JournalWriter(path) as journal:
            journal.append(SessionStart(host=name))
            journal.append(TestStart(test=name))
            journal.append(TestFinish(test=name))
    assert path.read_bytes().count(b"session-start") == 2
    session = read(path, boot_id="")
    assert session.start.host == "new"
    assert [entry.test for entry in session.entries] == ["new"]


def test_a_line_torn_by_a_dead_runner_swallows_no_later_record(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'{"record":"session-start"}\n{"record":"test-sta')
    with JournalWriter(path) as journal:
        journal.append(SessionStart(host="new"))
    lines = parse(path.read_bytes().splitlines())
    assert lines.records == (SessionStart(host="new"),)
    assert lines.damaged == 0


def test_a_torn_last_line_is_no_damage_but_one_in_the_middle_is() -> None:
    start, torn = b'{"record":"session-start"}\n', b'{"record":"te'
    assert parse([start, torn]).damaged == 0
    assert parse([start, torn + b"\n", b'{"record":"test-start","test":"a"}\n']).damaged == 1


def test_a_full_disk_is_remembered_and_never_raised() -> None:
    journal = JournalWriter(Path("/dev/full"))
    journal.append(SessionStart())
    journal.append(TestStart(test="a"))
    journal.close()
    assert journal.trouble == ["journal /dev/full: ENOSPC (No space left on device)"]


def test_what_matters_reaches_the_disk_before_anything_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", flushed.append)
    with JournalWriter(tmp_path / "j") as journal:
        for record, expected in (
            (SessionStart(), 1),
            (TestStart(test="a"), 2),
            (PhaseReport(test="a", phase="call", status=Status.OK), 2),
            (PhaseReport(test="a", phase="call", status=Status.FAILURE), 3),
            (TestFinish(test="a"), 4),
        ):
            journal.append(record)
            assert len(flushed) == expected


def test_two_runs_cannot_write_to_one_journal(tmp_path: Path) -> None:
    path = tmp_path / "j"
    code = (
        "import sys, pathlib\n"
        "from harness.journal.writer import JournalWriter\n"
        "from harness.errors import UsageError\n"
        "try:\n    JournalWriter(pathlib.Path(sys.argv[1]))\n"
        "except UsageError as error:\n    print(error)\n"
    )
    with JournalWriter(path):
        said = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert "another run is writing to it" in said.stdout
    again = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert not again.stdout


def test_a_folder_that_is_not_there_is_the_callers_mistake(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Name a results folder"):
        JournalWriter(tmp_path / "no" / "j")
    with pytest.raises(UsageError, match="hil-results"):
        read(tmp_path / "j", boot_id="")


def test_children_do_not_inherit_the_descriptor(tmp_path: Path) -> None:
    with JournalWriter(tmp_path / "j") as journal:
        assert not os.get_inheritable(journal._fd)


def test_when_the_disk_is_full_what_matters_finds_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = JournalWriter(tmp_path / "j", reserve=(reserve := Reserve(tmp_path)))
    assert os.fstat(reserve.fileno()).st_blocks * 512 >= SIZE
    assert [path.name for path in tmp_path.iterdir()] == ["j"]
    write = os.write

    def full(descriptor: int, data: bytes) -> int:
        """A disk that has as much room as the reserve has given up."""
        if len(data) > SIZE - os.fstat(reserve.fileno()).st_size:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", full)
    for _ in range(20):
        journal.append(PhaseReport(test="a", phase="call", status=Status.OK, output="x" * 30_000))
    journal.append(SessionEnd(status=0))
    assert os.fstat(reserve.fileno()).st_size >= SIZE // 2  # the report's
    journal.close()
    assert reserve.fileno() == -1
    (said,) = journal.trouble
    assert "ENOSPC: the disk is full; long texts of later records are cut" in said
    lines = parse((tmp_path / "j").read_bytes().splitlines())
    assert lines.damaged == 0
    assert len(lines.records) == 21
    assert all(not record.output for record in lines.records[:20] if isinstance(record, PhaseReport))


def test_a_journal_that_was_put_away_in_between_is_not_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = fcntl.lockf

    def late(descriptor: int, how: int) -> None:
        (tmp_path / "j").rename(tmp_path / "earlier")
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "lockf", late)
    with pytest.raises(UsageError, match="another run is starting here"):
        JournalWriter(tmp_path / "j")

"""A results folder that holds a user's own files: nothing of theirs goes, whatever it is called."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness import removal
from harness.errors import UsageError
from harness.journal.record import SessionStart, TestStart
from harness.journal.writer import JournalWriter
from harness.results import ATTACHMENTS, EARLIER, JOURNAL, JUNIT, SOAK, SOAK_PICTURE, claim, publish, put_away

PICTURE = f"{ATTACHMENTS}/photo-0123abcd.svg"


def run(results: Path, what: str = "ours") -> None:
    """What a run of one test leaves."""
    with JournalWriter(results / JOURNAL) as journal:
        journal.append(SessionStart(argv=(what,)))
        journal.append(TestStart(test="a"))
    (results / ATTACHMENTS).mkdir(exist_ok=True)
    (results / PICTURE).write_text(what)


@pytest.mark.parametrize("name", [JOURNAL, JUNIT, SOAK, SOAK_PICTURE, PICTURE])
def test_a_file_of_theirs_in_the_place_of_one_of_ours_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    for asked in (claim, put_away):
        with pytest.raises(
            UsageError, match=rf"{name} there would be overwritten.*Name another results folder"
        ):
            asked(tmp_path)
    assert (tmp_path / name).read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 1


def test_their_other_files_are_in_nobodys_way(tmp_path: Path) -> None:
    for name in ("README", "earlier", f"{ATTACHMENTS}/notes", ".junit.xml.swp", ".reserve"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    before = sorted(tmp_path.glob("**/*"))
    for number in range(3):
        put_away(tmp_path)
        run(tmp_path, str(number))
    assert all(path.is_dir() or path.read_text() == "mine" for path in before)


def test_a_run_takes_the_place_of_the_last_but_one_and_of_nothing_else(tmp_path: Path) -> None:
    for name in (f"{EARLIER}/{JOURNAL}", f"{EARLIER}/{PICTURE}"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("mine")
    for number in range(3):
        said = put_away(tmp_path)
        run(tmp_path, str(number))
    assert f"{tmp_path / EARLIER} was left alone: nothing in it says" in said
    assert f"what an earlier run left there is in {tmp_path / EARLIER}-2" in said
    assert (tmp_path / EARLIER / PICTURE).read_text() == "mine"
    assert (tmp_path / f"{EARLIER}-2" / PICTURE).read_text() == "1"
    assert (tmp_path / PICTURE).read_text() == "2"
    assert not (tmp_path / f"{EARLIER}-3").exists()


def test_only_what_a_killed_runner_was_writing_is_removed(tmp_path: Path) -> None:
    run(tmp_path)
    killed = removal.made(tmp_path, f".{JUNIT}.", "a file that is being written")
    (killed / JUNIT).write_text("half")
    (tmp_path / f".{JUNIT}.swp").write_text("mine")
    (tmp_path / f".{JUNIT}.stranger").mkdir()
    (tmp_path / f".{JUNIT}.stranger" / "mine").write_text("mine")
    said = put_away(tmp_path)
    assert not killed.exists()
    assert (tmp_path / f".{JUNIT}.swp").read_text() == "mine"
    assert (tmp_path / f".{JUNIT}.stranger" / "mine").read_text() == "mine"
    assert f".{JUNIT}.swp was left alone: it is no folder" in said
    assert f".{JUNIT}.stranger was left alone: nothing in it says" in said


def test_links_and_other_users_files_stay_where_they_are(tmp_path: Path) -> None:
    run(tmp_path)
    (tmp_path / ATTACHMENTS / "link-0123abcd.svg").symlink_to("/etc/passwd")
    if not os.geteuid():
        (tmp_path / ATTACHMENTS / "theirs-0123abcd.svg").write_text("theirs")
        os.chown(tmp_path / ATTACHMENTS / "theirs-0123abcd.svg", 12345, -1)
    before = {path.name for path in (tmp_path / ATTACHMENTS).iterdir()}
    put_away(tmp_path)
    assert before - {path.name for path in (tmp_path / ATTACHMENTS).iterdir()} == {Path(PICTURE).name}


def test_a_folder_that_is_reached_by_a_link_is_somebodys(tmp_path: Path) -> None:
    elsewhere, results = tmp_path / "elsewhere", tmp_path / "results"
    for folder in (elsewhere, results):
        folder.mkdir()
    (elsewhere / Path(PICTURE).name).write_text("mine")
    (results / ATTACHMENTS).symlink_to(elsewhere)
    with JournalWriter(results / JOURNAL) as journal:
        journal.append(SessionStart())
    assert put_away(results) == ""
    assert (elsewhere / Path(PICTURE).name).read_text() == "mine"


def test_a_file_is_published_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    publish(tmp_path / "x", b"1")
    publish(tmp_path / "x", b"2")
    umask = os.umask(0)
    os.umask(umask)
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_bytes() == b"2"
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o666 & ~umask
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError):
        publish(tmp_path / "folder", b"3")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "x"]

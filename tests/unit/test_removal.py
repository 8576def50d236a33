"""What is found is removed if it is ours, and only then.  Each stranger differs from what is ours in one thing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import removal
from harness.removal import MARKER

PURPOSE = "a test"


def ours(parent: Path) -> Path:
    folder = removal.made(parent, "ours-", PURPOSE)
    (folder / "below").mkdir()
    (folder / "below" / "file").write_text("x")
    (folder / "link").symlink_to("/etc/passwd")
    return folder


def no_marker(folder: Path) -> None:
    (folder / MARKER).unlink()


def another_mode(folder: Path) -> None:
    folder.chmod(0o755)


def another_mode_of_the_marker(folder: Path) -> None:
    (folder / MARKER).chmod(0o644)


def a_marker_of_its_own(folder: Path) -> None:
    (folder / MARKER).unlink()
    (folder / MARKER).write_text("made by vfio-harness")
    (folder / MARKER).chmod(0o444)


def a_marker_that_is_a_link(folder: Path) -> None:
    (folder / MARKER).rename(folder.parent / "marker")
    (folder / MARKER).symlink_to(folder.parent / "marker")


def a_marker_that_others_have_too(folder: Path) -> None:
    (folder.parent / "marker").hardlink_to(folder / MARKER)


def a_marker_that_is_a_pipe(folder: Path) -> None:
    (folder / MARKER).unlink()
    os.mkfifo(folder / MARKER, 0o444)


def another_users(folder: Path) -> None:
    if os.geteuid():
        pytest.skip("only root can give a folder away")
    os.chown(folder, 12345, -1)


def another_users_marker(folder: Path) -> None:
    if os.geteuid():
        pytest.skip("only root can give a file away")
    os.chown(folder / MARKER, 12345, -1)


def another_purpose(folder: Path) -> None:
    (folder / MARKER).unlink()
    removal.mark(folder, "another test")


STRANGERS = (
    no_marker, another_mode, another_mode_of_the_marker, a_marker_of_its_own, a_marker_that_is_a_link,
    a_marker_that_others_have_too, a_marker_that_is_a_pipe, another_users, another_users_marker, another_purpose,
)  # fmt: skip


def test_what_is_ours_goes_with_all_that_is_in_it(tmp_path: Path) -> None:
    folder = ours(tmp_path)
    assert removal.objection(folder, PURPOSE) == ""
    assert (folder / "below" / "file").exists(), "who only looks changes nothing"
    assert removal.remove(folder, PURPOSE) == ""
    assert not list(tmp_path.iterdir())
    assert removal.remove(folder, PURPOSE) == removal.objection(folder, PURPOSE) == ""
    assert Path("/etc/passwd").exists()


@pytest.mark.parametrize("becomes_a_strangers", STRANGERS, ids=lambda one: str(one.__name__))
def test_a_strangers_is_left_as_it_is(tmp_path: Path, becomes_a_strangers: Callable[[Path], None]) -> None:
    folder = ours(tmp_path)
    becomes_a_strangers(folder)
    assert (why := removal.objection(folder, PURPOSE))
    assert removal.remove(folder, PURPOSE) == why
    assert (folder / "below" / "file").read_text() == "x"
    assert os.path.lexists(folder / "link")


def test_a_link_to_what_is_ours_and_a_file_are_left(tmp_path: Path) -> None:
    folder = ours(tmp_path)
    (tmp_path / "link").symlink_to(folder)
    (tmp_path / "file").write_text("mine")
    for name in ("link", "file"):
        assert removal.remove(tmp_path / name, PURPOSE) == "it is no folder"
        assert os.path.lexists(tmp_path / name)
    assert (folder / "below" / "file").exists()


def test_what_a_removal_left_that_failed_is_still_ours(tmp_path: Path) -> None:
    if not os.geteuid():
        pytest.skip("root may remove everything; run it as an ordinary user")
    folder = ours(tmp_path)
    (folder / "below").chmod(0o500)
    assert "Permission denied" in removal.remove(folder, PURPOSE)
    assert removal.objection(folder, PURPOSE) == ""
    (folder / "below").chmod(0o700)
    assert removal.remove(folder, PURPOSE) == ""


def test_what_is_mounted_below_is_not_entered(tmp_path: Path) -> None:
    folder, disk = ours(tmp_path), tmp_path / "disk"
    disk.mkdir()
    (disk / "mine").write_text("mine")
    (folder / "mount").mkdir()
    namespace = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c")
    script = (
        f'mount -t tmpfs none "{folder}/mount" && touch "{folder}/mount/mine" && '
        f'python3 -P -c "from harness import removal; from pathlib import Path; '
        f"print(removal.remove(Path('{folder}'), '{PURPOSE}'))\" && ls \"{folder}/mount\""
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([*namespace, script], capture_output=True, text=True, check=False, env=environment)
    if "mount" in done.stderr or "unshare" in done.stderr:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    assert done.stdout == "something is mounted on mount\nmine\n", done.stderr


def test_a_lent_folder_goes_with_its_block(tmp_path: Path) -> None:
    with removal.lent(tmp_path, "x-", PURPOSE) as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "file").touch()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_the_marker_holds_whatever_the_umask_is(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        folder = removal.made(tmp_path, "x-", PURPOSE, mode=0o755)
    finally:
        os.umask(before)
    assert removal.objection(folder, PURPOSE) == ""


def test_a_disk_that_is_full_leaves_no_folder_without_a_marker(tmp_path: Path) -> None:
    program = (
        "import resource, sys; from pathlib import Path; from harness import removal\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))\n"
        "try: removal.made(Path(sys.argv[1]), 'x-', 'a test')\n"
        "except OSError as error: print(error.strerror)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True
    )
    assert done.stdout == "File too large\n"
    assert not list(tmp_path.iterdir())

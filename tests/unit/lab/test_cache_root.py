"""Which folder may be a cache: ours or root's, nobody else's to write into, and not full of other things."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.errors import SetupError
from harness.lab.cache.root import TAG
from harness.lab.cache.store import Cache


def test_anybodys_is_refused_with_what_to_type(tmp_path: Path) -> None:
    root = tmp_path / "cache"
    Cache(root).close()
    for folder, mode in ((root, 0o757), (root, 0o1777), (root / "building", 0o757)):
        before = folder.stat().st_mode
        folder.chmod(mode)
        with pytest.raises(SetupError, match=rf"anybody may write into {folder}.*chmod -R o-w {root}"):
            Cache(root)
        folder.chmod(before)
    Cache(root).close()


def test_an_entry_that_anybody_may_change_is_refused(tmp_path: Path) -> None:
    with Cache(tmp_path) as cache:
        path = cache.publish("thing", "one", lambda folder: (folder / "x").touch())
    path.chmod(0o777)
    with pytest.raises(SetupError, match=f"anybody may write into {path}"):
        Cache(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away; run it as root")
def test_another_users_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "cache"
    Cache(root).close()
    os.chown(root, 12345, -1)
    with pytest.raises(
        SetupError, match=r"belongs to user 12345, neither to you nor to root.*sudo chown -R 0"
    ):
        Cache(root)


def test_a_groups_is_told_of_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("_VFIO_HARNESS_CACHE_TOLD", raising=False)
    tmp_path.chmod(0o775)
    for _ in range(2):
        Cache(tmp_path).close()
    (line,) = capsys.readouterr().err.splitlines()
    assert f"may change what is executed from {tmp_path}" in line
    assert f"chmod -R g-w {tmp_path}" in line


def test_a_folder_of_other_things_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "work" / "thesis").mkdir(parents=True)
    with pytest.raises(SetupError, match=r"holds other things \(work\).*VFIO_HARNESS_CACHE"):
        Cache(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["work"]
    (tmp_path / TAG).write_text("Signature: 8a477f597d28d172789f06886806bc55\n# made by cargo\n")
    with pytest.raises(SetupError, match="holds other things"):
        Cache(tmp_path)


def test_the_cache_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    (tmp_path / TAG).write_text("Signature: 8a477f597d28d172789f06886806bc55\n# made by vfio-harness\n")
    (tmp_path / "thing" / "old").mkdir(parents=True)
    (tmp_path / "thing" / "old" / ".complete.json").write_text('{"made_s": 1.0}')
    with Cache(tmp_path) as cache:
        assert cache.entry("thing", "old") == tmp_path / "thing" / "old"


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022])
def test_what_is_made_is_nobody_elses_to_write_into(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with Cache(tmp_path / "cache") as cache:
            cache.publish("thing", "one", lambda folder: (folder / "x").touch())
            with cache.workspace("apt"):
                pass
    finally:
        os.umask(before)
    folders = [tmp_path / "cache", *(tmp_path / "cache").glob("**/")]
    assert {folder.stat().st_mode & 0o022 for folder in folders} == {0}

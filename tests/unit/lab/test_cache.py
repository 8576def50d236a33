"""The cache: built once, never half-made, never taken away from a user.  Other processes are real ones."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from harness.cli import main
from harness.errors import SetupError, UsageError
from harness.lab.cache.budget import collect
from harness.lab.cache.store import (
    STAMP,
    Cache,
    allocated_bytes,
    default_root,
    key_of,
)
from harness.removal import MARKER

DEADLINE_S = 30
WORK = "work/thesis"


def write_hello(folder: Path) -> None:
    (folder / "hello").write_text("hello")


def other_process(root: Path, body: str, *prefix: str) -> subprocess.Popen[str]:
    """Start Python with an open `cache` on the same folder; it talks over its standard streams."""
    script = "import os, resource, sys\nfrom pathlib import Path\nfrom harness.lab.cache.store import Cache\n"
    script += f"cache = Cache(Path({str(root)!r}))\n" + textwrap.dedent(body)
    return subprocess.Popen(
        [*prefix, sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def says(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def end(process: subprocess.Popen[str]) -> tuple[str, str]:
    return process.communicate("\n", timeout=DEADLINE_S)


HOLD = """
    def build(folder):
        (folder / "hello").write_text("hello")
    print(cache.publish("thing", "one", build), flush=True)
    sys.stdin.readline()
"""


def test_an_entry_is_built_once_and_then_found(tmp_path: Path) -> None:
    built = []

    def build(folder: Path) -> None:
        built.append(folder)
        write_hello(folder)

    with Cache(tmp_path) as cache:
        path = cache.publish("thing", "one", build)
        assert cache.publish("thing", "one", build) == path == cache.entry("thing", "one")
        assert (path / "hello").read_text() == "hello"
    with Cache(tmp_path) as again:
        assert again.publish("thing", "one", build) == path
    assert len(built) == 1
    assert not list((tmp_path / "building").iterdir())


def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    def build(folder: Path) -> None:
        write_hello(folder)
        raise SetupError("building")

    with Cache(tmp_path) as cache:
        with pytest.raises(SetupError, match="building"):
            cache.publish("thing", "one", build)
        assert cache.entry("thing", "one") is None
        assert not list((tmp_path / "building").iterdir())
        assert cache.publish("thing", "one", write_hello) == cache.entry("thing", "one")


def test_a_folder_without_a_stamp_is_not_an_entry(tmp_path: Path) -> None:
    with Cache(tmp_path) as cache:
        path = cache.publish("thing", "one", write_hello)
        (path / "half").touch()
        (path / STAMP).unlink()
        cache.close()
        assert cache.entry("thing", "one") is None
        assert cache.entries() == []
        assert cache.publish("thing", "one", write_hello) == path
        assert {file.name for file in path.iterdir()} == {"hello", STAMP, MARKER}


def test_a_builder_killed_in_the_middle_is_replaced(tmp_path: Path) -> None:
    builder = other_process(
        tmp_path,
        """
        def build(folder):
            (folder / "half").write_text("half")
            print(folder, flush=True)
            sys.stdin.readline()
        cache.publish("thing", "one", build)
        """,
    )
    half = Path(says(builder))
    assert (half / "half").exists()
    with Cache(tmp_path) as cache:
        assert cache.entry("thing", "one") is None  # being built: neither visible nor in the way
        assert cache.sweep() == []  # its builder lives
        assert half.exists()
        builder.send_signal(signal.SIGKILL)
        builder.communicate(timeout=DEADLINE_S)
        path = cache.publish("thing", "one", write_hello)
        assert sorted(file.name for file in path.iterdir()) == [STAMP, MARKER, "hello"]
    assert not half.exists()


def test_rubbish_of_a_dead_builder_of_another_entry_is_swept(tmp_path: Path) -> None:
    body = "cache.publish('thing', 'gone', lambda folder: os._exit(1))"
    other_process(tmp_path, body).communicate(timeout=DEADLINE_S)
    assert list((tmp_path / "building").iterdir())
    with Cache(tmp_path) as cache:
        assert cache.sweep() == ["thing/gone"]
    assert not list((tmp_path / "building").iterdir())


def test_two_at_once_build_once_and_nobody_waits_for_the_end_of_the_others_run(tmp_path: Path) -> None:
    log = tmp_path / "log"
    body = f"""
        def build(folder):
            with open({str(log)!r}, "a") as file:
                file.write("built\\n")
            print("building", flush=True)
            sys.stdin.readline()
        print(cache.publish("thing", "one", build), flush=True)
        sys.stdin.readline()
    """
    first = other_process(tmp_path / "cache", body)
    assert says(first) == "building"
    second = other_process(tmp_path / "cache", body)
    assert second.stderr is not None
    assert "waiting for another process" in second.stderr.readline()
    assert first.stdin is not None
    first.stdin.write("\n")
    first.stdin.flush()
    # Both hold the entry now, and the first is still running.
    assert says(first) == says(second) == str(tmp_path / "cache" / "thing" / "one")
    assert first.poll() is None
    end(first)
    end(second)
    assert log.read_text() == "built\n"


def test_when_the_builder_fails_the_one_who_waited_builds(tmp_path: Path) -> None:
    first = other_process(
        tmp_path,
        """
        def build(folder):
            print("building", flush=True)
            sys.stdin.readline()
            raise SystemExit(3)
        cache.publish("thing", "one", build)
        """,
    )
    assert says(first) == "building"
    second = other_process(tmp_path, HOLD)
    assert second.stderr is not None
    assert "waiting" in second.stderr.readline()
    end(first)
    assert says(second) == str(tmp_path / "thing" / "one")
    end(second)


def test_clean_spares_what_another_process_uses(tmp_path: Path) -> None:
    user = other_process(tmp_path, HOLD)
    path = Path(says(user))
    with Cache(tmp_path) as cache:
        assert [entry.in_use for entry in cache.entries()] == [True]
        assert cache.clean() == []
        assert path.exists()
        with pytest.raises(SetupError, match="another process uses it"):
            cache.discard("thing", "one")
        end(user)
        assert [entry.key for entry in cache.clean()] == ["one"]
        assert not path.exists()


def test_clean_spares_what_this_process_holds(tmp_path: Path) -> None:
    with Cache(tmp_path) as cache:
        path = cache.publish("thing", "one", write_hello)
        assert cache.clean() == []
    with Cache(tmp_path) as other:
        assert other.clean(kind="something") == []
        assert other.clean(unused_for_s=3600) == []
        assert [entry.path for entry in other.clean(kind="thing")] == [path]


def test_a_damaged_entry_is_replaced(tmp_path: Path) -> None:
    with Cache(tmp_path) as cache:
        path = cache.publish("thing", "one", write_hello)
        (path / "hello").write_text("damaged")
        assert cache.publish("thing", "one", write_hello, replace=True) == path
        assert (path / "hello").read_text() == "hello"


def test_too_little_space_is_said_before_anything_is_built(tmp_path: Path) -> None:
    def build(folder: Path) -> None:
        raise AssertionError(folder)

    with Cache(tmp_path) as cache, pytest.raises(SetupError) as caught:
        cache.publish("thing", "one", build, need_bytes=10**18)
    message = str(caught.value)
    assert "1000000000.0 GB are needed" in message or "1000000000 GB are needed" in message
    assert str(tmp_path) in message
    assert "VFIO_HARNESS_CACHE=" in message


def test_a_file_size_limit_is_a_full_disk(tmp_path: Path) -> None:
    process = other_process(
        tmp_path,
        """
        from harness.errors import SetupError
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            cache.publish("thing", "one", lambda folder: (folder / "big").write_bytes(bytes(200_000)))
        except SetupError as error:
            print(error)
        """,
    )
    output, errors = end(process)
    assert "File too large" in output, errors
    assert "VFIO_HARNESS_CACHE=" in output
    assert not list((tmp_path / "building").iterdir())


def test_a_full_disk(tmp_path: Path) -> None:
    namespace = ("unshare", "--user", "--map-root-user", "--mount")
    if subprocess.run([*namespace, "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs a mount namespace for a small file system, and this machine allows none")
    mounted = f'mount -t tmpfs -o size=1M,mode=755 none "{tmp_path}" && exec "$@"'
    process = other_process(
        tmp_path,
        """
        from harness.errors import SetupError
        def build(folder):
            (folder / "big").write_bytes(bytes(2_000_000))
        try:
            cache.publish("thing", "one", build)
        except SetupError as error:
            print(error)
        print([path.name for path in (cache.root / "building").iterdir()], cache.entries())
        cache.publish("thing", "small", lambda folder: (folder / "small").write_text("x"))
        print(len(cache.entries()))
        """,
        *namespace, "sh", "-c", mounted, "sh",
    )  # fmt: skip
    output, errors = end(process)
    lines = output.splitlines()
    assert "No space left on device" in lines[0], errors
    assert "free" in lines[0]
    assert lines[1:] == ["[] []", "1"]


def test_a_cache_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SetupError, match=r"opening the cache folder.*VFIO_HARNESS_CACHE"):
        Cache(tmp_path / "file" / "cache")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_cache_is_one_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(SetupError, match="Permission denied"):
        Cache(tmp_path)


@pytest.mark.parametrize(
    ("kind", "key"), [("Thing", "x"), ("locks", "x"), ("thing", "../x"), ("thing", ""), ("", "x")]
)
def test_names_that_are_no_folder_names_are_refused(tmp_path: Path, kind: str, key: str) -> None:
    with Cache(tmp_path) as cache, pytest.raises(UsageError, match="not usable"):
        cache.publish(kind, key, write_hello)


def test_a_workspace_is_lent_to_one_at_a_time(tmp_path: Path) -> None:
    first = other_process(
        tmp_path,
        """
        with cache.workspace("apt") as folder:
            (folder / "kept").touch()
            print("inside", flush=True)
            sys.stdin.readline()
        """,
    )
    assert says(first) == "inside"
    second = other_process(
        tmp_path, 'with cache.workspace("apt") as folder: print(sorted(os.listdir(folder))[1:], flush=True)'
    )
    assert second.stderr is not None
    assert "waiting" in second.stderr.readline()
    end(first)
    assert says(second) == "['kept']"
    end(second)
    with Cache(tmp_path) as cache:
        cache.clean()
    assert not (tmp_path / "work" / "apt").exists()


def write_large(folder: Path) -> None:
    (folder / "file").write_bytes(bytes(300_000))


def test_entries_tell_size_and_age(tmp_path: Path) -> None:
    with Cache(tmp_path) as cache:
        cache.publish("thing", "small", write_hello)
        cache.publish("thing", "large", write_large)
        found = cache.entries()
    assert [entry.key for entry in found] == ["large", "small"]
    assert found[0].size_bytes == allocated_bytes(found[0].path) > 100_000
    assert found[0].used_s >= found[0].made_s - 1
    assert all(entry.in_use for entry in found)


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("VFIO_HARNESS_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    assert default_root() == tmp_path / ".cache" / "vfio-harness"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_root() == tmp_path / "xdg" / "vfio-harness"
    monkeypatch.setenv("VFIO_HARNESS_CACHE", "~/chosen")
    assert default_root() == tmp_path / "chosen"


def test_a_key_depends_on_the_inputs_and_not_on_their_order() -> None:
    assert key_of({"a": 1, "b": [2, "x"]}) == key_of({"b": [2, "x"], "a": 1})
    assert key_of({"a": 1}) != key_of({"a": 2})
    assert len(key_of({})) == 16


def test_a_child_that_inherits_the_lock_holds_the_entry_after_its_parent_was_killed(tmp_path: Path) -> None:
    """As QEMU does with its template."""
    with Cache(tmp_path) as cache:
        cache.publish("thing", "one", write_hello)
    body = """
        import subprocess
        cache.entry("thing", "one")
        child = subprocess.Popen(["cat"], pass_fds=(cache.lock_of("thing", "one"),))
        print("there", flush=True)
        child.wait()
    """
    with other_process(tmp_path, body) as parent, Cache(tmp_path) as cache:
        assert says(parent) == "there"
        parent.send_signal(signal.SIGKILL)
        parent.wait(timeout=DEADLINE_S)
        assert cache.clean() == []
        assert [entry.key for entry in cache.entries()] == ["one"]
        assert parent.stdin is not None
        parent.stdin.close()  # the child reads the end of its input, and ends
        until_gone_s = time.monotonic() + DEADLINE_S
        while not cache.clean():
            assert time.monotonic() < until_gone_s, "the child ended, and nobody let go"
            select.select([], [], [], 0.01)
        assert cache.entries() == []


def test_a_lock_that_is_not_held_cannot_be_lent(tmp_path: Path) -> None:
    with Cache(tmp_path) as cache, pytest.raises(UsageError, match="not held"):
        cache.lock_of("thing", "one")


def strangers_in(root: Path) -> list[Path]:
    """What looks like something of the cache's, in each place where a cleaning looks, and is somebody's."""
    files = []
    for place in ("thing/old", WORK, "building/office@home@2024", "building/plan"):
        folder = root / place
        folder.mkdir(parents=True)
        (folder / STAMP).write_text('{"made_s": 1.0}')
        files += [folder / STAMP, folder / "mine"]
        files[-1].write_text("mine")
    return files


def test_cleaning_leaves_what_is_not_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Cache(tmp_path) as cache:
        mine = strangers_in(tmp_path)
        cache.publish("thing", "new", write_hello)
        with cache.workspace("apt"):
            pass
    with Cache(tmp_path) as cache:
        assert [str(one) for one in cache.clean()] == ["thing new", "work apt"]
        assert cache.sweep() == []
        assert f"left {tmp_path}/building/plan alone: nothing in it says" in capsys.readouterr().err
        with pytest.raises(SetupError, match=rf"nothing in it says.*type: rm -r {tmp_path}/thing/old"):
            cache.discard("thing", "old")
        cache.publish("office", "home", write_hello)  # its place to build is taken
    assert all(file.exists() for file in mine)


def test_what_is_in_an_entrys_place_is_left(tmp_path: Path) -> None:
    with Cache(tmp_path) as cache:
        where = cache.path("thing", "one")
        where.mkdir(parents=True)
        (where / "mine").write_text("mine")
        with pytest.raises(SetupError, match=f"type: rm -r {where}"):
            cache.publish("thing", "one", write_hello)
        assert [path.name for path in where.iterdir()] == ["mine"]
        assert not list((tmp_path / "building").iterdir())


def test_a_dry_run_says_the_same_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "cache"
    monkeypatch.setenv("VFIO_HARNESS_CACHE", str(root))
    assert main(["cache", "--clean", "--dry-run"]) == 0
    assert not root.exists()
    with Cache(root) as cache:
        cache.publish("thing", "new", write_hello)
        strangers_in(root)

    def all_there() -> list[tuple[str, int]]:
        return sorted((str(path), path.lstat().st_mtime_ns) for path in root.glob("**/*"))

    before = all_there()
    capsys.readouterr()
    assert main(["cache", "--clean", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert all_there() == before
    assert main(["cache", "--clean"]) == 0
    done = capsys.readouterr().out.splitlines()
    lines = said.replace("would remove", "removed").replace("would leave", "left").splitlines()
    assert len(lines) == 5
    assert done[:5] == lines
    assert "removed thing new" in lines
    assert f"left {root / WORK}: nothing in it says that this harness made it" in lines
    assert main(["cache", "--dry-run"]) == 2


def test_a_budget_takes_what_is_ours_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VFIO_HARNESS_CACHE_LIMIT", "0")
    with Cache(tmp_path) as cache:
        mine = strangers_in(tmp_path)
        (tmp_path / "thing/old/mine").write_bytes(bytes(2_000_000))
        os.utime(tmp_path / "thing/old" / STAMP, (1.0, 1.0))
        assert collect(cache) == []
    assert all(file.exists() for file in mine)
    assert "1 cache entries that nobody used for a week carry no marker" in capsys.readouterr().err

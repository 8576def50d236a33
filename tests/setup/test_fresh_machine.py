"""What a newcomer types works on any fresh machine: README's own lines, in minimal roots of Debian, to a first verdict.

`./lab/test -m setup tests/setup/test_fresh_machine.py -rP` runs it, as root, and shows times and sizes.  A machine here
has one of each pair of conditions; all of them occur.
"""

from __future__ import annotations

import os
import re
import select
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from harness import removal
from tests.repo.tree import LINKS, ROOT, tracked
from tests.setup.machines import PURPOSE, Machine, base, folder_for_roots, machine

pytestmark = pytest.mark.setup

SCENARIO: Final = "proc_readers_wait_for_a_reset and nvme0"
WITHOUT_GUESTS: Final = "-m 'not guest' tests/unit tests/property tests/golden"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What a machine is like.

    Attributes:
        release: of Debian.
        user: who types; root has no sudo.
        checkout: the folder of the repository.
        mounts: lines that root types before.
        sys: whether there is a /sys.
    """

    release: str
    user: str
    checkout: str
    mounts: tuple[str, ...] = ()
    sys: bool = True


TMPFS_CACHE: Final = (
    "mkdir -p {home}/.cache",
    "mount -t tmpfs -o mode=755 cache {home}/.cache",
    "chown {user}:{user} {home}/.cache",
)
NOEXEC_TMP: Final = ("mount -t tmpfs -o noexec,mode=1777 tmp /tmp",)
MACHINES: Final = (
    Conditions(release="bookworm", user="root", checkout="/srv/vfio-harness"),
    Conditions(
        release="bookworm",
        user="newcomer",
        checkout="/home/newcomer/für den Kernel/vfio-harness",
        mounts=(*NOEXEC_TMP, *TMPFS_CACHE),
    ),
    Conditions(release="trixie", user="newcomer", checkout="/home/newcomer/vfio-harness", mounts=NOEXEC_TMP),
    Conditions(
        release="trixie", user="root", checkout="/srv/für alle/vfio-harness", mounts=TMPFS_CACHE, sys=False
    ),
)


def typed() -> list[list[str]]:
    """The lines of the code blocks below README's first heading, a list for each block."""
    _, _, part = (ROOT / "README.md").read_text().partition("\n## Two commands\n")
    blocks = re.findall(r"^```sh\n(.*?)^```$", part.partition("\n## ")[0], re.MULTILINE | re.DOTALL)
    return [block.splitlines() for block in blocks]


@pytest.fixture(scope="module")
def bases() -> Iterator[Path]:
    with folder_for_roots() as folder:
        yield folder


def test_readme_has_the_lines_that_are_typed_here() -> None:
    lacking, run, test = typed()
    assert [line.split()[:2] for line in lacking] == [["sudo", "apt-get"]] * 2
    assert (run, test) == (["./lab/run"], ["./lab/test"])


LIVES: Final = """\
import sys
from pathlib import Path
from tests.setup.machines import machine
with machine(Path(sys.argv[1])) as one:
    print(one.process, one.root, flush=True)
    one.type("mount -t tmpfs mine /mnt && sleep 1000")
"""


def test_whoever_is_killed_leaves_no_process_no_mount_and_what_may_be_removed(bases: Path) -> None:
    made, mounts = base(bases, MACHINES[0].release), Path("/proc/self/mounts").read_text()
    with subprocess.Popen(
        [sys.executable, "-c", LIVES, made], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        number, root = process.stdout.readline().split()
        alive = os.pidfd_open(int(number))
        process.kill()
    assert select.select([alive], [], [], 20)[0], "its first process goes with it"
    os.close(alive)
    assert Path("/proc/self/mounts").read_text() == mounts
    assert removal.remove(Path(root).parent, PURPOSE) == ""


@pytest.mark.parametrize(
    "conditions", MACHINES, ids=[f"{one.release}-{one.user}-{len(one.mounts)}" for one in MACHINES]
)
def test_a_newcomer_comes_to_a_verdict_and_to_green_tests(bases: Path, conditions: Conditions) -> None:
    lacking, (run,), (test,) = typed()
    with machine(base(bases, conditions.release), sys=conditions.sys) as one:
        try:
            newcomer(one, conditions, lacking, run, test)
        finally:
            sys.stdout.write("\n".join(one.told) + "\n")


def newcomer(one: Machine, conditions: Conditions, lacking: list[str], run: str, test: str) -> None:
    """Type everything in its order; each line does what it should."""
    user, at = conditions.user, conditions.checkout
    home = "/root" if user == "root" else f"/home/{user}"

    def good(line: str, **how: object) -> str:
        done = one.type(line, user=user, **how)  # type: ignore[arg-type]
        assert done.returncode == 0, f"{line}\n{done.stdout[-6000:]}"
        return done.stdout

    for line in conditions.mounts:
        assert one.type(line.format(user=user, home=home)).returncode == 0, line
    one.put([*tracked(), *LINKS], ROOT, at, user)
    for line in lacking:
        said = good(line.removeprefix("sudo ") if user == "root" else line)
        one.told += re.findall(r"Need to get .*|After this operation, .*", said)
    first = good(f"{run} -k {shlex.quote(SCENARIO)}", at=at)
    assert re.search(r"^1 ok in .*; exit status 0: every promise was kept$", first, re.MULTILINE), first
    told = good(".venv/bin/harness doctor", at=at)
    lines = {name: state for state, name in re.findall(r"^(\w+) +(\w+) ", told, re.MULTILINE)}
    assert "missing" not in lines.values(), told
    assert {lines[name] for name in ("qemu", "kernel", "template", "windows", "cache")} == {"ok"}, told
    assert ("tmpfs" in lines) is (TMPFS_CACHE[0] in conditions.mounts), told
    one.told += good(f"du -sh .venv {home}/.cache/vfio-harness", at=at).splitlines()
    again = good(f"{run} -k {shlex.quote(SCENARIO)}", at=at, online=False)
    assert "exit status 0: every promise was kept" in again
    green = good(f"{test} {WITHOUT_GUESTS}", at=at)
    assert ("is mounted noexec" in green) is (NOEXEC_TMP[0] in conditions.mounts), green
    one.told += re.findall(r"^=+ (.* passed.*) =+$", green, re.MULTILINE)

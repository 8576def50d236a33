"""How many guests fit: what a container allows counts, not what the machine has."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.lab.capacity import GUEST_BYTES, WORKER_BYTES, Room, look

GIB = 1 << 30
BOTH = GUEST_BYTES + WORKER_BYTES


@pytest.mark.parametrize(
    ("cores", "memory_bytes", "guests"),
    [
        (2.0, 24 * GIB, 1),
        (8.0, 24 * GIB, 4),
        (9.0, 24 * GIB, 4),  # a guest has two
        (64.0, 3 * BOTH, 3),
        (64.0, 3 * BOTH - 1, 2),
        (1.0, 24 * GIB, 1),  # one runs anywhere, if slowly
        (0.5, 0, 1),
    ],
)
def test_guests_share_no_core_and_fit_into_the_memory(cores: float, memory_bytes: int, guests: int) -> None:
    assert Room(cores=cores, memory_bytes=memory_bytes).guests() == guests


def test_spare_is_what_the_guests_leave() -> None:
    room = Room(cores=6.0, memory_bytes=GIB)
    assert [room.spare_cores(guests) for guests in (1, 2, 3, 4)] == [4.0, 2.0, 0.0, -2.0]


def machine(folder: Path, mine: str, **files: str) -> Room:
    """Look at a machine with 8 GiB available, whose control groups are these files."""
    (folder / "proc" / "self").mkdir(parents=True)
    (folder / "proc" / "meminfo").write_text(
        f"MemTotal: {16 * GIB >> 10} kB\nMemAvailable: {8 * GIB >> 10} kB\n"
    )
    (folder / "proc" / "self" / "cgroup").write_text(mine)
    for name, text in files.items():
        path = folder / "groups" / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return look(folder / "proc", folder / "groups")


def own_cores() -> float:
    return float(len(os.sched_getaffinity(0)))


def test_without_control_groups_it_is_the_machine(tmp_path: Path) -> None:
    room = machine(tmp_path, "0::/\n")
    assert room == Room(cores=own_cores(), memory_bytes=8 * GIB)


def test_affinity_counts(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert machine(tmp_path, "0::/\n").cores == 1.0
    finally:
        os.sched_setaffinity(0, before)


def test_limits_of_version_2_count_wherever_they_stand(tmp_path: Path) -> None:
    room = machine(
        tmp_path,
        "0::/ci/job\n",
        ci__job__cpu_DOT_max="max 100000\n",
        ci__cpu_DOT_max="50000 100000\n",
        ci__job__memory_DOT_max=f"{2 * GIB}\n",
        ci__job__memory_DOT_current=f"{GIB}\n",
        ci__job__memory_DOT_stat=f"anon 1\ninactive_file {GIB // 2}\n",
        ci__memory_DOT_max="max\n",
        ci__memory_DOT_current="1\n",
    )
    assert room == Room(cores=0.5, memory_bytes=GIB + GIB // 2)


def test_limits_of_version_1_count(tmp_path: Path) -> None:
    room = machine(
        tmp_path,
        "2:cpu,cpuacct:/\n4:memory:/job\n",
        cpu__cpu_DOT_cfs_quota_us="150000\n",
        cpu__cpu_DOT_cfs_period_us="100000\n",
        memory__job__memory_DOT_limit_in_bytes=f"{GIB}\n",
        memory__job__memory_DOT_usage_in_bytes=f"{GIB // 4}\n",
        memory__job__memory_DOT_stat="inactive_file 1\ntotal_inactive_file 2\n",
    )
    assert room == Room(cores=min(1.5, own_cores()), memory_bytes=GIB - GIB // 4 + 2)


def test_no_limit_of_version_1_is_none(tmp_path: Path) -> None:
    room = machine(
        tmp_path,
        "2:cpu:/\n4:memory:/\n",
        cpu__cpu_DOT_cfs_quota_us="-1\n",
        memory__memory_DOT_limit_in_bytes="9223372036854771712\n",
        memory__memory_DOT_usage_in_bytes="1\n",
    )
    assert room == Room(cores=own_cores(), memory_bytes=8 * GIB)


def test_a_group_that_is_over_its_limit_has_nothing_left(tmp_path: Path) -> None:
    room = machine(
        tmp_path,
        "0::/\n",
        memory_DOT_max="1000\n",
        memory_DOT_current="2000\n",
    )
    assert room.memory_bytes == 0
    assert room.guests() == 1


def test_it_says_why() -> None:
    said = Room(cores=4.0, memory_bytes=8 * 10**9).why()
    assert said == "4 cores, 2 for each; 8.0 GB of memory, 340 MB for each"

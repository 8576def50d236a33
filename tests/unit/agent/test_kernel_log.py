"""Records of /dev/kmsg, as the kernel writes them."""

from __future__ import annotations

import socket
import time

import pytest

from harness.agent.kernel_log import KernelLog, _late_us, _parse
from harness.model.observation import Log, LogLine


@pytest.mark.parametrize(
    ("raw", "time_us", "level", "text"),
    [
        (b"6,1234,5678901,-;pci 0000:01:00.0: reset\n", 5678901, 6, "pci 0000:01:00.0: reset"),
        (b"4,7,42,-;no newline", 42, 4, "no newline"),
        (b"30,9,1,-;daemon says hello\n", 1, 6, "daemon says hello"),  # facility 3, severity 6
        (b"12,10,1,c;a; b, c;d\n", 1, 4, "a; b, c;d"),
        (b"3,339,5140900,-;pci: dead\n SUBSYSTEM=pci\n DEVICE=+pci:0000:01:00.0\n", 5140900, 3, "pci: dead"),
        (b"6,1,2,-,caller=T88;with a caller\n", 2, 6, "with a caller"),
        (b"4,1,2,-; vfs_write+0xf5/0x440\n", 2, 4, " vfs_write+0xf5/0x440"),
        (rb"6,1,2,-;two\x0alines, a\x09tab, \x5c and \xc3\xa9", 2, 6, "two\nlines, a\ttab, \\ and \u00e9"),
        (rb"6,1,2,-;\xff is no text", 2, 6, "\\xff is no text"),
    ],
)
def test_a_record_has_a_prefix_a_text_and_a_dictionary(
    raw: bytes, time_us: int, level: int, text: str
) -> None:
    facility = 3 if "daemon" in text else 1 if raw.startswith(b"12,") else 0
    assert _parse(raw) == LogLine(time_us=time_us, level=level, facility=facility, text=text)


def test_what_was_said_between_the_markers_is_collected() -> None:
    """The other side of a log of our own: it gives a record a read, as the kernel does, and keeps what is written."""
    ours, kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    with kernel:
        log = KernelLog(descriptor=ours.detach())
        began = kernel.recv(8192).decode()
        assert began.startswith("<11>hil: stage ")
        assert began.endswith(" begins\n")
        marker, now_us = began[4:-1], time.monotonic_ns() // 1000
        for level, text in (
            (6, "said before"),
            (3, marker),
            (4, "hil unit test: hello"),
            (6, marker.replace("begins", "ends")),
        ):
            kernel.send(f"{8 + level},1,{now_us},-;{text}\n".encode())
        collected = log.collect()
        assert kernel.recv(8192).decode() == f"<14>{marker.replace('begins', 'ends')}\n"
    assert collected.complete
    (line,) = collected.lines
    assert (line.level, line.facility, line.text) == (4, 1, "hil unit test: hello")
    assert abs(line.time_us - now_us) < 1_000_000


def test_a_log_without_its_markers_is_not_complete() -> None:
    ours, kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    with kernel:
        assert KernelLog(descriptor=ours.detach()).collect() == Log(lines=(), complete=False)


@pytest.mark.parametrize(
    ("markers", "late_us"),
    [
        ([], 0),
        ([(1_000, 1_500_000, 1_700_000)], 600),
        ([(1_000, 1_500_000, 9_000_000), (11_000, 11_580_000, 11_620_000)], 600),
        ([(2_000, 1_000_000, 1_000_000)], -1_000),
    ],
    ids=["no marker", "one", "the narrower of two counts", "ahead"],
)
def test_markers_tell_how_far_the_logs_clock_is_behind(
    markers: list[tuple[int, int, int]], late_us: int
) -> None:
    assert _late_us(markers) == late_us

"""Records of /dev/kmsg, as the kernel writes them."""

from __future__ import annotations

import os

import pytest

from harness.agent.kernel_log import KernelLog, _parse


@pytest.mark.parametrize(
    ("raw", "time_us", "level", "text"),
    [
        ("6,1234,5678901,-;pci 0000:01:00.0: reset\n", 5678901, 6, "pci 0000:01:00.0: reset"),
        ("4,7,42,-;no newline", 42, 4, "no newline"),
        ("30,9,1,-;daemon says hello\n", 1, 6, "daemon says hello"),  # facility 3, severity 6
        ("12,10,1,c;a; b, c;d\n", 1, 4, "a; b, c;d"),
        ("3,339,5140900,-;pci: dead\n SUBSYSTEM=pci\n DEVICE=+pci:0000:01:00.0\n", 5140900, 3, "pci: dead"),
        ("6,1,2,-,caller=T88;with a caller\n", 2, 6, "with a caller"),
    ],
)
def test_a_record_has_a_prefix_a_text_and_a_dictionary(raw: str, time_us: int, level: int, text: str) -> None:
    assert _parse(raw) == {"time_us": time_us, "level": level, "text": text}


def test_what_was_said_between_the_markers_is_collected() -> None:
    if not os.access("/dev/kmsg", os.R_OK | os.W_OK):
        pytest.skip("needs to read and write /dev/kmsg; run it as root")
    log = KernelLog()
    with open("/dev/kmsg", "wb", buffering=0) as kmsg:  # noqa: PTH123 - one write, one record
        kmsg.write(b"<12>hil unit test: hello\n")
    collected = log.collect()
    assert collected["complete"] is True
    (line,) = [line for line in collected["lines"] if line["text"] == "hil unit test: hello"]
    assert line["level"] == 4
    assert not [line for line in collected["lines"] if line["text"].startswith("hil: stage")]

"""The recorder of consoles: beginning and end are kept whatever comes, and nobody waits for a full disk."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.errors import GuestError
from harness.lab.guest.console import BoundedFile, Recorder

HEAD, TAIL = 1000, 600
LEFT_OUT = re.compile(r"\n\[lab: +(\d+) bytes of the console are left out here\]\n")


def line(number: int) -> bytes:
    return b"line %08d\n" % number


def test_what_fits_is_kept_byte_for_byte(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "console.log")
    os.write(recorder.inlet, b"first\r\n\xff")
    assert recorder.text() == "first\r\n�"
    recorder.close()
    recorder.close()
    assert (tmp_path / "console.log").read_bytes() == b"first\r\n\xff"


def test_of_more_the_beginning_and_the_end_are_kept_and_the_rest_is_counted(tmp_path: Path) -> None:
    file = BoundedFile(tmp_path / "console.log", head_bytes=HEAD, tail_bytes=TAIL)
    written = b""
    for number in range(5000):
        file.write(line(number))
        written += line(number)
        text = file.text().encode()
        assert len(text) <= HEAD + 2 * TAIL + 200
        assert text.endswith(line(number))
    file.close()
    kept = (tmp_path / "console.log").read_text()
    (left_out,) = LEFT_OUT.finditer(kept)
    head, tail = kept.encode().split(left_out[0].encode())
    assert head == written[:HEAD]
    assert written.endswith(tail)
    assert TAIL - 20 <= len(tail) <= TAIL
    assert tail.startswith(b"line ")
    assert len(head) + int(left_out[1]) + len(tail) == len(written)


def test_the_file_can_be_read_while_it_is_written_and_under_another_name(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "a.log")
    os.write(recorder.inlet, b"one\n")
    assert recorder.wait_for(lambda text: "one" in text, 30.0)
    (tmp_path / "a.log").rename(tmp_path / "b.log")
    os.write(recorder.inlet, b"two\n")
    assert recorder.text() == "one\ntwo\n"
    assert (tmp_path / "b.log").read_text() == "one\ntwo\n"
    recorder.close()


def test_waiting_for_what_never_comes_ends(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "console.log")
    assert not recorder.wait_for(lambda text: "never" in text, 0.05)
    recorder.close()


def test_an_inlet_that_somebody_else_holds_does_not_hold_up_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.lab.guest.console._ENDS_WITHIN_S", 0.1)
    recorder = Recorder(tmp_path / "console.log")
    held = os.dup(recorder.inlet)
    os.write(held, b"before\n")
    assert recorder.text() == "before\n"
    recorder.close()
    assert (tmp_path / "console.log").read_text() == "before\n"
    with pytest.raises(BrokenPipeError):
        os.write(held, b"after\n")
    os.close(held)


def test_a_file_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(GuestError, match="No such file"):
        Recorder(tmp_path / "absent" / "console.log")


_GIGABYTES = """
import os, sys
block = b"".join(b"%063d\\n" % number for number in range(16384))
for _ in range(2048):
    os.write(1, block) == len(block) or sys.exit(1)
os.write(1, b"Kernel panic - not syncing: the end\\n")
"""


def test_two_gigabytes_cost_neither_memory_nor_disk_nor_minutes(tmp_path: Path) -> None:
    path = tmp_path / "console.log"
    recorder = Recorder(path)
    before_s, before_kib = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    subprocess.run([sys.executable, "-c", _GIGABYTES], stdout=recorder.inlet, check=True, timeout=120)
    assert recorder.text().endswith("the end\n")
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib
    recorder.close()
    assert time.monotonic() - before_s < 60.0
    assert grown_kib < 64 << 10  # most of it is the text that this test asked for
    assert path.stat().st_size < (8 << 20) + 1000
    text = path.read_text()
    (left_out,) = LEFT_OUT.findall(text)
    assert len(LEFT_OUT.sub("", text)) + int(left_out) == (2 << 30) + len(
        "Kernel panic - not syncing: the end\n"
    )


_RUNNER = """
import os, sys
from pathlib import Path
from harness.lab.guest.console import Recorder
recorder = Recorder(Path(sys.argv[1]))
os.write(recorder.inlet, b"written before\\n" * 1000)
assert "written" in recorder.text()
os.kill(os.getpid(), 9)
"""


def test_what_was_written_survives_a_recorder_that_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "console.log"
    subprocess.run([sys.executable, "-c", _RUNNER, str(path)], check=False, timeout=60)
    assert path.read_text() == "written before\n" * 1000


_FULL_DISK = """
import os, subprocess, sys
from pathlib import Path
from harness.lab.guest.console import Recorder
folder = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder], check=True)
recorder = Recorder(folder / "console.log")
for _ in range(64):
    os.write(recorder.inlet, b"x" * 4095 + b"\\n")
print("complains", "bytes of the console were lost: No space left on device" in recorder.text())
if sys.argv[2] == "room":
    subprocess.run(["mount", "-o", "remount,size=1m", folder], check=True)
    os.write(recorder.inlet, b"later\\n")
    print("later", recorder.text().endswith("later\\n"))
recorder.close()
text = (folder / "console.log").read_text()
print("said", text.count("[lab: 196608 bytes of the console were lost: No space left on device]\\n"))
print("begins", text.startswith("x" * 4095 + "\\n"))
"""


@pytest.mark.parametrize("then", ["full", "room"])
def test_a_full_disk_costs_bytes_that_are_counted_and_stops_nobody(tmp_path: Path, then: str) -> None:
    # A mount namespace of its own: needs a privilege, as the rest of the lab does not.
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    done = subprocess.run(
        ["unshare", "--mount", sys.executable, "-c", _FULL_DISK, str(tmp_path), then],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    later = ["later True"] if then == "room" else []
    assert done.stdout.splitlines() == ["complains True", *later, "said 1", "begins True"], done.stderr

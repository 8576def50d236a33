"""A fuzzer, guided by coverage, on the stream that a device model hears.

    pip install -e .[fuzz]
    python tests/fuzz/vfio_user_stream.py -max_total_time=60 CORPUS_FOLDER

CORPUS_FOLDER is filled with the recorded stream of QEMU, cut into messages, when it is empty.  Whatever comes and
whatever is wrong with the function, nothing but `StreamLost` may come out of a conversation; each message that wants
a reply gets one, well-formed, in its turn, and others get none; what the function tells fits into its log; and every
descriptor must come out once: used, given back, or left at the end.
"""

from __future__ import annotations

import gzip
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

try:
    import atheris
except ImportError:
    sys.exit("atheris is missing.  Type: pip install -e .[fuzz]")

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

with atheris.instrument_imports(include=["harness.lab.models"]):
    from harness.errors import UsageError
    from harness.lab.models import wire
    from harness.lab.models.conversation import Conversation
    from harness.lab.models.endpoint import endpoint
    from harness.lab.models.interface import Told
    from harness.lab.models.recording import FROM_CLIENT, frames
    from harness.lab.models.wire import StreamLost
    from harness.model.fault import OF_A_REGISTER, Fault, Misbehaviour, Occasion
    from harness.model.served import ROW
    from harness.model.units import MS, Ns

RECORDING = ROOT / "tests" / "golden" / "vfio_user" / "qemu-11-linux-6.12.stream.gz"


class Pockets:
    """Counts descriptors that were handed over."""

    def __init__(self) -> None:
        self.taken: list[int] = []

    def connect(self, _index: int, _start: int, descriptors: Sequence[int]) -> None:
        self.taken += descriptors

    def disable(self, _index: int) -> None:
        """Nothing to count."""


def programmes() -> list[Fault]:
    """Each misbehaviour at each occasion, where that makes sense."""
    found = []
    for what in Misbehaviour:
        for when in Occasion:
            for lasting in (None, Ns(3 * MS)):
                with suppress(UsageError):
                    found.append(
                        Fault(
                            what=what,
                            register="command" if what in OF_A_REGISTER else "",
                            when=when,
                            after=2 if when is Occasion.ACCESSES else 0,
                            lasting_ns=lasting,
                        )
                    )
    return found


PROGRAMMES = programmes()
_PREFIX = 3


def one_input(data: bytes) -> None:
    """Three bytes say how the rest is cut, whether descriptors come, and what is wrong; then the stream."""
    cut, come, wrong, *_ = *data[:_PREFIX], 0, 0, 0
    stream, now = data[_PREFIX:], 0
    pockets, given, back, answered = Pockets(), list[int](), list[int](), list[tuple[int, int]]()
    function = endpoint(lambda: now)
    function.tell = in_a_row
    conversation = Conversation(function, pockets)
    function.load([PROGRAMMES[wrong % len(PROGRAMMES)]] if wrong else [])
    conversation.ask_dma_read(0, 4)
    conversation.ask_dma_write(0, b"data")
    function.release(0)
    try:
        for at in range(0, len(stream), cut + 1):
            descriptors = [1000 + at] if come >> (at % 8) & 1 else []
            given += descriptors
            for answer in conversation.hear(stream[at : at + cut + 1], descriptors):
                header = wire.read_header(answer)
                assert header.size == len(answer)
                assert header.is_reply
                answered.append((header.id, header.command))
            back += conversation.unclaimed()
            now += MS
            function.run_due()
    except StreamLost:
        pass
    assert answered == awaited(stream)
    for number in (1, 2):
        conversation.dma_reply(number)
    assert sorted([*pockets.taken, *back, *conversation.unclaimed(), *conversation.leave()]) == given


def in_a_row(told: Told) -> None:
    """Take it down as a log does; it must fit."""
    ROW.pack(told.at_ns, told.value, told.address, -1, told.what, told.region, told.width, told.error)


def awaited(stream: bytes) -> list[tuple[int, int]]:
    """What the client waits for: messages that came whole before the stream was lost."""
    found, at = [], 0
    with suppress(StreamLost):
        while at + wire.HEADER_BYTES <= len(stream):
            header = wire.read_header(stream[at : at + wire.HEADER_BYTES])
            at += header.size
            if at <= len(stream) and header.wants_reply:
                found.append((header.id, header.command))
    return found


def seed(folder: Path) -> None:
    """Put the recorded stream, message by message and whole, into an empty corpus."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        return
    said = [
        frame.data
        for frame in frames(gzip.decompress(RECORDING.read_bytes()))
        if frame.direction == FROM_CLIENT
    ]
    greeting = said[0]
    unlike = {data[2:4] + data[24:28]: data for data in said}  # one of each command and region
    for number, data in enumerate(unlike.values()):
        (folder / f"seed-{number}").write_bytes(bytes((0xFF, 0, 0)) + greeting + data)
    (folder / "whole").write_bytes(bytes((0xFF, 0x11, 0)) + b"".join(said[:60]))
    for wrong in range(1, len(PROGRAMMES) + 1):
        (folder / f"wrong-{wrong}").write_bytes(bytes((0xFF, 0, wrong)) + b"".join(said[:60]))


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        if not argument.startswith("-"):
            seed(Path(argument))
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()

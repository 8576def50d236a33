"""A fuzzer, guided by coverage, on the stream that a device model hears.

    pip install -e .[fuzz]
    python tests/fuzz/vfio_user_stream.py -max_total_time=60 CORPUS_FOLDER

CORPUS_FOLDER is filled with the recorded stream of QEMU, cut into messages, when it is empty.  Nothing but
`StreamLost` may come out of a conversation, each answer must be a well-formed reply of the size that it says, and
every descriptor must come out once: used, given back, or left at the end.
"""

from __future__ import annotations

import gzip
import sys
from collections.abc import Sequence
from pathlib import Path

try:
    import atheris
except ImportError:
    sys.exit("atheris is missing.  Type: pip install -e .[fuzz]")

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

with atheris.instrument_imports(include=["lab.models"]):
    from lab.models import wire
    from lab.models.conversation import Conversation
    from lab.models.endpoint import BAR_BYTES, endpoint
    from lab.models.recording import FROM_CLIENT, frames
    from lab.models.wire import StreamLost

RECORDING = ROOT / "tests" / "golden" / "vfio_user" / "qemu-11-linux-6.12.stream.gz"


class Pockets:
    """Counts descriptors that were handed over."""

    def __init__(self) -> None:
        self.taken: list[int] = []

    def connect(self, _index: int, _start: int, descriptors: Sequence[int]) -> None:
        self.taken += descriptors

    def disable(self, _index: int) -> None:
        """Nothing to count."""


def one_input(data: bytes) -> None:
    """The first byte says how the rest is cut and where descriptors come; then the stream."""
    cut, came, stream = data[0] + 1 if data else 1, data[:1].count(0x80), data[1:]
    pockets, given, back = Pockets(), list[int](), list[int]()
    conversation = Conversation(endpoint(lambda: 0), pockets, bar_bytes=BAR_BYTES, log=lambda _: None)
    try:
        for at in range(0, len(stream), cut):
            descriptors = [1000 + at] if came else []
            given += descriptors
            for answer in conversation.hear(stream[at : at + cut], descriptors):
                header = wire.read_header(answer)
                assert header.size == len(answer)
                assert header.is_reply
            back += conversation.unclaimed()
    except StreamLost:
        pass
    assert sorted([*pockets.taken, *back, *conversation.unclaimed(), *conversation.leave()]) == given


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
        (folder / f"seed-{number}").write_bytes(b"\xff" + greeting + data)
    (folder / "whole").write_bytes(b"\xff" + b"".join(said[:60]))


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        if not argument.startswith("-"):
            seed(Path(argument))
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()

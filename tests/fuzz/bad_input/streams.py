"""What a hostile agent may say, for the reader in :mod:`harness.target.port`."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from random import Random

from harness.errors import HarnessError
from harness.model.observation import Greeting
from harness.model.request import DescribeMachine
from harness.model.units import Ns
from harness.model.wire import PROTOCOL
from harness.target.port import connect
from tests.fuzz.bad_input.values import mutated, spoilt

_HELLO = Greeting(protocol=PROTOCOL, pid=7, monotonic_ns=Ns(1)).to_wire()


def stream(random: Random) -> bytes:
    """A greeting, perhaps, and then anything."""
    hello = json.dumps(mutated(random, _HELLO) if random.random() < 0.5 else _HELLO).encode() + b"\n"
    said = (
        hello
        + json.dumps({"result": "execnet"}).encode()
        + b"\n1"
        + random.randbytes(random.choice((0, 9, 15, 400)))
    )
    return spoilt(random, said) if random.random() < 0.3 else said


def heard(said: bytes, scratch: Path) -> str:
    """Let the host hear it; whatever it is, it is an answer or an error of ours, and no complaint comes of it."""
    path = scratch / "port"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)

        def say() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.sendall(said)

        speaker = threading.Thread(target=say)
        speaker.start()
        try:
            agent = connect(path, deadline_s=1)
            try:
                agent.ask(DescribeMachine(), deadline_s=1)
            finally:
                agent.close()
        except HarnessError:
            pass
        finally:
            speaker.join()
            path.unlink()
    return ""

"""Agents behind unix sockets, and nobody left when a test is over."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

import harness

Peer = tuple[Path, "subprocess.Popen[bytes]"]


@contextmanager
def peers(folders: pytest.TempPathFactory) -> Iterator[Callable[..., Peer]]:
    """What starts the real worker behind a socket: its path, and its process; words before it run it."""
    environment = {**os.environ, "PYTHONPATH": str(Path(harness.__file__).parents[1])}  # the one under test
    with ExitStack() as stack:

        def start(*runner: str) -> Peer:
            path = folders.mktemp("peer") / "port"
            command = [*runner, sys.executable, str(Path(__file__).with_name("peer.py")), str(path)]
            process = stack.enter_context(
                subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
            )
            stack.callback(process.kill)
            return path, process

        yield start


@pytest.fixture
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Peer]]:
    """Starts agents that are over with the test."""
    with peers(tmp_path_factory) as start:
        yield start

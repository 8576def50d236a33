"""What a model sits in: a clock that passes when a test says so, and a machine that takes interrupts, with memory."""

from __future__ import annotations

import errno


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000_000

    def __call__(self) -> int:
        return self.now


class Machine:
    """What a function sits in."""

    def __init__(self) -> None:
        self.signalled: list[tuple[int, int]] = []
        self.memory = bytearray(64)
        self.listens = True

    def signal(self, kind: int, vector: int) -> bool:
        self.signalled.append((kind, vector))
        return self.listens

    def dma_read(self, address: int, count: int) -> bytes:
        self._check(address, count)
        return bytes(self.memory[address : address + count])

    def dma_write(self, address: int, data: bytes) -> None:
        self._check(address, len(data))
        self.memory[address : address + len(data)] = data

    def _check(self, address: int, count: int) -> None:
        if address + count > len(self.memory):
            raise OSError(errno.EFAULT, "nobody mapped that")

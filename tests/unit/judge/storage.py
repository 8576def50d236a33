"""Histories of functions under a storage driver: resets that it hears of or not, and the disk behind it.

Times are in microseconds since the stage began.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from harness.history.history import History
from harness.history.windows import Callback, DriverStep
from harness.model import operation as words
from harness.model.outcome import Outcome
from harness.model.plan import File, Op, Step
from harness.model.promise import Promise, WindowKind
from harness.model.units import SECOND, US, Ns
from tests.unit.judge.build import ALIAS, Stage, at

WRITTEN = bytes(range(1, 9)) * 64
VALUE = int.from_bytes(WRITTEN[:8], "little")
RESET_AT, RESET_OVER = 1_000_000, 1_200_000


@dataclass
class StorageStage(Stage):
    """A stage with a driver bound to its function."""

    driver: str = "nvme"
    deadline_ns: Ns = Ns(60 * SECOND)

    def reads_disk(self, *, block: int = 0) -> int:
        """Add an actor that reads a block."""
        file = File(function=ALIAS, role="disk")
        step = Step(op=Op.READ, means=words.DISK_READ, file=file, offset=512 * block, width=512)
        return self.actor(f"disk-reader-{len(self._actors)}", step)

    def writes_disk(self, data: bytes = WRITTEN, *, block: int = 0) -> int:
        """Add an actor that writes a block."""
        file = File(function=ALIAS, role="disk")
        step = Step(op=Op.WRITE, means=words.DISK_WRITE, file=file, offset=512 * block, value=data)
        return self.actor(f"disk-writer-{len(self._actors)}", step)

    def reset_under_driver(self, *told: tuple[Callback, float]) -> int:
        """A sysfs reset from `RESET_AT` to `RESET_OVER`, and what its thread tells the driver; returns the thread."""
        resetter = self.resetter()
        tid = 100 + resetter
        for what, when in told:
            self.told(what, when, tid=tid)
        self.reset(resetter, RESET_AT, RESET_OVER - RESET_AT - 100)
        return tid

    def driver_resets(self, begin: float, end: float) -> None:
        """The function's driver resets it, by means that nobody holds against a promise."""
        for step, when in (
            (DriverStep.ASKED, begin),
            (DriverStep.SHUTDOWN, begin + 10),
            (DriverStep.DONE, end),
        ):
            self.takes(step, when)

    def history(self, **changes: Any) -> History:
        """The finished history, which ends after its operations."""
        history = super().history(**changes)
        (function,) = history.functions
        function = replace(function, driver=self.driver, reset_methods=("flr",))
        end = max((one[1] for one in self._operations), default=0)
        return replace(history, functions=(function,), end_ns=Ns(max(history.end_ns, end, at(60e6))))


TOLD = ((Callback.PREPARE, RESET_AT + 10), (Callback.DONE, RESET_OVER + 10))


def storage_witness(promise: Promise) -> History | None:
    """A history that keeps an entry on telling drivers, or on disks; None for any other."""
    if promise.operation not in (words.TELLING, words.DISK_READ, words.DISK_WRITE):
        return None
    platform = promise.platforms[0].replace("*", "unknown")
    stage = StorageStage(platform=platform, driver="nvme" if platform == "nvme" else "ipr")
    begin, took = RESET_AT + 100_000, (promise.at_least or 0) / US * 1.1 + 200_000
    stage.heartbeat(until_us=2e6 + took)
    if promise.operation == words.TELLING:
        stage.reset_under_driver(*(TOLD if promise.outcome is Outcome.TOLD else ()))
        return stage.history()
    match promise.window:
        case WindowKind.SYSFS_RESET:
            stage.reset_under_driver(*(TOLD if platform == "nvme" else ()))
            begin = RESET_OVER + 1_000
        case WindowKind.DRIVER_RESET:
            stage.driver_resets(RESET_AT, RESET_AT + 200_000)
    actor = stage.reads_disk() if promise.operation == words.DISK_READ else stage.writes_disk()
    stage.op(actor, begin, begin + took, value=VALUE)
    return stage.history()

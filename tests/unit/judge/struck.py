"""Histories of functions to which their host did something: by hand, and for entries of the contract that speak of it.

Times are in microseconds since the stage began.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from harness.history.columns import SERVED
from harness.history.history import History, LogLine, Uevent
from harness.model.fault import Incident, IncidentKind
from harness.model.operation import (
    ATTRIBUTE_READ,
    ATTRIBUTE_WRITE,
    DISABLE_VFS,
    ENABLE_VFS,
    FLR_BIT,
    OVERRIDE,
    REMOVE,
    UNPLUG,
    after_removal,
    config_write,
    recovery,
)
from harness.model.pci import AccessPath
from harness.model.promise import Promise
from harness.model.served import NO_REGION, Happened
from harness.model.units import SECOND, US, Ns
from tests.unit.judge.build import ALIAS, FLR, PM, PROC_READ, READ, WRITE, Stage, at

BEGUN: Final = 200_000
GONE: Final = BEGUN + 5_900_000
BDF: Final = "0000:01:00.0"
PORT: Final = "0000:00:05.0"
PATH: Final = f"/devices/pci0000:00/{PORT}/{BDF}"
FATAL: Final = (
    f"pcieport {PORT}: AER: Uncorrectable (Fatal) error message received from {PORT}",
    f"pcieport {PORT}: PCIe Bus Error: severity=Uncorrectable (Fatal), type=Data Link Layer, (Receiver ID)",
    f"pcieport {PORT}:   device [1b36:000c] error status/mask=00000010/02400000",
    f"pcieport {PORT}:    [ 4] DLP                    (First)",
)
NON_FATAL: Final = tuple(line.replace("(Fatal)", "(Non-Fatal)") for line in FATAL)
CORRECTED: Final = (
    f"pcieport {PORT}: AER: Correctable error message received from {PORT}",
    f"pcieport {PORT}: PCIe Bus Error: severity=Correctable, type=Physical Layer, (Receiver ID)",
)
LINK_RESET: Final = f"pcieport {PORT}: AER: Root Port link has been reset (0)"
RECOVERED: Final = f"pcieport {PORT}: AER: device recovery successful"
NOT_RECOVERED: Final = f"pcieport {PORT}: AER: device recovery failed"
NO_CALLBACK: Final = f"pci {BDF}: AER: can't recover (no error_detected callback)"
LOST: Final = 0x0010_0000
"""STATUS and COMMAND, when COMMAND is lost."""


PROC_WRITE: Final = config_write(AccessPath.PROC)
REFUSED: Final = {
    WRITE: "config",
    FLR_BIT: "config",
    PROC_WRITE: "proc",
    ATTRIBUTE_WRITE: "reset_method",
    FLR: "reset",
    PM: "reset",
    OVERRIDE: "driver_override",
    ENABLE_VFS: "sriov_numvfs",
    DISABLE_VFS: "sriov_numvfs",
    REMOVE: "remove",
}
"""What writes to files of a function, and which; the kernel refuses each of them once it is gone."""


@dataclass
class Struck:
    """A stage of a served function below a port, to which something happens at :data:`BEGUN`.

    Attributes:
        kind: what happens.
        ended: when it is over; None: the history does not say.
        lasting_ns: of a stall.
        error: errno in the row that says that it is over.
    """

    kind: IncidentKind
    ended: float | None = BEGUN + 1_000
    lasting_ns: Ns = Ns(0)
    error: int = 0
    stage: Stage = field(default_factory=Stage)
    uevents: list[tuple[float, str]] = field(default_factory=list)
    lines: list[tuple[float, str]] = field(default_factory=list)
    rows: list[tuple[float, Happened]] = field(default_factory=list)

    def logs(self, us: float, *lines: str) -> None:
        """Lines of the kernel log, one a millisecond."""
        self.lines += [(us + 1_000 * number, line) for number, line in enumerate(lines)]

    def history(self) -> History:
        """The finished history."""
        incident = Incident(
            function=ALIAS,
            kind=self.kind,
            at_ns=Ns(BEGUN * US),
            lasting_ns=self.lasting_ns,
            detail="DLP" if self.kind is IncidentKind.LINK_ERROR else "",
        )
        rows = [(BEGUN, Happened.INCIDENT_BEGINS, 0), *((us, what, 0) for us, what in self.rows)]
        if self.ended is not None:
            rows.append((self.ended, Happened.INCIDENT_ENDS, self.error))
        served = np.zeros(len(rows), dtype=SERVED)
        for row, (us, what, error) in zip(served, sorted(rows), strict=True):
            row["time_ns"], row["what"], row["region"], row["error"] = at(us), what, NO_REGION, error
        history = self.stage.history()
        (function,) = history.functions
        return replace(
            history,
            plan=replace(history.plan, incidents=(incident,), lasting_ns=Ns(8 * SECOND)),
            end_ns=at(9e6),
            functions=(replace(function, port=PORT),),
            served=served,
            uevents=tuple(Uevent(time_ns=at(us), action=action, path=PATH) for us, action in self.uevents),
            log=tuple(LogLine(time_us=at(us) // 1000, level=4, text=line) for us, line in self.lines),
        )


def unplugged(*, gone: float = GONE, kind: IncidentKind = IncidentKind.UNPLUGGED) -> Struck:
    """A function that is unplugged, its readers refused from the removal on."""
    struck = Struck(kind, ended=gone + 1_000_000)
    struck.stage.heartbeat(until_us=8e6)
    struck.uevents.append((gone, "remove"))
    for means, error in ((READ, errno.ENODEV), (PROC_READ, errno.EIO), (ATTRIBUTE_READ, errno.ENODEV)):
        actor = struck.stage.reader(means, means=means, offset=4 * (means != ATTRIBUTE_READ))
        struck.stage.op(actor, 100, 120)
        struck.stage.op(actor, gone - 900_000, gone - 899_000)
        struck.stage.op(actor, gone - 50_000, gone - 49_980, error=error)  # files go before the uevent comes
        struck.stage.op(actor, gone + 1_000, gone + 1_020, error=error)
    for means, role in REFUSED.items():
        at = struck.stage.does(f"late {means}", means, role)
        proc = means == PROC_WRITE
        struck.stage.op(at, gone + 2_000, gone + 2_020, error=errno.EIO if proc else errno.ENODEV)
    return struck


def reported(*lines: str, reset: bool = False, restored: bool = False) -> Struck:
    """A function whose port reports an error, and a reader of COMMAND, which a reset takes away, or not for long."""
    struck = Struck(IncidentKind.LINK_ERROR)
    struck.stage.heartbeat(until_us=8e6)
    struck.logs(BEGUN + 5_000, *lines)
    reader = struck.stage.reader()
    struck.stage.op(reader, 100, 120)
    if reset:
        struck.rows.append((BEGUN + 50_000, Happened.BUS_RESET))
    struck.stage.op(reader, BEGUN + 300_000, BEGUN + 300_020, value=LOST if reset and not restored else None)
    return struck


def stalled(*, late_ms: int = 2_000) -> Struck:
    """A model that stands still for two seconds, a reader who waits as long, and a heartbeat that cannot beat."""
    struck = Struck(IncidentKind.SERVER_STALLED, ended=BEGUN + 2e6, lasting_ns=Ns(2 * SECOND))
    struck.stage.heartbeat(until_us=BEGUN)
    beat = next(n for n, actor in enumerate(struck.stage._actors) if actor.name == "heartbeat")
    for number in range(1, 500):
        planned = BEGUN + 10_000 * number
        woke = max(planned + 50, BEGUN + late_ms * 1_000 + 7_000) if planned < BEGUN + 2e6 else planned + 50
        if number == 1 or planned >= BEGUN + 2e6:
            struck.stage.op(beat, planned - 10_000, woke, value=int(at(planned)), result=0)
    reader = struck.stage.reader()
    struck.stage.op(reader, 100, 120)
    struck.stage.op(reader, BEGUN + 10, BEGUN + 2e6 + 10)
    return struck


def killed() -> Struck:
    """A model that dies: reads give all-ones from then on, also the one that was under way."""
    struck = Struck(IncidentKind.SERVER_KILLED)
    struck.stage.heartbeat(until_us=4e6)
    reader = struck.stage.reader()
    struck.stage.op(reader, 100, 120)
    struck.stage.op(reader, BEGUN - 10, BEGUN + 10, value=0xFFFF_FFFF)
    struck.stage.op(reader, BEGUN + 100, BEGUN + 120, value=0xFFFF_FFFF)
    return struck


_WITNESSES: Final[dict[str, Callable[[], Struck]]] = {
    **dict.fromkeys((UNPLUG, *map(after_removal, (READ, PROC_READ, ATTRIBUTE_READ, *REFUSED))), unplugged),
    recovery("corrected"): lambda: reported(*CORRECTED),
    recovery("nonfatal"): lambda: reported(*NON_FATAL, RECOVERED),
    recovery("fatal"): lambda: reported(*FATAL, LINK_RESET, RECOVERED, reset=True),
}


def struck_witness(promise: Promise) -> History | None:
    """A history that keeps an entry on what the host does; None: the entry is about something else."""
    if promise.operation == recovery("fatal") and promise.config is None:
        return _driver_recovers(promise)
    made = _WITNESSES.get(promise.operation)
    return made().history() if made else None


def _driver_recovers(promise: Promise) -> History:
    """A function of that platform whose driver restores it after a fatal error."""
    struck = reported(*FATAL, LINK_RESET, RECOVERED, reset=True, restored=True)
    struck.stage.platform = promise.platforms[0]
    return struck.history()

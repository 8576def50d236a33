"""Functions with MSI and MSI-X that a user has armed, written by hand."""

from __future__ import annotations

import errno

from harness.history.history import History
from harness.model import operation as words
from harness.model.plan import File, Op, Retries, Step
from harness.model.units import MS, Ns
from tests.unit.judge.build import ALIAS, Stage, config_space

MSI_AT, MSIX_AT = 0x90, 0xB0
_PATIENCE = Retries(
    errnos=(errno.EAGAIN,), attempts=9, first_ns=Ns(MS), longest_ns=Ns(MS), patience_ns=Ns(1000 * MS)
)


def capable(*, msi: int = 0x0180, msix: int = 0x0001) -> bytearray:
    """Config space of a function with both, by default switched off: 64 bits of address, a mask for each vector.

    Args:
        msi: its control word.
        msix: its control word.
    """
    config = bytearray(config_space())
    config[0x41] = MSI_AT
    config[MSI_AT : MSI_AT + 4] = bytes((0x05, MSIX_AT)) + msi.to_bytes(2, "little")
    config[MSIX_AT : MSIX_AT + 4] = bytes((0x11, 0x00)) + msix.to_bytes(2, "little")
    return config


def armed(kind: str) -> bytearray:
    """The same after a user has asked for interrupts of a kind."""
    config = capable(msi=0x0181) if kind == "msi" else capable(msix=0x8001)
    if kind == "msi":
        config[MSI_AT + 4 : MSI_AT + 0x0E] = bytes.fromhex("0010e0fe00000000") + b"\x22\x00"
    return config


def user(stage: Stage, kind: str, *, name: str = "") -> int:
    """Add an actor that gives cause for interrupts and takes them: steps 0 and 1."""
    ring = Step(
        op=Op.WRITE, means=words.RING, file=File(function=ALIAS, role="vfio-bar0"), offset=0x10, value=b"1234"
    )
    file = File(function=ALIAS, role=f"vfio-{kind}")
    take = Step(op=Op.COUNT, means=words.TAKE, file=file, width=8, retries=_PATIENCE)
    return stage.actor(name or f"{kind}-user", ring, take)


def rings(
    stage: Stage, actor: int, begin: float, count: int, *, number: int, took: float = 20, waited: float = 200
) -> None:
    """One cause, and how many interrupts came of it."""
    stage.op(actor, begin, begin + took, step=0, round_=number)
    error = 0 if count else errno.EAGAIN
    end = begin + took + waited
    stage.op(actor, end - 10, end, step=1, value=count, error=error, round_=number)


def used(
    kind: str, after: bytes | bytearray, *, before: bytes | bytearray | None = None, reset: str = "reset/flr"
) -> History:
    """A user of interrupts, and a reset between two of them.

    Args:
        kind: `msi` or `msix`.
        after: config space after the stage.
        before: before it; as armed when not given.
        reset: how the function is reset.
    """
    stage = Stage(platform="hil-endpoint", before=bytes(before or armed(kind)), after=bytes(after))
    stage.heartbeat()
    me = user(stage, kind)
    rings(stage, me, 1_000, 1, number=0)
    stage.reset(stage.resetter(means=reset), 100_000)
    rings(stage, me, 400_000, 1, number=1)
    return stage.history()

"""What an actor does, as the contract names it.

An operation is written `verb/way`, as in `config-read/sysfs` or `reset/flr`; the contract's entries, the
steps of a plan and the lanes of a timeline all use these words.
"""

from __future__ import annotations

from typing import Final, NewType

from harness.model.pci import AccessPath, ResetMethod

Operation = NewType("Operation", str)

ATTRIBUTE_READ: Final = Operation("attribute-read/sysfs")
"""Read of a cached attribute (`vendor`): no config access, the control sample of every window."""
FLR_BIT: Final = Operation("config-write/flr-bit")
"""A raw write of Initiate Function Level Reset in Device Control: nobody saves, waits or restores."""
MARK: Final = Operation("oracle/mark")
"""Put the oracle register into a state that only a reset clears."""
CHECK: Final = Operation("oracle/check")
"""Read the oracle register back."""
HEARTBEAT: Final = Operation("heartbeat")
"""Wake at regular times: how late it wakes is how starved the machine is."""
SET_UP: Final = Operation("set-up")
"""Opening and mapping before the stage begins."""
RENDEZVOUS: Final = Operation("rendezvous")
WAIT: Final = Operation("wait")


def config_read(path: AccessPath) -> Operation:
    """The word for a config read by `path`."""
    return Operation(f"config-read/{path}")


def config_write(path: AccessPath) -> Operation:
    """The word for a config write by `path`."""
    return Operation(f"config-write/{path}")


def reset(method: ResetMethod) -> Operation:
    """The word for a write to sysfs `reset` while `method` alone is active."""
    return Operation(f"reset/{method}")


def verb(operation: Operation) -> str:
    """The part before the slash: `config-read`, `reset`, `oracle`."""
    return operation.partition("/")[0]


def way(operation: Operation) -> str:
    """The part after the slash: `sysfs`, `flr`, `mark`; empty when there is none."""
    return operation.partition("/")[2]

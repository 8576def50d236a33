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
ATTRIBUTE_CONFIG_READ: Final = Operation("attribute-read/config")
"""Read of an attribute that the kernel itself takes from config space (`current_link_speed`): it waits for nobody."""
FLR_BIT: Final = Operation("config-write/flr-bit")
"""A raw write of Initiate Function Level Reset in Device Control: nobody saves, waits or restores."""
SELF_TEST: Final = Operation("config-write/self-test")
"""A raw write of Start BIST: the function answers nothing until its test is over, and has then forgotten its state."""
SELF_TEST_RESULT: Final = Operation("config-read/self-test")
"""Read of BIST after that: the completion code."""
RAW_RESETS: Final = frozenset({FLR_BIT, SELF_TEST})
"""Writes of config space that reset a function behind the kernel's back."""
_CALLS: Final = ("reset", "adapter-reset", "open", "close", "driver", "sriov", "topology", "hold", "misuse")
"""Verbs of calls."""
MARK: Final = Operation("oracle/mark")
"""Put the oracle register into a state that only a reset clears."""
CHECK: Final = Operation("oracle/check")
"""Read the oracle register back."""
ATTRIBUTE_WRITE: Final = Operation("attribute-write/reset_method")
"""Choose reset methods: no lock is taken, not even that of the function (`reset_method_store()`)."""
VFIO_READ: Final = Operation("config-read/vfio")
"""Read of bits that VFIO's config region takes from the function."""
VFIO_COPY_READ: Final = Operation("config-read/vfio-copy")
"""Read of bits that VFIO answers from memory (vendor, BARs, capability pointer, interrupt line): the control sample."""
VFIO_WRITE: Final = Operation("config-write/vfio")
"""Write of bits that VFIO's config region passes on (cache line size)."""
VFIO_COMMAND: Final = Operation("config-write/vfio-command")
"""Write of COMMAND through VFIO, which keeps its own account of decode bits."""
VFIO_FLR_BIT: Final = Operation("reset/vfio-flr-bit")
"""Write of Initiate FLR through VFIO's config region: VFIO tries a reset of its own and forgets its result."""
VFIO_RESET: Final = Operation("reset/vfio")
"""`VFIO_DEVICE_RESET`."""
HOT_RESET: Final = Operation("reset/hot")
"""`VFIO_DEVICE_PCI_HOT_RESET` of every function behind the port."""
HOT_RESET_NOT_OWNED: Final = Operation("reset/hot-not-owned")
"""The same, while a function behind the port belongs to nobody who shows its group."""
HOT_RESET_IMPOSSIBLE: Final = Operation("reset/hot-impossible")
"""The same, of a function that no port or slot can reset, such as one on the root bus."""
RESET_WITHOUT_METHOD: Final = Operation("reset/without-method")
"""A reset that the PCI core is asked for while no reset method is active."""
VFIO_RESET_WITHOUT_METHOD: Final = Operation("reset/vfio-without-method")
"""`VFIO_DEVICE_RESET` of a function for which no reset method was active when it was opened."""
VFIO_FLR_BIT_WITHOUT_METHOD: Final = Operation("reset/vfio-flr-bit-without-method")
"""Write of Initiate FLR through VFIO while no reset method is active: VFIO resets nothing, and says nothing."""
VFIO_OPEN_WITHOUT_METHOD: Final = Operation("open/vfio-without-method")
"""First open through VFIO while no reset method is active: resets nothing."""
VFIO_CLOSE_WITHOUT_METHOD: Final = Operation("close/vfio-without-method")
"""Last close of a function that was opened in this way: resets its bus or slot, if it can."""
SUBORDINATE_RESET: Final = Operation("reset/subordinate")
"""A write to `reset_subordinate` of a bridge."""
VFIO_OPEN: Final = Operation("open/vfio")
"""`VFIO_GROUP_GET_DEVICE_FD` while nobody has the function open: resets it."""
VFIO_REOPEN: Final = Operation("open/vfio-again")
"""`VFIO_GROUP_GET_DEVICE_FD` while the function is open already: resets nothing."""
VFIO_LATE_OPEN: Final = Operation("open/vfio-late")
"""`VFIO_GROUP_GET_DEVICE_FD` while the function is open and an unbind waits for that."""
VFIO_CLOSE: Final = Operation("close/vfio")
"""Close of the last descriptor of the function: resets it."""
VFIO_DROP: Final = Operation("close/vfio-again")
"""Close of a descriptor of the function while others are open: resets nothing."""
VFIO_INFO: Final = Operation("info/vfio")
"""`VFIO_DEVICE_GET_REGION_INFO` of the config region."""
BAR_READ: Final = Operation("bar-read/vfio")
"""`pread` of a register through VFIO."""
BAR_WRITE: Final = Operation("bar-write/vfio")
MAPPED_READ: Final = Operation("bar-read/mapped")
"""Load from a mapping of VFIO's BAR region."""
MAPPED_WRITE: Final = Operation("bar-write/mapped")
SYSFS_MAPPED_READ: Final = Operation("bar-read/sysfs-mapped")
"""Load from a mapping of sysfs `resourceN`: nobody takes the mapping away during a reset."""
SYSFS_MAPPED_WRITE: Final = Operation("bar-write/sysfs-mapped")
"""Store to such a mapping."""
UNDECODED_LOAD: Final = Operation("bar-read/undecoded-mapped")
"""Load from a mapping of VFIO's BAR region while the user has memory decode off."""
UNDECODED_READ: Final = Operation("bar-read/undecoded-vfio")
"""`pread` of a register through VFIO while the user has memory decode off."""
RING: Final = Operation("interrupt/ring")
"""Give a function cause for an interrupt: a write to a register of its own."""
TAKE: Final = Operation("interrupt/take")
"""Read how often an interrupt came since it was taken last, from the eventfd that VFIO signals."""
ACKNOWLEDGE: Final = Operation("interrupt/acknowledge")
"""Take the cause of INTx away: a write to a register of the function."""
UNMASK: Final = Operation("interrupt/unmask")
"""Let INTx through again, which VFIO masks each time it comes."""
UIO_WAIT: Final = Operation("uio/wait")
"""Wait for the next interrupt of a function, by the node of its UIO driver."""
UNMAPPED_DMA: Final = Operation("dma/unmapped")
"""What a function does of its own accord: it writes to a bus address that nobody mapped for it."""
UNBIND: Final = Operation("driver/unbind")
BIND: Final = Operation("driver/bind")
"""A write to `drivers_probe`, with `driver_override` set."""
OVERRIDE: Final = Operation("driver/override")
"""A write to `driver_override`."""
ENABLE_VFS: Final = Operation("sriov/enable")
DISABLE_VFS: Final = Operation("sriov/disable")
REMOVE: Final = Operation("topology/remove")
RESCAN: Final = Operation("topology/rescan")
UNPLUG: Final = Operation("topology/unplug")
"""The button of its slot is pressed: the kernel lets go of the function, then it powers the slot off."""
HOST_RESET: Final = Operation("adapter-reset/host")
"""A write to `reset_host` of the SCSI host of a function: its driver resets it, in its own way."""
DIAGNOSTICS: Final = Operation("adapter-reset/diagnostics")
"""A write to `run_diagnostics` of that host: the same, and then the driver asks for what went wrong."""
REVIVAL: Final = Operation("adapter-reset/online")
"""A write of `online` to `online_state` of that host: the driver resets an adapter that it had given up."""
ONLINE_STATE: Final = Operation("attribute-read/online_state")
"""Read of that: whether the driver has given the adapter up, which no lock holds up."""
DRIVER_LOCK: Final = Operation("driver-reset/lock")
"""Question: does a driver hold the config lock when it begins the reset itself?"""
DRIVER_SELF_TEST: Final = Operation("driver-reset/self-test")
"""Question: does the self-test happen by which a driver resets its function?"""
DRIVER_WARM_RESET: Final = Operation("driver-reset/warm-reset")
"""Question: does the warm reset happen that a driver asks for, `pci_set_pcie_reset_state()`?"""
TELLING: Final = Operation("driver-told/reset")
"""Question: does a driver hear of a reset that it did not ask for, before and after?"""
DISK_READ: Final = Operation("disk-read/direct")
"""Read of blocks of the disk behind a function, past the page cache."""
DISK_WRITE: Final = Operation("disk-write/direct")
LOCK_PORT: Final = "port-lock"
"""Verb of the question whether a reset locks the port above its function; see :func:`port_lock`."""
HOLD_CONFIG: Final = Operation("hold/config-lock")
"""Our kernel module takes the config access lock for a while."""
HOLD_DEVICE: Final = Operation("hold/device-lock")
HOLD_BOTH: Final = Operation("hold/both")
HOLD_PORT: Final = Operation("hold/port")
"""Both locks of the port above the function."""
TRY_CONFIG: Final = Operation("hold/try")
"""`pci_cfg_access_trylock()`: fails at once when the lock is taken."""
MISUSE: Final = "misuse"
"""Verb of what breaks the kernel's rules on purpose, to see that we notice."""
STEAL: Final = Operation("misuse/steal")
"""Unlock what another thread has locked."""
UNLOCK_TWICE: Final = Operation("misuse/unlock-twice")
NEVER_UNLOCK: Final = Operation("misuse/never-unlock")
UNPRIVILEGED_READ: Final = Operation("config-read/unprivileged")
"""Read of config space through a descriptor that was opened without CAP_SYS_ADMIN: ends after 64 bytes."""
KEPT_READ: Final = Operation("config-read/kept")
"""The same by a process without CAP_SYS_ADMIN through a descriptor that it opened before it gave it up."""
UNPRIVILEGED_OPEN: Final = Operation("open/unprivileged")
"""Opening a file of a function for writing without privilege."""
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


def port_lock(resetting: Operation) -> Operation:
    """The word for what `resetting` does to the port above: `port-lock/flr`, `port-lock/vfio-close`."""
    name = way(resetting)
    return Operation(f"{LOCK_PORT}/{name if verb(resetting) == 'reset' else f'{name}-{verb(resetting)}'}")


def after_removal(operation: Operation) -> Operation:
    """The word for the same through a file whose function was removed: `config-read/removed-sysfs`.

    What it would have been (`reset/flr`, `config-write/flr-bit`) makes no difference then: the file is refused.
    """
    proc = way(operation) == AccessPath.PROC
    return Operation(f"{verb(operation)}/removed-{AccessPath.PROC if proc else AccessPath.SYSFS}")


def recovery(error: str) -> Operation:
    """The word for what the kernel does by itself about an error that a port tells of: `recovery/fatal`."""
    return Operation(f"recovery/{error}")


def is_reset(operation: Operation) -> bool:
    """Whether `operation` resets a function when it succeeds."""
    refused = (
        HOT_RESET_NOT_OWNED,
        HOT_RESET_IMPOSSIBLE,
        RESET_WITHOUT_METHOD,
        VFIO_RESET_WITHOUT_METHOD,
        VFIO_FLR_BIT_WITHOUT_METHOD,
    )
    others = (*RAW_RESETS, VFIO_OPEN, VFIO_CLOSE, recovery("fatal"))
    return operation in others or (verb(operation) == "reset" and operation not in refused)


def is_call(operation: Operation) -> bool:
    """Whether `operation` has a story of its own, and is judged by itself; a raw reset has one, too."""
    return verb(operation) in _CALLS or operation in RAW_RESETS


def verb(operation: Operation) -> str:
    """The part before the slash: `config-read`, `reset`, `oracle`."""
    return operation.partition("/")[0]


def way(operation: Operation) -> str:
    """The part after the slash: `sysfs`, `flr`, `mark`; empty when there is none."""
    return operation.partition("/")[2]

"""Fail gracefully, or try again?  What may be tried again, how often and for how long: one value a class of operation.

Only a *refusal* may be tried again: an answer that proves that nothing had begun.  That is what the kernel's
`try` functions give when somebody else holds a lock.  Any other answer is data on the function under test, and
trying again would hide it; an operation that may have begun is never repeated, for nobody knows how often it
would then have been done.

A policy is carried out in two places: by the actor loop on the target (:meth:`Policy.retries_plan`), and by
the host (:mod:`harness.target.attempts`).

Running a *whole test* once more is another matter (:data:`INFRASTRUCTURE`): nothing is repeated on a function that has
seen the first try, for everything is made anew, the guest and its functions included.
"""

from __future__ import annotations

import errno as numbers
from dataclasses import dataclass
from typing import Final

from harness.errors import (
    AgentError,
    ClockError,
    ContractError,
    GuestError,
    HarnessError,
    HistoryError,
    KernelRefusal,
    StagingError,
    TargetError,
    UsageError,
)
from harness.model import operation as words
from harness.model.operation import Operation, verb
from harness.model.plan import Retries
from harness.model.units import MS, SECOND, US, Ns

FAULTS: Final = (UsageError, GuestError, TargetError, AgentError, StagingError, ContractError, HistoryError)
"""No operation that ended so is tried again, whatever a policy says: a mistake and unreadable evidence would come
again, and nobody knows how far an operation came whose guest or agent is gone; that may be the function's doing.  Of a
:class:`KernelRefusal` the errno decides.  The whole test may run again on a fresh guest: :data:`INFRASTRUCTURE`."""

MOST_ERRNOS: Final = 8
"""An actor's step holds no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What to do when one class of operation is refused.

    Attributes:
        reason: why these refusals may be tried again, or why nothing may.
        source: where that is written or how it was measured.
        errnos: errno numbers that prove that nothing had begun, at most :data:`MOST_ERRNOS`.
        errors: classes of our own errors that say the same; none of :data:`FAULTS`.
        attempts: at most this many in all; 1 is never to try again.
        first_ns: pause before the second attempt; it doubles for each further one.
        longest_ns: longest pause.
        patience_ns: no attempt begins later than this after the first began.

    Raises:
        UsageError: the values contradict each other.
    """

    reason: str
    source: str
    errnos: tuple[int, ...] = ()
    errors: tuple[type[HarnessError], ...] = ()
    attempts: int = 1
    first_ns: Ns = Ns(0)
    longest_ns: Ns = Ns(0)
    patience_ns: Ns = Ns(0)

    def __post_init__(self) -> None:
        wrong = ""
        if self.attempts < 1:
            wrong = f"{self.attempts} attempts"
        elif self.attempts == 1 and (self.errnos or self.errors):
            wrong = "something may be tried again, in one attempt"
        elif len(self.errnos) > MOST_ERRNOS or any(number <= 0 for number in self.errnos):
            wrong = f"errnos {self.errnos}: at most {MOST_ERRNOS}, all above 0"
        elif any(issubclass(kind, FAULTS) for kind in self.errors):
            wrong = "a fault may not be tried again"
        elif not 0 <= self.first_ns <= self.longest_ns:
            wrong = f"the first pause ({self.first_ns} ns) is not between 0 and the longest ({self.longest_ns} ns)"
        elif self.patience_ns < 0 or (self.attempts > 1 and not self.patience_ns):
            wrong = f"patience of {self.patience_ns} ns"
        if wrong:
            raise UsageError(f"policy {self.reason!r}", said=wrong)

    def may_retry(self, error: int) -> bool:
        """Whether an operation that failed with this errno may be tried again; -7 (SIGBUS) is no errno."""
        return error in self.errnos

    def forgives(self, error: BaseException) -> bool:
        """Whether what raised this may be tried again: by its errno if it has one, else by its class."""
        if isinstance(error, OSError | KernelRefusal):
            return error.errno is not None and self.may_retry(error.errno)
        return isinstance(error, self.errors) and not isinstance(error, FAULTS)

    def pause_ns(self, attempt: int) -> Ns:
        """How long to wait after an attempt, counted from 1, before the next one begins."""
        doubled = self.first_ns << min(attempt - 1, 62)
        return Ns(min(doubled, self.longest_ns))

    def retries_plan(self) -> Retries | None:
        """The same for a step of a plan; None takes every answer as it is."""
        if not self.errnos:
            return None
        return Retries(
            errnos=self.errnos,
            attempts=self.attempts,
            first_ns=self.first_ns,
            longest_ns=self.longest_ns,
            patience_ns=self.patience_ns,
        )


# --- operations of an actor ------------------------------------------------------------------------------

_FIRST: Final = Ns(1 * MS)
_LONGEST: Final = Ns(64 * MS)
"""Doubling from 1 ms, as pci_dev_wait() does; shorter than any reset, so that the end of one is not missed."""
_PATIENCE: Final = Ns(2 * SECOND)
"""What the ipr driver grants a config lock (IPR_WAIT_FOR_RESET_TIMEOUT), and longer than the longest window of a
stock kernel that was measured: 1 s, of taking virtual functions away."""
_ATTEMPTS: Final = 48
"""More than fit into the patience, which therefore decides."""


def _tries(reason: str, source: str, *errnos: int) -> Policy:
    return Policy(
        reason=reason,
        source=source,
        errnos=errnos,
        attempts=_ATTEMPTS,
        first_ns=_FIRST,
        longest_ns=_LONGEST,
        patience_ns=_PATIENCE,
    )


TRY_RESET: Final = _tries(
    "EAGAIN: another holds the device lock or the config lock; nothing of the function was touched, only mappings "
    "of its BARs were taken away, and a fault brings them back",
    "Linux drivers/vfio/pci/vfio_pci_core.c, vfio_pci_ioctl_reset(); drivers/pci/pci.c, pci_try_reset_function()",
    numbers.EAGAIN,
)
TRY_HOT_RESET: Final = _tries(
    "EBUSY: another user of VFIO is inside a BAR access or a reset; EAGAIN: a lock of the port or of a function "
    "behind it is held; both before the port is touched",
    "Linux drivers/vfio/pci/vfio_pci_core.c, vfio_pci_dev_set_hot_reset(); drivers/pci/pci.c, pci_reset_bus()",
    numbers.EAGAIN,
    numbers.EBUSY,
)
TRY_OPEN: Final = _tries(
    "EAGAIN: the reset that opening does was refused, the function is closed again; EBUSY: another has the group open",
    "Linux drivers/vfio/pci/vfio_pci_core.c, vfio_pci_core_enable(); drivers/vfio/group.c, vfio_group_fops_open()",
    numbers.EAGAIN,
    numbers.EBUSY,
)
TRY_SUBORDINATE: Final = _tries(
    "EAGAIN: a lock of the bridge or of a function below it is held",
    "Linux drivers/pci/pci.c, pci_bus_trylock(), before the bridge is touched",
    numbers.EAGAIN,
)
TRY_LOCK: Final = _tries(
    "EBUSY: the lock is taken; that is all that trying to take it can say",
    "Linux drivers/pci/access.c, pci_cfg_access_trylock(); lab/kmod/hil_windows.c",
    numbers.EBUSY,
)

RESET_BEGAN: Final = Policy(
    reason="whatever is answered, the reset has begun: it waits for the locks instead of being refused, and ENOTTY "
    "also means that the function did not come back in time",
    source="Linux drivers/pci/pci.c, pci_reset_function(), __pci_reset_function_locked()",
)
FLR_BEGAN: Final = Policy(
    reason="the bit may have reached the function, and nothing tells whether it did",
    source="PCIe r6.0 §7.5.3.4: Initiate Function Level Reset reads as 0; Linux drivers/vfio/pci/vfio_pci_config.c, "
    "vfio_exp_config_write() forgets the result",
)
SELF_TEST_BEGAN: Final = Policy(
    reason="the test may have begun, and its end resets the function",
    source="PCIe r6.0 §7.5.1.1.11: BIST",
)
NOT_OWNED: Final = Policy(
    reason="EINVAL and ENODEV say who owns what is to be reset and what could reset it: waiting changes neither",
    source="Linux drivers/vfio/pci/vfio_pci_core.c, vfio_pci_dev_set_hot_reset(), before it takes a lock",
)
READ_ONCE: Final = Policy(
    reason="the kernel lets a read wait, it does not refuse it: every errno tells of the function",
    source="Linux drivers/pci/access.c, pci_wait_cfg(); drivers/vfio/pci/vfio_pci_config.c",
)
WRITE_ONCE: Final = Policy(
    reason="a part of it may have reached the function",
    source="Linux drivers/pci/pci-sysfs.c, pci_write_config() cuts a write up and forgets what failed",
)
CLOSE_ONCE: Final = Policy(
    reason="the descriptor is gone whatever close() answers; again, it would close another's",
    source="close(2); the reset that a close does is skipped without an errno: Linux vfio_pci_core_disable()",
)
DRIVER_ONCE: Final = Policy(
    reason="a driver was called, or another owns the function: the answer tells of the function and of who has it",
    source="Linux drivers/base/bus.c, unbind_store(), drivers_probe_store(); drivers/base/dd.c",
)
SRIOV_ONCE: Final = Policy(
    reason="the driver was called, and some virtual functions may exist; EBUSY says that they already do",
    source="Linux drivers/pci/pci-sysfs.c, sriov_numvfs_store()",
)
TOPOLOGY_ONCE: Final = Policy(
    reason="it waits for its locks, and what it finds is the answer",
    source="Linux drivers/pci/pci-sysfs.c, remove_store(), rescan_store()",
)
OPEN_ONCE: Final = Policy(
    reason="whether a file may be opened is what is asked; an open function is not reset, so nothing contends",
    source="Linux drivers/vfio/group.c, vfio_df_group_open(): only the first open enables; open(2)",
)
HOLD_ONCE: Final = Policy(
    reason="the module waits for the lock that it is to hold",
    source="lab/kmod/hil_windows.c",
)
MISUSE_ONCE: Final = Policy(
    reason="misuse is done once: what the kernel makes of it is what is asked",
    source="Linux drivers/pci/access.c, pci_cfg_access_unlock() warns",
)
NOBODY_ASKS: Final = Policy(
    reason="the function does it of its own accord",
    source="lab/models/function.py",
)
RING_ONCE: Final = Policy(
    reason="the function may have seen it: a second write would be a second cause",
    source="lab/models/endpoint.py",
)
TAKE_INTERRUPT: Final = Policy(
    reason="EAGAIN says that none came yet; so long nothing is taken, and none gets lost",
    source="Linux fs/eventfd.c, eventfd_read()",
    errnos=(numbers.EAGAIN,),
    attempts=10_000,
    first_ns=Ns(200 * US),
    longest_ns=Ns(2 * MS),
    patience_ns=Ns(1 * SECOND),
)
UIO_ONCE: Final = Policy(
    reason="it sleeps until an interrupt comes: an errno says that there is none to wait for",
    source="Linux drivers/uio/uio.c, uio_read()",
)
ADAPTER_ONCE: Final = Policy(
    reason="the driver resets the adapter whatever comes of it: a second write would be a second reset",
    source="Linux drivers/scsi/ipr.c, ipr_store_reset_adapter(), ipr_store_diagnostics(), ipr_store_adapter_state()",
)
DISK_ONCE: Final = Policy(
    reason="the SCSI and block layers try again by themselves: what they answer at last is what is asked",
    source="Linux drivers/scsi/scsi_error.c, scsi_decide_disposition(); drivers/nvme/host/core.c, "
    "nvme_decide_disposition()",
)
OURS_ONCE: Final = Policy(
    reason="it is the harness's own, and nothing can refuse it",
    source="harness/staging/part.py",
)

_BY_WORD: Final[dict[Operation, Policy]] = {
    words.VFIO_RESET: TRY_RESET,
    words.HOT_RESET: TRY_HOT_RESET,
    words.VFIO_OPEN: TRY_OPEN,
    words.SUBORDINATE_RESET: TRY_SUBORDINATE,
    words.TRY_CONFIG: TRY_LOCK,
    words.HOT_RESET_NOT_OWNED: NOT_OWNED,
    words.HOT_RESET_IMPOSSIBLE: NOT_OWNED,
    words.FLR_BIT: FLR_BEGAN,
    words.VFIO_FLR_BIT: FLR_BEGAN,
    words.SELF_TEST: SELF_TEST_BEGAN,
    words.TAKE: TAKE_INTERRUPT,
}
_BY_VERB: Final = {
    "adapter-reset": ADAPTER_ONCE,
    "attribute-read": READ_ONCE,
    "attribute-write": WRITE_ONCE,
    "bar-read": READ_ONCE,
    "bar-write": WRITE_ONCE,
    "close": CLOSE_ONCE,
    "config-read": READ_ONCE,
    "config-write": WRITE_ONCE,
    "disk-read": DISK_ONCE,
    "disk-write": DISK_ONCE,
    "driver": DRIVER_ONCE,
    "driver-reset": NOBODY_ASKS,
    "driver-told": NOBODY_ASKS,
    "heartbeat": OURS_ONCE,
    "dma": NOBODY_ASKS,
    "hold": HOLD_ONCE,
    "info": READ_ONCE,
    "interrupt": RING_ONCE,
    "misuse": MISUSE_ONCE,
    "open": OPEN_ONCE,
    "oracle": OURS_ONCE,
    "rendezvous": OURS_ONCE,
    "reset": RESET_BEGAN,
    "set-up": OURS_ONCE,
    "sriov": SRIOV_ONCE,
    "topology": TOPOLOGY_ONCE,
    "uio": UIO_ONCE,
    "wait": OURS_ONCE,
}


def policy_of(operation: Operation) -> Policy:
    """The policy for an operation in the contract's words: by the word, else by its verb.

    Raises:
        UsageError: nobody has thought about such an operation.
    """
    found = _BY_WORD.get(operation) or _BY_VERB.get(verb(operation))
    if found is None:
        raise UsageError(
            f"retry policy of {operation!r}",
            said="no operation of that name is known",
            hint="Words are in harness/model/operation.py, policies in harness/model/policy.py.",
        )
    return found


# --- operations of the host ------------------------------------------------------------------------------

WILD_CLOCK: Final = Policy(
    reason="under emulation a guest's clock was seen to run wild; what was timed with it says nothing, and another "
    "guest has a clock of its own",
    source="harness/target/clock.py",
    errors=(ClockError,),
    attempts=2,
    patience_ns=Ns(3600 * SECOND),
)
STARVED: Final = Policy(
    reason="the machine was too busy for times to mean anything, or by chance too little collided, or no oracle could "
    "tell",
    source="harness/judge/evidence/starvation.py, harness/judge/questions/collided.py and reset_happened.py",
    attempts=3,
    patience_ns=Ns(3600 * SECOND),
)
CONNECT: Final = Policy(
    reason="QEMU makes its sockets a moment after it started",
    source="measured: some 10 ms after the process exists",
    errnos=(numbers.ENOENT, numbers.ECONNREFUSED),
    attempts=2_000,
    first_ns=Ns(10 * MS),
    longest_ns=Ns(10 * MS),
    patience_ns=Ns(10 * SECOND),
)
PLUGGED: Final = Policy(
    reason="a hot-plugged function appears when the guest's pciehp has seen its port, mostly within 0.2 s",
    source="Linux drivers/pci/hotplug/pciehp_ctrl.c; measured under emulation",
    attempts=1_000,
    first_ns=Ns(5 * MS),
    longest_ns=Ns(50 * MS),
    patience_ns=Ns(15 * SECOND),
)

# --- whole tests ------------------------------------------------------------------------------------------

TEST_ATTEMPTS: Final = 2
"""A test that ended in trouble of the infrastructure runs at most so often; see :data:`INFRASTRUCTURE`."""

INFRASTRUCTURE: Final[dict[str, str]] = {
    "hil.infra.qemu": "QEMU ended or was stopped from outside; another one has no part in that",
    "hil.infra.guest": "the guest did not come up or was gone, and no fault of its kernel was seen",
    "hil.infra.agent": "the agent's process ended or its channel broke, and the guest's kernel lives",
    "hil.infra.clock": "the guest's clock ran wild, which emulation was seen to do; another guest has its own",
}
"""Types of errors after which a whole test runs once more, everything made anew, and why that may tell more.

A verdict is never asked for twice: no failure is in here, no missing evidence (`hil.unknown`), no mistake
(`hil.usage`), and nothing that would come again as it was: a mistake in the agent or in a model (`hil.agent`,
`hil.model`), a part that is missing (`hil.infra.setup`), a plan that cannot be staged (`hil.infra.staging`), a contract
that cannot be read (`hil.contract`).  A starved stage has had its
tries (:data:`STARVED`).  Whatever the type: a kernel fault that was seen is the result.
"""

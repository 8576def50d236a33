"""What the kernel's trace tells of a stage: windows and misuse of locks, resets, what drivers did, and who waited.

Times of the trace are rounded to :data:`TRACE_RESOLUTION`, and only what it shows without a doubt can convict: ask
:func:`doubts`, :func:`device_doubts` or :func:`reset_doubts` first.
"""

from harness.history.windows.devices import DeviceWindow, device_doubts, device_windows
from harness.history.windows.drivers import (
    CALLBACKS,
    DRIVER_STEPS,
    Callback,
    DriverReset,
    DriverStep,
    LockTry,
    StepTaken,
    Telling,
    driver_doubts,
    driver_resets,
    lock_tries,
    tellings,
)
from harness.history.windows.locks import (
    EVIDENCE,
    FaultKind,
    LockFault,
    LockWindow,
    doubts,
    locks_taken,
)
from harness.history.windows.resets import RESET_FUNCTIONS, ResetSpan, reset_doubts, resets
from harness.history.windows.threads import NOBODY, Threads
from harness.history.windows.trace import (
    HOLD_DEVICE_LOCK,
    LOCK,
    TRACE_RESOLUTION,
    TRYLOCK,
    UNLOCK,
    UNREGISTER,
    WAIT,
)
from harness.history.windows.waits import sleeps, slept

__all__ = [
    "CALLBACKS",
    "DRIVER_STEPS",
    "EVIDENCE",
    "HOLD_DEVICE_LOCK",
    "LOCK",
    "NOBODY",
    "RESET_FUNCTIONS",
    "TRACE_RESOLUTION",
    "TRYLOCK",
    "UNLOCK",
    "UNREGISTER",
    "WAIT",
    "Callback",
    "DeviceWindow",
    "DriverReset",
    "DriverStep",
    "FaultKind",
    "LockFault",
    "LockTry",
    "LockWindow",
    "ResetSpan",
    "StepTaken",
    "Telling",
    "Threads",
    "device_doubts",
    "device_windows",
    "doubts",
    "driver_doubts",
    "driver_resets",
    "lock_tries",
    "locks_taken",
    "reset_doubts",
    "resets",
    "sleeps",
    "slept",
    "tellings",
]

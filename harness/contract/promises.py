"""Entries `[[promise]]`: what one operation shows in one window."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Final

from harness.contract.schema import Entry
from harness.errors import ContractError
from harness.model import operation as words
from harness.model.fault import IncidentKind, Misbehaviour
from harness.model.kernel import KernelRange, KernelVersion
from harness.model.limits import PROMISES
from harness.model.operation import Operation, verb
from harness.model.outcome import Outcome
from harness.model.pci import AccessPath, ResetMethod
from harness.model.promise import ConfigSpace, DeviceState, Lockdown, Promise, WindowKind

ANY_PLATFORM: Final = "*"

_RESETS: Final = (
    *(words.reset(method) for method in ResetMethod),
    words.VFIO_RESET,
    words.VFIO_FLR_BIT,
    words.HOT_RESET,
    words.HOT_RESET_NOT_OWNED,
    words.HOT_RESET_IMPOSSIBLE,
    words.SUBORDINATE_RESET,
)

OPERATIONS: Final = frozenset(
    {
        words.ATTRIBUTE_READ,
        words.ATTRIBUTE_CONFIG_READ,
        words.ATTRIBUTE_WRITE,
        *(words.config_read(path) for path in AccessPath),
        *(words.config_write(path) for path in AccessPath),
        words.FLR_BIT,
        words.SELF_TEST,
        words.SELF_TEST_RESULT,
        words.UNPRIVILEGED_READ,
        words.KEPT_READ,
        words.UNPRIVILEGED_OPEN,
        words.VFIO_READ,
        words.VFIO_COPY_READ,
        words.VFIO_WRITE,
        words.VFIO_COMMAND,
        words.VFIO_INFO,
        words.VFIO_OPEN,
        words.VFIO_REOPEN,
        words.VFIO_LATE_OPEN,
        words.VFIO_CLOSE,
        words.VFIO_DROP,
        words.BAR_READ,
        words.BAR_WRITE,
        words.MAPPED_READ,
        words.MAPPED_WRITE,
        words.SYSFS_MAPPED_READ,
        words.SYSFS_MAPPED_WRITE,
        words.UNDECODED_LOAD,
        words.UNDECODED_READ,
        words.TAKE,
        words.UNMAPPED_DMA,
        words.UNBIND,
        words.BIND,
        words.OVERRIDE,
        words.ENABLE_VFS,
        words.DISABLE_VFS,
        words.REMOVE,
        words.RESCAN,
        words.UNPLUG,
        *(words.after_removal(words.config_read(path)) for path in AccessPath),
        *(words.after_removal(words.config_write(path)) for path in AccessPath),
        *map(words.after_removal, (words.ATTRIBUTE_READ, words.ATTRIBUTE_WRITE, words.OVERRIDE)),
        *map(words.after_removal, (words.reset(ResetMethod.FLR), words.ENABLE_VFS, words.REMOVE)),
        *(words.recovery(error) for error in ("fatal", "nonfatal", "corrected")),
        words.HOST_RESET,
        words.DIAGNOSTICS,
        words.REVIVAL,
        words.ONLINE_STATE,
        words.DRIVER_LOCK,
        words.DRIVER_SELF_TEST,
        words.DRIVER_WARM_RESET,
        words.TELLING,
        words.DISK_READ,
        words.DISK_WRITE,
        words.HOLD_CONFIG,
        words.HOLD_DEVICE,
        words.HOLD_BOTH,
        words.HOLD_PORT,
        words.TRY_CONFIG,
        words.STEAL,
        words.UNLOCK_TWICE,
        words.NEVER_UNLOCK,
        words.HOT_RESET_NOT_OWNED,
        words.HOT_RESET_IMPOSSIBLE,
        words.RESET_WITHOUT_METHOD,
        words.VFIO_RESET_WITHOUT_METHOD,
        words.VFIO_FLR_BIT_WITHOUT_METHOD,
        words.VFIO_OPEN_WITHOUT_METHOD,
        words.VFIO_CLOSE_WITHOUT_METHOD,
        *_RESETS,
        *(words.port_lock(resetting) for resetting in (*_RESETS, words.VFIO_OPEN, words.VFIO_CLOSE)),
    }
)
"""Operations that the contract can speak of."""

_FAULTS: Final = (*Misbehaviour, *IncidentKind)
_LOCKING: Final = (Outcome.LOCKED, Outcome.FREE)
_TELLING: Final = (Outcome.TOLD, Outcome.UNTOLD)


def read_promise(entry: Entry) -> tuple[Promise, ...]:
    """Read one entry: a promise for each of its windows.

    Raises:
        ContractError: a field is missing, unknown or makes no sense.
    """
    operation = Operation(entry.text("operation"))
    if operation not in OPERATIONS:
        entry.refuse("operation", f"is {operation!r}", f"Choose one of: {', '.join(sorted(OPERATIONS))}.")
    windows = entry.word_or_words("window", WindowKind)
    entry.name = f"promise {operation}@{'+'.join(windows)}"
    platforms, kernels = entry.texts("platforms"), entry.texts("kernels")
    if ANY_PLATFORM in platforms and len(platforms) > 1:
        entry.refuse("platforms", f"{ANY_PLATFORM!r} stands for all platforms, the others say nothing")
    try:
        kernel_range = KernelRange(kernels)
    except ContractError as error:
        entry.refuse("kernels", str(error))
    faults = entry.texts("faults") if entry.has("faults") else ()
    for fault in faults:
        if fault not in _FAULTS:
            entry.refuse("faults", f"holds {fault!r}", f"Choose from: {', '.join(_FAULTS)}.")
    lockdown = entry.word_or_words("lockdown", Lockdown) if entry.has("lockdown") else ()
    promise = Promise(
        id="",
        operation=operation,
        window=windows[0],
        kernels=kernel_range,
        platforms=platforms,
        outcome=entry.word("outcome", Outcome),
        at_least=entry.optional_duration("at_least"),
        at_most=entry.optional_duration("at_most"),
        state=entry.optional_word("state", DeviceState),
        config=entry.optional_word("config", ConfigSpace),
        source=entry.text("source"),
        weakness=entry.optional_text("weakness"),
        faults=faults,
        lockdown=lockdown,
    )
    entry.finish()
    promises = tuple(
        replace(promise, id=_id(replace(promise, window=window), kernels), window=window)
        for window in windows
    )
    for one in promises:
        _check_sense(entry, one)
    return promises


def refuse_conflicts(promises: tuple[Promise, ...]) -> None:
    """Refuse two entries that speak of the same thing with the same right.

    An entry for named platforms overrides one for all platforms, one for a function that misbehaves overrides both, and
    one for a kernel that is locked down all of them; every other overlap is an error.

    Raises:
        ContractError: two entries overlap.
    """
    subjects: dict[tuple[Operation, WindowKind], list[Promise]] = {}
    for promise in promises:
        subjects.setdefault((promise.operation, promise.window), []).append(promise)
    for (operation, window), same in subjects.items():
        if excess := PROMISES.excess(len(same)):
            raise ContractError(f"contract entries of {operation}@{window}", said=excess)
    for one, other in (pair for same in subjects.values() for pair in combinations(same, 2)):
        shared = sorted(set(one.platforms) & set(other.platforms))
        alike = all(set(a) & set(b) or not (a or b) for a, b in _circumstances(one, other))
        if shared and alike and _overlap(one.kernels, other.kernels):
            raise ContractError(
                f"contract entries {one.id} and {other.id}",
                said=f"both speak of {', '.join(shared)} on the same kernels",
                hint="Give them kernel ranges or platforms that do not overlap.",
            )


def _circumstances(one: Promise, other: Promise) -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
    return ((one.faults, other.faults), (one.lockdown, other.lockdown))


def applicable(
    promises: tuple[Promise, ...],
    kernel: KernelVersion,
    platform: str,
    wrongs: frozenset[str] = frozenset(),
    lockdown: Lockdown = Lockdown.NONE,
) -> tuple[Promise, ...]:
    """The entries for one platform on one kernel; named platforms win over all, faults over both, lockdown over these.

    Args:
        promises: to choose from.
        kernel: that ran.
        platform: of the function.
        wrongs: what was staged to go wrong with it.
        lockdown: what the kernel refused to everybody.
    """
    chosen: dict[tuple[Operation, WindowKind], tuple[tuple[bool, bool, bool], Promise]] = {}
    for promise in promises:
        key = (promise.operation, promise.window)
        right = (bool(promise.lockdown), bool(promise.faults), platform in promise.platforms)
        fits = platform in promise.platforms or ANY_PLATFORM in promise.platforms
        wrong = not promise.faults or bool(wrongs & set(promise.faults))
        meant = wrong and (not promise.lockdown or lockdown in promise.lockdown)
        if fits and meant and kernel in promise.kernels and (key not in chosen or right > chosen[key][0]):
            chosen[key] = (right, promise)
    return tuple(promise for _, promise in chosen.values())


def _id(promise: Promise, kernels: tuple[str, ...]) -> str:
    name = f"{promise.operation}@{promise.window}"
    if promise.faults:
        name += "!" + "+".join(promise.faults)
    if promise.lockdown:
        name += "/" + "+".join(promise.lockdown)
    if ANY_PLATFORM not in promise.platforms:
        name += ":" + "+".join(promise.platforms)
    return name if "*" in kernels else f"{name} ({', '.join(kernels)})"


def _check_sense(entry: Entry, promise: Promise) -> None:
    if promise.at_least is not None and promise.at_most is not None and promise.at_least > promise.at_most:
        entry.refuse("at_least", f"is longer than at_most: {promise.at_least} ns > {promise.at_most} ns")
    resets_something = words.is_reset(promise.operation)
    for field, value in (("state", promise.state), ("config", promise.config)):
        if value is not None and not resets_something:
            entry.refuse(field, f"{promise.operation} resets nothing")
    locking = verb(promise.operation) == words.LOCK_PORT or promise.operation == words.DRIVER_LOCK
    if locking != (promise.outcome in _LOCKING):
        of = f"{words.LOCK_PORT} and {words.DRIVER_LOCK}"
        entry.refuse("outcome", f"is {promise.outcome}: {', '.join(_LOCKING)} are of {of}, and only of these")
    if (promise.operation == words.TELLING) != (promise.outcome in _TELLING):
        entry.refuse(
            "outcome",
            f"is {promise.outcome}: {', '.join(_TELLING)} are of {words.TELLING}, and only of that",
        )
    waits = promise.outcome in (Outcome.BLOCKED, Outcome.BLOCKED_AND_RESET)
    if waits and promise.window is WindowKind.NONE:
        entry.refuse("outcome", f"is {promise.outcome}, but without a window there is nothing to wait for")


def _overlap(one: KernelRange, other: KernelRange) -> bool:
    """Two unions of intervals meet where one of the intervals begins, if they meet at all."""
    return any(version in one and version in other for version in (*_beginnings(one), *_beginnings(other)))


def _beginnings(kernels: KernelRange) -> tuple[KernelVersion, ...]:
    versions = [KernelVersion(0, 0, 0)]
    for term in kernels.terms:
        if term != "*":
            parts = term.replace("+", "").replace(".-", ".0#").partition("#")[0].split(".")
            versions.append(KernelVersion(int(parts[0]), int(parts[1]), int(parts[2]) if parts[2:] else 0))
    return tuple(versions)

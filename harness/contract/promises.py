"""Entries `[[promise]]`: what one operation shows in one window."""

from __future__ import annotations

from itertools import combinations
from typing import Final

from harness.contract.schema import Entry
from harness.errors import ContractError
from harness.model.kernel import KernelRange, KernelVersion
from harness.model.operation import ATTRIBUTE_READ, FLR_BIT, Operation, config_read, config_write, reset, verb
from harness.model.outcome import Outcome
from harness.model.pci import AccessPath, ResetMethod
from harness.model.promise import ConfigSpace, DeviceState, Promise, WindowKind

ANY_PLATFORM: Final = "*"

OPERATIONS: Final = frozenset(
    {
        ATTRIBUTE_READ,
        FLR_BIT,
        *(config_read(path) for path in AccessPath),
        *(config_write(path) for path in AccessPath),
        *(reset(method) for method in ResetMethod),
    }
)
"""Operations that the contract can speak of."""


def read_promise(entry: Entry) -> Promise:
    """Read one entry.

    Raises:
        ContractError: a field is missing, unknown or makes no sense.
    """
    operation = Operation(entry.text("operation"))
    if operation not in OPERATIONS:
        entry.refuse("operation", f"is {operation!r}", f"Choose one of: {', '.join(sorted(OPERATIONS))}.")
    window = entry.word("window", WindowKind)
    entry.name = f"promise {operation}@{window}"
    platforms, kernels = entry.texts("platforms"), entry.texts("kernels")
    if ANY_PLATFORM in platforms and len(platforms) > 1:
        entry.refuse("platforms", f"{ANY_PLATFORM!r} stands for all platforms, the others say nothing")
    try:
        kernel_range = KernelRange(kernels)
    except ContractError as error:
        entry.refuse("kernels", str(error))
    promise = Promise(
        id=_id(operation, window, platforms, kernels),
        operation=operation,
        window=window,
        kernels=kernel_range,
        platforms=platforms,
        outcome=entry.word("outcome", Outcome),
        at_least=entry.optional_duration("at_least"),
        at_most=entry.optional_duration("at_most"),
        state=entry.optional_word("state", DeviceState),
        config=entry.optional_word("config", ConfigSpace),
        source=entry.text("source"),
        weakness=entry.optional_text("weakness"),
    )
    entry.finish()
    _check_sense(entry, promise)
    return promise


def refuse_conflicts(promises: tuple[Promise, ...]) -> None:
    """Refuse two entries that speak of the same thing with the same right.

    An entry for named platforms overrides one for all platforms; every other overlap is an error.

    Raises:
        ContractError: two entries overlap.
    """
    for one, other in combinations(promises, 2):
        if (one.operation, one.window) != (other.operation, other.window):
            continue
        shared = sorted(set(one.platforms) & set(other.platforms))
        if shared and _overlap(one.kernels, other.kernels):
            raise ContractError(
                f"contract entries {one.id} and {other.id}",
                said=f"both speak of {', '.join(shared)} on the same kernels",
                hint="Give them kernel ranges or platforms that do not overlap.",
            )


def applicable(promises: tuple[Promise, ...], kernel: KernelVersion, platform: str) -> tuple[Promise, ...]:
    """The entries for one platform on one kernel; named platforms win over all platforms."""
    chosen: dict[tuple[Operation, WindowKind], Promise] = {}
    for promise in promises:
        key = (promise.operation, promise.window)
        if kernel not in promise.kernels:
            continue
        if platform in promise.platforms or (ANY_PLATFORM in promise.platforms and key not in chosen):
            chosen[key] = promise
    return tuple(chosen.values())


def _id(
    operation: Operation, window: WindowKind, platforms: tuple[str, ...], kernels: tuple[str, ...]
) -> str:
    name = f"{operation}@{window}"
    if ANY_PLATFORM not in platforms:
        name += ":" + "+".join(platforms)
    return name if "*" in kernels else f"{name} ({', '.join(kernels)})"


def _check_sense(entry: Entry, promise: Promise) -> None:
    if promise.at_least is not None and promise.at_most is not None and promise.at_least > promise.at_most:
        entry.refuse("at_least", f"is longer than at_most: {promise.at_least} ns > {promise.at_most} ns")
    resets_something = verb(promise.operation) == "reset" or promise.operation == FLR_BIT
    for field, value in (("state", promise.state), ("config", promise.config)):
        if value is not None and not resets_something:
            entry.refuse(field, f"{promise.operation} resets nothing")
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

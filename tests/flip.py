"""The contract with one entry turned into its opposite.

An entry that can be flipped without any finding changing is an entry that nobody checks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from harness.contract.contract import Contract
from harness.model.operation import is_reset
from harness.model.outcome import Outcome
from harness.model.promise import ConfigSpace, DeviceState, Promise
from harness.model.units import SECOND, Ns

_TOO_LONG: Final = Ns(86_400 * SECOND)
_TOO_SHORT: Final = Ns(1)
_WAITING: Final = (Outcome.BLOCKED, Outcome.BLOCKED_AND_RESET)


def flips(contract: Contract) -> Iterator[tuple[str, Contract]]:
    """Every entry with every one of its claims turned round, one at a time.

    Yields:
        `id#claim` as in `reset/flr@none#at_least`, and the contract that is wrong in this one point.
    """
    for number, promise in enumerate(contract.promises):
        for claim, wrong in _wrongs(promise):
            promises = (*contract.promises[:number], wrong, *contract.promises[number + 1 :])
            yield f"{promise.id}#{claim}", replace(contract, promises=promises)


def _wrongs(promise: Promise) -> Iterator[tuple[str, Promise]]:
    # A bound on waiting counts from the close of a window: who should not have waited has no time inside it.
    most = _TOO_SHORT if promise.outcome in _WAITING else promise.at_most
    yield "outcome", replace(promise, outcome=_opposite(promise), at_least=None, at_most=most)
    if promise.at_least is not None:
        yield "at_least", replace(promise, at_least=_TOO_LONG, at_most=None)
    if promise.at_most is not None:
        yield "at_most", replace(promise, at_most=_TOO_SHORT, at_least=None)
    if promise.state is not None:
        cleared = promise.state is DeviceState.CLEARED
        yield "state", replace(promise, state=DeviceState.KEPT if cleared else DeviceState.CLEARED)
    if promise.config is not None:
        restored = promise.config is ConfigSpace.RESTORED
        yield "config", replace(promise, config=ConfigSpace.LOST if restored else ConfigSpace.RESTORED)


def _opposite(promise: Promise) -> Outcome:
    match promise.outcome:
        case Outcome.LOCKED:
            return Outcome.FREE
        case Outcome.FREE:
            return Outcome.LOCKED
        case Outcome.TOLD:
            return Outcome.UNTOLD
        case Outcome.UNTOLD:
            return Outcome.TOLD
        case Outcome.OK | Outcome.STALE:
            return Outcome.BLOCKED_AND_RESET if is_reset(promise.operation) else Outcome.BLOCKED
        case _:
            return Outcome.OK

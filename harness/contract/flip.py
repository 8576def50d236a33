"""The contract with one entry turned into its opposite: what a test of the judge needs.

An entry that can be flipped without any finding changing is an entry that nobody checks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from harness.contract.contract import Contract
from harness.model.operation import verb
from harness.model.outcome import Outcome
from harness.model.promise import ConfigSpace, DeviceState, Promise
from harness.model.units import SECOND, Ns

_TOO_LONG: Final = Ns(86_400 * SECOND)
_TOO_SHORT: Final = Ns(1)


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
    yield "outcome", replace(promise, outcome=_opposite(promise))
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
    if promise.outcome is not Outcome.OK:
        return Outcome.OK
    return Outcome.BLOCKED_AND_RESET if verb(promise.operation) == "reset" else Outcome.BLOCKED

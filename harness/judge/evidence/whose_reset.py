"""Which call of the plan a reset in a function's own log was."""

from __future__ import annotations

from typing import Final

from harness.history.reading import OfFunction
from harness.judge.evidence.calls import Call
from harness.judge.evidence.evidence import Evidence
from harness.model.operation import SELF_TEST, reset
from harness.model.pci import ResetMethod
from harness.model.served import Happened
from harness.model.units import SECOND, Ns

LONGEST: Final = Ns(2 * SECOND)
"""A self-test takes no longer (PCIe r6.0 §7.5.1.1.11): it resets the function when it ends."""
_FLR: Final = reset(ResetMethod.FLR)


def resetting(evidence: Evidence, function: OfFunction, moment: int, kind: Happened | None) -> Call | None:
    """The call that resets a function and was under way at a moment, as far as the log's clock may be wrong.

    Args:
        evidence: of the stage.
        function: whose log tells of it.
        moment: by that log.
        kind: what it tells of; None: its log does not say what it was.
    """
    error = evidence.history.served_error_ns
    for call in evidence.calls:
        if call.operation == _FLR and kind not in (Happened.FLR, None):
            continue  # it had done its part before, and has not returned yet
        lasting = LONGEST if call.operation == SELF_TEST else 0  # it resets when it ends
        around = call.begin_ns - error <= moment <= call.end_ns + lasting + error
        if around and function.alias in call.resets:
            return call
    return None

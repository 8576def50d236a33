"""What nobody expected, made ready for the host: an exception in the agent is a mistake, its traceback says which."""

from __future__ import annotations

import traceback
from typing import Any, Final

from harness.errors import AgentError, HarnessError
from harness.model.observation import Failure

HINT: Final = "A mistake in the agent, which comes again; its traceback is below."
_MOST_CHARACTERS: Final = 32_000


def traceback_of(error: BaseException) -> str:
    """The traceback of an exception; of a very long one the end, which is where it was raised."""
    return "".join(traceback.format_exception(error))[-_MOST_CHARACTERS:]


def mistake(tried: str, error: BaseException) -> AgentError:
    """An exception that is none of the harness's own, as one that is.

    Args:
        tried: what the agent was doing.
        error: what was raised.
    """
    said = "".join(traceback.format_exception_only(error)).strip()[-1000:]
    return AgentError(tried, said=said, hint=HINT, evidence=traceback_of(error))


def as_answer(tried: str, error: Exception) -> dict[str, Any]:
    """An exception as the agent's answer, in plain values."""
    told = error if isinstance(error, HarnessError) else mistake(tried, error)
    return {"error": Failure.of(told).to_wire()}

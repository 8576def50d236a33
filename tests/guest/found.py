"""What the agent of a guest tells of a function of its lab."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.lab.guest.guest import Guest
    from harness.model.observation import FunctionFacts


def found(guest: Guest, alias: str) -> FunctionFacts:
    """The function, which must be there."""
    facts = guest.agent.ask(guest.machine.finding(alias))
    assert facts is not None, f"no {alias}"
    return facts

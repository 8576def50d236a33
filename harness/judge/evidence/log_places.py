"""Whom an event of the kernel log is about, who was at work, and when in the stage it was."""

from __future__ import annotations

from collections.abc import Iterable

from harness.history.history import History
from harness.judge.evidence.log_events import LogEvent


def about(history: History, event: LogEvent) -> tuple[str, ...]:
    """The functions that an event names: aliases; else the ports above them; else addresses."""
    aliases = {record.bdf: record.alias for record in history.functions}
    known = tuple(aliases[bdf] for bdf in event.functions if bdf in aliases)
    if known:
        return known
    ports = {record.port: record.alias for record in reversed(history.functions) if record.port}
    return tuple(f"the port above {ports[bdf]}" if bdf in ports else bdf for bdf in event.functions)


def at_work(history: History, event: LogEvent) -> str:
    """The actor that an event names by its thread; another thread by name and number; nothing when none is named."""
    if not event.pid:
        return ""
    name = next((actor.name for actor in history.actors if str(actor.tid) == event.pid), "")
    return name or f"{event.comm or 'thread'} {event.pid}"


def moment(history: History, event: LogEvent) -> str:
    """Where an event lies outside of the stage's operations, in words; nothing when it lies among them."""
    time_ns = history.log[event.row].time_us * 1000
    operations = history.operations
    if not time_ns or not history.begin_ns:
        return ""
    if time_ns < history.begin_ns:
        return "before the release"
    if len(operations) and operations["end_ns"].all() and time_ns > int(operations["end_ns"].max()):
        return "after the last operation"
    return ""


def concerned(history: History, event: LogEvent) -> tuple[str, ...]:
    """The functions of the plan that an event is about: named by address, below a port that is, or of its driver."""
    return aliases_of(history, event.functions) or (
        drivers(history, event.driver) if event.driver and not event.functions else ()
    )


def aliases_of(history: History, addresses: Iterable[str]) -> tuple[str, ...]:
    """The functions of the plan that have one of these addresses, or whose port has."""
    named = set(addresses)
    return tuple(one.alias for one in history.functions if {one.bdf, one.port} & named)


def drivers(history: History, driver: str) -> tuple[str, ...]:
    """The functions of the plan that this driver may have.

    Bound at the beginning, given to it by the plan, or made for it, as the word for their model says.
    """
    given = {one.function for one in history.plan.settings if one.value == driver}
    given |= {
        step.file.function
        for actor in history.plan.actors
        for step in actor.steps
        if step.file is not None and step.value == driver.encode()
    }
    return tuple(
        one.alias
        for one in history.functions
        if driver in (one.driver, one.platform.removeprefix("hil-")) or one.alias in given
    )

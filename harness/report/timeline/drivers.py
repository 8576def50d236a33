"""What drivers did that reset their functions, or were told of resets: lanes, and a sentence for each try."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from harness.history.columns import Edge
from harness.history.history import History
from harness.history.reading import Reading
from harness.history.windows import (
    CALLBACKS,
    DRIVER_STEPS,
    NOBODY,
    TRACE_RESOLUTION,
    TRYLOCK,
    Callback,
    DriverReset,
    DriverStep,
    LockWindow,
)
from harness.model.operation import REMOVE, UNBIND
from harness.model.promise import WindowKind
from harness.model.units import as_text
from harness.report.timeline.driver_lane import (
    FATES,
    WITHOUT,
    DriverLane,
    Fate,
    Phase,
    Stretch,
    Told,
    driver_lane_name,
)
from harness.report.timeline.holds import who

_PHASES: Final = {
    DriverStep.ASKED: Phase.ASKED,
    DriverStep.SHUTDOWN: Phase.SHUTDOWN,
    DriverStep.ALERT: Phase.ALERT,
    DriverStep.SELF_TEST: Phase.SELF_TEST,
    DriverStep.WARM_RESET: Phase.WARM_RESET,
    DriverStep.TESTED: Phase.RESTORE,
    DriverStep.RESTORE: Phase.RESTORE,
    DriverStep.BRING_UP: Phase.BRING_UP,
}
"""The last step, done, begins nothing."""
_RESETS: Final = (Phase.SELF_TEST, Phase.WARM_RESET)
_MOST: Final = 6
"""More tries than these are only counted in words; all are drawn."""


_Vain = tuple[int, int]
"""A call for a config lock that was held: index into `Plan.functions`, and when, in ns of the trace's clock."""
_Begun = tuple[Phase, int, int]
"""Phase, when it began in ns of the trace's clock, and how many tries for the lock were in vain in it."""


def driver_rows(history: History) -> npt.NDArray[np.bool_]:
    """Which hits of the kernel's trace are drawn in the lane of a driver."""
    own = [n for n, probe in enumerate(history.probes) if probe.symbol in (*DRIVER_STEPS, *CALLBACKS)]
    kernel = history.kernel
    return np.isin(kernel["probe"], own) & (kernel["function"] >= 0)


def is_vain(history: History, row: int) -> bool:
    """Whether a hit is the answer to a trylock that did not get the lock."""
    event = history.kernel[row]
    probe = history.probes[int(event["probe"])]
    return (probe.symbol, probe.edge) == (TRYLOCK, Edge.RETURN) and int(event["value"]) & 0xFF == 0


def driver_lanes(
    reading: Reading, view: tuple[int, int], marked: frozenset[str] = frozenset()
) -> tuple[DriverLane, ...]:
    """A lane for each function whose driver the trace shows at work, in the plan's order.

    Args:
        reading: what happened.
        view: what is drawn of it, ns after release.
        marked: names of lanes in which a marked event lies.
    """
    history, zero, found = reading.history, int(reading.history.begin_ns), _stretches(reading)
    told = [
        (
            one.function,
            Told(at=int(one.time_ns) - zero, what=one.what, text=_telling(history, one.tid, one.what)),
        )
        for one in reading.tellings
    ]
    return tuple(
        DriverLane(
            function=alias,
            stretches=tuple(
                stretch
                for reset, stretches in found
                if reset.function == number
                for stretch in stretches
                if stretch.begin <= view[1] and stretch.end >= view[0]
            ),
            tellings=tuple(
                one for function, one in told if function == number and view[0] <= one.at <= view[1]
            ),
            marked=driver_lane_name(alias) in marked,
        )
        for number, alias in enumerate(history.plan.functions)
        if any(reset.function == number for reset, _ in found)
        or any(function == number for function, _ in told)
    )


def driver_notes(reading: Reading) -> list[str]:
    """A sentence for each try of a driver to reset its function, with what it took and what came of it."""
    found = _stretches(reading)
    said = [_sentence(reading.history, reset, stretches) for reset, stretches in found[:_MOST]]
    return said + ([f"{len(found) - _MOST} more resets by drivers"] if len(found) > _MOST else [])


def _telling(history: History, tid: int, what: Callback) -> str:
    return f"{what} called by {who(history, tid)}"


def _sentence(history: History, reset: DriverReset, stretches: tuple[Stretch, ...]) -> str:
    alias, zero = history.plan.functions[reset.function], int(history.begin_ns)
    pieces = []
    for stretch in stretches:
        length = as_text(stretch.end - stretch.begin)
        at = f"{stretch.begin / 1e6:.0f} ms"
        match stretch.phase:
            case Phase.ASKED:
                pieces.append(f"asked by {who(history, reset.steps[0].tid)} at {at}")
            case Phase.TRIES:
                tries = "try" if stretch.tries == 1 else "tries"
                pieces.append(f"{stretch.tries} {tries} for the lock in vain over {length}")
            case phase if phase in _RESETS:
                pieces.append(f"{stretch.words[0]} at {at} for {length}")
            case phase:
                pieces.append(f"{phase} {length}")
    fate = stretches[-1].fate if stretches else Fate.DONE
    pieces.append(FATES.get(fate, f"done at {(int(reset.end_ns) - zero) / 1e6:.0f} ms"))
    return f"driver of {alias}: {', '.join(pieces)}"


def _stretches(reading: Reading) -> list[tuple[DriverReset, tuple[Stretch, ...]]]:
    """Every try of every driver, in stretches that follow one another without a gap."""
    vain = [(one.function, int(one.asked_ns)) for one in reading.lock_tries if not one.taken]
    windows = None if reading.doubts else reading.windows
    return [(reset, tuple(_of_one(reading, reset, vain, windows))) for reset in reading.driver_resets]


def _of_one(
    reading: Reading,
    reset: DriverReset,
    vain: list[_Vain],
    windows: tuple[LockWindow, ...] | None,
) -> Iterator[Stretch]:
    history, left = reading.history, _left(reading, reset)
    zero = int(history.begin_ns)
    fate = Fate.LEFT if left else _fate(history, reset)
    over = max(left, int(reset.steps[-1].time_ns)) if left else int(reset.end_ns)
    begun: list[_Begun] = []
    for step in reset.steps:
        phase = _PHASES.get(step.step)
        if phase is not None and (not begun or begun[-1][0] is not phase):
            begun.append((phase, int(step.time_ns), 0))
    begun = _with_tries(reset, begun, vain)
    ends = [when for _, when, _ in begun[1:]]
    ends += [over] if begun else []  # the trace may have begun when only its end was left
    for number, ((phase, when, tries), end) in enumerate(zip(begun, ends, strict=True)):
        bare = phase in _RESETS and windows is not None and not _locked(reset, when, windows)
        words = (
            f"{tries} tries for the lock in vain" if tries else f"{phase} {WITHOUT}" if bare else str(phase)
        )
        yield Stretch(
            phase=phase,
            begin=when - zero,
            end=end - zero,
            fate=fate,
            last=number + 1 == len(begun),
            bare=bare,
            tries=tries,
            text=f"driver of {history.plan.functions[reset.function]}: {words} from {(when - zero) / 1e6:.3f} ms, "
            f"{as_text(end - when)}" + (f"; {FATES[fate]}" if fate in FATES else ""),
        )


def _with_tries(reset: DriverReset, begun: list[_Begun], vain: list[_Vain]) -> list[_Begun]:
    """Put the time in which the driver tried for the lock in vain before the reset itself."""
    until = next((when for phase, when, _ in begun if phase in _RESETS), int(reset.end_ns))
    mine = [
        asked for function, asked in vain if function == reset.function and reset.begin_ns <= asked <= until
    ]
    if not mine:
        return begun
    before, after = ([one for one in begun if (one[1] > mine[0]) is later] for later in (False, True))
    return [*before, (Phase.TRIES, mine[0], len(mine)), *after]


def _fate(history: History, reset: DriverReset) -> Fate:
    if reset.done:
        return Fate.DONE
    return Fate.OPEN if reset.end_ns >= history.end_ns else Fate.FAILED


def _left(reading: Reading, reset: DriverReset) -> int:
    """When the driver had left the function, if it resets it because of that; else 0."""
    if reset.done:
        return 0
    first = reset.steps[0]
    row = reading.threads.at(first.tid, first.time_ns)
    if row == NOBODY or reading.steps.behind(row).means not in (UNBIND, REMOVE):
        return 0
    return int(reading.history.operations[row]["end_ns"])


def _locked(reset: DriverReset, when: int, windows: tuple[LockWindow, ...]) -> bool:
    """Whether the driver held its function's config lock at a moment."""
    return any(
        window.function == reset.function
        and window.kind is WindowKind.DRIVER_RESET
        and window.opened_ns - TRACE_RESOLUTION <= when <= window.closed_ns + TRACE_RESOLUTION
        for window in windows
    )

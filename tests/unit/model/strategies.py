"""Any plan, for Hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

from harness.model.command import LONGEST, Command
from harness.model.fault import (
    EARLIEST_INCIDENT,
    OF_A_REGISTER,
    OF_A_VALUE,
    Fault,
    Incident,
    IncidentKind,
    Misbehaviour,
    Occasion,
    PlannedFault,
)
from harness.model.operation import (
    ATTRIBUTE_READ,
    CHECK,
    FLR_BIT,
    MARK,
    WAIT,
    config_read,
    config_write,
    reset,
)
from harness.model.pci import AccessPath, ResetMethod
from harness.model.plan import Actor, File, Op, Oracle, Plan, Privilege, Retries, Setting, Step
from harness.model.units import Ns

WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=12)
TIMES = st.integers(0, 2**60).map(Ns)
OPERATIONS = st.sampled_from(
    [
        ATTRIBUTE_READ,
        FLR_BIT,
        MARK,
        CHECK,
        WAIT,
        *map(config_read, AccessPath),
        *map(config_write, AccessPath),
        *map(reset, ResetMethod),
    ]
)
RETRIES = st.builds(
    Retries,
    errnos=st.lists(st.integers(1, 4095), min_size=1, max_size=8).map(tuple),
    attempts=st.integers(2, 2**32 - 1),
    first_ns=TIMES,
    longest_ns=TIMES,
    patience_ns=TIMES,
)
STEPS = st.builds(
    Step,
    op=st.sampled_from(Op),
    means=OPERATIONS,
    file=st.none() | st.builds(File, function=WORDS, role=WORDS),
    offset=st.integers(0, 4095),
    width=st.sampled_from([0, 1, 2, 4, 8, 4096]),
    value=st.binary(max_size=8),
    time_ns=TIMES,
    owners=st.lists(WORDS, max_size=2).map(tuple),
    retries=st.none() | RETRIES,
)
ACTORS = st.lists(
    st.builds(
        Actor,
        name=WORDS,
        steps=st.lists(STEPS, max_size=4).map(tuple),
        starts_ns=TIMES,
        times=st.none() | st.integers(1, 10**6),
        privilege=st.sampled_from(Privilege),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda actor: actor.name,
).map(tuple)
NUMBERS = st.integers(0, 2**32 - 1)


@st.composite
def _faults(draw: st.DrawFn) -> Fault:
    """Any fault that makes sense."""
    what, when = draw(st.sampled_from(Misbehaviour)), draw(st.sampled_from(Occasion))
    passing = when not in (Occasion.NOW, Occasion.TIME)
    lasting = TIMES.filter(bool)
    lasts: st.SearchStrategy[Ns | None]
    match what:
        case Misbehaviour.NOT_READY:
            lasts = lasting
        case Misbehaviour.NEVER_READY:
            lasts = st.none()
        case _:
            lasts = st.none() | lasting
    codes = st.integers(1, 15) if what is Misbehaviour.SELF_TEST_FAILS else NUMBERS
    return Fault(
        what=what,
        register=draw(WORDS) if what in OF_A_REGISTER else "",
        value=draw(st.none() | codes) if what in OF_A_VALUE else None,
        when=when,
        after=draw(st.integers(int(when is Occasion.ACCESSES), 9)) if passing else 0,
        at_ns=draw(TIMES) if when is Occasion.TIME else Ns(0),
        lasting_ns=draw(lasts),
        times=draw(st.integers(0, 9)),
    )


@st.composite
def _incidents(draw: st.DrawFn) -> Incident:
    """Any incident that makes sense."""
    kind = draw(st.sampled_from(IncidentKind))
    return Incident(
        function=draw(WORDS),
        kind=kind,
        at_ns=draw(st.integers(EARLIEST_INCIDENT, 2**60).map(Ns)),
        lasting_ns=draw(TIMES.filter(bool)) if kind is IncidentKind.SERVER_STALLED else Ns(0),
        detail=draw(WORDS) if kind is IncidentKind.LINK_ERROR else "",
    )


FAULTS = _faults()
COMMANDS = st.builds(
    Command,
    argv=st.lists(WORDS, max_size=3).map(lambda rest: ("x", *rest)),
    within_ns=st.integers(1, LONGEST).map(Ns),
    may_fail=st.booleans(),
)
INCIDENTS = _incidents()
PLANS = st.builds(
    Plan,
    title=WORDS,
    functions=st.lists(WORDS, max_size=3).map(tuple),
    actors=ACTORS,
    lasting_ns=TIMES,
    deadline_ns=TIMES,
    settings=st.lists(st.builds(Setting, function=WORDS, attribute=WORDS, value=WORDS), max_size=2).map(
        tuple
    ),
    oracles=st.lists(
        st.builds(
            Oracle,
            function=WORDS,
            resource=WORDS,
            offset=NUMBERS,
            width=st.sampled_from([1, 2, 4]),
            marker=NUMBERS,
            cleared=NUMBERS,
            mask=NUMBERS,
            source=WORDS,
        ),
        max_size=2,
    ).map(tuple),
    modules=st.lists(WORDS, max_size=2).map(tuple),
    ports=st.dictionaries(WORDS, WORDS, max_size=2),
    meets=st.integers(0, 1000),
    seed=NUMBERS,
    faults=st.lists(st.builds(PlannedFault, function=WORDS, fault=FAULTS), max_size=3).map(tuple),
    incidents=st.lists(INCIDENTS, max_size=2).map(tuple),
    before=st.lists(COMMANDS, max_size=2).map(tuple),
)

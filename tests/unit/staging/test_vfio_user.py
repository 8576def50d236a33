"""A user of VFIO: what its verbs make, what the agent makes of that, and what they refuse."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable

import pytest

from harness.agent import files as module
from harness.bindings.actor import Code
from harness.errors import UsageError
from harness.model import operation
from harness.model.operation import Operation
from harness.model.plan import File, Op, Setting, Step
from harness.model.policy import TAKE_INTERRUPT, TRY_RESET
from harness.model.units import MS, US, Ns
from harness.staging.part import Part, plan_of
from harness.staging.vfio_user import VfioUser, bound
from tests.unit.agent import vfio
from tests.unit.staging.functions import (
    CONVENTIONAL,
    IGB,
    ORACLE,
    SIBLING,
    as_sent,
    compiled,
    only,
    repeated,
)

USER = VfioUser(IGB)
DEVICE, CONFIG, BAR0 = (File(function="igb0", role=role) for role in ("vfio", "vfio-config", "vfio-bar0"))
BOUND = Setting(function="igb0", attribute="driver", value="vfio-pci")
PACE = Step(op=Op.PAUSE, means=operation.WAIT, time_ns=Ns(200 * US))
EVERY_VERB = {
    "reads": USER.reads(),
    "reads_copies": USER.reads_copies(),
    "writes": USER.writes(),
    "writes_command": USER.writes_command(),
    "asks": USER.asks(),
    "reads_register": USER.reads_register(),
    "writes_register": USER.writes_register(b"1234"),
    "loads_register": USER.loads_register(),
    "stores_register": USER.stores_register(b"\x01\x01\x01\x01"),
    "asks_for_interrupts": USER.asks_for_interrupts(trigger=0x10),
    "touches_without_decode": USER.touches_without_decode(),
    "resets": USER.resets(),
    "insists_on_reset": USER.insists_on_reset(),
    "resets_with_oracle": USER.resets_with_oracle(),
    "sets_flr_bit": USER.sets_flr_bit(),
    "hot_resets": USER.hot_resets(),
    "hot_resets_with_oracle": USER.hot_resets_with_oracle(),
    "opens": USER.opens(),
    "opens_again": USER.opens_again(),
    "opens_late": USER.opens_late(at="1ms"),
    "keeps_open": USER.keeps_open("1ms"),
    "closes": USER.closes(at="1ms"),
}
KEPT = [name for name in EVERY_VERB if not name.startswith("opens")]


@pytest.fixture
def container(monkeypatch: pytest.MonkeyPatch) -> vfio.Container:
    made = vfio.Container()
    monkeypatch.setattr(module, "Container", lambda: made)
    monkeypatch.setattr("harness.bindings.vfio.arm_irqs", lambda *_: None)
    return made


def means(part: Part) -> list[Operation]:
    return [step.means for step in only(part).steps]


def test_every_verb_is_tried() -> None:
    public = {name for name in vars(VfioUser) if not name.startswith("_") and name != "function"}
    assert public == set(EVERY_VERB)


@pytest.mark.parametrize("part", EVERY_VERB.values(), ids=EVERY_VERB)
def test_the_function_belongs_to_vfio_meanwhile(part: Part) -> None:
    assert part.functions == ("igb0",)
    assert part.settings == (BOUND,)


def test_a_user_begins_at_once_unless_told_otherwise() -> None:
    starts = {name: only(part).starts_ns for name, part in EVERY_VERB.items()}
    assert starts == {**dict.fromkeys(EVERY_VERB, 0), "opens_late": MS}


def test_accesses_go_on_and_calls_are_made_once_unless_told_otherwise() -> None:
    rounds = {name: only(part).times for name, part in EVERY_VERB.items()}
    accesses = {
        name for name in EVERY_VERB if name.startswith(("reads", "writes", "loads", "stores", "asks"))
    }
    assert {name for name, times in rounds.items() if times is None} == accesses
    assert {name: times for name, times in rounds.items() if times not in (None, 1)} == {
        "touches_without_decode": 3
    }


def test_every_actor_of_a_stage_has_a_lane_of_its_own() -> None:
    """A finding names an actor by its lane, whatever else is staged, and however often."""
    plan = plan_of([*EVERY_VERB.values()] * 2, title="all at once", lasting="1s")
    assert len({actor.name for actor in plan.actors}) == len(plan.actors) > 2 * len(EVERY_VERB)


def test_an_interrupt_is_taken_before_there_is_cause_for_the_next() -> None:
    ring, take, wait = only(EVERY_VERB["asks_for_interrupts"]).steps
    assert (ring.op, ring.means, ring.file, ring.offset, ring.value) == (
        *(Op.WRITE, operation.RING, BAR0, 0x10),
        b"\x01\0\0\0",
    )
    assert (take.op, take.means, take.file) == (
        *(Op.COUNT, operation.TAKE),
        File(function="igb0", role="vfio-msi"),
    )
    assert take.retries == TAKE_INTERRUPT.retries_plan()
    assert wait.time_ns == 5 * MS


def test_a_level_is_acknowledged_and_unmasked() -> None:
    steps = only(USER.asks_for_interrupts("intx", trigger=0x10, acknowledge=0x14)).steps
    assert [step.means for step in steps] == [
        *(operation.RING, operation.TAKE, operation.ACKNOWLEDGE, operation.UNMASK, operation.WAIT),
    ]
    assert (steps[1].file, steps[2].offset) == (File(function="igb0", role="vfio-intx"), 0x14)
    assert (steps[3].op, steps[3].file) == (Op.UNMASK, DEVICE)


def test_there_are_three_kinds_of_interrupt() -> None:
    assert only(USER.asks_for_interrupts("msix", trigger=0)).name == "msix-user"
    with pytest.raises(UsageError, match=r"'err' of igb0.*no such kind.*intx, msi, msix"):
        USER.asks_for_interrupts("err", trigger=0)  # type: ignore[arg-type]


def test_one_call_follows_another_at_once_unless_told_otherwise() -> None:
    names = ("resets", "insists_on_reset", "resets_with_oracle", "sets_flr_bit", "hot_resets", "opens")
    for name in (*names, "opens_again", "opens_late"):
        assert operation.WAIT not in means(EVERY_VERB[name]), name


@pytest.mark.parametrize(
    "part",
    [
        USER.resets(at="7ms", times=2),
        USER.insists_on_reset(at="7ms", times=2),
        USER.resets_with_oracle(at="7ms", times=2),
        USER.sets_flr_bit(at="7ms", times=2),
        USER.hot_resets(at="7ms", times=2),
        USER.opens(at="7ms", times=2),
        USER.opens_again(at="7ms", times=2),
        USER.opens_late(at="7ms", times=2),
    ],
)
def test_when_and_how_often_is_the_authors_choice(part: Part) -> None:
    assert (only(part).starts_ns, only(part).times) == (7 * MS, 2)


@pytest.mark.parametrize("part", EVERY_VERB.values(), ids=EVERY_VERB)
def test_a_plan_survives_the_way_to_the_agent(part: Part) -> None:
    assert as_sent(part) == plan_of([part], title="t", lasting="60s")


@pytest.mark.usefixtures("container")
@pytest.mark.parametrize("name", EVERY_VERB)
def test_the_loop_can_do_it_with_a_descriptor_that_it_was_given_or_opens(name: str) -> None:
    program = compiled(EVERY_VERB[name])
    eventfds = sum(one.op is Code.COUNT for one in program)
    assert [one.op for one in program].count(Code.TAKE) == 1 + eventfds
    assert not [one for one in program if one.op is Code.OPEN]
    opens = [one for one in program if one.op is Code.IOCTL and one.times]
    assert bool(opens) == (name not in KEPT)


# --- config space and registers ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "word", "offset", "width"),
    [
        (USER.reads(), operation.VFIO_READ, 0x08, 4),
        (USER.reads(at=0xFFE, width=2), operation.VFIO_READ, 0xFFE, 2),
        (USER.reads_copies(), operation.VFIO_COPY_READ, 0x00, 4),
        (USER.reads_copies(at=0x3C, width=1), operation.VFIO_COPY_READ, 0x3C, 1),
    ],
)
def test_reads_of_the_function_and_of_copies_have_words_of_their_own(
    part: Part, word: Operation, offset: int, width: int
) -> None:
    actor = only(part)
    assert actor.steps == (Step(op=Op.READ, means=word, file=CONFIG, offset=offset, width=width), PACE)
    assert (actor.times, actor.starts_ns) == (None, 0)


def test_several_may_read_at_once() -> None:
    part = USER.reads(actors=3)
    assert [actor.name for actor in part.actors] == ["vfio-reader"] * 3
    assert [actor.name for actor in USER.reads_copies(actors=2).actors] == ["vfio-control"] * 2


@pytest.mark.parametrize(
    ("part", "word", "offset", "value"),
    [
        (USER.writes(), operation.VFIO_WRITE, 0x0C, b"\x10"),
        (USER.writes(at=0x3C, value=b"\x0a"), operation.VFIO_WRITE, 0x3C, b"\x0a"),
        (USER.writes_command(), operation.VFIO_COMMAND, 0x04, b"\x06\x00"),
        (USER.writes_command(b"\x02\x00"), operation.VFIO_COMMAND, 0x04, b"\x02\x00"),
    ],
)
def test_command_is_written_in_a_word_of_its_own(
    part: Part, word: Operation, offset: int, value: bytes
) -> None:
    assert only(part).steps == (
        Step(op=Op.WRITE, means=word, file=CONFIG, offset=offset, value=value),
        PACE,
    )


def test_asking_is_no_access() -> None:
    assert only(USER.asks()).steps == (Step(op=Op.INFO, means=operation.VFIO_INFO, file=DEVICE), PACE)


def test_registers_are_read_written_and_loaded() -> None:
    parts = (
        USER.reads_register(2, at=0x18, width=8),
        USER.writes_register(b"12", at=0x18),
        USER.loads_register(at=0xE00),
    )
    assert [only(part).steps[0] for part in parts] == [
        Step(
            op=Op.READ,
            means=operation.BAR_READ,
            file=File(function="igb0", role="vfio-bar2"),
            offset=0x18,
            width=8,
        ),
        Step(op=Op.WRITE, means=operation.BAR_WRITE, file=BAR0, offset=0x18, value=b"12"),
        Step(op=Op.LOAD, means=operation.MAPPED_READ, file=BAR0, offset=0xE00, width=4),
    ]
    assert all(only(part).steps[1:] == (PACE,) for part in parts)


def test_decode_is_off_for_two_accesses_and_on_again() -> None:
    actor = only(USER.touches_without_decode(at=0xE00))
    assert [(step.op, step.means, step.value) for step in actor.steps] == [
        (Op.WRITE, operation.VFIO_COMMAND, b"\x00\x00"),
        (Op.LOAD, operation.UNDECODED_LOAD, b""),
        (Op.READ, operation.UNDECODED_READ, b""),
        (Op.WRITE, operation.VFIO_COMMAND, b"\x06\x00"),
    ]
    off, load, read, on = actor.steps
    assert (off.offset, on.offset, off.file) == (4, 4, CONFIG)
    assert (load.file, load.offset, load.width) == (read.file, read.offset, read.width) == (BAR0, 0xE00, 4)
    assert actor.times == 3


# --- resets -----------------------------------------------------------------------------------------------


def test_a_refused_reset_is_taken_as_it_is() -> None:
    part = USER.resets(at="10ms", times=None, every="20ms", actors=2)
    assert len(part.actors) == 2
    actor = part.actors[0]
    assert (actor.name, actor.starts_ns, actor.times) == ("vfio-resetter", 10 * MS, None)
    step, apart = actor.steps
    assert step == Step(op=Op.RESET_DEVICE, means=operation.VFIO_RESET, file=DEVICE)
    assert apart.time_ns == 20 * MS


@pytest.mark.usefixtures("container")
def test_who_insists_tries_again_what_was_refused_before_it_began() -> None:
    part = USER.insists_on_reset(at="60ms", times=2)
    (step,) = only(part).steps
    assert step.retries == TRY_RESET.retries_plan()
    assert step.retries is not None
    assert step.retries.errnos == (errno.EAGAIN,)
    reset, again = repeated(part)
    assert (reset.op, again.op, again.times) == (Code.IOCTL, Code.RETRY, step.retries.attempts)


def test_an_oracle_is_marked_and_checked_through_vfio() -> None:
    part = USER.resets_with_oracle(times=3, holding="50ms")
    assert means(part) == [
        operation.MARK,
        operation.CHECK,
        operation.WAIT,
        operation.VFIO_RESET,
        operation.CHECK,
    ]
    mark, check, held, _, again = only(part).steps
    assert (mark.op, mark.file, mark.offset, mark.value) == (Op.STORE, BAR0, 0x5B50, b"\x5a\0\0\0")
    assert (check, held.time_ns) == (again, 50 * MS)
    assert part.oracles == (ORACLE,)


def test_the_flr_bit_is_set_and_nothing_else_of_device_control() -> None:
    part = USER.sets_flr_bit(at="20ms")
    assert means(part) == [operation.MARK, operation.CHECK, operation.VFIO_FLR_BIT, operation.CHECK]
    write = only(part).steps[2]
    assert (write.op, write.file, write.offset) == (Op.WRITE, CONFIG, 0xA8)
    assert write.value == (0x2810 | 0x8000).to_bytes(2, "little")


def test_a_hot_reset_shows_the_group_of_the_function() -> None:
    part = USER.hot_resets(at="80ms", times=4, every="40ms")
    step, _ = only(part).steps
    assert step == Step(op=Op.HOT_RESET, means=operation.HOT_RESET, file=DEVICE, owners=("igb0",))
    assert only(part).times == 4


def test_a_hot_reset_owns_what_is_beside() -> None:
    part = USER.hot_resets(beside=(SIBLING,))
    assert part.functions == ("igb0", "igb1")
    assert part.settings == (BOUND, bound(SIBLING, "vfio-pci"))
    assert only(part).steps[0].owners == ("igb0", "igb1")


def test_a_hot_reset_that_must_be_refused_has_another_word() -> None:
    assert means(USER.hot_resets(means=operation.HOT_RESET_NOT_OWNED)) == [operation.HOT_RESET_NOT_OWNED]


# --- open and close ---------------------------------------------------------------------------------------


def test_the_first_open_and_the_last_close() -> None:
    part = USER.opens(at="20ms", times=2, holding="300ms")
    assert [(step.op, step.means) for step in only(part).steps] == [
        (Op.OPEN_DEVICE, operation.VFIO_OPEN),
        (Op.PAUSE, operation.WAIT),
        (Op.CLOSE, operation.VFIO_CLOSE),
    ]
    assert (only(part).starts_ns, only(part).times) == (20 * MS, 2)


@pytest.mark.parametrize(
    ("part", "name", "word"),
    [
        (USER.opens_again(at="5ms", times=8, every="30ms"), "vfio-second", operation.VFIO_REOPEN),
        (USER.opens_late(at="5ms", times=8, every="30ms"), "vfio-late", operation.VFIO_LATE_OPEN),
    ],
)
def test_an_open_beside_another_is_closed_at_once(part: Part, name: str, word: Operation) -> None:
    actor = only(part)
    assert (actor.name, actor.starts_ns, actor.times) == (name, 5 * MS, 8)
    assert [(step.op, step.means, step.time_ns) for step in actor.steps] == [
        (Op.OPEN_DEVICE, word, 0),
        (Op.CLOSE, operation.VFIO_DROP, 0),
        (Op.PAUSE, operation.WAIT, 30 * MS),
    ]


def test_a_descriptor_is_kept_for_a_while_and_closed_on_time() -> None:
    kept, closed = only(USER.keeps_open("400ms")), only(USER.closes(at="110ms"))
    assert [(step.op, step.means, step.time_ns) for step in kept.steps] == [
        (Op.INFO, operation.VFIO_INFO, 0),
        (Op.PAUSE, operation.WAIT, 400 * MS),
    ]
    assert [(step.op, step.time_ns) for step in closed.steps] == [(Op.PAUSE, 110 * MS), (Op.CLOSE, 0)]
    assert (kept.times, closed.times) == (1, 1)


@pytest.mark.parametrize(
    ("mistake", "answer"),
    [
        (
            lambda: USER.reads(width=3),  # type: ignore[arg-type]
            "config access of 3 bytes: no such width. A width is 1, 2 or 4 bytes.",
        ),
        (
            lambda: VfioUser(CONVENTIONAL).reads(at=0x100),
            "config access of 4 bytes at offset 0x100: outside the 256",
        ),
        (lambda: USER.reads(actors=0), "0 actors on igb0: nobody acts. Use 1 or more."),
        (lambda: USER.reads_copies(width=8), "config access of 8 bytes: no such width"),  # type: ignore[arg-type]
        (lambda: USER.writes(value=b""), "config access of 0 bytes: no such width"),
        (lambda: USER.writes_command(b"\x06\x00\x00"), "config access of 3 bytes: no such width"),
        (
            lambda: USER.reads_register(width=3),  # type: ignore[arg-type]
            "register of 3 bytes at 0x0 in BAR 0 of igb0: no such width. A width is 1, 2, 4 or 8 bytes.",
        ),
        (lambda: USER.writes_register(b""), "register of 0 bytes at 0x0 in BAR 0 of igb0: no such width"),
        (
            lambda: USER.loads_register(6),
            "register of 4 bytes at 0x0 in BAR 6 of igb0: no such BAR. BARs are 0 to 5.",
        ),
        (lambda: USER.loads_register(-1), "register of 4 bytes at 0x0 in BAR -1 of igb0: no such BAR"),
        (
            lambda: USER.loads_register(at=-4),
            "register of 4 bytes at -0x4 in BAR 0 of igb0: before the BAR begins. Offsets are 0 or more.",
        ),
        (
            lambda: USER.touches_without_decode(width=5),  # type: ignore[arg-type]
            "register of 5 bytes at 0x0 in BAR 0 of igb0: no such width",
        ),
        (lambda: USER.resets(times=0), "0 rounds on igb0: nothing happens"),
        (lambda: USER.resets(every="never"), "duration 'never': not understood"),
        (
            lambda: VfioUser(SIBLING).resets_with_oracle(),
            "oracle register of igb1 (igb) for flr: the contract names none. Add one to",
        ),
        (
            lambda: VfioUser(CONVENTIONAL).resets_with_oracle(),
            "reset of old0 (0000:02:01.0) through VFIO: the kernel offers none. Choose a function",
        ),
        (
            lambda: VfioUser(CONVENTIONAL).sets_flr_bit(),
            "FLR bit of old0 (0000:02:01.0): it has none. Choose a function whose reset_method lists flr.",
        ),
        (lambda: VfioUser(SIBLING).sets_flr_bit(), "FLR bit of igb1 (0000:01:00.1): it has none"),
        (lambda: USER.closes(at="later"), "duration 'later': not understood"),
    ],
)
def test_a_mistake_is_answered_when_it_is_made(mistake: Callable[[], object], answer: str) -> None:
    with pytest.raises(UsageError, match="^" + re.escape(answer)):
        mistake()

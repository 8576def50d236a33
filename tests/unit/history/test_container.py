"""The container: whatever goes in comes out, and what is broken says so."""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from collections.abc import Callable
from operator import attrgetter
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import HistoryError
from harness.history.columns import KERNEL, OPERATION, SERVED, Edge
from harness.history.container import CONTAINER, VERSION, from_bytes, to_bytes
from harness.history.history import ActorRecord, FunctionRecord, History, LogLine, Probe, Uevent
from harness.lab.figures.synthetic import synthetic
from harness.model.command import CommandRecord
from harness.model.limits import HISTORY_JSON
from harness.model.loss import LossKind
from harness.model.observation import Callbacks
from harness.model.served import Happened
from harness.model.units import Ns
from tests.unit.model.strategies import NUMBERS, PLANS, TIMES, WORDS

SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | WORDS
CONFIGS = st.sampled_from([b"", bytes(256), bytes(range(256)) * 16])
ADDRESSES = st.sampled_from(["0000:01:00.0", "10000:e1:1f.7"])
CALLBACKS = st.none() | st.builds(Callbacks, WORDS, WORDS)
NEIGHBOURS = st.sampled_from(["0000:00:02.0", "0000:02:00.1"]).flatmap(
    lambda bdf: st.builds(
        FunctionRecord,
        alias=st.just(bdf),
        platform=WORDS,
        bdf=st.just(bdf),
        vendor=st.integers(0, 0xFFFF),
        device=st.integers(0, 0xFFFF),
        driver=WORDS,
        reset_methods=st.just(()),
        iommu_group=WORDS,
        port=st.sampled_from(["", "0000:00:02.0"]),
        config_before=CONFIGS,
        config_after=CONFIGS,
        config_open=st.just(b""),
        callbacks=CALLBACKS,
    )
)
PROBES = st.lists(st.builds(Probe, symbol=WORDS, edge=st.sampled_from(Edge)), min_size=1, max_size=2).map(
    tuple
)


@st.composite
def _histories(draw: st.DrawFn) -> History:
    """Any history that can be: its parts agree with each other."""
    plan, begin, probes = draw(PLANS), draw(TIMES), draw(PROBES)
    aliases = tuple(dict.fromkeys(plan.functions))
    known = st.sampled_from(aliases) if aliases else st.nothing()

    def moved(parts: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(dataclasses.replace(one, function=draw(known)) for one in parts) if aliases else ()

    actors = tuple(
        dataclasses.replace(
            actor,
            steps=tuple(
                dataclasses.replace(
                    step, owners=aliases[:1], file=step.file and (moved((step.file,)) or (None,))[0]
                )
                for step in actor.steps
            ),
        )
        for actor in plan.actors
    )
    plan = dataclasses.replace(
        plan,
        functions=aliases,
        actors=actors,
        settings=moved(plan.settings),
        oracles=moved(plan.oracles),
        faults=moved(plan.faults),
        incidents=moved(plan.incidents),
        ports=dict.fromkeys(aliases[:1], aliases[-1] if aliases else ""),
    )
    end = draw(st.integers(begin, 2**60))
    at = st.integers(begin, end)
    places = [(number, step) for number, actor in enumerate(actors) for step in range(len(actor.steps))]
    operations = [
        (moment, draw(st.sampled_from([0, end])), draw(NUMBERS), 4, 0, *draw(st.sampled_from(places)), 0)
        for moment in sorted(draw(st.lists(at, max_size=5)) if places else [])
    ]
    nowhere = st.integers(-1, len(aliases) - 1)
    kernel = [
        (moment, draw(NUMBERS), 7, draw(st.integers(0, len(probes) - 1)), draw(nowhere))
        for moment in sorted(draw(st.lists(at, max_size=5)))
    ]
    served = [
        (moment, draw(NUMBERS), 4, draw(st.integers(0, len(aliases) - 1)), Happened.READ, 7, 4, 0)
        for moment in sorted(draw(st.lists(at, max_size=5)) if aliases else [])
    ]
    return History(
        plan=plan,
        begin_ns=begin,
        end_ns=Ns(end),
        operations=np.array(operations, dtype=OPERATION),
        kernel=np.array(kernel, dtype=KERNEL),
        lost_kernel_events=draw(NUMBERS),
        probes=probes,
        actors=tuple(ActorRecord(name=actor.name, tid=draw(st.integers(0, 2**31 - 1))) for actor in actors),
        functions=tuple(
            FunctionRecord(
                alias=alias,
                platform=draw(WORDS),
                bdf=draw(ADDRESSES),
                vendor=draw(st.integers(0, 0xFFFF)),
                device=0x10D3,
                reset_methods=tuple(draw(st.lists(WORDS, max_size=2))),
                config_before=draw(CONFIGS),
                config_after=draw(CONFIGS),
                config_open=draw(CONFIGS),
                callbacks=draw(CALLBACKS),
            )
            for alias in aliases
        ),
        neighbours=draw(st.none() | st.lists(NEIGHBOURS, max_size=2, unique_by=attrgetter("bdf")).map(tuple)),
        log=tuple(
            draw(
                st.lists(st.builds(LogLine, time_us=NUMBERS, level=st.integers(0, 7), text=WORDS), max_size=2)
            )
        ),
        log_complete=draw(st.booleans()),
        uevents=tuple(draw(st.lists(st.builds(Uevent, time_ns=TIMES, action=WORDS, path=WORDS), max_size=2))),
        clock_ratio=draw(st.floats(0.1, 10.0)),
        commands=tuple(
            CommandRecord(
                argv=one.argv,
                status=draw(st.none() | st.integers(-64, 255)),
                output=draw(WORDS),
                lost_bytes=draw(NUMBERS),
                begin_ns=draw(TIMES),
                end_ns=draw(TIMES),
            )
            for one in plan.before
        ),
        taint_before=draw(NUMBERS),
        taint_after=draw(NUMBERS),
        provenance=draw(st.dictionaries(WORDS, SCALARS | st.lists(SCALARS, max_size=2), max_size=2)),
        served=np.array(served, dtype=SERVED),
        served_error_ns=draw(NUMBERS),
        served_lost=draw(NUMBERS),
        lost=draw(st.sampled_from(["", *LossKind])),
        lost_reason=draw(WORDS),
    )


HISTORIES = _histories()


def contents(history: History) -> dict[str, Any]:
    """All fields, tables as bytes, so that two histories can be compared."""
    return {
        field.name: value.tobytes() if isinstance(value, np.ndarray) else value
        for field in dataclasses.fields(history)
        for value in [getattr(history, field.name)]
    }


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(HISTORIES)
def test_whatever_goes_in_comes_out(history: History) -> None:
    data = to_bytes(history)
    again = from_bytes(data)
    assert contents(again) == contents(history)
    assert to_bytes(again) == data


@pytest.mark.parametrize("twice", ["0000:01:00.0", "0000:02:00.1"])
def test_a_function_that_is_beside_itself_is_refused(twice: str) -> None:
    history = synthetic(40)
    beside = dataclasses.replace(history.functions[0], alias="0000:02:00.1", bdf="0000:02:00.1")
    again = dataclasses.replace(beside, alias=twice, bdf=twice)
    from_bytes(to_bytes(dataclasses.replace(history, neighbours=(beside,))))
    with pytest.raises(HistoryError, match=f"impossible: the function '{twice}' is beside itself"):
        from_bytes(to_bytes(dataclasses.replace(history, neighbours=(beside, again))))


def test_equal_histories_are_equal_bytes() -> None:
    assert to_bytes(synthetic(40)) == to_bytes(synthetic(40))


def test_tables_that_were_read_cannot_be_written() -> None:
    again = from_bytes(to_bytes(synthetic(40)))
    with pytest.raises(ValueError, match="read-only"):
        again.operations["value"] = 0
    with pytest.raises(ValueError, match="read-only"):
        again.kernel["value"] = 0
    with pytest.raises(ValueError, match="read-only"):
        again.served["value"] = 0


def rewritten(data: bytes, change: Callable[[dict[str, bytes]], None]) -> bytes:
    """The same archive with some members changed."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def with_fields(**changes: Any) -> bytes:
    def change(members: dict[str, bytes]) -> None:
        fields = json.loads(members["history.json"])
        fields.update(changes)
        members["history.json"] = json.dumps(fields).encode()

    return rewritten(to_bytes(synthetic(40)), change)


def test_a_newer_version_asks_for_a_newer_harness() -> None:
    with pytest.raises(
        HistoryError, match=rf"version {VERSION + 1}, this harness reads up to {VERSION}.*newer"
    ):
        from_bytes(with_fields(version=VERSION + 1))


def test_fields_that_a_later_writer_of_this_version_added_do_no_harm() -> None:
    assert from_bytes(with_fields(weather="fine")).plan == synthetic(40).plan


@pytest.mark.parametrize("container", ["hil-journal", None, 7])
def test_another_container_is_named(container: object) -> None:
    with pytest.raises(HistoryError, match=f"not '{CONTAINER}'"):
        from_bytes(with_fields(container=container))


@pytest.mark.parametrize(
    "change",
    [
        {"version": "one"},
        {"version": None},
        {"plan": None},
        {"plan": {}},
        {"probes": [{"symbol": "s", "edge": "middle"}]},
        {"probes": ["p0"]},
        {"actors": [{"name": "a"}]},
        {"functions": [{"alias": "igb0"}]},
        {"functions": None},
        {"log": 7},
        {"uevents": [{}]},
        {"plan": synthetic(40).plan.to_json() | {"faults": 7}},
    ],
    ids=str,
)
def test_a_malformed_field_is_damage(change: dict[str, Any]) -> None:
    with pytest.raises(HistoryError):
        from_bytes(with_fields(**change))


@pytest.mark.parametrize("member", ["history.json", "operations.npy", "kernel.npy", "served.npy"])
@pytest.mark.parametrize("content", [None, b"", b"[]", b"7", b"{", b"\x93NUMPY\x01\x00", b"\xff" * 200])
def test_a_malformed_member_is_damage(member: str, content: bytes | None) -> None:
    def change(members: dict[str, bytes]) -> None:
        if content is None:
            del members[member]
        else:
            members[member] = content

    with pytest.raises(HistoryError):
        from_bytes(rewritten(to_bytes(synthetic(40)), change))


@pytest.mark.parametrize("version", [1, 2, 3])
def test_before_version_4_there_was_nothing_served(version: int) -> None:
    def age(members: dict[str, bytes]) -> None:
        fields = json.loads(members["history.json"])
        for name in ("served_error_ns", "served_lost"):
            del fields[name]
        for name in ("faults", "incidents"):
            del fields["plan"][name]
        members["history.json"] = json.dumps(fields | {"version": version}).encode()
        del members["served.npy"]

    old = from_bytes(rewritten(to_bytes(synthetic(40)), age))
    assert contents(old) == contents(synthetic(40))


def test_a_table_with_other_columns_is_damage() -> None:
    def swap(members: dict[str, bytes]) -> None:
        members["kernel.npy"] = members["operations.npy"]

    with pytest.raises(HistoryError, match="columns"):
        from_bytes(rewritten(to_bytes(synthetic(40)), swap))


@pytest.mark.parametrize("data", [b"", b"garbage", b"PK\x03\x04", b"\x00" * 10_000])
def test_garbage_is_no_history(data: bytes) -> None:
    with pytest.raises(HistoryError, match="damaged"):
        from_bytes(data)


SHORT = to_bytes(synthetic(8))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(SHORT) - 1))
def test_a_truncated_history_is_damage(length: int) -> None:
    with pytest.raises(HistoryError):
        from_bytes(SHORT[:length])


@settings(max_examples=400, deadline=None)
@given(st.integers(0, len(SHORT) - 1), st.integers(1, 255))
def test_a_flipped_byte_is_found_or_does_not_matter(at: int, flip: int) -> None:
    """Nothing but HistoryError, whatever the byte; and a history that is read is the one that was written."""
    broken = bytearray(SHORT)
    broken[at] ^= flip
    try:
        found = from_bytes(bytes(broken))
    except HistoryError:
        return
    assert contents(found) == contents(from_bytes(SHORT))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"clock_ratio": float("nan")}, "clock_ratio is nan"),
        ({"clock_ratio": 0}, "clock_ratio is 0"),
        ({"clock_ratio": -1.0}, "clock_ratio is -1.0"),
        ({"begin_ns": "soon"}, "begin_ns is 'soon', not an integer"),
        ({"begin_ns": True}, "begin_ns is True"),
        ({"end_ns": 2**63}, "end_ns is 9223372036854775808"),
        ({"lost_kernel_events": -1}, "lost_kernel_events is -1"),
        ({"log_complete": "yes"}, "log_complete is 'yes'"),
        ({"log": [{"time_us": 1, "level": 9, "text": ""}]}, r"log\[0\]\.level is 9"),
        ({"log": [{"time_us": 1, "level": 4, "text": "\ud800"}]}, r"log\[0\]\.text .*surrogate"),
        ({"log": [{"time_us": 1, "level": 4, "text": ""}] * 40_000}, "at most 32,768 are taken"),
        ({"probes": [{"symbol": "s", "edge": "middle"}]}, r"probes\[0\]\.edge is 'middle'"),
        ({"plan": synthetic(40).plan.to_json() | {"actors": 7}}, r"plan\.actors is 7, not a list"),
        ({"lost": "gone"}, "lost is 'gone'"),
        ({"provenance": [1]}, "provenance is"),
        ({"provenance": {"a": json.loads("[" * 40 + "]" * 40)}}, "nested too deeply: at most 16"),
    ],
    ids=lambda value: ascii(value)[:60],
)
def test_what_is_wrong_is_named(change: dict[str, Any], named: str) -> None:
    with pytest.raises(HistoryError, match=named):
        from_bytes(with_fields(**change))


@pytest.mark.parametrize(
    ("name", "column", "value", "said"),
    [
        ("operations", "actor", 77, "there are 6"),
        ("operations", "step", 1, "its actor has fewer"),
        ("operations", "begin_ns", 5, "not within the stage"),
        ("operations", "end_ns", 7, "before it began"),
        ("kernel", "probe", 9, "there are 9"),
        ("kernel", "function", 1, "there are 1"),
        ("kernel", "tid", -1, "no thread"),
    ],
)
def test_a_row_that_cannot_be_is_named(name: str, column: str, value: int, said: str) -> None:
    history = synthetic(40)
    rows = getattr(history, name).copy()
    rows[column][0] = value
    with pytest.raises(HistoryError, match=rf"{name}\.npy row 0: {column} is {value}, {said}"):
        from_bytes(to_bytes(dataclasses.replace(history, **{name: rows})))


def test_an_archive_that_unpacks_to_more_than_it_may_is_not_unpacked() -> None:
    def swell(members: dict[str, bytes]) -> None:
        members["history.json"] = b" " * (HISTORY_JSON.most + 1)

    with pytest.raises(HistoryError, match=r"at most 16,777,216 are taken of history\.json"):
        from_bytes(rewritten(to_bytes(synthetic(40)), swell))


def test_a_small_archive_takes_little_memory_whatever_its_tables_may_have() -> None:
    """A million rows of nothing are 40 MB in 40 kB; those of real stages pack seven times at most."""
    swollen = synthetic(40)
    rows = np.zeros(1_000_000, OPERATION)
    with pytest.raises(HistoryError, match="at most 16 are taken of a long member of a history"):
        from_bytes(to_bytes(dataclasses.replace(swollen, operations=rows)))


def test_an_archive_of_many_members_is_not_looked_at() -> None:
    def crowd(members: dict[str, bytes]) -> None:
        members.update({f"m{number}": b"" for number in range(100)})

    with pytest.raises(HistoryError, match=r"104 members, at most 64"):
        from_bytes(rewritten(to_bytes(synthetic(40)), crowd))

"""A history that an earlier harness recorded can be read, judged and written for ever."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import cli
from harness.contract import load
from harness.history.columns import KERNEL, OPERATION, SERVED
from harness.history.container import VERSION, from_bytes, to_bytes
from harness.history.history import History
from harness.history.reading import Reading
from harness.history.windows import doubts
from harness.judge import judge
from harness.model.command import Command, CommandRecord
from harness.model.fault import Fault, Incident, IncidentKind, Misbehaviour, Occasion, PlannedFault
from harness.model.observation import Callbacks
from harness.model.pci import ResetMethod
from harness.model.plan import Op, Privilege, Retries
from harness.model.promise import WindowKind
from harness.model.served import Happened
from harness.model.units import MS, SECOND, Ns
from harness.model.verdict import Blame, Verdict

HERE = Path(__file__).parent
V1, V2, V3, V4, V5, V6 = (HERE / f"v{number}.history.zip" for number in range(1, 7))
THINNED = HERE / "v6-thinned.history.zip"
NEWEST = HERE / f"v{VERSION}.history.zip"
DOCUMENT = Path(__file__).parents[3] / "docs" / "history.md"


@pytest.fixture(scope="module")
def v1() -> History:
    """Two readers, a control and a resetter on an emulated e1000e; recorded with harness 0.1.0."""
    return from_bytes(V1.read_bytes())


@pytest.fixture(scope="module")
def v2() -> History:
    """Two readers, a reader without privilege, a control and a resetter on an emulated igb."""
    return from_bytes(V2.read_bytes())


def test_every_version_that_was_ever_written_is_kept() -> None:
    kept = {path.name for path in HERE.glob("*.history.zip")}
    assert kept == {*(f"v{n}.history.zip" for n in range(1, VERSION + 1)), THINNED.name}


def test_what_is_known_of_it_is_in_it(v1: History) -> None:
    assert v1.plan.title == "two readers meet a reset"
    assert [actor.name for actor in v1.plan.actors] == [
        "reader-1",
        "reader-2",
        "control",
        "resetter",
        "heartbeat",
    ]
    assert [actor.end for actor in v1.actors] == ["done"] * 5
    assert v1.provenance["kernel.release"] == "6.12.117+deb13-amd64"
    (function,) = v1.functions
    assert (function.alias, function.platform, str(function.bdf)) == ("e1000e0", "e1000e", "0000:06:00.0")
    assert (function.vendor, function.device) == (0x8086, 0x10D3)
    assert function.config_before[:4] == b"\x86\x80\xd3\x10"
    assert len(function.config_before) == len(function.config_after) == 4096
    assert function.config_before == function.config_after
    assert (len(v1.operations), len(v1.kernel)) == (6729, 10)
    assert v1.log_complete
    assert (v1.lost_kernel_events, v1.taint_before, v1.taint_after) == (0, 0, 0)


def test_its_window_its_reset_and_its_waits_are_found(v1: History) -> None:
    assert doubts(v1) == ()
    (window,) = Reading(v1).windows
    (reset,) = Reading(v1).resets
    resetter = v1.actors[3].tid
    assert (window.tid, reset.tid, reset.method, reset.result) == (resetter, resetter, ResetMethod.PM, 0)
    assert window.opened_ns < reset.begin_ns < reset.end_ns < window.closed_ns
    assert 20 * MS < reset.end_ns - reset.begin_ns < 100 * MS
    blocked = v1.operations[Reading(v1).waited]
    assert sorted(blocked["actor"].tolist()) == [0, 1]
    assert (blocked["end_ns"] >= window.closed_ns - 1000).all()


ASKED_OF_BOTH = {
    "access_outcome",
    "call_outcome",
    "collided",
    "config_restored",
    "finished",
    "kernel_log",
    "lock_discipline",
    "reset_happened",
    "reset_time",
    "values_sane",
}


@pytest.mark.parametrize("path", [V1, V2, V4, V5, V6], ids=lambda path: path.name)
def test_each_of_a_whole_stage_is_still_judged_pass(path: Path) -> None:
    history = from_bytes(path.read_bytes())
    judgement = judge(history, load().terms_of(history))
    assert judgement.verdict is Verdict.PASS, judgement.decisive
    assert {finding.checker for finding in judgement.findings} >= ASKED_OF_BOTH


def test_what_version_1_does_not_say_is_nothing(v1: History) -> None:
    assert (v1.plan.modules, v1.plan.ports) == ((), {})
    assert {actor.privilege for actor in v1.plan.actors} == {Privilege.ROOT}
    assert {(step.owners, step.retries) for actor in v1.plan.actors for step in actor.steps} == {((), None)}


@pytest.mark.parametrize("path", [V1, V2, V3], ids=lambda path: path.name)
def test_before_version_4_nothing_was_served(path: Path) -> None:
    old = from_bytes(path.read_bytes())
    assert (old.plan.faults, old.plan.incidents) == ((), ())
    assert (len(old.served), old.served_error_ns, old.served_lost) == (0, 0, 0)
    assert old.served.dtype == SERVED


def test_what_is_known_of_version_2_is_in_it(v2: History) -> None:
    assert v2.plan.title == "two readers and a nobody meet a reset"
    assert [
        (actor.name, actor.privilege) for actor in v2.plan.actors if actor.privilege != Privilege.ROOT
    ] == [("nobody", Privilege.NONE)]
    (window,) = Reading(v2).windows
    (reset,) = Reading(v2).resets
    assert (window.kind, reset.method) == (WindowKind.SYSFS_RESET, ResetMethod.FLR)
    assert v2.means(int(v2.operations["actor"][window.holder]), 0) == "reset/flr"
    seen = v2.operations[v2.operations["actor"] == 2]
    assert len(seen)
    assert not seen["result"].any()  # past the first 64 bytes nobody sees anything
    assert not seen["error"].any()


def test_what_is_known_of_version_3_is_in_it() -> None:
    """Recorded when the kernel panicked: what its actors were in the middle of was read from its memory."""
    v3 = from_bytes(V3.read_bytes())
    assert (v3.lost, v3.lost_reason) == ("panic", "hil_faults: a panic on request")
    assert [(actor.name, actor.end) for actor in v3.actors] == [
        ("reader-1", "lost"),
        ("reader-2", "lost"),
        ("resetter", "lost"),
        ("heartbeat", "lost"),
    ]
    assert v3.operations["end_ns"].tolist() == [0] * 4
    judgement = judge(v3, load().terms_of(v3))
    assert judgement.decisive is not None
    assert (judgement.verdict, judgement.decisive.blame) == (Verdict.FAIL, Blame.KERNEL_FAULT)
    assert judgement.decisive.claim.startswith(
        "The kernel panicked 492 ms into the stage: hil_faults: a panic on request; reader-1 was in config-read/sysfs"
    )


def test_what_is_known_of_version_4_is_in_it() -> None:
    """A function of ours that was not ready after a reset, and an error that the port above it was made to report."""
    v4 = from_bytes(V4.read_bytes())
    assert v4.plan.title == "a slow reset and a corrected error of the link"
    slow = Fault(what=Misbehaviour.NOT_READY, when=Occasion.FLR, lasting_ns=Ns(300 * MS))
    assert v4.plan.faults == (PlannedFault(function="endpoint0", fault=slow),)
    struck = Incident(function="endpoint0", kind=IncidentKind.LINK_ERROR, at_ns=Ns(1 * SECOND), detail="RCVR")
    assert v4.plan.incidents == (struck,)
    assert (len(v4.served), v4.served_lost, v4.served_error_ns) == (2637, 0, 15_856_320)
    assert (np.diff(v4.served["time_ns"]) >= 0).all()
    happened = v4.served[v4.served["what"] > Happened.WRITTEN]
    assert happened[["what", "function", "value", "error"]].tolist() == [
        (Happened.FLR, 0, happened["value"][0], 0),
        (Happened.FAULT_BEGINS, 0, 0, 0),
        (Happened.FAULT_MET, 0, 0, 0),
        (Happened.FAULT_ENDS, 0, 0, 0),
        (Happened.INCIDENT_BEGINS, 0, 0, 0),
        (Happened.INCIDENT_ENDS, 0, 0, 0),
    ]
    begun, ended = happened["time_ns"][[1, 3]]
    assert abs(int(ended - begun) - 300 * MS) < MS  # one clock in the model, two in the history
    (reset,) = Reading(v4).resets
    assert reset.begin_ns - v4.served_error_ns < begun < reset.end_ns < ended + 300 * MS


@pytest.mark.parametrize("path", [V1, V2, V3, V4], ids=lambda path: path.name)
def test_before_version_5_nothing_was_run(path: Path) -> None:
    old = from_bytes(path.read_bytes())
    assert (old.plan.before, old.commands) == ((), ())


def test_what_is_known_of_version_5_is_in_it() -> None:
    """A program that was brought, told of a function by its alias, and one that may fail."""
    v5 = from_bytes(V5.read_bytes())
    assert v5.plan.title == "two commands and a reset"
    looks = Command(("busybox", "cat", "/sys/bus/pci/devices/{igb0}/vendor"))
    assert v5.plan.before == (looks, Command(("python3", "-c", "raise SystemExit(3)"), may_fail=True))
    looked, failed = v5.commands
    assert looked.argv[2] == f"/sys/bus/pci/devices/{v5.functions[0].bdf}/vendor"
    assert (looked.status, looked.output, looked.lost_bytes) == (0, "0x8086\n", 0)
    assert (failed.status, failed.output) == (3, "")
    assert looked.begin_ns < looked.end_ns <= failed.begin_ns < failed.end_ns < v5.begin_ns


def test_version_6_tells_of_the_functions_around_and_of_callbacks_and_older_ones_of_neither() -> None:
    """A reset of one function of two under nvme."""
    v6 = from_bytes(V6.read_bytes())
    assert v6.functions[0].callbacks == Callbacks("nvme_reset_prepare", "nvme_reset_done")
    port, sibling = v6.neighbours or ()
    assert (port.alias, port.platform, sibling.alias) == (v6.functions[0].port, "root-port", "0000:0d:00.1")
    assert (sibling.port, sibling.callbacks) == (port.bdf, None)
    (kept,) = (one for one in judge(v6, load().terms_of(v6)).findings if one.checker == "config_kept")
    assert (kept.verdict, kept.met) == (Verdict.PASS, 2)
    for older in (V1, V2, V3, V4, V5):
        history = from_bytes(older.read_bytes())
        assert history.neighbours is None
        assert {one.callbacks for one in history.functions} <= {None}
        assert "config_kept" not in {one.checker for one in judge(history, load().terms_of(history)).findings}


@pytest.mark.parametrize("path", [V1, V2, V3, V4, V5], ids=lambda path: path.name)
def test_before_version_6_nothing_was_left_out(path: Path) -> None:
    old = from_bytes(path.read_bytes())
    assert {(actor.thinned, actor.thinned_ns, actor.lost_ns) for actor in old.actors} == {(0, 0, 0)}
    assert old.begun == len(old.operations)


def test_what_was_left_out_of_lanes_that_get_full_is_known() -> None:
    """The stage of version 5 as it is in lanes that get full: real ones hold more than a golden file may."""
    v5, v6 = (from_bytes(path.read_bytes()) for path in (V5, THINNED))
    assert v6.plan == v5.plan
    assert v6.begun == len(v5.operations) > len(v6.operations) + 500
    assert {actor.name for actor in v6.actors if actor.thinned} == {"reader"}
    gaps = Reading(v6).gaps
    assert gaps.count.sum() == sum(actor.thinned for actor in v6.actors)
    assert [(one.opened_ns, one.closed_ns, one.kind) for one in Reading(v6).windows] == [
        (one.opened_ns, one.closed_ns, one.kind) for one in Reading(v5).windows
    ]
    blocked = [history.operations[Reading(history).waited] for history in (v5, v6)]
    assert blocked[0].tobytes() == blocked[1].tobytes()


def test_the_command_judges_it_without_a_device(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["judge", str(V1)]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first == "PASS  two readers meet a reset  (kernel 6.12.117+deb13-amd64)"


def test_one_changed_read_turns_it_red(v1: History, tmp_path: Path) -> None:
    """All-ones from a function that was never lost: the golden file is evidence, not decoration."""
    operations = v1.operations.copy()
    victim = np.flatnonzero((operations["actor"] == 0) & ~Reading(v1).waited)[5]
    operations["value"][victim] = 0xFFFF_FFFF
    path = tmp_path / "changed.history.zip"
    path.write_bytes(to_bytes(dataclasses.replace(v1, operations=operations)))
    assert cli.main(["judge", str(path)]) == 1


def contents(history: History) -> dict[str, Any]:
    return {
        field.name: value.tobytes() if isinstance(value, np.ndarray) else value
        for field in dataclasses.fields(history)
        for value in [getattr(history, field.name)]
    }


@pytest.mark.parametrize("path", [V1, V2, V4, V5, V6], ids=lambda path: path.name)
def test_what_is_read_can_be_written(path: Path) -> None:
    history = from_bytes(path.read_bytes())
    assert contents(from_bytes(to_bytes(history))) == contents(history)


def test_writing_the_newest_again_keeps_every_byte() -> None:
    again = to_bytes(from_bytes(NEWEST.read_bytes()))
    with zipfile.ZipFile(NEWEST) as old, zipfile.ZipFile(io.BytesIO(again)) as new:
        tables = ["operations.npy", "kernel.npy", "served.npy"]
        assert old.namelist() == new.namelist() == ["history.json", *tables]
        assert json.loads(old.read("history.json")) == json.loads(new.read("history.json"))
        for name in tables:
            assert old.read(name) == new.read(name)
        assert {info.compress_type for info in new.infolist()} == {zipfile.ZIP_DEFLATED}
        assert {info.date_time for info in new.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def _table(heading: str) -> list[str]:
    """First column of the first table below a heading of docs/history.md."""
    section = DOCUMENT.read_text().split(f"{heading}\n", 1)[1]
    rows = re.findall(r"^\| (.+?) \|", section.split("\n| ", 1)[1].split("\n\n", 1)[0], re.MULTILINE)
    return [name for row in rows[1:] for name in re.findall(r"`([\w.\[\]]+)`", row)]


def test_the_document_names_every_column() -> None:
    assert _table("## operations.npy") == list(OPERATION.names or ())
    assert _table("## kernel.npy") == list(KERNEL.names or ())
    assert _table("## served.npy") == list(SERVED.names or ())
    text = DOCUMENT.read_text()
    assert f"{OPERATION.itemsize} bytes" in text
    assert f"{KERNEL.itemsize} bytes" in text
    assert f"{SERVED.itemsize} bytes" in text


def test_the_document_names_every_field() -> None:
    with zipfile.ZipFile(NEWEST) as archive:
        fields = json.loads(archive.read("history.json"))
    assert set(_table("## history.json")) == set(fields)
    assert {name.partition("[")[0] for name in _table("### plan")} == set(fields["plan"])
    text = DOCUMENT.read_text()
    for name in ("probes", "actors", "functions"):
        missing = [key for key in fields[name][0] if f"`{key}`" not in text]
        assert not missing, (name, missing)
    actor = fields["plan"]["actors"][0]
    missing = [key for key in (*actor, *actor["steps"][0]) if f"`{key}`" not in text]
    assert not missing
    missing = [op for op in Op if f"`{op}`" not in text]
    assert not missing
    for kind in (Retries, Fault, Incident, Command, CommandRecord):
        missing = [field.name for field in dataclasses.fields(kind) if f"`{field.name}`" not in text]
        assert not missing, (kind, missing)
    missing = [one.name for one in Happened if f"`{one.name}`" not in text]
    assert not missing


def test_the_program_in_the_document_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    (tmp_path / "some.history.zip").write_bytes(V1.read_bytes())
    monkeypatch.chdir(tmp_path)
    exec(compile(program, str(DOCUMENT), "exec"), {})  # noqa: S102 - it is our own document
    assert re.fullmatch(r"reset/pm \d+\.\d+ ms\n", capsys.readouterr().out)

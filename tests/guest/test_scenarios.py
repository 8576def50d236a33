"""The shipped scenarios on the default lab, run once: green, complete, and saying how much they saw."""

from __future__ import annotations

import re

from harness import results
from harness.history.history import History
from harness.journal.record import Status
from harness.journal.session import Entry
from harness.report.identity import slug
from tests.guest.invocation import red
from tests.guest.shipped import Shipped

_PACKAGE = re.compile(r"[a-z0-9.+-]+=\S*\d\S*")  # name=version, as dpkg writes a version


def staged(shipped: Shipped) -> list[Entry]:
    """Tests that were not skipped because their function lacks something."""
    return [entry for entry in shipped.session.entries if entry.stages]


def test_all_of_them_keep_the_contract(shipped: Shipped) -> None:
    assert shipped.status == 0, shipped.said


def test_the_report_is_valid_and_green(shipped: Shipped) -> None:
    report = shipped.report()
    assert not red(report), shipped.said
    assert len(list(report.iter("testcase"))) >= shipped.part.cases


def test_the_journal_is_complete(shipped: Shipped) -> None:
    session = shipped.session
    assert session.end is not None
    assert (session.end.status, session.end.aborted, session.damaged, session.trouble) == (0, "", 0, ())
    for entry in session.entries:
        assert entry.status in (Status.OK, Status.SKIPPED), entry
        assert bool(entry.stages) == (entry.type != "hil.refused"), entry


def test_every_stage_has_a_history_and_every_test_a_console(shipped: Shipped) -> None:
    histories = shipped.histories()
    stages = [stage for entry in staged(shipped) for stage in entry.stages]
    assert len(stages) == len(histories) >= shipped.part.stages
    assert {stage.history for stage in stages} == {f"{results.ATTACHMENTS}/{name}" for name in histories}
    for entry in staged(shipped):
        console = shipped.results / results.ATTACHMENTS / f"{slug(entry.test)}.console.log"
        assert console.exists(), entry.test
        assert "Kernel panic" not in console.read_text(errors="replace")


def test_every_pass_says_how_much_collided(shipped: Shipped) -> None:
    counted = [
        finding
        for entry in staged(shipped)
        for stage in entry.stages
        for finding in stage.findings
        if stage.verdict == "PASS" and finding["checker"] == "collided"
    ]
    assert len(counted) >= shipped.part.met
    for finding in counted:
        assert finding["verdict"] == "PASS"
        assert re.match(
            r"[1-9]\d* (config accesses|accesses and calls) met a lock window", finding["claim"]
        ), finding


def test_every_history_names_exactly_what_ran(shipped: Shipped) -> None:
    for name, history in shipped.histories().items():
        assert_exact(name, history)


def assert_exact(name: str, history: History) -> None:
    said = history.provenance
    packages = said["qemu.packages"].split()
    assert _PACKAGE.fullmatch(said["kernel.package"]), name
    assert all(_PACKAGE.fullmatch(one) for one in packages), name
    assert re.match(r"\d+\.\d+\.\d+", said["qemu.version"]), name
    if said["qemu.source"] == "unpacked":
        assert any(one.startswith("qemu-system-x86=") for one in packages), name
        assert said["kernel.release"] in said["kernel.package"], name
    assert said["lab.accelerator"] in ("tcg", "kvm")
    assert said["harness.version"]
    assert all(function.platform != "unknown" for function in history.functions), name

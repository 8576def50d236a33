"""What a lost target comes to: a history to be judged where its kernel is to blame, else an error of its own kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.bindings.actor import Code, Instruction, Room, SharedStage
from harness.contract import load
from harness.errors import AgentLost, ClockError, EmulatorLost, GuestError, HarnessError
from harness.history.container import from_bytes, to_bytes
from harness.history.history import History
from harness.judge import judge
from harness.model.loss import InFlight, Loss, LossKind, doing
from harness.model.observation import Beat, FunctionFacts, Phase, Reached, Ready, StagedFunction
from harness.model.pci import Bdf
from harness.model.plan import Plan
from harness.model.units import MS, SECOND, Ns
from harness.model.verdict import Blame, Verdict
from harness.report.ascii.timeline import timeline_text
from harness.staging.lost import Told, error_of, evidence, examined, last_history
from harness.staging.part import plan_of
from harness.target.clock import ClockReading
from tests.unit.staging.functions import IGB

RELEASE = 40 * SECOND
OFFSET = 7 * SECOND
"""By how much the target's clock is ahead of the host's."""
CONSOLE = """\
[   40.201000] BUG: kernel NULL pointer dereference, address: 0000000000000068
[   40.212000] Kernel panic - not syncing: hil_faults: a panic on request
[   40.212900] ---[ end Kernel panic - not syncing: hil_faults: a panic on request ]---
"""
REASON = "hil_faults: a panic on request"
CONTRACT = load()


def plan() -> Plan:
    """Two readers and a resetter, and the heartbeat that takes part in every stage."""
    return plan_of([IGB.reads("sysfs", actors=2), IGB.resets("flr", at="50ms")], title="t", lasting="1s")


def number(name: str) -> int:
    return next(at for at, actor in enumerate(plan().actors) if actor.name == name)


def flight(name: str, means: str, after_ms: int, *, returned: bool = False, count: int = 9) -> InFlight:
    actor = number(name)
    step = next(at for at, step in enumerate(plan().actors[actor].steps) if step.means == means)
    return InFlight(
        actor=actor,
        step=step,
        tid=200 + actor,
        round=3,
        begin_ns=RELEASE + after_ms * MS,
        count=count,
        returned=returned,
    )


FLIGHTS = (
    flight("reader-1", "config-read/sysfs", 211),
    flight("reader-2", "config-read/sysfs", 205, returned=True),
    flight("resetter", "reset/flr", 180),
    flight("heartbeat", "heartbeat", 208),
)


def loss(kind: LossKind = LossKind.PANIC, said: str = REASON, **more: object) -> Loss:
    known: dict[str, object] = {
        "console": CONSOLE,
        "registers": "RAX=0",
        "events": ("GUEST_PANICKED (action none)",),
        "host_ns": RELEASE - OFFSET + 212 * MS,
        "release_ns": RELEASE,
        "in_flight": tuple(sorted(FLIGHTS, key=lambda one: one.actor)),
    }
    return Loss(kind=kind, said=said, **{**known, **more})  # type: ignore[arg-type]


def told(*, stage: int = 5, release_ns: int = 0, after_ms: int = 100, phase: Phase = Phase.RUNNING) -> Told:
    begun = Told(
        clock=ClockReading(
            host_before_ns=RELEASE - OFFSET - MS,
            guest_ns=RELEASE - MS // 2,
            host_after_ns=RELEASE - OFFSET,
        )
    )
    facts = FunctionFacts(
        bdf=Bdf.parse("0000:01:00.0"),
        vendor=0x8086,
        device=0x10C9,
        class_code=0x20000,
        driver="igb",
        reset_methods=("flr", "pm"),
        iommu_group="3",
        port=Bdf.parse("0000:00:05.0"),
    )
    about = StagedFunction(alias="igb0", facts=facts, config_before=bytes(256))
    begun.hear(Ready(stage=stage, pages={0: 4096}, functions=(about,), taint=4096))
    begun.hear(Reached(phase=phase, alive_ns=RELEASE))
    begun.hear(Beat(alive_ns=RELEASE + after_ms * MS, release_ns=release_ns, pages={0: 4096}))
    return begun


def history(lost: Loss | None = None, heard: Told | None = None) -> History:
    return last_history(
        plan(), lost or loss(), heard or told(), lambda *_: "igb", {"kernel.release": "6.12.57+deb13-amd64"}
    )


def claim(lost: Loss | None = None, heard: Told | None = None) -> str:
    """The decisive sentence."""
    made = history(lost, heard)
    judgement = judge(made, CONTRACT.terms_of(made))
    assert judgement.verdict is Verdict.FAIL
    assert judgement.decisive is not None
    assert judgement.decisive.blame is Blame.KERNEL_FAULT
    assert {finding.blame for finding in judgement.findings if finding.verdict is Verdict.FAIL} == {
        Blame.KERNEL_FAULT
    }
    return judgement.decisive.claim


def test_a_panic_is_told_in_one_sentence() -> None:
    assert claim() == (
        f"The kernel panicked 212 ms into the stage: {REASON}; "
        "reader-1 was in config-read/sysfs of igb0, resetter in reset/flr."
    )


def test_a_hang_is_told_by_the_last_sign_of_life() -> None:
    """Nobody tells when it hung: the operation that began last is the best there is."""
    spinning = "processors 0 and 1 spin with interrupts off in spin_for_ever"
    lost = loss(LossKind.HANG, spinning, host_ns=0)
    assert claim(lost) == (
        f"The kernel hung 211 ms into the stage: {spinning}; "
        "reader-1 was in config-read/sysfs of igb0, resetter in reset/flr."
    )


def test_where_all_had_returned_nobody_is_named() -> None:
    rest = tuple(one for one in FLIGHTS if one.returned or one.actor == number("heartbeat"))
    assert claim(loss(in_flight=rest)).endswith("no actor was in an operation.")


def test_what_could_not_be_read_is_not_made_up() -> None:
    said = claim(loss(in_flight=(), release_ns=0), told())
    assert "panicked during the stage" in said
    assert said.endswith("what the actors were doing could not be read.")


def test_a_panic_before_the_release_is_none_of_the_stage() -> None:
    waiting = tuple(
        InFlight(actor=at, step=None, tid=9, round=0, begin_ns=0, count=0, returned=True) for at in range(4)
    )
    assert "panicked before the stage began" in claim(loss(in_flight=waiting, release_ns=0))


def test_each_actor_in_an_operation_has_one_row_in_flight() -> None:
    made = history()
    rows = made.operations
    assert rows["end_ns"].tolist() == [0, 0, 0]
    assert rows["begin_ns"].tolist() == [RELEASE + ms * MS for ms in (180, 208, 211)]
    assert rows["round"].tolist() == [3, 3, 3]
    assert [made.means(int(row["actor"]), int(row["step"])) for row in rows] == [
        "reset/flr",
        "heartbeat",
        "config-read/sysfs",
    ]
    assert {actor.end for actor in made.actors} == {"lost"}
    assert [actor.tid for actor in made.actors] == [200, 201, 202, 203]


def test_the_history_has_functions_console_and_times() -> None:
    made = history()
    assert (made.begin_ns, made.end_ns) == (RELEASE, RELEASE + 212 * MS)
    assert made.functions[0].platform == "igb"
    assert made.functions[0].config_after == b""
    assert any(REASON in line.text for line in made.log)
    assert (made.taint_before, made.taint_after) == (4096, 4096)


def test_it_is_kept_and_drawn_like_any_other() -> None:
    made = history()
    again = from_bytes(to_bytes(made))
    assert (again.lost, again.lost_reason) == ("panic", REASON)
    judgement = judge(again, CONTRACT.terms_of(again))
    assert judgement == judge(made, CONTRACT.terms_of(made))
    picture = timeline_text(again, judgement)
    assert "reader-1" in picture
    assert "resetter" in picture


@pytest.mark.parametrize(
    ("kind", "error", "word"),
    [
        (LossKind.EMULATOR, EmulatorLost, "hil.infra.qemu"),
        (LossKind.FROZEN, GuestError, "hil.infra.guest"),
        (LossKind.REBOOT, GuestError, "hil.infra.guest"),
        (LossKind.AGENT, AgentLost, "hil.infra.agent"),
        (LossKind.SILENT, AgentLost, "hil.infra.agent"),
    ],
)
def test_anything_else_is_an_error_of_its_own_kind_with_the_evidence(
    kind: LossKind, error: type[HarnessError], word: str
) -> None:
    made = error_of(
        plan(), loss(kind, "this is why"), told(), AgentLost("asking", said="silence"), console=Path("c.log")
    )
    assert type(made) is error
    assert made.kind == word != ClockError.kind
    assert "212 ms into the stage: this is why" in str(made)
    assert "reader-1 was in config-read/sysfs of igb0, resetter in reset/flr" in str(made)
    assert "\n" not in str(made)
    for piece in (
        f"loss: {kind.value}: this is why",
        "the host noticed: silence",
        "  reader-1 (thread 200): in config-read/sysfs of igb0, round 3, since 211 ms after the release; 9 operations",
        "  reader-2 (thread 201): had returned from config-read/sysfs of igb0, round 3; 9 operations begun",
        "GUEST_PANICKED (action none)",
        "RAX=0",
        "console ends with:\n[   40.201000] BUG",
    ):
        assert piece in made.evidence


def test_a_guest_that_stands_still_may_wait_for_a_model() -> None:
    """QEMU waits for its server without an end, and answers nobody meanwhile."""
    made = error_of(
        plan(), loss(LossKind.FROZEN, "this is why"), told(), AgentLost("asking"), console=Path("c.log")
    )
    assert "Who sent a signal to QEMU" in str(made)


def test_a_silent_agent_is_told_with_what_it_was_last_heard_doing() -> None:
    stuck = loss(LossKind.SILENT, "the agent (python3, thread 77, state D, in pci_wait_cfg)", host_ns=0)
    heard = told(phase=Phase.PUTTING_BACK, after_ms=900)
    made = error_of(plan(), stuck, heard, AgentLost("asking", said="silence"), console=Path("c.log"))
    assert "900 ms into the stage: the agent (python3, thread 77, state D, in pci_wait_cfg)" in str(made)
    assert "it was last heard reading config space and putting settings back" in str(made)


def test_every_kind_of_loss_is_either_judged_or_an_error() -> None:
    for kind in LossKind:
        if kind.kernel_fault:
            assert history(loss(kind)).lost == kind.value
        else:
            assert str(error_of(plan(), loss(kind), told(), AgentLost("asking"), console=Path("c.log")))


def test_evidence_says_what_is_missing() -> None:
    bare = Loss(kind=LossKind.EMULATOR, said="killed")
    assert evidence(plan(), bare, AgentLost("asking")).endswith("the console is empty")
    made = error_of(plan(), bare, Told(), AgentLost("asking"), console=Path("c.log"))
    assert str(made).startswith(
        "staging 't': its QEMU ended: killed; what the actors were doing is not known"
    )


def test_a_target_without_a_console_is_told_of_none() -> None:
    made = [
        str(error_of(plan(), loss(LossKind.REBOOT), told(), AgentLost("asking"), console=console))
        for console in (Path("c.log"), None)
    ]
    assert [text.count("Console: ") for text in made] == [1, 0]
    assert "None" not in made[1]


def test_an_actor_that_had_not_begun_is_told_so() -> None:
    waiting = InFlight(actor=0, step=None, tid=9, round=0, begin_ns=0, count=0, returned=True)
    text = evidence(plan(), loss(in_flight=(waiting,)), AgentLost("asking"))
    assert "  reader-1 (thread 9): had not begun; 0 operations begun" in text


def test_pages_that_were_read_are_added_to_the_loss() -> None:
    stage = SharedStage([[Instruction(op=Code.RENDEZVOUS)]] * 2, Ns(0), [Room(10, 10, Ns(0))] * 2)
    stage._stage.release_ns = RELEASE
    pages = {at: stage._memory[at : at + 4096] for at in (0, stage.lane_at(0), stage.lane_at(1))}
    heard = told(stage=stage.id)
    bare = Loss(kind=LossKind.HANG, said="spins")
    found = examined(bare, pages, heard)
    assert (found.release_ns, [one.actor for one in found.in_flight]) == (RELEASE, [0, 1])
    assert examined(bare, {}, told(release_ns=RELEASE)).release_ns == RELEASE
    assert examined(bare, pages, told(stage=stage.id + 1)).in_flight == ()
    stage.close()


def test_the_function_is_named_when_it_changes() -> None:
    two = plan_of([IGB.reads("sysfs"), IGB.resets("flr"), IGB.reads("proc")], title="t", lasting="1s")
    places = [(at, 0) for at in range(len(two.actors))]
    assert doing(two, places).count("of igb0") == 1
    assert doing(two, []) == "no actor was in an operation"


OOPS = "[   40.201000] BUG: kernel NULL pointer dereference, address: 0000000000000068\n"
OURS = """\
[   44.551890] Uhhuh. NMI received for unknown reason 31 on CPU 0.
[   44.572243] Kernel panic - not syncing: NMI: Not continuing
"""


@pytest.mark.parametrize("kind", [LossKind.SILENT, LossKind.AGENT])
@pytest.mark.parametrize(("console", "verdict"), [(OOPS + OURS, Verdict.FAIL), (OURS, Verdict.UNKNOWN)])
def test_a_living_kernel_is_convicted_by_its_log_alone(
    kind: LossKind, console: str, verdict: Verdict
) -> None:
    """An oops may leave locks behind which the agent waits; the panic that our NMI makes is none of its doing."""
    made = history(loss(kind, "the agent is stuck in pci_wait_cfg", console=console))
    judgement = judge(made, CONTRACT.terms_of(made))
    assert judgement.verdict is verdict
    assert any(
        finding.claim.startswith(
            "The agent was lost 212 ms into the stage: the agent is stuck in pci_wait_cfg; reader-1"
        )
        for finding in judgement.findings
    )


def test_the_backtraces_of_a_hang_are_kept() -> None:
    made = history(loss(LossKind.HANG, console=OURS))
    assert [line.text for line in made.log][-1] == "Kernel panic - not syncing: NMI: Not continuing"


def test_where_nothing_but_a_beat_is_known_no_time_of_loss_is_claimed() -> None:
    bare = Loss(kind=LossKind.EMULATOR, said="killed", release_ns=RELEASE)
    made = error_of(plan(), bare, told(), AgentLost("asking"), console=Path("c.log"))
    assert "its QEMU ended, last heard 100 ms into the stage: killed" in str(made)
    assert str(made).endswith("Console: c.log")

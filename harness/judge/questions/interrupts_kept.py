"""Were the interrupts by message of an open function, after resets, what they were before?

Linux gives MSI and MSI-X back with config space.  The user, who has armed them, does not hear of a reset: one that
loses them lets him wait for ever.  They are read when all actors are done and the function is still open; what arming
and disarming change is :mod:`~harness.judge.evidence.arming`.  To which processor they go may change at any time
(irqbalance), that they go nowhere may not.

Source: Linux drivers/pci/msi/msi.c, `__pci_restore_msi_state()`, `__pci_restore_msix_state()`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from harness.judge import findings
from harness.judge.evidence import Evidence
from harness.judge.evidence.arming import Arming, is_armed, moved
from harness.judge.evidence.config_bits import counting, differing
from harness.judge.evidence.config_lost import lost_in, or_earlier
from harness.judge.evidence.link_errors import link_errors
from harness.model.operation import RAW_RESETS
from harness.model.terms import Terms
from harness.model.verdict import Blame, Finding

NAME: Final = "interrupts_kept"
SOURCE: Final = "Linux drivers/pci/msi/msi.c, __pci_restore_msi_state(), __pci_restore_msix_state()"
_CALLED: Final = {"msi": "MSI", "msix": "MSI-X"}


def interrupts_kept(evidence: Evidence, terms: Terms) -> tuple[Finding, ...]:
    """Compare what arming had written before the stage with what is there after the resets, while it is still armed."""
    return tuple(
        finding
        for alias, armed in evidence.arming.items()
        if armed.kinds and not armed.again and evidence.records[alias].config_open
        for finding in _judge(evidence, terms, alias, armed)
    )


def _judge(evidence: Evidence, terms: Terms, alias: str, armed: Arming) -> Iterator[Finding]:
    calls = sorted(
        (call for call in evidence.calls if call.succeeded and alias in call.resets),
        key=lambda call: call.end_ns,
    )
    if not calls or any(call.operation in RAW_RESETS for call in calls):
        return  # nobody restores what a raw reset takes
    if any(one.incident.function == alias for one in link_errors(evidence)):
        return
    what = f"{' and '.join(_CALLED[kind] for kind in armed.kinds)} of {alias}"
    record = evidence.records[alias]
    before, still = record.config_before, record.config_open
    if len(before) != len(still) or not still.strip(b"\xff"):
        yield findings.unknown(NAME, f"{what}: config space could not be read while it was still open.")
        return
    mask = counting(len(before), terms.volatile, alias)
    elsewhere = {offset for kind in armed.kinds for offset in moved(still, kind)}
    for offset in range(len(mask)):
        explained = offset in evidence.written[alias] or offset in elsewhere
        mask[offset] &= 0 if explained else armed.bits.get(offset, 0)
    if not any(mask):
        return
    missing, places = differing(before, still, mask)
    if not missing:
        resets = f"{len(calls)} resets" if len(calls) > 1 else calls[0].operation
        yield findings.passed(NAME, f"{what} is what it was before {resets}.", met=len(calls), source=SOURCE)
        return
    loss = lost_in(evidence, evidence.of(alias), calls, {at: mask[at] for at in missing})
    call = (loss.calls or calls)[-1]
    who = f"{call.operation} by {evidence.history.plan.actors[call.actor].name}{or_earlier(evidence, loss)}"
    if loss.row is not None and not loss.calls:
        yield findings.unknown(
            NAME,
            f"{what} was lost in a reset that no call of the plan asked for ({places}).",
            events=[findings.served(loss.row)],
        )
        return
    gone = [_CALLED[kind] for kind in armed.kinds if not is_armed(still, kind)]
    how = f"{' and '.join(gone)} is switched off" if gone else f"{len(missing)} bytes differ"
    yield findings.failed(
        NAME,
        Blame.RESET_FAILED,
        f"{what} was not restored after {who}, and its user still has it open: {how} ({places}).",
        events=[findings.operation(one.row) for one in (loss.calls or [call])[:-5:-1]],
        met=len(calls),
        source=SOURCE,
    )

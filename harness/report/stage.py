"""A history and its judgement as one record of the journal."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from harness.history.history import History, LogLine
from harness.history.reading import Reading
from harness.journal.record import AttemptRecord, KernelLog, Latency, StageRecord
from harness.model.fault_words import staged
from harness.model.operation import MISUSE, verb
from harness.model.plan import Plan
from harness.model.verdict import Blame, Judgement, Verdict
from harness.report.findings import COLLIDED_CHECKER, as_json, headline
from harness.report.refusals import refusals
from harness.statistics.spans import spans

KERNEL_LOG_CHECKER: Final = "kernel_log"
"""Name of the checker whose findings decide `kernel_log_clean`."""
_WARNING: Final = 4  # syslog level KERN_WARNING
_KEPT: Final = (
    "kernel.release",
    "kernel.build",
    "kernel.package",
    "kernel.own_modules",
    "kernel.unused_modules",
    "kernel.command_line",
    "kernel.lockdown",
    "kernel.no_trace",
    "qemu.version",
    "qemu.packages",
    "harness.version",
    "platform",
    "lab",
    "lab.accelerator",
    "lab.template",
)


def stage_record(
    seen: History | Reading,
    judgement: Judgement,
    *,
    file: str,
    attachments: tuple[str, ...] = (),
    retried: tuple[AttemptRecord, ...] = (),
) -> StageRecord:
    """Sum a judged stage up for the journal.

    Args:
        seen: the evidence.
        judgement: what it means.
        file: where the history lies, relative to the results folder.
        attachments: other files, relative to the results folder.
        retried: attempts that were given up before.
    """
    reading, decisive = Reading.read(seen), headline(judgement)
    history = reading.history
    return StageRecord(
        history=file,
        title=history.plan.title,
        verdict=judgement.verdict.name,
        headline=decisive.claim if decisive else "nothing was judged",
        findings=tuple(as_json(finding) for finding in judgement.findings),
        weaknesses=judgement.weaknesses,
        met=max((f.met for f in judgement.findings if f.checker == COLLIDED_CHECKER), default=0),
        operations=history.begun,
        retried=retried,
        functions=history.plan.functions,
        provenance={key: history.provenance[key] for key in _KEPT if key in history.provenance}
        | _served(history),
        seed=history.plan.seed,
        latencies=latencies(reading),
        refusals=refusals(reading),
        kernel_log=_kernel_log(history, judgement),
        kernel_warnings=tuple(line.text for line in history.log if _warns(line))[:50],
        staged=staged(history.plan),
        remarks=judgement.remarks,
        blame=str(decisive.blame) if decisive and judgement.verdict is Verdict.FAIL else "",
        attachments=attachments,
    )


def latencies(reading: Reading) -> tuple[Latency, ...]:
    """How long each kind of operation took from call to return, over all actors; pauses do not count."""
    result = []
    for means, times, counts in spans(reading.steps):
        order = np.argsort(times)
        until, total = np.cumsum(counts[order]), int(counts.sum())
        # As np.percentile(method="higher") finds them where each time is there as often as it counts.
        ranks = [math.ceil(percent * (total - 1) / 100) for percent in (50, 99)]
        p50, p99 = times[order][np.searchsorted(until, ranks, "right")].tolist()
        result.append(Latency(operation=means, count=total, p50_ns=p50, p99_ns=p99, max_ns=int(times.max())))
    return tuple(result)


def _served(history: History) -> dict[str, int]:
    """How far what models saw can be trusted; nothing where none served."""
    if not len(history.served):
        return {}
    return {
        "served.rows": len(history.served),
        "served.clock_error_ns": history.served_error_ns,
        "served.lost": history.served_lost,
    }


def _asked_for(plan: Plan) -> bool:
    """Whether a fault in the kernel's log is what was staged: misuse of locks, or a function that does wrong."""
    misused = any(verb(step.means) == MISUSE for actor in plan.actors for step in actor.steps)
    return misused or bool(plan.faults or plan.incidents)


def _kernel_log(history: History, judgement: Judgement) -> KernelLog:
    findings = [finding for finding in judgement.findings if finding.checker == KERNEL_LOG_CHECKER]
    faulty = any(finding.blame is Blame.KERNEL_FAULT for finding in judgement.findings)
    if faulty or any(finding.verdict is Verdict.FAIL for finding in findings):
        return KernelLog.PROVOKED if _asked_for(history.plan) else KernelLog.FAULT
    if not findings or any(finding.verdict is Verdict.UNKNOWN for finding in findings):
        return KernelLog.UNKNOWN
    return KernelLog.WARN if any(map(_warns, history.log)) else KernelLog.CLEAN


def _warns(line: LogLine) -> bool:
    """Whether the kernel warns of something; what programs write into its log is their own business."""
    return line.of_the_kernel and line.level <= _WARNING

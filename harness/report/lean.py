"""What a report needs of a record: in a long session the rest is most of the memory that it takes."""

from __future__ import annotations

from dataclasses import replace

from harness.journal.record import KernelLog, Record, StageRecord


def lean(record: Record) -> Record:
    """The record without the findings of a stage, where no health case names one; the journal keeps them all."""
    if isinstance(record, StageRecord) and record.kernel_log is not KernelLog.FAULT:
        return replace(record, findings=())
    return record

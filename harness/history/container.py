"""A history as bytes and back: the container `hil-history`, version 4.

The container is a ZIP archive (deflate) that any tool can open:

============== ======================================================================================
member         contents
============== ======================================================================================
`history.json` an object: `container` = "hil-history", `version` = 4, then every field of
               :class:`~harness.history.history.History` that is no table, bytes as hexadecimal
`operations.npy` table :data:`~harness.history.columns.OPERATION`, NumPy format 1.0
`kernel.npy`   table :data:`~harness.history.columns.KERNEL`, NumPy format 1.0
`served.npy`   table :data:`~harness.history.columns.SERVED`, likewise; absent before version 4
============== ======================================================================================

A later version may add members and fields; every version is readable for ever.  Version 2 added to plans `modules`,
`ports`, `owners` and `retries` of a step, `privilege` of an actor, and ways to act on a function through VFIO; version
3 `lost` and `lost_reason`; version 4 `faults` and `incidents` of a plan, and what models of ours saw.  What an older
version does not say is read as nothing.
"""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from typing import Any, Final

import numpy as np

from harness.errors import HistoryError
from harness.history.columns import KERNEL, OPERATION, SERVED, Edge, Table
from harness.history.history import ActorRecord, FunctionRecord, History, LogLine, Probe, Uevent
from harness.model.plan import Plan
from harness.model.units import Ns

CONTAINER: Final = "hil-history"
VERSION: Final = 4
_WITH_SERVED: Final = 4
SUFFIX: Final = ".history.zip"

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # members carry no date, so equal histories are equal bytes


def to_bytes(history: History) -> bytes:
    """Write a history down."""
    fields: dict[str, Any] = {"container": CONTAINER, "version": VERSION}
    for field in dataclasses.fields(history):
        value = getattr(history, field.name)
        if field.name == "plan":
            fields["plan"] = history.plan.to_json()
        elif isinstance(value, np.ndarray):
            continue
        elif isinstance(value, tuple):
            fields[field.name] = [_plain(dataclasses.asdict(item)) for item in value]
        else:
            fields[field.name] = value
    members = {
        "history.json": (json.dumps(fields, indent=1).encode(), 6),
        "operations.npy": (_npy(history.operations), 1),
        "kernel.npy": (_npy(history.kernel), 1),
        "served.npy": (_npy(history.served), 1),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, (content, level) in members.items():
            member = zipfile.ZipInfo(name, _EPOCH)
            archive.writestr(member, content, zipfile.ZIP_DEFLATED, compresslevel=level)
    return buffer.getvalue()


def from_bytes(data: bytes) -> History:
    """Read a history of any version.

    Raises:
        HistoryError: no history, one of a newer version, or a damaged one.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            fields = json.loads(archive.read("history.json"))
            if fields.get("container") != CONTAINER:
                raise HistoryError(
                    "history", said=f"container is {fields.get('container')!r}, not {CONTAINER!r}"
                )
            if fields["version"] > VERSION:
                raise HistoryError(
                    "history",
                    said=f"version {fields['version']}, this harness reads up to {VERSION}",
                    hint="Use a newer harness.",
                )
            tables = {
                "operations": _table(archive.read("operations.npy"), OPERATION),
                "kernel": _table(archive.read("kernel.npy"), KERNEL),
            }
            if fields["version"] >= _WITH_SERVED:
                tables["served"] = _table(archive.read("served.npy"), SERVED)
        return History(
            plan=Plan.from_json(fields["plan"]),
            begin_ns=Ns(fields["begin_ns"]),
            end_ns=Ns(fields["end_ns"]),
            **tables,
            lost_kernel_events=fields["lost_kernel_events"],
            probes=tuple(Probe(**{**item, "edge": Edge(item["edge"])}) for item in fields["probes"]),
            actors=tuple(ActorRecord(**item) for item in fields["actors"]),
            functions=tuple(_function(item) for item in fields["functions"]),
            log=tuple(LogLine(**item) for item in fields["log"]),
            log_complete=fields["log_complete"],
            uevents=tuple(Uevent(**item) for item in fields["uevents"]),
            clock_ratio=fields["clock_ratio"],
            taint_before=fields["taint_before"],
            taint_after=fields["taint_after"],
            provenance=fields["provenance"],
            served_error_ns=fields.get("served_error_ns", 0),
            served_lost=fields.get("served_lost", 0),
            lost=fields.get("lost", ""),
            lost_reason=fields.get("lost_reason", ""),
        )
    except HistoryError:
        raise
    except Exception as error:  # damage makes zipfile, zlib, json and numpy raise a dozen different things
        raise HistoryError(
            "history",
            said=f"damaged: {error}",
            hint="A history is a ZIP archive with history.json and two tables.",
        ) from error


def _plain(item: dict[str, Any]) -> dict[str, Any]:
    return {key: value.hex() if isinstance(value, bytes) else value for key, value in item.items()}


def _function(item: dict[str, Any]) -> FunctionRecord:
    return FunctionRecord(
        **{
            **item,
            "reset_methods": tuple(item["reset_methods"]),
            "config_before": bytes.fromhex(item["config_before"]),
            "config_after": bytes.fromhex(item["config_after"]),
        }
    )


def _npy(table: Table) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, table, version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def _table(data: bytes, dtype: np.dtype[Any]) -> Table:
    table: Table = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    if table.dtype != dtype:
        raise HistoryError("history", said=f"a table has columns {table.dtype.names}, not {dtype.names}")
    table.flags.writeable = False
    return table

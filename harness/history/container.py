"""A history as bytes and back: the container `hil-history`, version 6.

The container is a ZIP archive (deflate) that any tool can open:

============== ======================================================================================
member         contents
============== ======================================================================================
`history.json` an object: `container` = "hil-history", `version` = 6, then every field of
               :class:`~harness.history.history.History` that is no table, bytes as hexadecimal
`operations.npy` table :data:`~harness.history.columns.OPERATION`, NumPy format 1.0
`kernel.npy`   table :data:`~harness.history.columns.KERNEL`, NumPy format 1.0
`served.npy`   table :data:`~harness.history.columns.SERVED`, likewise; absent before version 4
============== ======================================================================================

A later version may add members and fields; every version is readable for ever.  Version 2 added to plans `modules`,
`ports`, `owners` and `retries` of a step, `privilege` of an actor, and ways to act on a function through VFIO; version
3 `lost` and `lost_reason`; version 4 `faults` and `incidents` of a plan, and what models of ours saw; version 5
`before` of a plan, `commands`, and `config_open`; version 6 `neighbours`, and `thinned`, `thinned_ns` and `lost_ns` of
an actor.  What an older version does not say is read as nothing.
"""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from harness.errors import HistoryError
from harness.history.archive import unpacked
from harness.history.columns import HEADER_BYTES, KERNEL, OPERATION, SERVED, Table, read_table
from harness.history.history import History
from harness.history.possible import refuse_impossible
from harness.model.limits import HISTORY_JSON, KERNEL_ROWS, OPERATIONS, SERVED_ROWS, Limit
from harness.model.observation import KERNEL_FACILITY
from harness.model.plain import HISTORIES, Misfit, parse, shown

CONTAINER: Final = "hil-history"
VERSION: Final = 6
SUFFIX: Final = ".history.zip"

_TABLES: Final[Mapping[str, tuple[int, np.dtype[Any], Limit]]] = {
    "operations": (1, OPERATION, OPERATIONS),
    "kernel": (1, KERNEL, KERNEL_ROWS),
    "served": (4, SERVED, SERVED_ROWS),
}
"""Since which version there is each table, its layout, and how long it may be."""
_MEMBERS: Final = {
    "history.json": HISTORY_JSON,
    **{
        f"{name}.npy": Limit(what=f"{name}.npy, unpacked", most=rows.most * layout.itemsize + HEADER_BYTES)
        for name, (_, layout, rows) in _TABLES.items()
    },
}
_HINT: Final = "A history is a ZIP archive with history.json and its tables; see docs/history.md."

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # members carry no date, so equal histories are equal bytes


_TAKEN_FOR_GRANTED: Final = (("facility", KERNEL_FACILITY), ("config_open", b""))
"""Not written down: that the kernel speaks, and what was not read."""


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
        HistoryError: no history, one of a newer version, a damaged one, one that tells what cannot be, or one that is
            larger than anything that a stage gives (:mod:`harness.model.limits`).
    """
    members = unpacked(data, _MEMBERS)
    try:
        fields = parse(_member(members, "history.json"), HISTORY_JSON)
        version = _version(fields)
        values = HISTORIES.fields(History, fields, frozenset(_TABLES))
    except Misfit as error:
        raise HistoryError("history", said=f"malformed: {error}", hint=_HINT) from error
    tables: dict[str, Any] = {
        name: read_table(name, _member(members, f"{name}.npy"), layout, rows)
        for name, (since, layout, rows) in _TABLES.items()
        if version >= since
    }
    history = History(**values, **tables)
    refuse_impossible(history)
    return history


def _version(fields: Any) -> int:
    """The version of a history that this harness can read."""
    if not isinstance(fields, dict):
        raise Misfit(f"history.json is {shown(fields)}, not an object")
    if fields.get("container") != CONTAINER:
        raise HistoryError(
            "history", said=f"container is {shown(fields.get('container'))}, not {CONTAINER!r}"
        )
    version = fields.get("version")
    if type(version) is not int or version < 1:
        raise Misfit(f"version is {shown(version)}, not a number from 1")
    if version > VERSION:
        raise HistoryError(
            "history",
            said=f"version {shown(version)}, this harness reads up to {VERSION}",
            hint="Use a newer harness.",
        )
    return version


def _member(members: Mapping[str, bytes], name: str) -> bytes:
    if name not in members:
        raise HistoryError("history", said=f"damaged: {name} is missing", hint=_HINT)
    return members[name]


def _plain(item: dict[str, Any]) -> dict[str, Any]:
    return {
        key: value.hex() if isinstance(value, bytes) else value
        for key, value in item.items()
        if (key, value) not in _TAKEN_FOR_GRANTED
    }


def _npy(table: Table) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, table, version=(1, 0), allow_pickle=False)
    return buffer.getvalue()

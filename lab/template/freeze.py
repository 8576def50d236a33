"""Boot a guest, freeze it, and prove on its first clone that it can be trusted.

A frozen guest is a folder with `ram` (guest memory: sparse, mode 0444, mapped by every clone), `state` (the
devices) and `manifest.json`. Device models that lose their state in a freeze do so without a word, so each
function's config space is compared before and after; models that crash QEMU are reported as what they are.
Refuses to leave anything behind that did not pass.

Source: QEMU's migration to a file with the capability x-ignore-shared, which leaves shared memory out of
the stream.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from harness.errors import GuestError, TargetError
from harness.lab.guest.guest import Guest, Start, Unreached
from harness.lab.guest.post_mortem import started
from harness.lab.qemu.command_line import Memory
from harness.model.request import ReadConfig, Warm
from harness.target import clock

if TYPE_CHECKING:
    from pathlib import Path

    from harness.lab.qemu.machine import Machine
    from harness.lab.qemu.qmp import MonitorEvent
    from harness.target.agent import Agent
    from harness.target.port import Line

RAM: Final = "ram"
STATE: Final = "state"
MANIFEST: Final = "manifest.json"

_FREEZE_S: Final = 60.0
_CLONE_S: Final = 60.0
_CLOCK_WATCH_NS: Final = 1_000_000_000  # over a second, an error of a few milliseconds is below the tolerance
_MIGRATION_ENDS: Final = frozenset({"completed", "failed", "cancelled"})
_READ_ONLY: Final = 0o444
_BLOCK: Final = 1 << 18
_ZEROS: Final = bytes(_BLOCK)

ConfigSpaces = dict[str, bytes]
"""The config space of each function, by alias."""


def clone_of(cold: Start, folder: Path) -> Start:
    """Describe the start of a clone of the guest frozen in a folder.

    Args:
        cold: how the frozen guest had been started.
        folder: where it is.
    """
    return replace(cold, memory=Memory.COPY_ON_WRITE, ram=folder / RAM, state=folder / STATE)


def make(folder: Path, cold: Start, boot_timeout_s: float) -> None:
    """Boot, freeze, and test; fill a folder with a frozen guest.

    Args:
        folder: empty, or holding a former attempt.
        cold: how to boot.
        boot_timeout_s: how long it may take until the agent answers.

    Raises:
        GuestError: the guest did not boot, QEMU died while freezing it, or a function changed.
        ClockError: the guest's clock ran wild.
    """
    ram, state = folder / RAM, folder / STATE
    for former in (ram, state):
        former.unlink(missing_ok=True)
    before = _frozen(replace(cold, memory=Memory.SHARED_FILE, ram=ram), state, boot_timeout_s)
    ram.chmod(_READ_ONLY)
    state.chmod(_READ_ONLY)
    ram_digest = digest(ram)
    after = _first_clone(clone_of(cold, folder))
    refuse_changed(before, after)
    if digest(ram) != ram_digest:
        raise GuestError(
            "freeze a guest",
            said="its first clone wrote into the template's memory",
            hint="Use another QEMU.",
        )
    record(folder)


def record(folder: Path) -> None:
    """Write down what a frozen guest looks like, so that damage is seen later."""
    ram, state = folder / RAM, folder / STATE
    manifest = {"ram": {**_cheap_facts(ram), "sha256": digest(ram)}, "state": _state_facts(state)}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1))


def damage(folder: Path, *, thoroughly: bool = False) -> str:
    """Say what is wrong with a frozen guest, in a few words; empty when nothing is.

    Args:
        folder: where it is.
        thoroughly: hash its memory too, which takes up to a second.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        ram = dict(manifest["ram"])
        ram_digest = ram.pop("sha256")
        if _cheap_facts(folder / RAM) != ram:
            return "its memory file was touched"
        if _state_facts(folder / STATE) != manifest["state"]:
            return "its state file was changed"
        if thoroughly and digest(folder / RAM) != ram_digest:
            return "its memory file was changed"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"not readable: {error}"
    return ""


def refuse_changed(before: ConfigSpaces, after: ConfigSpaces) -> None:
    """Compare the config spaces of all functions before the freeze and in the first clone.

    Raises:
        GuestError: one differs; the message names the function and the first byte.
    """
    for alias, old in before.items():
        new = after.get(alias, b"")
        if old == new:
            continue
        changed = next((at for at, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), len(new))
        raise GuestError(
            f"freeze a guest with the function {alias}",
            said=f"its config space came back different, first at {changed:#x}: QEMU does not save its state",
            hint="Give it Placement.HOT_PLUG.",
        )


def save(guest: Guest, state: Path) -> None:
    """Write the state of a running guest's devices to a file; its memory is left where it is.

    Raises:
        GuestError: a device does not allow it, or QEMU died of it.
    """
    # Not stopped first: a stopped state travels, and every clone would come up paused.
    on = [{"capability": name, "state": True} for name in ("x-ignore-shared", "events")]
    tried = "freeze a guest"
    try:
        guest.monitor.execute("migrate-set-capabilities", capabilities=on)
        guest.monitor.execute("migrate", uri=f"file:{state}")
        end = guest.monitor.wait_event(_is_end_of_migration, _FREEZE_S)
    except GuestError as error:
        raise _failed(tried, guest, str(error)) from error
    if end is None:
        raise _failed(tried, guest, f"no end after {_FREEZE_S:g} s" if guest.running else "QEMU died")
    if end.data["status"] != "completed":
        said = ""
        with suppress(GuestError):
            said = str(guest.monitor.execute("query-migrate").get("error-desc", ""))
        raise _failed(tried, guest, said or str(end.data["status"]))


def digest(path: Path) -> str:
    """Hash a sparse file, reading only blocks that hold something; how zeros are stored makes no difference.

    Whole aligned blocks: which pages are holes is the file system's business.  On tmpfs a page that a mapping only
    read is none any more, and a copy may have others (lseek(2), SEEK_DATA).
    """
    found = hashlib.sha256()
    with path.open("rb") as file:
        at, size = 0, os.fstat(file.fileno()).st_size
        while at < size:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA) // _BLOCK * _BLOCK
            except OSError:  # ENXIO: nothing but a hole up to the end
                break
            block = os.pread(file.fileno(), _BLOCK, at)
            if block != _ZEROS[: len(block)]:
                found.update(f"{at}:".encode())
                found.update(block)
            at += _BLOCK
    return found.hexdigest()


# --- inside -----------------------------------------------------------------------------------------------


def _frozen(start: Start, state: Path, boot_timeout_s: float) -> ConfigSpaces:
    """Boot, warm the agent up, freeze; return the config spaces as they were."""
    with started(start, name="guest to freeze") as guest:
        line = guest.connect(boot_timeout_s)
        try:
            first = guest.read_clock()
            # Code is translated and modules are imported once here instead of once in every clone.
            line.ask(Warm())
            before = _config_spaces(guest.machine, line)
            remaining_s = (first.host_after_ns + _CLOCK_WATCH_NS - time.monotonic_ns()) / 1e9
            # Let time pass, for the clocks to drift apart if they do; only the end of QEMU cuts it short.
            guest.monitor.wait_closed(max(0.0, remaining_s))
            last = guest.read_clock()
        except TargetError as error:
            raise Unreached("prepare a guest to be frozen", said=str(error)) from error
        clock.check(first, last, where="a freshly booted guest")
        # The agent stays, and waits for the next host: that is what clones find it doing.
        guest.disconnect()
        save(guest, state)
    return before


def _is_end_of_migration(event: MonitorEvent) -> bool:
    return event.name == "MIGRATION" and event.data.get("status") in _MIGRATION_ENDS


def _failed(tried: str, guest: Guest, said: str) -> GuestError:
    inside = ", ".join(one.alias for one in guest.machine.in_template())
    return GuestError(
        tried,
        said=guest.cause_of_death or said,
        hint=f"One of its functions ({inside}) cannot be frozen: give it Placement.HOT_PLUG.",
        evidence=f"command: {guest.qemu.command}",
    )


def _first_clone(start: Start) -> ConfigSpaces:
    with started(start, name="first clone") as guest:
        guest.awaken(_CLONE_S)
        spaces = _config_spaces(guest.machine, guest.agent)
        guest.check_clock()
    return spaces


def _config_spaces(machine: Machine, asked: Agent | Line) -> ConfigSpaces:
    spaces: ConfigSpaces = {}
    for one in machine.in_template():
        found = asked.ask(machine.finding(one.alias))
        if found is None:
            raise GuestError(
                f"find the function {one.alias} in the guest",
                said=f"nothing is below root port {machine.port_bdf(one.alias) or '(none)'}",
            )
        spaces[one.alias] = asked.ask(ReadConfig(bdf=found.bdf))
    return spaces


def _cheap_facts(path: Path) -> dict[str, Any]:
    """What changes when somebody writes to a file, and costs nothing to find out."""
    status = path.stat()
    return {"bytes": status.st_size, "mtime_ns": status.st_mtime_ns, "mode": status.st_mode & 0o777}


def _state_facts(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": digest(path)}

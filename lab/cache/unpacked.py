"""The list of what was unpacked, by digest: nothing of an unpacked tree is executed before it was compared with it.

Packages are checked before they are unpacked (lab/debian/archive.py); this is for the time after.  The list lies in the
tree, so it tells damage and careless tampering; caches into which strangers can write are refused (lab/cache/root.py).

Cost, measured on two cores with everything in memory: QEMU's tree (134 MB) 0.12 s, a kernel's (107 MB) 0.3 s, the
headers of one (17,000 files, only when a module is built) 0.7 s; once for each process that prepares a lab.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Final

from harness.lab.cache.store import STAMP
from harness.removal import MARKER

LIST: Final = "contents.json"
_NOT_LISTED: Final = (LIST, STAMP, MARKER)  # of the top folder: written before or after the list


def record(tree: Path) -> None:
    """Write the list of all that is in a tree.

    Raises:
        OSError: it cannot be read or written.
    """
    whole = tree / f"{LIST}.{os.getpid()}"  # others may compare at the same time
    whole.write_text(json.dumps(_contents(tree), indent=0) + "\n")
    whole.replace(tree / LIST)


def damage(tree: Path) -> str:
    """Say in a few words how a tree differs from its list; empty when it does not."""
    try:
        listed = json.loads((tree / LIST).read_text())
        found = _contents(tree)
    except (OSError, ValueError) as error:
        return f"it cannot be compared with its list ({error})"
    if not isinstance(listed, dict):
        return "its list is none"
    if listed == found:
        return ""
    name = min(name for name in {*listed, *found} if listed.get(name) != found.get(name))
    verb = (
        "was changed" if name in listed and name in found else "is missing" if name in listed else "was added"
    )
    return f"{name} {verb}"


def _contents(tree: Path) -> dict[str, str]:
    """For each file its mode and digest, for each link where it leads, by path in the tree."""
    found = {}
    for parent, folders, names in os.walk(tree):
        inside = os.path.relpath(parent, tree) + os.sep if parent != str(tree) else ""
        links = [name for name in folders if os.path.islink(os.path.join(parent, name))]  # noqa: PTH114, PTH118 - quick
        for name in (*links, *names):
            if not (relative := f"{inside}{name}").startswith(_NOT_LISTED):
                found[relative] = _fact(os.path.join(parent, name))  # noqa: PTH118 - quick
    return found


def _fact(path: str) -> str:
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode):
        return f"-> {os.readlink(path)}"  # noqa: PTH115 - quick
    if not stat.S_ISREG(status.st_mode):
        return "neither a file nor a link"
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - quick
        return f"{stat.S_IMODE(status.st_mode):04o} {hashlib.file_digest(file, 'sha256').hexdigest()}"

"""Where Debian packages come from: the environment's mirror, the host's own, or the default one.

Only the sources of Debian itself count; entries of other archives on the host are passed over.  This module
refuses to fetch anything.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MIRROR_VARIABLE: Final = "VFIO_HARNESS_MIRROR"
DEFAULT_MIRROR: Final = "http://deb.debian.org/debian"
_DEBIAN_SUITE: Final = re.compile(
    r"(?:stable|oldstable|oldoldstable|testing|unstable|sid|bullseye|bookworm|trixie|forky|duke)"
    r"(?:-updates|-security|-backports|/updates)?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """Where packages come from: the main archive, and the archive of security updates."""

    debian: str
    security: str


def host_mirror(sources: Path = Path("/etc/apt")) -> Mirror:
    """Choose the mirror: the environment's, else that of the host's first Debian entries, else the default.

    Args:
        sources: apt's folder with `sources.list` and `sources.list.d/`.
    """
    if chosen := os.environ.get(MIRROR_VARIABLE, "").split():
        return Mirror(
            debian=chosen[0].rstrip("/"), security=[*chosen, _security_beside(chosen[0])][1].rstrip("/")
        )
    debian = security = ""
    for uri, suite in _host_entries(sources):
        if not _DEBIAN_SUITE.fullmatch(suite):
            continue
        if suite.endswith(("-security", "/updates")):
            security = security or uri
        else:
            debian = debian or uri
    debian = debian or DEFAULT_MIRROR
    return Mirror(debian=debian.rstrip("/"), security=(security or _security_beside(debian)).rstrip("/"))


def _security_beside(debian: str) -> str:
    return re.sub(r"/debian/?$", "", debian) + "/debian-security"


def _host_entries(sources: Path) -> list[tuple[str, str]]:
    """Read (URI, suite) pairs from both of apt's formats, in the order in which apt reads them.

    Source: sources.list(5).
    """
    pairs: list[tuple[str, str]] = []
    parts = sorted((sources / "sources.list.d").glob("*")) if (sources / "sources.list.d").is_dir() else []
    for file in [sources / "sources.list", *parts]:
        try:
            text = file.read_text(errors="replace")
        except OSError:
            continue
        text = re.sub(r"(?m)^\s*#.*\n?", "", text)
        if file.suffix == ".list":
            pairs += re.findall(r"(?m)^deb\s+(?:\[[^\]]*\]\s*)?(\S+)\s+(\S+)", text)
        elif file.suffix == ".sources":
            for stanza in re.split(r"\n\s*\n", text):
                fields = dict(re.findall(r"(?mi)^([a-z-]+):\s*((?:.*)(?:\n[ \t]+.*)*)", stanza))
                fields = {name.lower(): value.split() for name, value in fields.items()}
                if "deb" in fields.get("types", []) and fields.get("enabled", ["yes"])[0].lower() != "no":
                    pairs += [
                        (uri, suite)
                        for uri in fields.get("uris", [])[:1]
                        for suite in fields.get("suites", [])
                    ]
    return pairs

"""Colours and hatching of a timeline's SVG: what colour says must be visible without it.

Colours keep apart under the common kinds of colour blindness and in grey; windows of different kinds differ in their
stripes as well, and whatever has room carries its name.
"""

from __future__ import annotations

from typing import Final

from harness.model.promise import WindowKind
from harness.report.svg.shapes import BAD, INK, QUIET
from harness.report.timeline.layout import DEVICE_KINDS, Look

LOOKS: Final = {
    Look.OK: "#8fb8de",
    Look.BLOCKED: "#f2c14e",
    Look.RETRIED: "#f6cfa8",
    Look.REFUSED: "#e8833a",
    Look.UNSEEN: "#f4f1ea",
    Look.ALL_ONES: "#7a4a2b",
    Look.SIGBUS: "#3d1f4f",
    Look.IN_FLIGHT: "#8a8f98",
    Look.VIOLATING: BAD,
}
WINDOWS: Final = {
    WindowKind.CONFIG_LOCK: "#6b5cc4",
    WindowKind.SYSFS_RESET: "#3d2c8d",
    WindowKind.VFIO_RESET: "#1f6fb5",
    WindowKind.HOT_RESET: "#882255",
    WindowKind.VFIO_OPEN: "#4f6d1f",
    WindowKind.SRIOV: "#a03c94",
    WindowKind.DRIVER_RESET: "#0b6e6e",
    WindowKind.DEVICE_LOCK: "#5b6570",
    WindowKind.UNBIND: "#6e5a2c",
}
_HATCHED: Final = {Look.BLOCKED: "blocked", Look.IN_FLIGHT: "in-flight", Look.UNSEEN: "unseen"}
_DARK: Final = (Look.ALL_ONES, Look.SIGBUS, Look.VIOLATING)
_STRIPES: Final = {
    WindowKind.VFIO_RESET: ("M0 8L8 0", 8),
    WindowKind.HOT_RESET: ("M0 10L10 0M0 0L10 10", 10),
    WindowKind.VFIO_OPEN: ("M4 0V8", 8),
    WindowKind.SRIOV: ("M0 0L8 8", 8),
    WindowKind.DRIVER_RESET: ("M0 4H8", 8),
    WindowKind.DEVICE_LOCK: ("M0 3H6", 6),
    WindowKind.UNBIND: ("M0 3H6M3 0V6", 6),
}
"""Path and size of the stripes of a window; kinds that are not here have none."""


def fill(look: Look) -> str:
    """Fill of an operation: a colour, or hatching where colour alone would not do."""
    return f"url(#hil-{_HATCHED[look]})" if look in _HATCHED else LOOKS[look]


def edge(look: Look) -> str:
    """Stroke of an operation."""
    strokes = {
        Look.OK: "#4f86b8",
        Look.BLOCKED: "#a87b0a",
        Look.RETRIED: "#b8651f",
        Look.UNSEEN: BAD,
        Look.VIOLATING: INK,
    }
    return strokes.get(look, QUIET)


def ink(look: Look) -> str:
    """Colour of letters on an operation."""
    return "#ffffff" if look in _DARK else INK


def held(kind: WindowKind) -> str:
    """Fill of a window's bar."""
    return f"url(#hil-{kind})" if kind in _STRIPES else WINDOWS[kind]


def shade(kind: WindowKind) -> str:
    """Fill behind the lanes of a function while one of its locks is held."""
    return "url(#hil-device)" if kind in DEVICE_KINDS else "url(#hil-lock)"


def definitions() -> str:
    """The patterns that all of these refer to."""
    return (
        "<defs>"
        + _hatch("hil-lock", "#ddd8f5", "M0 8L8 0", 8, "#f4f2fd")
        + _hatch("hil-device", "#dfe3e7", "M0 3H6", 6, "#f6f7f8")
        + _hatch("hil-blocked", "#a87b0a", "M0 0L6 6", 6, LOOKS[Look.BLOCKED])
        + _hatch("hil-in-flight", "#9aa1aa", "M0 3H6M3 0V6", 6, "#dde1e5")
        + _hatch("hil-unseen", BAD, "M0 6L6 0", 6, LOOKS[Look.UNSEEN])
        + "".join(
            _hatch(f"hil-{kind}", "#ffffff", path, size, WINDOWS[kind], opacity=0.3)
            for kind, (path, size) in _STRIPES.items()
        )
        + "</defs>"
    )


def _hatch(name: str, colour: str, path: str, size: int, background: str, *, opacity: float = 1.0) -> str:
    faint = f' stroke-opacity="{opacity}"' if opacity < 1 else ""
    return (
        f'<pattern id="{name}" width="{size}" height="{size}" patternUnits="userSpaceOnUse">'
        f'<rect width="{size}" height="{size}" fill="{background}"/>'
        f'<path d="{path}" stroke="{colour}" stroke-width="1"{faint}/></pattern>'
    )

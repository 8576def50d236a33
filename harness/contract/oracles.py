"""Entries `[[oracle]]`: registers that tell whether a reset really happened."""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.contract.schema import Entry
from harness.model.pci import ResetMethod
from harness.model.plan import Oracle


@dataclass(frozen=True, slots=True, kw_only=True)
class OracleEntry:
    """A register of a platform that some methods of reset clear, or are known not to clear.

    Attributes:
        platforms: function models that have it.
        methods: resets that it can tell.
        resource: file that maps it: `resource0` … `resource5`.
        offset: in bytes from the start of the resource.
        width: in bytes: 1, 2 or 4.
        marker: what is stored before the reset.
        cleared: what the register reads after a reset that really happened.
        mask: bits that count.
        source: where this is written or how it was measured.
    """

    platforms: tuple[str, ...]
    methods: tuple[ResetMethod, ...]
    resource: str
    offset: int
    width: int
    marker: int
    cleared: int
    mask: int
    source: str

    def on(self, function: str) -> Oracle:
        """The same register as a plan names it, on the function with this alias."""
        return Oracle(
            function=function,
            resource=self.resource,
            offset=self.offset,
            width=self.width,
            marker=self.marker,
            cleared=self.cleared,
            mask=self.mask,
            source=self.source,
        )


def read_oracle(entry: Entry) -> OracleEntry:
    """Read one entry.

    Raises:
        ContractError: a field is missing, unknown or makes no sense.
    """
    platforms = entry.texts("platforms")
    entry.name = f"oracle of {', '.join(platforms)}"
    width = entry.access_width("width")
    most = (1 << 8 * width) - 1
    oracle = OracleEntry(
        platforms=platforms,
        methods=entry.words("methods", ResetMethod),
        resource=entry.text("resource"),
        offset=entry.number("offset", most=0xFFFF_FFFF),
        width=width,
        marker=entry.number("marker", most=most),
        cleared=entry.number("cleared", most=most),
        mask=entry.number("mask", least=1, most=most),
        source=entry.text("source"),
    )
    entry.finish()
    if oracle.offset % width:
        entry.refuse("offset", f"{oracle.offset:#x} is not aligned to the width of {width}")
    if re.fullmatch(r"resource[0-5]", oracle.resource) is None:
        entry.refuse("resource", f"is {oracle.resource!r}", "Write resource0 … resource5.")
    if (oracle.marker ^ oracle.cleared) & oracle.mask == 0:
        entry.refuse("marker", "cannot be told from cleared under the mask")
    return oracle

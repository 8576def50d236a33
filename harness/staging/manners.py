"""Which verbs mind their manners: what random plans over healthy functions may use, and what they may not.

A table beside the verbs, so that none is forgotten: `tests/unit/staging/test_manners.py` finds them all.
"""

from __future__ import annotations

import enum
from types import MappingProxyType
from typing import Final

from harness.staging.adapter import Adapter, Disk
from harness.staging.faulty import Faulty
from harness.staging.function import Function
from harness.staging.locks import Locks
from harness.staging.ownership import Ownership
from harness.staging.uio import UioUser
from harness.staging.vfio_user import VfioUser


class Manners(enum.StrEnum):
    """What a verb does to whoever else uses the function."""

    MINDED = "minded"
    """Nobody else is harmed, as long as the kernel keeps its promises."""
    BEHIND_ITS_BACK = "behind-its-back"
    """It changes the function where the kernel does not look: what is lost then is nobody's fault."""
    MISUSES_A_LOCK = "misuses-a-lock"
    """It breaks the kernel's own rules."""
    MAKES_IT_WRONG = "makes-it-wrong"
    """The function itself does not keep its promises, or is taken away."""


Subject = type[Adapter | Disk | Faulty | Function | Locks | Ownership | UioUser | VfioUser]

_MINDED: Final[dict[Subject, tuple[str, ...]]] = {
    Function: (
        *("reads", "reads_attribute", "reads_without_privilege", "reads_with_a_kept_descriptor", "writes"),
        *("opens_without_privilege", "loads_register", "stores_register", "writes_reset_method"),
        *("resets", "resets_with_oracle", "resets_all_below", "without_reset_methods"),
    ),
    VfioUser: (
        *("reads", "reads_copies", "writes", "writes_command", "asks", "reads_register", "writes_register"),
        *("loads_register", "stores_register", "touches_without_decode", "asks_for_interrupts"),
        *("resets", "insists_on_reset", "resets_with_oracle", "sets_flr_bit"),
        *("hot_resets", "hot_resets_with_oracle"),
        *("opens", "opens_again", "opens_late", "keeps_open", "closes"),
    ),
    Ownership: ("unbinds", "binds", "writes_override", "makes_vfs", "removes_and_rescans"),
    Locks: ("holds", "tries"),
    UioUser: ("handles_interrupts",),
    Adapter: ("is_driven", "resets", "runs_diagnostics", "goes_online", "tells_its_state"),
    Disk: ("reads", "writes_once"),
}
_BEHIND_ITS_BACK: Final[dict[Subject, tuple[str, ...]]] = {Function: ("sets_flr_bit", "tests_itself")}
_MISUSES_A_LOCK: Final[dict[Subject, tuple[str, ...]]] = {Locks: ("steals", "unlocks_twice", "never_unlocks")}
_MAKES_IT_WRONG: Final[dict[Subject, tuple[str, ...]]] = {
    Faulty: ("fails", "is_killed", "stalls", "is_replaced", "is_unplugged", "link_reports")
}

MANNERS: Final = MappingProxyType(
    {
        (subject, verb): manners
        for manners, table in (
            (Manners.MINDED, _MINDED),
            (Manners.BEHIND_ITS_BACK, _BEHIND_ITS_BACK),
            (Manners.MISUSES_A_LOCK, _MISUSES_A_LOCK),
            (Manners.MAKES_IT_WRONG, _MAKES_IT_WRONG),
        )
        for subject, verbs in table.items()
        for verb in verbs
    }
)
"""Every verb, by the class and the method that it is."""

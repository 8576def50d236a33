"""What lockdep says of locks: which ones, in which orders, taken by which functions.

A lock that is wanted while another is held is one order; the chain that lockdep prints, last link first, is the other:
each link was taken while the one before it was held, and the first while the lock that is wanted now was.

Source: Linux kernel/locking/lockdep.c, `print_lock()`, `print_circular_bug_header()`, `print_circular_bug_entry()`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from harness.judge.evidence.log_trace import Function, Helps, to_look_at


@dataclass(slots=True, kw_only=True)
class _Lock:
    name: str
    takers: list[Function] = field(default_factory=list)

    def by(self, helps: Helps) -> str:
        """` in FUNCTION`: who took it, if that is told."""
        who = to_look_at(self.takers, helps)
        return f" in {who}" if who else ""


@dataclass(slots=True)
class LockOrder:
    """The locks of one report, while its lines are being read.

    `_locks` are those of the thread that reports, the one that it wants first; `_chain` those of the other order.
    """

    _locks: list[_Lock] = field(default_factory=list)
    _chain: dict[int, _Lock] = field(default_factory=dict)
    _link: _Lock | None = None

    def hear(self, lock: str, function: Function | None, link: str) -> None:
        """Hear of a lock, or of a function: a frame of whoever took the link that was told last."""
        if link:
            self._link = self._chain.setdefault(int(link), _Lock(name=lock))
        elif lock and not (self._locks and self._locks[-1].name == lock and not self._locks[-1].takers):
            self._locks.append(_Lock(name=lock))
        if function:
            one = self._locks[-1] if lock and not link else self._link
            if one is not None:
                one.takers.append(function)

    def told(self, helps: Helps) -> str:
        """The orders, as half a sentence; empty where the report names no lock."""
        return ", but before ".join(filter(None, (self._here(helps), ", ".join(self._there(helps)))))

    def _here(self, helps: Helps) -> str:
        match self._locks:
            case []:
                return ""
            case [wanted]:
                return f"the lock is {wanted.name}{wanted.by(helps)}"
            case [wanted, held, *_]:
                return (
                    f"{wanted.name} is taken{wanted.by(helps)} while {held.name}, taken{held.by(helps)}, is held"
                    if held.takers
                    else f"{wanted.name} is taken{wanted.by(helps)}, and {held.name} with it"
                )
        return ""

    def _there(self, helps: Helps) -> Iterator[str]:
        before = self._locks[0].name if self._locks else ""
        for number in sorted(self._chain):
            one = self._chain[number]
            if number > 0 and before:  # 0 is what is taken now
                yield f"{one.name} was taken{one.by(helps)} while {before} was held"
            before = one.name if number > 0 else before

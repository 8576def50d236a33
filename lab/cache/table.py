"""What the cache holds, as a table for people."""

from __future__ import annotations

import time

from harness.lab.cache.budget import LIMIT_VARIABLE, budget_bytes, counts
from harness.lab.cache.contents import allocated_bytes, others
from harness.lab.cache.store import Cache
from harness.lab.progress import size_text


def render(cache: Cache) -> str:
    """Write a table of what the cache holds, the largest first, and all that it takes of the disk."""
    entries = cache.entries()
    total = size_text(allocated_bytes(cache.root))
    lines = [f"{cache.root}: {total}, {len(entries)} {'entry' if len(entries) == 1 else 'entries'}"]
    for entry in [*entries, *others(cache.root)]:
        age = f"made {_ago(entry.made_s)}, used {_ago(entry.used_s)}" + (", in use" if entry.in_use else "")
        age += ", not marked as ours" if entry.objection else ""
        lines.append(f"  {size_text(entry.size_bytes):>7}  {entry.kind:<13} {entry.key:<42} {age}")
    counted_bytes = sum(entry.size_bytes for entry in entries if counts(entry))
    limit = size_text(budget_bytes(cache.root, counted_bytes))
    lines.append(
        f"made here: {size_text(counted_bytes)}, the budget is {limit} ({LIMIT_VARIABLE}); the rest was fetched"
    )
    return "\n".join(lines)


def _ago(then_s: float) -> str:
    minutes = max(0, int(time.time() - then_s)) // 60
    if minutes < 120:
        return f"{minutes} min ago"
    hours = minutes // 60
    return f"{hours} h ago" if hours < 48 else f"{hours // 24} days ago"

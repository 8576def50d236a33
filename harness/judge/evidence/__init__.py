"""What the recorded rows show, before anything is asked or promised: accesses, calls, rounds, events of the log.

:class:`Evidence` holds all of it; a new kind of it is a pure function in a file of its own, and a property there.
Nothing here convicts.  The :mod:`~harness.judge.questions` do.
"""

from harness.judge.evidence.evidence import Evidence

__all__ = ["Evidence"]

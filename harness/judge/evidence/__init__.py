"""What the recorded rows show, before anything is asked or promised: accesses, calls, rounds, events of the log.

Nothing here convicts.  The :mod:`~harness.judge.questions` do.
"""

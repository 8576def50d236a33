"""What a history means: History + Terms → Findings → Verdict.

Everything here is a pure function of recorded columns: no device, no clock, no file.  One question a file;
the list of questions stands in :mod:`~harness.judge.verdict`.  A checker convicts only on what the kernel's
own trace or the recorded bytes prove; where evidence is missing it says UNKNOWN.
"""

from harness.judge.verdict import CHECKERS, judge

__all__ = ["CHECKERS", "judge"]

"""The pytest that `harness run` starts: a Ctrl-C is one line, however early it comes.

Its supervisor starts it with SIGINT blocked (harness/supervisor.py): what is pressed while Python starts arrives here.
"""

from __future__ import annotations

import signal
import sys

from harness import streams
from harness.model.exit_status import ExitStatus


def main() -> int:
    """Run pytest with the arguments of the process."""
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        import pytest  # noqa: PLC0415 - what takes the time in which a Ctrl-C may come

        return int(pytest.main())
    except KeyboardInterrupt:
        streams.complain("harness: stopped by the user")
        return ExitStatus.NOTHING_SAID
    finally:
        streams.lost()


if __name__ == "__main__":
    sys.exit(main())

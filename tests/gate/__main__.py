"""`./lab/test`: the lints, what a guest needs, and pytest in this process's place."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final, NoReturn

from tests.gate.lints import LINTS, stop
from tests.gate.request import request

ROOT: Final = Path(__file__).parents[2]
RED: Final = 1
NOTHING_SAID: Final = 125


def main() -> NoReturn:
    asked = request(sys.argv[1:], ROOT)
    began = time.monotonic()
    if why := stop(ROOT, Path(sys.executable).parent):
        print(why.said, end="", file=sys.stderr)
        print(f"lab/test stops, no test was run: {why.line}", file=sys.stderr)
        sys.exit(NOTHING_SAID if why.missing else RED)
    titles = ", ".join(lint.title for lint in LINTS)
    print(f"lab/test: {titles}: green in {time.monotonic() - began:.1f} s", file=sys.stderr)
    # A run starts Python hundreds of times.  Without byte code each of them compiles us anew: a third of its start.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if asked.guests:
        prepared = subprocess.run([sys.executable, "-P", "-m", "harness.cli", "setup"], cwd=ROOT, check=False)
        if prepared.returncode:
            sys.exit(prepared.returncode)
    sys.stdout.flush()
    os.chdir(ROOT)
    os.execv(sys.executable, [sys.executable, "-m", "pytest", "-p", "tests.gate.accounts", *asked.pytest])  # noqa: S606


if __name__ == "__main__":
    main()

"""Measure, print the table, write `hil-results/bench.json`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Final

from harness.errors import HarnessError
from harness.lab.cache.store import Cache
from harness.lab.figures import (
    clones,
    first_verdict,
    fresh_guest,
    guests_in_parallel,
    journal,
    judging,
    op_rate,
    release_skew,
    report_10k,
    vfio_cycle,
    vfio_user_latency,
    vfio_user_served,
)
from harness.lab.figures.row import Row, table
from harness.lab.place import Wishes, prepare
from harness.lab.progress import step

FIGURES: Final = {
    "op_rate": op_rate.measure,
    "vfio_op_rate": op_rate.measure_vfio,
    "release_skew": release_skew.measure,
    "vfio_cycle": vfio_cycle.measure,
    "vfio_user_served": vfio_user_served.measure,
    "vfio_user_latency": vfio_user_latency.measure,
    "fresh_guest": fresh_guest.measure,
    "judge": judging.measure,
    "first_verdict": first_verdict.measure,
    "guests_in_parallel": guests_in_parallel.measure,
    "clones": clones.measure,
    "journal": journal.measure,
    "report_10k": report_10k.measure,
}


def main() -> int:
    """Measure the named figures, or all."""
    parser = argparse.ArgumentParser(prog="lab/bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(FIGURES)}")
    parser.add_argument("--results", type=Path, default=Path("hil-results"), metavar="DIR")
    options = parser.parse_args()
    for name in options.names:
        if name not in FIGURES:
            parser.error(f"no figure {name!r}; there are: {', '.join(FIGURES)}")
    rows: list[Row] = []
    try:
        options.results.mkdir(parents=True, exist_ok=True)
        with Cache() as cache:
            place = prepare(cache, Wishes())
            for name in options.names or FIGURES:
                with step(f"measuring {name}", expected_s=60.0):
                    rows += FIGURES[name](place, options.results.absolute())
                written = json.dumps([row.to_json() for row in rows], indent=1) + "\n"
                (options.results / "bench.json").write_text(written)  # a later figure may fail
    except HarnessError as error:
        sys.stderr.write(f"lab/bench: {error}\n")
        return 125
    except OSError as error:
        sys.stderr.write(
            f"lab/bench: {error.filename}: {error.strerror}; name another folder with --results\n"
        )
        return 2
    print(table(rows))
    return 0


sys.exit(main())

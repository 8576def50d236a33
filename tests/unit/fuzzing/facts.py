"""The functions of the default lab, as a guest on Linux 6.12 showed them (harness/fuzzed/learning.py)."""

from __future__ import annotations

import json
from pathlib import Path

from harness.fuzzing.facts import Facts, from_json

KNOWN: dict[str, Facts] = from_json(
    json.loads((Path(__file__).parents[2] / "data" / "fuzzing" / "functions.json").read_bytes())
)

"""What random plans leave beside their histories, in the results folder: written and read here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from harness.errors import UsageError
from harness.plugin import reporting
from harness.report.identity import slug
from harness.results import ATTACHMENTS

RECIPE: Final = "recipe.json"
"""Of each plan."""
FOUND: Final = "found.json"
"""Of each plan that failed: how often it does, and the smallest one that does."""
SMALLEST: Final = "smallest.history.zip"
"""A history of that, for `harness replay`."""
FUNCTIONS: Final = f"{slug('functions')}.functions.json"
"""The facts by which recipes were drawn: of the last kernel."""


def write(node: pytest.Item, kind: str, data: bytes) -> str:
    """Keep something of a test; its path relative to the results folder."""
    path, results = reporting.attachment_path(node, kind), reporting.results_folder(node.config)
    if path is None or results is None:
        return ""
    path.write_bytes(data)
    return str(path.relative_to(results))


def write_functions(results: Path, facts: Any) -> None:
    """Keep facts on functions."""
    folder = results / ATTACHMENTS
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FUNCTIONS).write_bytes(as_json(facts))


def read(results: Path, test: str, kind: str) -> Any:
    """What a test has kept of a kind; None when it has not."""
    return _read(results / ATTACHMENTS / f"{slug(test)}.{kind}")


def read_functions(results: Path) -> Any:
    """Facts on functions; None when the session did not come so far."""
    return _read(results / ATTACHMENTS / FUNCTIONS)


def as_json(data: Any) -> bytes:
    """Plain values as a file."""
    return json.dumps(data, indent=1).encode() + b"\n"


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UsageError(f"reading {path}", said=str(error)) from error

"""What a run asks of a target is of a closed set: nothing outside of figures and tests sends source to be run there."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from harness.model.wire import Conversation

ROOT = Path(__file__).parents[2]
FIGURES = ROOT / "lab" / "figures"
SENDS = {"run_source", "remote_exec", "exec", "eval"}
ALLOWED = {"harness/target/agent.py: remote_exec"}
"""The one place through which channels are opened, and figures send what they measure."""


def sent(source: str) -> list[str]:
    """Calls that let a text be run; a channel that is opened for a conversation is none."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        purposes = {f"Conversation.{one.name}" for one in Conversation}
        if name in SENDS or (
            name == "open_channel" and ast.unparse(node.args[0]) not in (*purposes, "source")
        ):
            found.append(name)
    return found


def test_nothing_that_a_run_uses_sends_source() -> None:
    calls = {
        f"{path.relative_to(ROOT)}: {name}"
        for package in ("harness", "lab")
        for path in sorted((ROOT / package).glob("**/*.py"))
        if FIGURES not in path.parents
        for name in sent(path.read_text())
    }
    assert calls == ALLOWED


@pytest.mark.parametrize(
    "source",
    [
        "target.agent.run_source(_LOOK, 5)",
        "agent.open_channel(_REMOTE)",
        "gateway.remote_exec('import os')",
        "exec(text)",
    ],
)
def test_whoever_did_is_noticed(source: str) -> None:
    assert sent(source)

"""What the other tests here skip for says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.repo import tree


def test_without_git_the_skip_says_git(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(pytest.skip.Exception, match=r"^no git here\.  Type: .*apt-get install gcc git "):
        tree.tracked()


def test_outside_of_a_checkout_the_skip_says_what_git_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.setattr(tree, "ROOT", tmp_path)
    with pytest.raises(pytest.skip.Exception, match=rf"git says of {tmp_path}: fatal: not a git repository"):
        tree.tracked()

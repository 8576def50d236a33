"""What the other tests here skip for says what to do."""

from __future__ import annotations

import re
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


def test_who_looks_for_a_program_says_what_to_install() -> None:
    looks = {
        str(path.relative_to(tree.ROOT)): line.strip()
        for path in tree.tracked()
        if path.suffix == ".py" and path.is_relative_to(tree.ROOT / "tests")
        for line in path.read_text().splitlines()
        if re.search(r"shutil\.w[h]ich\((?!.*\bpath=)", line)
    }
    assert looks.keys() == {"tests/tools.py"}, "let tests/tools.py do it"

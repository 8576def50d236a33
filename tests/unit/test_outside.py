"""A file of somebody else's is a regular one of a bounded size, or an error in one line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.model.limits import Limit
from harness.outside import read_file

SMALL = Limit(what="a note", most=4)


def test_a_file_within_the_limit_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "note"
    path.write_bytes(b"abcd")
    assert read_file(path, SMALL, what="note") == b"abcd"


@pytest.mark.parametrize("path", ["/dev/zero", "pipe", ".", "absent", "large", "a\0b", "a\ud800"], ids=ascii)
def test_anything_else_is_the_callers_mistake(path: str, tmp_path: Path) -> None:
    """A pipe without a writer would wait for ever, /dev/zero would never end."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"abcde")
    with pytest.raises(UsageError, match=r"^note "):
        read_file(tmp_path / path, SMALL, what="note")

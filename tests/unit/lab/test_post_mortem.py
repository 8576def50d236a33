"""How a guest was lost: what is read out of its console while it is still being written."""

from __future__ import annotations

import pytest

from harness.lab.guest.post_mortem import how_the_agent_ended


@pytest.mark.parametrize(
    ("console", "says"),
    [
        ("", ""),
        ("init: agent ended, status 0x9; starting it again\n", ": killed by SIGKILL"),
        ("init: agent ended, status 0x100; starting it again\n", " with status 1"),
        ("init: agent ended, status 0; starting it again\n", " with status 0"),
        (
            "init: agent ended, status 0; starting it again\ninit: agent ended, status 0xb;",
            ": killed by SIGSEGV",
        ),
    ],
)
def test_init_says_how_the_agent_ended(console: str, says: str) -> None:
    assert how_the_agent_ended(console) == says


def test_a_line_that_is_being_written_says_nothing_yet() -> None:
    line = "init: agent ended, status 0x9;"
    assert [how_the_agent_ended(line[:end]) for end in range(len(line))] == [""] * len(line)

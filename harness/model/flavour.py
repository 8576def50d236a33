"""What a user chooses of a report: words that options, journal and JUnit share."""

from __future__ import annotations

import enum


class Dialect(enum.StrEnum):
    """Which flavour of JUnit."""

    STRICT = "strict"
    """Valid against the xunit2 schema: every consumer."""
    RICH = "rich"
    """With properties, file, line and timestamp on each case: not for the Jenkins xUnit plugin."""


class FlakyPolicy(enum.StrEnum):
    """What a test that passed only after a retry counts as."""

    PASS = "pass"  # noqa: S105 - not a password
    FAIL = "fail"

"""Kernel logs that were recorded, or written by hand where no stock kernel says such things, and what they are.

Beside each `NAME.txt` lies `NAME.toml`: its events, in order.  Lines that begin with `#` say where a log comes from;
all others are as `dmesg --raw` prints them, but with times in brackets: what a console shows, and the level.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.contract import load
from harness.history.console import read_console
from harness.judge.evidence.log_accounts import unexplained
from harness.judge.evidence.log_events import LogEvent, log_events
from harness.lab.figures.synthetic import synthetic
from harness.model.terms import LogClass

HERE = Path(__file__).parent
NAMES = sorted(path.stem for path in HERE.glob("*.txt"))
RULES = load().log_rules
LINES = [rule for rule in RULES if rule.kind is not LogClass.HELPER]
_NAMED = re.compile(r"([\w.]+)\+0x[0-9a-f]+/0x[0-9a-f]+")
BARE = synthetic(4)
LEFT_OVER = {
    "driver_says": ["pci 0000:07:00.0: hil_faults: said on request"],
    "programs": [
        "igb 0000:01:00.0: WARNING: invalid option, using default",
        "note: general protection fault is no reason to panic: Kernel panic - not syncing",
    ],
    "rip_alone": [" vfs_read+0x21/0x300"],  # its report's beginning is missing
}
"""What nothing explains, and is no part of a report either."""
RECORDED, BY_HAND = "# Recorded ", "# Written by hand "


def text_of(name: str) -> str:
    text = (HERE / f"{name}.txt").read_text()
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("# "))


def told(event: LogEvent) -> dict[str, Any]:
    """An event as the files write it down."""
    facts: dict[str, Any] = {"class": event.kind.value, "text": event.text, "lines": len(event.rows)}
    for name in ("said", "symbol", "place", "comm", "pid"):
        if value := getattr(event, name):
            facts[name] = value
    if event.driver:
        facts["driver"] = event.driver
    if event.functions:
        facts["functions"] = list(event.functions)
    return facts


def read(text: str) -> list[dict[str, Any]]:
    console = read_console(text)
    assert console.complete
    return [told(event) for event in log_events(console.lines, RULES)]


def expected(name: str) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = tomllib.loads((HERE / f"{name}.toml").read_text())["event"]
    return events


@pytest.mark.parametrize("name", NAMES)
def test_a_log_is_read_as_what_it_is(name: str) -> None:
    assert read(text_of(name)) == expected(name)


@pytest.mark.parametrize("name", [name for name in NAMES if text_of(name).startswith("<")])
def test_a_console_without_levels_tells_the_same(name: str) -> None:
    plain = re.sub(r"^<\d+>", "", text_of(name), flags=re.MULTILINE)
    assert read(plain) == expected(name)


@pytest.mark.parametrize("name", NAMES)
def test_a_log_says_where_it_comes_from(name: str) -> None:
    assert (HERE / f"{name}.txt").read_text().startswith((RECORDED, BY_HAND))


def test_every_class_is_in_some_log() -> None:
    seen = {event["class"] for name in NAMES for event in expected(name)}
    assert {kind.value for kind in LogClass if kind not in (LogClass.DETAIL, LogClass.HELPER)} == seen


def test_every_rule_reads_a_line_of_some_log() -> None:
    """A rule that reads none may be misspelt, or stand behind one that reads all of its lines."""
    used = set()
    for name in NAMES:
        for line in read_console(text_of(name)).lines:
            first = next((rule for rule in LINES if re.search(rule.pattern, line.text, re.MULTILINE)), None)
            used.add(first and first.pattern)
    assert [rule.pattern for rule in LINES if rule.pattern not in used] == []


def test_every_kind_of_helper_is_in_some_log() -> None:
    named = {name for path in HERE.glob("*.txt") for name in _NAMED.findall(path.read_text())}
    unseen = [
        rule.meaning
        for rule in RULES
        if rule.kind is LogClass.HELPER and not any(re.search(rule.pattern, name) for name in named)
    ]
    assert unseen == []


def test_a_report_leaves_no_line_of_its_own_over() -> None:
    """Rulers, scenarios and other words in the middle of a report are its own: nobody is told of them once more."""
    over = {}
    for name in NAMES:
        log = read_console(text_of(name)).lines
        rows = unexplained(replace(BARE, log=log), log_events(log, RULES))
        if texts := [log[row].text for row, _ in rows]:
            over[name] = texts
    assert over == LEFT_OVER

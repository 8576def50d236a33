from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.report.text import clean, clip, fit, one_line, tag

LEGAL = re.compile(
    "[\t\n\x20-\x7e\xa0-\u061b\u061d-\u200d\u2010-\u2027\u202f-\u2065\u206a-\ud7ff"
    "\ue000-\ufdcf\ufdf0-\ufffd\U00010000-\U0010fffd]*"
)
ANY = st.text(alphabet=st.characters(exclude_categories=()))


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("a\r\nb\rc", "a\nb\nc"),
        ("bell\x07", "bell\\x07"),
        ("\ud83d", "\\ud83d"),
        (b"\xff ok", "\\xff ok"),
        ("\x7f\x85\ufffe\U0001ffff", "\\x7f\\x85"),
        ("\x9b2J\u202eevil\u2066\u2028", "\\x9b2J\\u202eevil\\u2066\\u2028"),
        ("[[ATTACHMENT|/etc/passwd]]", "[[ ATTACHMENT|/etc/passwd]]"),
        ("[[\x00ATTACHMENT|", "[[\\x00ATTACHMENT|"),
        ("[[\ufffePROPERTY|", "[[ PROPERTY|"),
        ("é 漢 🎉", "é 漢 🎉"),
    ],
)
def test_clean(raw: str | bytes, cleaned: str) -> None:
    assert clean(raw) == cleaned


@given(text=st.one_of(ANY, st.binary()))
def test_only_legal_characters_are_left(text: str | bytes) -> None:
    assert LEGAL.fullmatch(clean(text))
    assert clean(clean(text)) == clean(text)


@given(text=ANY, limit=st.integers(60, 400))
def test_a_clipped_text_fits_and_keeps_both_ends(text: str, limit: int) -> None:
    cleaned = clean(text)
    clipped = clip(cleaned, limit)
    assert len(clipped.encode()) <= limit
    if len(cleaned.encode()) <= limit:
        assert clipped == cleaned
    else:
        assert "left out" in clipped


@given(text=ANY, limit=st.integers(80, 400))
def test_fitting_is_cleaning_and_clipping(text: str, limit: int) -> None:
    fitted = fit(text * 20, limit)
    assert len(fitted.encode()) <= limit
    assert LEGAL.fullmatch(fitted)
    assert "[[ATTACHMENT|" not in fit(text + "[[ATTACHMENT|" * 50, limit)


@given(text=ANY)
def test_one_line_is_one_line(text: str) -> None:
    line = one_line(text, 50)
    assert len(line) <= 50
    assert "\n" not in line


def test_a_tag_cannot_be_closed_early() -> None:
    assert tag("PROPERTY", "k=a]]\n[[ATTACHMENT|x") == "[[PROPERTY|k=a] ] [[ ATTACHMENT|x]]"

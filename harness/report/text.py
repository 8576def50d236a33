"""Make text of unknown origin fit for a report.

Kernel logs and consoles carry escape sequences, control characters and broken encodings, and whoever controls
a guest controls them.  XML knows none of these, and Jenkins acts upon `[[ATTACHMENT|` wherever it finds it.  What a
terminal or an eye would act upon is spelled out by :mod:`harness.visible`; whole escape sequences say nothing, and go.

Source: XML 1.0 (fifth edition) §2.2, production Char.
"""

from __future__ import annotations

import re
from typing import Final

from harness.visible import visible

_ESCAPES: Final = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # OSC: titles, links
    r"|\x1b[@-Z\\-_]"  # two-character sequences
)
_NEWLINES: Final = re.compile(r"\r\n?")
_LAST_OF_PLANES: Final = "".join(chr(plane << 16 | low) for plane in range(1, 17) for low in (0xFFFE, 0xFFFF))
_DROPPED: Final = re.compile(f"[\ufdd0-\ufdef\ufffe\uffff{_LAST_OF_PLANES}]")
_TAGS: Final = re.compile(r"\[\[(?=(?:ATTACHMENT|PROPERTY)\|)", re.IGNORECASE)


def clean(text: str | bytes) -> str:
    r"""Remove what XML cannot carry and what a consumer would act upon.

    Escape sequences and noncharacters go; CR and CRLF become LF; other characters that somebody would act upon
    become visible as `\x07`, `\u202e` or `\udc80`; `[[ATTACHMENT|` and `[[PROPERTY|` are broken by a space.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "backslashreplace")
    text = _NEWLINES.sub("\n", _ESCAPES.sub("", text))
    return _TAGS.sub("[[ ", visible(_DROPPED.sub("", text)))


def clip(text: str, limit_bytes: int) -> str:
    """Keep head and tail of a text that is longer than `limit_bytes` in UTF-8, and say how much is gone."""
    if len(text) * 4 <= limit_bytes or len(data := text.encode()) <= limit_bytes:
        return text
    marker = f"\n[... {len(data) - limit_bytes} bytes left out ...]\n"
    keep = max(0, limit_bytes - len(marker))
    head = data[: keep // 2].decode(errors="ignore")
    tail = data[len(data) - (keep - keep // 2) :].decode(errors="ignore")
    return head + marker + tail


def fit(text: str, limit_bytes: int) -> str:
    """Clean and clip a text of any size; of a very long one only both ends are looked at."""
    if len(text) > 4 * limit_bytes:
        gone = len(text) - 2 * limit_bytes
        head, tail = clean(text[:limit_bytes]), clean(text[-limit_bytes:])
        return clip(f"{head}\n[... {gone} characters left out ...]\n{tail}", limit_bytes)
    return clip(clean(text), limit_bytes)


def one_line(text: str | bytes, limit: int = 300) -> str:
    """The text on one line of at most `limit` characters."""
    line = " ".join(clean(text[: 20 * limit]).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def tag(kind: str, value: str) -> str:
    """A line that Jenkins, GitLab and Testmo read: `[[ATTACHMENT|path]]` or `[[PROPERTY|name=value]]`."""
    value = " ".join(clean(value).split()).replace("]]", "] ]")
    return f"[[{kind}|{value}]]"

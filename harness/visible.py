r"""The law on text from outside: nothing in it that a terminal or a reader's eye would act upon leaves us as it came.

Kernel logs, consoles, aliases, titles and reasons are written by whoever controls a guest or a file.  Whatever of them
goes to a terminal or into a report goes through :func:`visible`, or through something that does
(`harness.report.text`, the message of a `HarnessError`).  Evidence stays as it was: consoles, histories.

Sources: ECMA-48 (C0, C1), Unicode Standard Annex #9 §2 (directional formatting), §5.8 of the Unicode Standard
(U+2028, U+2029).
"""

from __future__ import annotations

import re
from typing import Final

_ACTED_UPON: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 without tab and newline, DEL, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # what turns the direction of writing
    "\u2028\u2029"  # lines that only some readers see
    "\ud800-\udfff]"  # halves of characters: no encoder takes them
)


def visible(text: str) -> str:
    r"""The text with every character spelled out that would be acted upon: ESC as `\x1b`, U+202E as `\u202e`.

    Newlines and tabs stay; CRLF is a newline.  Doing it twice changes nothing.
    """
    return _ACTED_UPON.sub(_spelled, text.replace("\r\n", "\n"))


def _spelled(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"

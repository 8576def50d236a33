from __future__ import annotations

from harness.model.limits import CONSOLE_LINE
from harness.model.lines import short_lines


def test_only_long_lines_are_cut_and_say_so() -> None:
    longest = "x" * CONSOLE_LINE.most
    assert short_lines(f"a\n{longest}\n\nb") == f"a\n{longest}\n\nb"
    cut = f"a\n{longest} [lab: 3 characters of this line are left out]\nb"
    assert short_lines(f"a\n{longest}yyy\nb") == cut
    assert short_lines(cut) == cut

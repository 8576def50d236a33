"""Which tests a user means: by a file, a test in it, or a part of the name of a shipped scenario."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from harness.errors import UsageError

_FOLDER: Final = Path(__file__).parent
_ROOT: Final = f"--rootdir={_FOLDER.parents[1]}"
"""The same identities wherever one stands and however the harness was installed."""


def named(words: Sequence[str]) -> list[str]:
    """Turn what a user calls scenarios into arguments of pytest.

    Args:
        words: files and node ids as pytest takes them, the same below the folder of the shipped scenarios, names of
            shipped files without their ending, or parts of names of shipped scenarios.

    Raises:
        UsageError: no word, a file that does not exist, or files and parts of names together.
    """
    if not words:
        raise UsageError(
            "no scenario is named",
            hint="Name a file, a test in it, or a part of the name of a shipped scenario first: "
            "harness soak test_readers_wait --for 10m.",
        )
    files = {word: _file(word) for word in words}
    missing = [
        word for word, found in files.items() if not found and ("/" in word or ".py" in word or "::" in word)
    ]
    if missing:
        raise UsageError(f"scenario {missing[0]}", said="there is no such file")
    parts = [word for word, found in files.items() if not found]
    if not parts:
        shipped = any(found.startswith(str(_FOLDER)) for found in files.values())
        return [*([_ROOT] if shipped else []), *files.values()]
    if len(parts) < len(files):
        raise UsageError(
            f"scenario {parts[0]}",
            said="there is no such file, and parts of names go with shipped scenarios alone",
            hint="Name files only, or parts of names only.",
        )
    return [_ROOT, "--pyargs", "harness.scenarios", "-k", " or ".join(parts)]


def _file(word: str) -> str:
    """The file or node id that a word means, empty when it is none."""
    path, colons, rest = word.partition("::")
    for candidate in (Path(path), _FOLDER / path, _FOLDER / f"{path}.py"):
        if path and candidate.exists():
            return f"{candidate}{colons}{rest}"
    return ""

"""Make the committed C of the bindings from `NAME.cdef.txt` (declarations) and `NAME.csrc.c` (source).

Run it with `poe cdefs`; `python cdefs/generate.py --check` only says whether the committed files are current.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
MODULES = ("actor", "iommufd", "vfio")


def generate(name: str, output: Path) -> None:
    """Write the C of `harness.bindings._NAME` to `output`."""
    sources = [HERE / f"{name}.cdef.txt", HERE / f"{name}.csrc.c"]
    command = [sys.executable, "-m", "cffi.gen_src", "read-sources", f"harness.bindings._{name}"]
    subprocess.run([*command, *map(str, sources), str(output)], check=True)


def stale() -> list[str]:
    """Names of modules whose committed C differs from what would be generated."""
    with tempfile.TemporaryDirectory() as folder:
        names = []
        for name in MODULES:
            fresh, committed = Path(folder, f"_{name}.c"), HERE / f"_{name}.c"
            generate(name, fresh)
            if not committed.exists() or fresh.read_bytes() != committed.read_bytes():
                names.append(name)
    return names


if __name__ == "__main__":
    if "--check" in sys.argv:
        behind = stale()
        sys.exit(f"behind their sources: {', '.join(behind)}; run: poe cdefs" if behind else 0)
    for module in MODULES:
        generate(module, HERE / f"_{module}.c")

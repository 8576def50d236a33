"""How the compiled bindings are built; everything else that is built is declared in pyproject.toml.

A build works in a folder of its own that goes with it: modules that an earlier one left in `build/` do not get into a
wheel, and nothing is left in the source tree.
"""

import sysconfig
import tempfile
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.sdist import sdist

WARNINGS = ["-Wall", "-Wextra", "-Wno-unused-parameter", "-Wno-missing-field-initializers"]


class SourceTree(sdist):
    """What MANIFEST.in lists, without what was made of it: setuptools' notes, which lie elsewhere, and machine code."""

    def make_distribution(self) -> None:
        """Pack it, unless a folder is in the way that setuptools would take for its own and delete."""
        if Path(scratch := self.distribution.get_fullname()).exists():
            raise SystemExit(f"packing the source: {scratch} is in the way.  Move it elsewhere.")
        super().make_distribution()

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        """Copy the listed files to the folder that is packed."""
        paths = [path for path in map(Path, files) if path.suffix not in {".so", ".pyc"}]
        super().make_release_tree(base_dir, [str(path) for path in paths if not path.is_absolute()])
        Path(base_dir, "harness", "lab").symlink_to(
            "../lab"
        )  # as in the repository: setuptools follows links


# The C is generated from cdefs/*.cdef.txt and *.csrc.c by `poe cdefs` and committed; a test keeps them equal.
BINDINGS = [
    Extension(
        f"harness.bindings.{path.stem}",
        [str(path)],
        py_limited_api=True,
        extra_compile_args=["-O2", "-std=gnu11", *WARNINGS],
    )
    for path in sorted(Path("cdefs").glob("_*.c"))
]
# A Python without GIL has no stable ABI to build for, and setuptools refuses to.
TAG = {} if sysconfig.get_config_var("Py_GIL_DISABLED") else {"py_limited_api": "cp311"}

with tempfile.TemporaryDirectory(prefix="vfio-harness-build-") as folder:
    setup(
        ext_modules=BINDINGS,
        cmdclass={"sdist": SourceTree},
        options={
            "build": {"build_base": folder},
            "egg_info": {"egg_base": folder},
            "bdist_wheel": TAG,
        },
    )

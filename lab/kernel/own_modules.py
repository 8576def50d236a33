"""Kernel modules of one's own, as a user names them: each takes the place of the kernel's module of that name.

Everything that is wrong with one is said here, before anything boots.

Source: Linux kernel/module/main.c, `check_modinfo()` (vermagic) and `module_sig_check()`; `depends=`, `name=` and
`vermagic=` of include/linux/module.h.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.errors import SetupError, UsageError
from harness.lab.kernel import modules
from harness.lab.kernel.names import FAULTS, WINDOWS
from harness.model.limits import MODULE_FILE
from harness.outside import read_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from harness.lab.kernel.find import Kernel

_SIGNED: Final = b"~Module signature appended~\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnModule:
    """One module of the user's own.

    Attributes:
        name: as the kernel will call it, whatever its file is called.
        path: the user's file.
        digest: of the file as it is, the first 12 digits that `sha256sum` prints.
        content: the uncompressed ELF object.
        made_for: the release that it was built for, and the options that must be those of the kernel (vermagic).
        needs: names of the modules that must be loaded before it.
    """

    name: str
    path: Path
    digest: str
    content: bytes
    made_for: str
    needs: tuple[str, ...] = ()

    @property
    def signed(self) -> bool:
        """Whether a signature follows it, which holds for exactly these bytes."""
        return self.content.endswith(_SIGNED)

    def __str__(self) -> str:
        """Name and digest, as reports have them: `ipr-1f0c…`."""
        return f"{self.name}-{self.digest}"


def own_modules(files: Sequence[Path]) -> tuple[OwnModule, ...]:
    """Read modules that a user names.

    Args:
        files: each a `.ko`, compressed or not.

    Raises:
        UsageError: one cannot be read or is no finished module, or two have the same name.
    """
    found: dict[str, OwnModule] = {}
    for module in map(_read, files):
        if (other := found.setdefault(module.name, module)) is not module:
            raise UsageError(
                f"modules {other.path} and {module.path}",
                said=f"both are {module.name}",
                hint="A kernel takes one module of a name: leave one of them out.",
            )
    return tuple(found.values())


def refuse_several_kernels(files: Sequence[object], branches: Sequence[str]) -> None:
    """A module is built for one kernel: say so before any of several kernels is fetched.

    Raises:
        UsageError: there are modules, and several kernels.
    """
    if files and len(branches) > 1:
        raise UsageError(
            f"--module {files[0]} with the kernels {', '.join(branches)}",
            said="a module is built for one of them",
            hint="Name that one, and run the others without it or with their own.",
        )


def refuse_unfit(own: Sequence[OwnModule], kernel: Kernel) -> None:
    """Hold modules against the kernel that shall load them.

    Raises:
        UsageError: it would not, or one needs a module that is not there.
    """
    if not own:
        return
    tree = modules.scan(kernel.modules) if kernel.modules else modules.ModuleTree()
    names = {module.name for module in own}
    for module in own:
        tried = f"module {module.path} in kernel {kernel.release}"
        for said, hint in _obstacles(module, kernel, tree, names):
            raise UsageError(tried, said=said, hint=hint)


def _read(path: Path) -> OwnModule:
    file = path.absolute()
    raw = read_file(file, MODULE_FILE, what="module", hint="Name the FILE.ko that make has left.")
    try:
        content = modules.decompressed(file)
        fields = modules.modinfo(content)
    except SetupError as error:
        raise UsageError(
            f"module {path}", said=error.said, hint=error.hint or "Is it a whole file?"
        ) from error
    except ValueError as error:
        raise UsageError(
            f"module {path}", said=str(error), hint="Name the FILE.ko that make has left."
        ) from error
    if "vermagic" not in fields:
        raise UsageError(
            f"module {path}",
            said="it says nothing of a kernel that it was built for (no vermagic)",
            hint="Name the FILE.ko that make has left, not an object on the way to it.",
        )
    hard, _ = modules.requirements(fields)
    return OwnModule(
        name=modules.canonical(fields.get("name", [file.name])[0]),
        path=file,
        digest=hashlib.sha256(raw).hexdigest()[:12],
        content=content,
        made_for=fields["vermagic"][0].strip(),
        needs=tuple(hard),
    )


def _obstacles(
    module: OwnModule, kernel: Kernel, tree: modules.ModuleTree, names: set[str]
) -> Iterator[tuple[str, str]]:
    """What stands in the way of a module, and what to do about it."""
    against = f"Build it against the headers of {kernel.release}"
    release = module.made_for.partition(" ")[0]
    if release != kernel.release:
        yield (
            f"it was built for {module.made_for!r}",
            f"{against}, or name the kernel that it was built for with --kernel or --kernels.",
        )
    if module.name in (WINDOWS, FAULTS):
        yield "the lab has a module of that name", "Give yours another one."
    if module.name in tree.built_in:
        yield f"{module.name} is built into this kernel", "Build the kernel with it as a module (=m)."
    if kernel.config and kernel.config.get("CONFIG_MODULES") != "y":
        yield "this kernel loads no modules", "Build it with CONFIG_MODULES."
    if kernel.config.get("CONFIG_MODULE_SIG_FORCE") == "y" and not module.signed:
        yield "this kernel loads signed modules only", "Build it without CONFIG_MODULE_SIG_FORCE."
    for name in module.needs:
        if name not in names and name not in tree.built_in and not tree.has(name):
            yield f"it needs {name}, which this kernel does not have", f"Give it as well: --module {name}.ko."
    if (theirs := _made_for(module.name, tree)) not in ("", module.made_for):
        yield (
            f"it was built for {module.made_for!r}, the kernel's own modules for {theirs!r}",
            f"{against}, with its configuration.",
        )


def _made_for(name: str, tree: modules.ModuleTree) -> str:
    """What the kernel's own modules say that they were built for; empty when it has none."""
    chosen = name if name in tree.files else next(iter(tree.files), "")
    if not chosen:
        return ""
    return modules.modinfo(tree.content(chosen)).get("vermagic", [""])[0].strip()

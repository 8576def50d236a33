"""What a user may wish of a lab, as options: declared once for the commands and for pytest, and read once.

`harness run --kernel PATH` passes its wishes on to the pytest that it starts, as `--hil-kernel=PATH`.  Both keep them
under the same names, so whoever reads them need not know where they were said.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from harness.errors import UsageError

if TYPE_CHECKING:
    from lab.place import Wishes


def a_word(text: str) -> str:
    """The value of an option, or a word, that says something.

    Raises:
        argparse.ArgumentTypeError: it is empty, as of a variable that is not set.
    """
    if not text:
        raise argparse.ArgumentTypeError("it is empty; is a variable not set?")
    return text


def a_path(text: str) -> Path:
    """A path as it was typed, but for the home folder that `~` stands for.

    Raises:
        argparse.ArgumentTypeError: it is empty, or nobody knows the home folder.
    """
    try:
        return Path(a_word(text)).expanduser()
    except RuntimeError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}".rstrip(".")) from error


OPTIONS: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "qemu": {
            "dest": "hil_qemu",
            "type": a_path,
            "metavar": "PATH",
            "help": "use this QEMU (11 or newer)",
        },
        "kernel": {
            "dest": "hil_kernel",
            "type": a_path,
            "metavar": "PATH",
            "help": "test this kernel: bzImage, vmlinux or built tree",
        },
        "modules": {
            "dest": "hil_modules",
            "type": a_path,
            "metavar": "DIR",
            "help": "its modules, when they do not lie beside it",
        },
        "module": {
            "dest": "hil_own_modules",
            "type": a_path,
            "action": "append",
            "default": [],
            "metavar": "FILE.ko",
            "help": "use this module instead of the kernel's module of that name, or beside them; repeatable",
        },
        "kernels": {
            "dest": "hil_kernels",
            "type": a_word,
            "metavar": "BRANCH,...",
            "help": "run everything on each of these branches of Debian's kernels: 6.1,6.12,7.x",
        },
        "model": {
            "dest": "hil_models",
            "type": a_word,
            "action": "append",
            "default": [],
            "metavar": "ALIAS=FILE.py:CALLABLE",
            "help": "serve a model of your own on an empty port, as that function (docs/write-a-model.md); repeatable",
        },
        "cold": {
            "dest": "hil_cold",
            "action": "store_true",
            "help": "boot a guest for every test instead of cloning one",
        },
        "keep": {
            "dest": "hil_keep",
            "action": "store_true",
            "help": "keep the guest of a failed test running until Enter is pressed",
        },
        "gdb": {
            "dest": "hil_gdb",
            "type": a_word,
            "metavar": "ADDRESS",
            "help": "open QEMU's gdb port there, as in tcp:127.0.0.1:1234",
        },
    }
)
"""Every wish by its option, without dashes and prefix; the values are what argparse and pytest take."""


def declare(add: Callable[..., object], *names: str, prefix: str = "") -> None:
    """Declare options of a command, or of pytest.

    Args:
        add: `add_argument` of argparse, or `addoption` of pytest.
        names: which, of :data:`OPTIONS`.
        prefix: of the options, such as "hil-".
    """
    for name in names:
        add(f"--{prefix}{name}", **OPTIONS[name])


def branches_of(options: argparse.Namespace) -> tuple[str, ...]:
    """The branches of kernels that `--kernels` names, understood before anything is fetched.

    Args:
        options: of a command, or of pytest.

    Returns:
        Empty when it names none: then there is one kernel.

    Raises:
        UsageError: one is not written like a branch, `--kernel` names another kernel, or a module is to run on several.
        ImportError: there is no lab here.
    """
    if options.hil_kernels is None:
        return ()
    from lab.kernel import parse_branches  # noqa: PLC0415 - to judge and to report, no lab is needed
    from lab.own_modules import refuse_several_kernels  # noqa: PLC0415

    if options.hil_kernel is not None:
        raise UsageError("--kernels", said="--kernel names another one", hint="Leave one of them out.")
    branches = parse_branches(options.hil_kernels)
    refuse_several_kernels(options.hil_own_modules, branches)
    return branches


def wishes_of(options: argparse.Namespace, branch: str = "") -> Wishes:
    """What is wished for one kernel.

    Args:
        options: of a command, or of pytest.
        branch: which of the branches that `--kernels` names; empty when it names none.

    Raises:
        ImportError: there is no lab here.
    """
    from lab.place import Wishes  # noqa: PLC0415 - as above

    return Wishes(
        emulator=options.hil_qemu,
        kernel=options.hil_kernel,
        modules=options.hil_modules,
        branch=branch,
        own_modules=tuple(options.hil_own_modules),
        models=tuple(options.hil_models),
    )


def for_pytest(options: argparse.Namespace) -> list[str]:
    """The wishes that a command was told, as arguments of pytest; paths are absolute."""
    told: list[str] = []
    for name, option in OPTIONS.items():
        match getattr(options, option["dest"]):
            case None | False:
                pass
            case True:
                told.append(f"--hil-{name}")
            case list(values):
                told += [f"--hil-{name}={_absolute(value)}" for value in values]
            case value:
                told.append(f"--hil-{name}={_absolute(value)}")
    return told


def _absolute(value: str | Path) -> str | Path:
    return value.absolute() if isinstance(value, Path) else value

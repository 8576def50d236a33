"""What somebody wants of `./lab/test`, and the pytest that this comes to."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.gate.groups import BY_NAME, DEFAULT_S, GROUP_S, GROUPS, QUICK, QUICK_S, QUICK_WORKERS, WORKERS

_WHAT = """\
Look at style, types and import contracts of the whole tree, then run its tests: this is the gate.  What is red first
ends it.  Without options: all tests but those of the groups, at most {default} minutes on two idle cores.
"""
_GROUPS = "groups, each below {minutes} minutes; whoever changes what one looks at runs it:\n{lines}"
_REST = """
Everything else goes to pytest: a file or folder, -k, -x, -n 0, --pdb.  A file that is named runs whole, whatever group
it is in.  What fails is run once more, five tests at most (--reruns 0: not at all).  CONTRIBUTING.md says more.
"""
_DEAL: Final = ("--dist=loadfile", "--no-loadscope-reorder")
_AGAIN: Final = ("--reruns", "1", "--max-suite-reruns", "5", "--rerun-show-tracebacks")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A command line, understood.

    Attributes:
        pytest: its arguments.
        guests: whether a guest may be booted, so that its parts are fetched and built first.
    """

    pytest: tuple[str, ...]
    guests: bool


def request(arguments: Sequence[str], root: Path) -> Request:
    """Understand a command line.

    Args:
        arguments: as typed, without the program.
        root: of the repository, which paths are relative to.

    Raises:
        SystemExit: 0 after `--help`, 2 for a mistake, which is printed.
    """
    reading = parser()
    asked, rest = reading.parse_known_args(arguments)
    choosing = [word for word in rest if word == "-m" or (root / word.partition("::")[0]).exists()]
    if choosing and (asked.quick or asked.group):
        reading.error(f"--quick and --group choose the tests, and so does {choosing[0]}: use one of them")
    again = () if "--pdb" in rest else _AGAIN  # it stops at the first failure
    chosen: tuple[str, ...]
    if asked.quick:
        chosen = ("--budget", str(QUICK_S), "-m", "not guest", *QUICK)
    elif asked.group:
        folders = sorted({BY_NAME[name].under for name in asked.group})
        budget = str(GROUP_S * len(asked.group))
        chosen = ("--budget", budget, "-m", " or ".join(asked.group), *folders)
    else:
        chosen = () if rest else ("--budget", str(DEFAULT_S))
    return Request(
        pytest=("-n", str(QUICK_WORKERS if asked.quick else WORKERS), *_DEAL, *again, *chosen, *rest),
        guests=not (asked.quick or (asked.group and all(name == "setup" for name in asked.group))),
    )


def parser() -> argparse.ArgumentParser:
    """Make what knows the options and says them."""
    width = max(len(group.name) for group in GROUPS)
    lines = "".join(f"  {group.name:{width}}  {group.holds}\n" for group in GROUPS)
    made = argparse.ArgumentParser(
        prog="lab/test",
        usage="%(prog)s [--quick | --group NAME[,NAME...]] [pytest arguments]",
        description=_WHAT.format(default=DEFAULT_S // 60),
        epilog=_GROUPS.format(minutes=GROUP_S // 60, lines=lines) + _REST,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    choice = made.add_mutually_exclusive_group()
    choice.add_argument(
        "--quick",
        action="store_true",
        help=f"only what needs no guest and no pytest inside pytest, at most {QUICK_S} s",
    )
    choice.add_argument(
        "--group", type=_names, default=[], metavar="NAME[,NAME...]", help="only these groups, see below"
    )
    return made


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in BY_NAME]:
        message = f"there is no group {unknown[0]!r}, there are {', '.join(BY_NAME)}"
        raise argparse.ArgumentTypeError(message)
    return names

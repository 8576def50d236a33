"""Everything that a run can be told, as options: declared once for the commands and for pytest, and read once.

`harness run --kernel PATH` passes its options on to the pytest that it starts, as `--hil-kernel=PATH`.  Both keep
them under the same names, so the place where an option was said decides nothing.  Every pytest session loads this
file, so it imports nothing heavy.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from harness.errors import UsageError
from harness.model.flavour import Dialect, FlakyPolicy
from harness.target.silence import DEFAULT_S as SILENCE_S

if TYPE_CHECKING:
    from harness.lab.place import Wishes

AUTO: Final = "auto"
OFF: Final = "off"
"""What `--hil-retries` says instead of a number."""

LEAST_SILENCE_S: Final = 2.0
"""The agent speaks once a second."""

_LENGTH: Final = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")
_LONGEST_S: Final = 366 * 86_400.0
_MOST: Final = 1_000_000


# -- values ------------------------------------------------------------------------------------------


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


def a_time(text: str) -> float:
    """How long a soak lasts: `90s`, `10m`, `2h`, `1h30m`.

    Returns:
        Seconds, more than 0, at most a year.

    Raises:
        argparse.ArgumentTypeError: no number, no unit, another unit, no time at all, or more than a year.
    """
    match = _LENGTH.fullmatch(text.replace(" ", ""))
    hours, minutes, seconds = (float(part or 0) for part in match.groups()) if match else (0.0, 0.0, 0.0)
    found = hours * 3600 + minutes * 60 + seconds
    if not 0 < found <= _LONGEST_S:
        raise argparse.ArgumentTypeError(f"{text!r} is no time.  Write how long: 90s, 10m, 2h, 1h30m")
    return found


def a_silence(text: str) -> float:
    """How long a target may say nothing, in seconds.

    Raises:
        argparse.ArgumentTypeError: less than :data:`LEAST_SILENCE_S`.
    """
    try:
        seconds = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds") from None
    if not LEAST_SILENCE_S <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(
            f"{text} s: the agent speaks once a second, so {LEAST_SILENCE_S:.0f} at least"
        )
    return seconds


def a_count(text: str) -> int:
    """A number of things, 1 to a million.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if not text.isdecimal() or not 0 < int(text) <= _MOST:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to {_MOST}")
    return int(text)


def a_number(text: str) -> int:
    """A number, 0 to 2^63-1.

    Raises:
        argparse.ArgumentTypeError: it is no such number.
    """
    if not text.isdecimal() or not int(text) < 1 << 63:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to 2^63-1")
    return int(text)


def retries(word: str) -> str:
    """How many tests may need a second try.

    Raises:
        argparse.ArgumentTypeError: it is neither :data:`AUTO`, :data:`OFF` nor a number above 0.
    """
    if word not in (AUTO, OFF) and not (word.isdecimal() and int(word) > 0):
        raise argparse.ArgumentTypeError(f"{word!r} is neither {AUTO}, {OFF} nor a number above 0")
    return word


# -- options -----------------------------------------------------------------------------------------


Options = Mapping[str, Mapping[str, Any]]
"""Options by name, without dashes and prefix; the values are what argparse and pytest take."""

LAB: Final[Options] = MappingProxyType(
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
"""Of the guests: what is booted, and how."""

SOAK: Final[Options] = MappingProxyType(
    {
        "until-failure": {
            "dest": "hil_until_failure",
            "action": "store_true",
            "help": "end a soak with the first failure",
        },
        "baseline": {
            "dest": "hil_baseline",
            "type": a_path,
            "metavar": "DIR",
            "help": "compare a soak with the baselines in DIR, a file for each function, and write those that "
            "are missing",
        },
        "update-baseline": {
            "dest": "hil_update_baseline",
            "action": "store_true",
            "help": "replace the baselines by what this soak gives",
        },
        "factor": {
            "dest": "hil_factor",
            "type": float,
            "metavar": "N",
            "help": "how far latencies may move from the baseline (default: 2 times)",
        },
    }
)
"""Of rounds: when they end, and what they are compared with."""

FUZZ: Final[Options] = MappingProxyType(
    {
        "fuzz": {"type": int, "metavar": "SEED", "help": argparse.SUPPRESS},
        "fuzz-plans": {"type": int, "metavar": "N", "default": 0, "help": argparse.SUPPRESS},
        "fuzz-stages": {"type": int, "metavar": "N", "default": 0, "help": argparse.SUPPRESS},
        "fuzz-for": {"type": a_time, "metavar": "TIME", "help": argparse.SUPPRESS},
    }
)
"""Of a session of random plans: `harness fuzz` says them in words of its own."""

RUN: Final[Options] = MappingProxyType(
    {
        "resume": {
            "dest": "hil_resume",
            "action": "store_true",
            "help": "go on where the run stopped that left its results there: what has an outcome is not run again",
        },
        "times": {
            "dest": "hil_times",
            "action": "store_true",
            "help": "show at the end how long operations took, by kind",
        },
    }
)
"""Of a run, as a command and as a session."""

SESSION: Final[Options] = MappingProxyType(
    {
        "lab": {"choices": ("emulated",), "help": "where to test: QEMU guests made for the run"},
        "guests": {
            "choices": ("fresh", "shared"),
            "default": "fresh",
            "help": "a guest for each test, or one that all tests share, as a machine is shared (default: %(default)s)",
        },
        "ahead": {
            "choices": (AUTO, "on", OFF),
            "default": AUTO,
            "help": "make the guest of the next test while a test runs: on, off, or where cores are spare (default)",
        },
        "silence": {
            "type": a_silence,
            "default": SILENCE_S,
            "metavar": "SECONDS",
            "help": "give a guest up whose agent has said nothing for so long while a stage runs, not counting time in "
            "which the host was too busy to let it (default: %(default)s)",
        },
        "results": {
            "type": a_word,
            "metavar": "DIR",
            "help": "write the journal, junit.xml and all evidence into DIR; the exit status becomes 0 good, 1 bad, "
            "2 usage, 125 nothing could be said",
        },
        "suite": {
            "type": a_word,
            "metavar": "NAME",
            "default": "hil.lab",
            "help": "name of the JUnit suite (default: %(default)s)",
        },
        "dialect": {
            "choices": tuple(map(str, Dialect)),
            "default": str(Dialect.STRICT),
            "help": "flavour of junit.xml (default: %(default)s)",
        },
        "flaky": {
            "choices": tuple(map(str, FlakyPolicy)),
            "default": str(FlakyPolicy.PASS),
            "help": "what a pass after a retry counts as (default: %(default)s)",
        },
        "retries": {
            "metavar": "auto|N|off",
            "type": retries,
            "default": AUTO,
            "help": "how many tests may need a second try on a fresh guest, because the lab was in their way, before "
            "the session stops: auto is 5 %% of them and at least two; off tries none again (default: %(default)s)",
        },
        "soak": {
            "type": a_time,
            "metavar": "TIME",
            "help": "run the tests round after round for so long: 90s, 10m, 2h",
        },
        "prepared": {"type": a_path, "metavar": "DIR", "help": argparse.SUPPRESS},
        "under-test": {"metavar": "WHAT", "default": "", "help": argparse.SUPPRESS},
        "replay": {"type": a_path, "metavar": "HISTORY", "help": argparse.SUPPRESS},
    }
)
"""Of a session of pytest alone: a command says some of them in words of its own."""


def declare(add: Callable[..., object], options: Options, *names: str, prefix: str = "") -> None:
    """Declare options of a command, or of pytest.

    Args:
        add: `add_argument` of argparse, or `addoption` of pytest.
        options: one of the tables above.
        names: which of them; all when none is named.
        prefix: of the options, such as "hil-".
    """
    for name in names or options:
        add(f"--{prefix}{name}", **options[name])


# -- what they come to -------------------------------------------------------------------------------


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
    from harness.lab.kernel.choice import parse_branches  # noqa: PLC0415 - to judge and to report, no lab is needed
    from harness.lab.kernel.own_modules import refuse_several_kernels  # noqa: PLC0415

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
    from harness.lab.place import Wishes  # noqa: PLC0415 - as above

    return Wishes(
        emulator=options.hil_qemu,
        kernel=options.hil_kernel,
        modules=options.hil_modules,
        branch=branch,
        own_modules=tuple(options.hil_own_modules),
        models=tuple(options.hil_models),
    )


def for_pytest(options: argparse.Namespace) -> list[str]:
    """What a command was told, as arguments of pytest; paths are absolute."""
    told: list[str] = []
    for name, option in {**LAB, **RUN, **SOAK}.items():
        match getattr(options, option["dest"], None):
            case None | False:
                pass
            case True:
                told.append(f"--hil-{name}")
            case list(values):
                told += [f"--hil-{name}={_absolute(value)}" for value in values]
            case value:
                told.append(f"--hil-{name}={_absolute(value)}")
    return told


def _absolute(value: str | Path | float) -> str | Path | float:
    return value.absolute() if isinstance(value, Path) else value

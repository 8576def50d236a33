"""The command `harness`: thin over the library.

Exit status: 0 every verdict PASS, skipped or expected; 1 a failure; 2 usage; 125 nothing could be said, which is what
`git bisect run` takes for "skip this one".  docs/statuses.md says which when.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from harness import __version__, streams
from harness.errors import HarnessError, HistoryError, UsageError
from harness.model.exit_status import ExitStatus
from harness.model.limits import HISTORY_FILE
from harness.options import LAB, RUN, SOAK, a_count, a_number, a_path, a_time, a_word, declare, wishes_of
from harness.outside import read_file
from harness.visible import visible

if TYPE_CHECKING:
    from harness.history.history import History

Command = Callable[[argparse.Namespace, list[str]], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; what goes wrong is one line on standard error, and a traceback is a bug of ours.

    Args:
        arguments: None for those of the process, which ends with the status that this returns.
    """
    try:
        status = _answered(arguments)
    except SystemExit as end:  # argparse: it was asked for help, or did not understand
        status = int(end.code or 0)
        if not (why := streams.lost()):
            raise
    except KeyboardInterrupt:
        if arguments is None:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # we are ending, whoever presses it again
        streams.complain("harness: stopped by the user")
        why, status = streams.lost(), ExitStatus.NOTHING_SAID
    else:
        why = streams.lost()
    if why and status in (ExitStatus.GOOD, ExitStatus.BAD):
        streams.complain(f"harness: standard output: {why}")
        return ExitStatus.NOTHING_SAID
    return status


def _answered(arguments: Sequence[str] | None) -> int:
    """Run one command and say what went wrong with it.

    Raises:
        SystemExit: argparse has said all that there is to say.
        KeyboardInterrupt: the user stopped it.
    """
    try:
        streams.refuse_closed()
        options, rest = _parser().parse_known_args(arguments)
        command: Command = options.command
        asked = f"harness {command.__name__}"
        if "" in rest or any(word.startswith("--") and word.find("=") == len(word) - 1 for word in rest):
            raise UsageError(
                " ".join((asked, *(word or "''" for word in rest))),
                said="a word or a value is empty",
                hint="Is a variable not set?",
            )
        if rest and command not in (run, replay, soak, fuzz):
            raise UsageError(f"{asked} {' '.join(rest)}", said="not understood", hint=f"See {asked} --help.")
        return int(command(options, rest))
    except UsageError as error:
        streams.complain(f"harness: {error}")
        return ExitStatus.USAGE
    except HarnessError as error:
        # The last thing on the screen is what to do.
        told = [*([visible(error.evidence)] if error.evidence else []), f"harness: {error}"]
        streams.complain("\n".join(told))
        return ExitStatus.NOTHING_SAID
    except Exception:  # noqa: BLE001 - Python would exit with 1: a bug of ours must not pass for a broken promise
        streams.complain(visible(traceback.format_exc()).rstrip())
        return ExitStatus.NOTHING_SAID


def run(options: argparse.Namespace, rest: list[str]) -> int:
    """Stage the shipped scenarios, or the tests that are named, under a supervisor."""
    from harness import supervisor  # noqa: PLC0415 - `harness judge` starts quicker without the lab

    return supervisor.supervise(options, rest)


def replay(options: argparse.Namespace, rest: list[str]) -> int:
    """Stage the plan of a history again."""
    from harness import supervisor  # noqa: PLC0415

    history = _read(options.history)  # say now what is wrong with it, not when the lab is ready
    without = "; no --module is named now" * bool(_own_modules(history) and not options.hil_own_modules)
    recorded = visible(f"harness: {options.history} was recorded on kernel {_kernel(history)}{without}")
    sys.stderr.write(f"{recorded}\n")
    return supervisor.supervise(
        options, ["--pyargs", "harness.replaying", f"--hil-replay={options.history.absolute()}", *rest]
    )


def soak(options: argparse.Namespace, rest: list[str]) -> int:
    """Stage scenarios round after round until a time is over, and sum up."""
    from harness import supervisor  # noqa: PLC0415

    return supervisor.soak(options, rest)


def fuzz(options: argparse.Namespace, rest: list[str]) -> int:
    """Stage random plans over healthy functions: each has to pass."""
    from harness import supervisor  # noqa: PLC0415

    return supervisor.fuzz(options, rest)


def judge(options: argparse.Namespace, _: list[str]) -> int:
    """Judge a history again, without a device."""
    from harness.contract import load  # noqa: PLC0415
    from harness.judge import judge as judge_evidence  # noqa: PLC0415
    from harness.judge.evidence import Evidence  # noqa: PLC0415
    from harness.model.verdict import Verdict  # noqa: PLC0415
    from harness.report.ascii.timeline import timeline_text  # noqa: PLC0415
    from harness.report.findings import as_text  # noqa: PLC0415
    from harness.report.svg.timeline import timeline_svg  # noqa: PLC0415
    from harness.report.text import one_line  # noqa: PLC0415

    worst = Verdict.PASS
    for path in options.histories:
        history = _read(path)
        evidence = Evidence(history)
        judgement = judge_evidence(evidence, load().terms_of(history))
        title, kernel = one_line(history.plan.title), one_line(_kernel(history))
        streams.say(f"{judgement.verdict.name}  {title}  (kernel {kernel})")
        streams.say(as_text(judgement))
        if options.timeline or judgement.verdict is not Verdict.PASS:
            streams.say(timeline_text(evidence, judgement))
        if options.svg:
            _write(options.svg, timeline_svg(evidence, judgement))
        worst = max(worst, judgement.verdict)
    return {
        Verdict.PASS: ExitStatus.GOOD,
        Verdict.UNKNOWN: ExitStatus.NOTHING_SAID,
        Verdict.FAIL: ExitStatus.BAD,
    }[worst]


def _own_modules(history: History) -> str:
    return str(history.provenance.get("kernel.own_modules") or "")


def _kernel(history: History) -> str:
    """What it was staged on; nobody shall take a patched kernel for a stock one."""
    release = history.provenance.get("kernel.release") or "of an unknown release"
    return f"{release} with {own}" if (own := _own_modules(history)) else str(release)


def _read(path: Path) -> History:
    from harness.history.container import from_bytes  # noqa: PLC0415

    try:
        return from_bytes(read_file(path, HISTORY_FILE, what="history"))
    except HistoryError as error:
        raise HistoryError(f"{error.tried} {path}", said=error.said, hint=error.hint) from error


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise UsageError(f"writing {path}", said=error.strerror or str(error)) from error


def report(options: argparse.Namespace, _: list[str]) -> int:
    """Complete the report of a run from its journal."""
    from harness.report.terminal import MEANING  # noqa: PLC0415
    from harness.results import complete  # noqa: PLC0415

    status = complete(options.results)
    streams.say(f"{options.results / 'junit.xml'}: exit status {status:d}: {MEANING[status]}")
    return status


def doctor(_: argparse.Namespace, __: list[str]) -> int:
    """Say what is there, what is missing, and what to type."""
    from harness.lab import doctor as examination  # noqa: PLC0415

    findings = examination.examine()
    streams.say(examination.render(findings))
    missing = any(finding.state is examination.State.MISSING for finding in findings)
    return ExitStatus.NOTHING_SAID if missing else ExitStatus.GOOD


def setup(options: argparse.Namespace, _: list[str]) -> int:
    """Make everything that a guest needs, so that later runs need no network."""
    from harness.lab.cache.store import Cache  # noqa: PLC0415
    from harness.lab.place import prepare  # noqa: PLC0415

    with Cache() as cache:
        prepare(cache, wishes_of(options))
    return ExitStatus.GOOD


def make(options: argparse.Namespace, _: list[str]) -> int:
    """Build the kernel modules in a folder, for the kernel that is tested."""
    from harness.lab.cache.store import Cache  # noqa: PLC0415
    from harness.lab.kernel.build_module import make_own, sources_of_own  # noqa: PLC0415
    from harness.lab.kernel.find import find_kernel  # noqa: PLC0415

    sources_of_own(options.folder)
    with Cache() as cache:
        kernel = find_kernel(cache, options.hil_kernel, options.hil_modules, options.branch or "")
        for module in make_own(cache, kernel, options.folder):
            streams.say(str(module))
    return ExitStatus.GOOD


def functions(options: argparse.Namespace, _: list[str]) -> int:
    """List what can be tested, and what each function can do; boots nothing."""
    from harness.lab.functions import listed, table  # noqa: PLC0415
    from harness.lab.models.user_models import with_own_models  # noqa: PLC0415
    from harness.lab.qemu.machine import Machine  # noqa: PLC0415

    found = listed(with_own_models(Machine(), options.hil_models))
    streams.say(json.dumps([asdict(one) for one in found], indent=1) if options.json else table(found))
    return ExitStatus.GOOD


def shell(options: argparse.Namespace, _: list[str]) -> int:
    """Open a shell in a guest with the functions plugged."""
    from harness.lab import shell as interactive  # noqa: PLC0415

    return interactive.open_shell(wishes_of(options), options.plug, options.hil_gdb)


def cache(options: argparse.Namespace, _: list[str]) -> int:
    """Show what is kept, or remove what nobody has used for a while."""
    from harness.lab.cache import contents, root  # noqa: PLC0415
    from harness.lab.cache.store import Cache, default_root  # noqa: PLC0415
    from harness.lab.cache.table import render  # noqa: PLC0415

    if options.dry_run and not options.clean:
        raise UsageError("harness cache --dry-run", said="nothing would be done", hint="Add --clean.")
    unused_for_s = options.older_than_days * 86400.0
    if options.dry_run:
        root.look(default_root())
        for one in contents.due(default_root(), unused_for_s=unused_for_s):
            streams.say(
                f"would leave {one.path}: {one.objection}" if one.objection else f"would remove {one}"
            )
        return ExitStatus.GOOD
    with Cache() as kept:
        if options.clean:
            due = contents.due(kept.root, unused_for_s=unused_for_s)
            removed = {one.path for one in kept.clean(unused_for_s=unused_for_s)}
            for one in due:
                why = one.objection or "somebody uses it"
                streams.say(f"removed {one}" if one.path in removed else f"left {one.path}: {why}")
        streams.say(render(kept))
    return ExitStatus.GOOD


class _Parser(argparse.ArgumentParser):
    """One whose complaint is one line."""

    def error(self, message: str) -> NoReturn:
        """Say it, and end with the status of a usage error."""
        streams.complain(f"harness: {self.prog}: {message}.  See {self.prog} --help.")
        raise SystemExit(ExitStatus.USAGE)

    def _print_message(self, message: str, file: object = None) -> None:
        """Print help, and do not believe, as argparse does, that it is read."""
        del file
        streams.say(message.rstrip("\n"))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="harness",
        description="Stage collisions of config accesses, resets and driver locks on a PCI function, "
        "judge what happened, report it.",
        epilog="Exit status: 0 good, 1 a promise was broken, 2 usage, 125 nothing could be said.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"vfio-harness {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Command, *, lab: bool = False) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=(command.__doc__ or "").splitlines()[0], allow_abbrev=False)
        one.set_defaults(command=command, hil_resume=False, hil_kernels=None, hil_models=[])
        if lab:
            declare(one.add_argument, LAB, "qemu", "kernel", "modules", "module")
        return one

    running = add("run", run, lab=True)
    running.usage = "harness run [options] [pytest arguments]"
    declare(running.add_argument, LAB, "kernels")
    declare(running.add_argument, RUN)
    _run_options(running)
    again = add("replay", replay, lab=True)
    again.add_argument("history", type=a_path, help="a *.history.zip")
    _run_options(again)
    soaking = add("soak", soak, lab=True)
    soaking.usage = "harness soak SCENARIO... --for TIME [options] [pytest arguments]"
    soaking.add_argument(
        "--for",
        dest="hil_soak",
        type=a_time,
        required=True,
        metavar="TIME",
        help="how long: 90s, 10m, 2h, 1h30m",
    )
    declare(soaking.add_argument, SOAK)
    _run_options(soaking)
    fuzzing = add("fuzz", fuzz, lab=True)
    fuzzing.usage = "harness fuzz --seed N [--plans N | --for TIME] [options] [pytest arguments]"
    fuzzing.add_argument(
        "--seed", type=a_number, required=True, metavar="N", help="the same seed draws the same plans"
    )
    length = fuzzing.add_mutually_exclusive_group()
    length.add_argument("--plans", type=a_count, metavar="N", help="how many (default: 500)")
    length.add_argument(
        "--for", dest="seconds", type=a_time, metavar="TIME", help="begin plans for so long: 90s, 10m, 2h"
    )
    fuzzing.add_argument(
        "--stages",
        type=a_number,
        default=40,
        metavar="N",
        help="how many stages a plan that fails is worth, to find the smallest that does (default: %(default)s)",
    )
    declare(fuzzing.add_argument, LAB, "kernels")
    _run_options(fuzzing)
    judging = add("judge", judge)
    judging.add_argument("histories", type=a_path, nargs="+", metavar="HISTORY", help="*.history.zip")
    judging.add_argument("--timeline", action="store_true", help="draw the timeline of a PASS, too")
    judging.add_argument(
        "--svg", type=a_path, metavar="FILE", help="write the picture of the (last) history there"
    )
    add("report", report).add_argument("results", type=a_path, nargs="?", default=Path("hil-results"))
    add("doctor", doctor)
    add("setup", setup, lab=True)
    building = add("make", make)
    building.add_argument("folder", type=a_path, metavar="FOLDER", help="with a Kbuild: obj-m := ipr.o")
    building.add_argument(
        "--branch", type=a_word, metavar="BRANCH", help="of Debian's kernels: 6.1, 6.12, 7.x"
    )
    declare(building.add_argument, LAB, "kernel", "modules")
    listing = add("functions", functions)
    listing.add_argument("--json", action="store_true", help="for programs")
    declare(listing.add_argument, LAB, "model")
    opening = add("shell", shell, lab=True)
    opening.add_argument(
        "--plug",
        action="append",
        type=a_word,
        default=[],
        metavar="ALIAS",
        help="hot-plug this function, too",
    )
    declare(opening.add_argument, LAB, "gdb", "model")
    keeping = add("cache", cache)
    keeping.add_argument("--clean", action="store_true", help="remove what is ours and not in use")
    keeping.add_argument(
        "--dry-run", action="store_true", help="with --clean: say what would go, and change nothing"
    )
    keeping.add_argument(
        "--older-than-days", type=float, default=0.0, metavar="N", help="only what lay unused so long"
    )
    return parser


def _run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--results", type=a_path, default=Path("hil-results"), metavar="DIR", help="default: hil-results"
    )
    declare(parser.add_argument, LAB, "cold", "keep", "gdb", "model")


if __name__ == "__main__":
    sys.exit(main())

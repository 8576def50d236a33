"""apt-get with a private state: the one place that runs apt and dpkg-deb.

A `Session` writes its own configuration, source list and preferences into a folder and runs apt there.
The host's configuration is read first (proxies, timeouts, logins), ours is put on top of it; hooks of the
host are switched off, because they would work on the host's own state.

This module refuses to know which packages the lab wants.
"""

from __future__ import annotations

import errno
import os
import re
import select
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.errors import SetupError
from harness.lab.debian.mirror import MIRROR_VARIABLE, Mirror, host_mirror
from harness.lab.needs import apt_line
from harness.model.policy import Policy
from harness.model.units import SECOND, Ns
from harness.target.attempts import attempting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.lab.progress import Step

_LISTS_BYTES: Final = 66_000_000
"""Space that the lists of one release and apt's index of them take (measured: 21 MB and 43 MB)."""

KEYRINGS: Final = (
    Path("/usr/share/keyrings/debian-archive-keyring.gpg"),
    Path("/usr/share/keyrings/debian-archive-keyring.pgp"),  # its name from Debian 13 on
)
OFFLINE_HINT: Final = (
    f"Check the network; a mirror is named by {MIRROR_VARIABLE}=URL, a proxy by http_proxy or apt's "
    "Acquire::http::Proxy; without network give your own --qemu and --kernel"
)
# What apt says when trying again a moment later may help.
_TRANSIENT: Final = re.compile(
    r"Temporary failure|Could not (?:connect|resolve|get lock)|Connection (?:failed|timed out|reset|refused)|"
    r"Hash Sum mismatch|File has unexpected size|Mirror sync in progress|Unable to (?:connect|lock)|"
    r"\b50[0-9] |Undetermined Error|Connection timed out|Unable to fetch some archives",
    re.IGNORECASE,
)


class _TransientError(SetupError):
    """A failure of the network that may pass."""


_NETWORK: Final = Policy(
    reason="a mirror that is busy or unreachable often is not a moment later; what was fetched is kept",
    source="measured: mirrors in the middle of a sync, proxies that answer 503",
    errors=(_TransientError,),
    attempts=3,
    first_ns=Ns(SECOND),
    longest_ns=Ns(8 * SECOND),
    patience_ns=Ns(3600 * SECOND),
)


def lists_bytes(suites: Sequence[str]) -> int:
    """Space that the private package lists take, and stay there; updates of a release add little to it."""
    releases = [suite for suite in suites if not re.search(r"-(updates|security|backports)$", suite)]
    return len(releases) * _LISTS_BYTES


def keyring() -> Path:
    """Return Debian's archive keys.

    Raises:
        SetupError: the host has none.
    """
    for path in KEYRINGS:
        if path.exists():
            return path
    raise SetupError(
        "looking for Debian's archive keys", said=f"no {KEYRINGS[0]}", hint=f"Type: {apt_line()}"
    )


def require_tools() -> None:
    """Check that apt, dpkg-deb and the archive's keys are there.

    Raises:
        SetupError: naming what is missing and the line that installs it.
    """
    missing = [tool for tool in ("apt-get", "dpkg-deb", "setpriv") if not shutil.which(tool)]
    if missing:
        raise SetupError(
            "fetching Debian packages", said=f"no {', '.join(missing)} here", hint=f"Type: {apt_line()}"
        )
    keyring()


def reach(mirror: Mirror, suite: str) -> str:
    """Try the mirror with apt's own downloader, which knows the host's proxies; return "" or what it said."""
    with tempfile.TemporaryDirectory() as folder:
        target = f"{mirror.debian}/dists/{suite}/InRelease"
        result = subprocess.run(
            ["/usr/lib/apt/apt-helper", "-o", "Acquire::http::Timeout=5", "-o", "Acquire::Retries=0",
             "-o", "APT::Sandbox::User=", "download-file", target, str(Path(folder, "InRelease"))],
            capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C.UTF-8"},
        )  # fmt: skip
    return "" if result.returncode == 0 else first_error(result.stdout + result.stderr)


@dataclass(slots=True, kw_only=True)
class Session:
    """apt, set up in a folder of its own.

    Attributes:
        folder: kept between runs and locked by the caller: lists and half-done downloads are used again.
        suites: the suites that apt may look at.
        preferences: (package pattern, suite, priority) triples.  Source: apt_preferences(5).
    """

    folder: Path
    suites: Sequence[str]
    preferences: Sequence[tuple[str, str, int]] = ()
    mirror: Mirror = field(default_factory=host_mirror)

    def __post_init__(self) -> None:
        for name in ("lists/partial", "archives/partial", "state", "cache"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "status").write_text("")
        (self.folder / "sources.list").write_text(self.sources_text())
        (self.folder / "preferences").write_text(
            "".join(f"Package: {name}\nPin: release n={suite}\nPin-Priority: {priority}\n\n"
                    for name, suite, priority in self.preferences)
        )  # fmt: skip
        (self.folder / "apt.conf").write_text(self.configuration_text())

    def sources_text(self) -> str:
        """Return the source list: one line for each suite, all signed by Debian's archive keys."""
        lines = []
        for suite in self.suites:
            uri = self.mirror.security if suite.endswith("-security") else self.mirror.debian
            lines.append(f"deb [arch=amd64 signed-by={keyring()}] {uri} {suite} main\n")
        return "".join(lines)

    def configuration_text(self) -> str:
        """Return our layer over the host's configuration.  Source: apt.conf(5)."""
        here = self.folder
        return f"""\
Dir::State "{here}/state";
Dir::State::lists "{here}/lists";
Dir::State::status "{here}/status";
Dir::Cache "{here}/cache";
Dir::Cache::archives "{here}/archives";
// A second index, as large as the first, for when packages are installed.
Dir::Cache::srcpkgcache "";
Dir::Etc::sourcelist "{here}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "{here}/preferences";
Dir::Etc::preferencesparts "/dev/null";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Invoke;
#clear DPkg::Post-Invoke;
#clear DPkg::Pre-Install-Pkgs;
#clear APT::Architectures;
#clear APT::Default-Release;
APT::Architecture "amd64";
APT::Architectures {{ "amd64"; }};
APT::Install-Recommends "false";
APT::Install-Suggests "false";
// The cache folder may lie in a home that apt's own user cannot enter.
APT::Sandbox::User "";
APT::Update::Error-Mode "any";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
// The form in which --print-uris states a hash.
Acquire::ForceHash "SHA256";
Acquire::Languages "none";
Acquire::GzipIndexes "true";
Acquire::Retries "1";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
"""

    def update(self, step: Step) -> None:
        """Fetch the package lists and check their signatures.

        Raises:
            SetupError: no network, or a list that is not signed by Debian.
        """
        self._run_with_retry(["update"], f"reading package lists from {self.mirror.debian}", step)

    def uris_with_dependencies(self, packages: Sequence[str]) -> list[str]:
        """Resolve packages with their dependencies on an empty system; return apt's lines, one for each.

        Raises:
            SetupError: apt cannot resolve it.
        """
        return self._print_uris("install", packages)

    def uris(self, packages: Sequence[str]) -> list[str]:
        """Return apt's lines for exactly these packages, whether or not they could be installed.

        Raises:
            SetupError: one of them is in no suite.
        """
        return self._print_uris("download", packages)

    def _print_uris(self, verb: str, packages: Sequence[str]) -> list[str]:
        tried = f"resolving {', '.join(packages)} in {', '.join(self.suites)}"
        output = self._run([verb, "--print-uris", "--yes", "--quiet", *packages], tried)
        return [line for line in output.splitlines() if line.startswith("'")]

    def names(self, prefix: str) -> list[str]:
        """List the package names that begin with a prefix."""
        return self._run([prefix], f"listing packages {prefix}*", program=("apt-cache", "pkgnames")).split()

    def download(self, packages: Sequence[str], total_bytes: int, step: Step) -> Path:
        """Download packages given as `name=version`; apt checks each file against the signed lists.

        Returns:
            The folder of the .deb files, which the caller may delete; files that an interrupted download of
            the same packages left there were checked and kept.

        Raises:
            SetupError: no network, or a file that is not what the lists say.
        """
        folder = self.folder / "archives"
        tried = f"downloading {len(packages)} Debian packages from {self.mirror.debian}"
        self._run_with_retry(["download", *packages], tried, step, folder=folder, total_bytes=total_bytes)
        return folder

    # --- running ---------------------------------------------------------------------------------------

    def _run_with_retry(
        self,
        arguments: list[str],
        tried: str,
        step: Step,
        *,
        folder: Path | None = None,
        total_bytes: int = 0,
    ) -> None:
        attempting(_NETWORK)(self._run, arguments, tried, step=step, folder=folder, total_bytes=total_bytes)

    def _run(
        self,
        arguments: Sequence[str],
        tried: str,
        *,
        program: Sequence[str] = ("apt-get",),
        step: Step | None = None,
        folder: Path | None = None,
        total_bytes: int = 0,
    ) -> str:
        # setpriv: apt must not outlive us and go on writing into the folder that we hold the lock of.
        ready, ours = os.pipe()
        command = ["setpriv", "--pdeathsig", "TERM", *program, "-c", str(self.folder / "apt.conf")]
        command += ["-o", f"APT::Status-Fd={ours}", *arguments]
        output_path = self.folder / "output"
        try:
            with output_path.open("w+") as output:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    pass_fds=(ours,),
                    cwd=folder or self.folder,
                    env={**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"},
                )
                os.close(ours)
                try:
                    _follow(ready, total_bytes, step)
                    status = process.wait()
                finally:
                    if process.poll() is None:
                        process.terminate()
                        process.wait()
            text = output_path.read_text(errors="replace")
        finally:
            os.close(ready)
        if status:
            raise explain_failure(tried, text, " ".join(command))
        return text


def _follow(status_pipe: int, total_bytes: int, step: Step | None) -> None:
    """Read apt's status lines until it ends: `dlstatus:INDEX:PERCENT:TEXT`."""
    rest = b""
    while True:
        select.select([status_pipe], [], [])
        chunk = os.read(status_pipe, 65536)
        if not chunk:
            return
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if step and (match := re.match(rb"dlstatus:\d+:([\d.]+):(.*)", line)):
                step.advance_to(
                    int(float(match[1]) / 100 * total_bytes), detail=match[2].decode(errors="replace")
                )


def first_error(text: str) -> str:
    """Return the first error in what apt printed; why a file could not be had goes before all else."""
    if match := re.search(r"(?m)^E: Failed to fetch (\S+)\s+(.+)$", text):
        return f"{match[2].strip()} ({match[1]})"
    errors = re.findall(r"(?m)^(?:E|W|Err):\s*(.+)$", text) or text.strip().splitlines()[-1:]
    return errors[0].rstrip(". ") if errors else "no message"


def explain_failure(tried: str, text: str, command: str = "") -> SetupError:
    """Turn what apt printed into one line: its first error, and what to do about that kind of error.

    Args:
        tried: what apt was asked to do.
        text: everything it printed.
        command: the command line, kept as evidence.

    Raises:
        OSError: ENOSPC, when apt ran out of space: the cache knows best what to say then.
    """
    said = first_error(text)
    if re.search(r"No space left on device|not enough free space|Disk quota exceeded|File too large", text):
        raise OSError(errno.ENOSPC, f"no space left on device ({said})")
    if re.search(r"not (?:yet valid|valid yet)|is expired|has expired", text):
        hint = f"The clock of this machine says {time.strftime('%Y-%m-%d %H:%M %Z')}: is that so?  If not, set it"
        return SetupError(tried, said=said, hint=hint, evidence=text)
    if re.search(r"NO_PUBKEY|BADSIG|EXPKEYSIG|GPG error|could ?n.t be verified", text) or (
        "is not signed" in text and "Failed to fetch" not in text
    ):
        hint = "The answer is not Debian's, or the keys here are old: update debian-archive-keyring"
        return SetupError(tried, said=said, hint=hint, evidence=text)
    if "Failed to fetch" not in text:
        return SetupError(tried, said=said, hint="Does the mirror carry these suites in full?", evidence=text)
    kind = _TransientError if _TRANSIENT.search(text) else SetupError
    return kind(tried, said=said, hint=OFFLINE_HINT, evidence=f"{command}\n{text}")


def unpack(file: Path, tree: Path) -> None:
    """Unpack one .deb file into a tree, without running anything of it.

    Raises:
        SetupError: the file is damaged.
        OSError: ENOSPC, when the disk is full.
    """
    result = subprocess.run(
        ["setpriv", "--pdeathsig", "TERM", "dpkg-deb", "--extract", file, tree],
        capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    if result.returncode:
        raise explain_failure(f"unpacking {file.name}", result.stderr)

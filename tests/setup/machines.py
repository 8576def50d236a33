"""Minimal Debian machines without hardware: a root of debootstrap's, entered by namespaces.

A machine has its own root, /proc, /dev and process numbers, this machine's kernel and network, and its /sys, which
nobody can write to, or none.  Its mounts live in a mount namespace that goes with its first process, so nothing of
them is ever seen outside, whoever is killed; its files are removed by the law of harness/removal.py.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from harness import removal
from harness.lab.debian.mirror import host_mirror
from tests.tools import tool

USER: Final = "newcomer"
CERTIFICATES: Final = "/etc/certificates-of-this-network.pem"
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEADLINE_S: Final = 1800
PURPOSE: Final = "a minimal root for tests of set-up"
_OF_A_NETWORK: Final = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_DEFAULT_TIMEOUT")
_NODES: Final = {"null": "1 3", "zero": "1 5", "full": "1 7", "random": "1 8", "urandom": "1 9", "tty": "5 0"}
_FIRST_PROCESS: Final = """\
set -eu
mount --make-rprivate /
mount --bind "$1" "$1" # what is / of a namespace is a mount
cd "$1"
mount -t proc proc proc
{sys}
mount -t tmpfs -o mode=755 dev dev
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
mount -t tmpfs -o mode=1777 shm dev/shm
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin
ln -s fd/1 dev/stdout
ln -s fd/2 dev/stderr
ln -s pts/ptmx dev/ptmx
while read -r name numbers; do mknod -m 666 "dev/$name" c $numbers; done <<END
{nodes}
END
pivot_root . mnt # so that programs of the machine may make namespaces, which is refused below a chroot
exec chroot . sh -c 'umount -l /mnt && echo ready && exec cat'
"""


def network_settings() -> dict[str, str]:
    """What a user of this network sets: proxies, and where pip looks and whom it trusts."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in _OF_A_NETWORK or name.lower().endswith("_proxy")
    }
    return kept | ({"PIP_CERT": CERTIFICATES} if "PIP_CERT" in os.environ else {})


@contextmanager
def folder_for_roots() -> Iterator[Path]:
    """A folder below the temporary one; whoever is killed leaves what its marker says may be removed."""
    with removal.lent(Path(tempfile.gettempdir()).resolve(), "hil-fresh-", PURPOSE) as folder:
        yield folder


def base(folder: Path, release: str) -> Path:
    """Make a minimal root of a release; what is there already is used."""
    tool("debootstrap")
    for name in ("unshare", "nsenter", "pivot_root"):
        tool(name, package="util-linux")
    if os.geteuid():
        pytest.skip("needs root, to make minimal roots and to enter them")
    root, mirror = folder / release, host_mirror()
    if not (root / "etc/apt/sources.list.made").exists():
        # It mounts /proc and /sys there, where whoever removes the folder would find them, if it were killed.
        apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        command = ["debootstrap", "--variant=minbase", "--include=sudo", release, str(root), mirror.debian]
        done = subprocess.run(
            [*apart, *command], capture_output=True, text=True, check=False, timeout=DEADLINE_S
        )
        if done.returncode:
            pytest.skip(f"debootstrap makes no {release} here: {done.stdout[-300:]}{done.stderr[-300:]}")
        with (root / "etc/apt/sources.list").open("a") as sources:
            sources.write(f"deb {mirror.security} {release}-security main\n")
        (root / "etc/apt/sources.list.made").touch()
    return root


@dataclass
class Machine:
    """A machine that is up.

    Attributes:
        root: its files, as seen from here.
        process: its first one, by its number here.
        told: what was typed, how long it took, and how it ended.
    """

    root: Path
    process: int
    told: list[str] = field(default_factory=list)

    def type(
        self, line: str, *, user: str = "root", at: str = "/", online: bool = True, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Have a shell of the user carry out a line; what it says is in one stream."""
        home = "/root" if user == "root" else f"/home/{user}"
        environment = {"PATH": PATH, "HOME": home, "USER": user, "DEBIAN_FRONTEND": "noninteractive"}
        environment |= network_settings() | variables
        enter = ["nsenter", "--target", str(self.process), "--mount", "--pid"]
        apart = [] if online else ["unshare", "--net"]
        become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
        begun = time.monotonic()
        done = subprocess.run(
            [*enter, *apart, *become, "/bin/sh", "-c", f"cd {shlex.quote(at)} && {line}"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            timeout=DEADLINE_S,
        )
        self.told.append(f"{time.monotonic() - begun:5.0f} s  {user}{'' if online else ' offline'}: {line}")
        return done

    def put(self, files: list[Path], of: Path, at: str, owner: str) -> None:
        """Copy files of a folder into a folder of the machine."""
        for file in files:
            there = self.root / at.lstrip("/") / file.relative_to(of)
            there.parent.mkdir(parents=True, exist_ok=True)
            if file.is_symlink():
                there.symlink_to(file.readlink())
            else:
                shutil.copy(file, there)
        top = "/".join(at.split("/")[:3])
        assert self.type(f"chown -R {owner}:{owner} {shlex.quote(top)}").returncode == 0


@contextmanager
def machine(made: Path, *, sys: bool = True) -> Iterator[Machine]:
    """Start a machine with a copy of a minimal root, which is gone afterwards.

    Args:
        made: the root, from :func:`base`.
        sys: whether it has a /sys, to read.
    """
    with folder_for_roots() as folder:
        root = folder / "root"
        subprocess.run(["cp", "-a", "--reflink=auto", made, root], check=True)
        for path in map(Path, ("/etc/resolv.conf", "/etc/hosts")):
            shutil.copy(path, root / path.relative_to("/"))
        if trusted := os.environ.get("PIP_CERT"):
            shutil.copy(trusted, root / CERTIFICATES.lstrip("/"))
        (root / "etc/apt/apt.conf.d/90answers").write_text('APT::Get::Assume-Yes "true";\n')
        kept = " ".join(["DEBIAN_FRONTEND", *network_settings()])
        (root / "etc/sudoers.d/newcomer").write_text(
            f'Defaults env_keep += "{kept}"\n{USER} ALL=(ALL) NOPASSWD: ALL\n'
        )
        nodes = "\n".join(f"{node} {numbers}" for node, numbers in _NODES.items())
        mount_sys = "mount -t sysfs -o ro,nosuid,nodev,noexec sysfs sys" if sys else ""
        script = _FIRST_PROCESS.replace("{nodes}", nodes).replace("{sys}", mount_sys)
        unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        with subprocess.Popen(
            [*unshare, "sh", "-c", script, "sh", root],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as parent:
            assert parent.stdout is not None
            try:
                assert parent.stdout.readline() == "ready\n"
                children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text()
                one = Machine(root=root, process=int(children))
                mounted = Path(f"/proc/{one.process}/mounts").read_text()
                assert ("sysfs /sys sysfs ro," in mounted) is sys, mounted
                assert one.type(f"useradd --create-home --shell /bin/sh {USER}").returncode == 0
                yield one
            finally:
                parent.kill()

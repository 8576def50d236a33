"""Find a QEMU that can run our guests: the user's, the system's, or Debian's unpacked into the cache.

A QEMU is used only after it passed the self-test: it starts our machine with every device model that the lab
needs and accepts the migration capability that clones rest on.  The unpacked one runs with its own loader,
libraries, modules and firmware, so that it fits any host.

This module refuses to start guests; it only says which command does (lab/qemu/machine.py uses it).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from harness.errors import SetupError, UsageError
from harness.lab.cache.store import key_of
from harness.lab.debian import archive
from harness.lab.progress import note

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.lab.cache.store import Cache

MINIMUM: Final = (11, 0)
"""The oldest QEMU that the lab is tested with.  10 lacks fixes in the migration of igb and intel-iommu."""

PROGRAM: Final = "qemu-system-x86_64"

# Dependencies of maintainer scripts (passwd, debconf, ...) and of modules for sound, USB and terminals.
# The rest is what the program itself links, found by following its ELF dependencies.
_NOT_LINKED: Final = frozenset(
    {
        "libacl1",
        "libasound2-data",
        "libasound2t64",
        "libattr1",
        "libaudit-common",
        "libaudit1",
        "libbrlapi0.8",
        "libbsd0",
        "libbz2-1.0",
        "libcacard0",
        "libcap-ng0",
        "libcrypt1",
        "libdb5.3t64",
        "libdebconfclient0",
        "libexecs1",
        "libmd0",
        "libncursesw6",
        "libnspr4",
        "libnss3",
        "libpam-modules",
        "libpam-modules-bin",
        "libpam0g",
        "libpcsclite1",
        "libsasl2-modules-db",
        "libsemanage-common",
        "libsemanage2",
        "libsepol2",
        "libsqlite3-0",
        "libsystemd0",
        "libtinfo6",
        "libusb-1.0-0",
        "libusbredirparser1t64",
    }
)

QEMU: Final = archive.Request(
    label="qemu-11",
    packages=("qemu-system-x86", "qemu-system-common", "qemu-system-data", "seabios"),
    suites=(
        archive.STABLE,
        f"{archive.STABLE}-updates",
        f"{archive.STABLE}-security",
        f"{archive.STABLE}-backports",
    ),
    preferred=f"{archive.STABLE}-backports",
    from_preferred=("qemu-*", "seabios", "ipxe-qemu"),
    dependencies=r"lib.*|zlib1g",
    without=_NOT_LINKED,
    expected_bytes=29_000_000,
    unpacked_bytes=135_000_000,
    expected_s=10,
)

Source = Literal["given", "system", "unpacked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Emulator:
    """A QEMU that passed the self-test.

    Attributes:
        argv: how its command line begins.
        environment: variables to add to the environment that it is started in.
        version: what it says about itself, "11.1.3 (Debian 1:11.1.3+ds-1~bpo13+1)".
        source: where it comes from.
        packages: `name=version` of the Debian packages it was unpacked from; empty for the other sources.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    version: str
    source: Source
    packages: tuple[str, ...]

    def full_environment(self) -> dict[str, str]:
        """Return the environment to start it in: ours, with its own variables on top."""
        return {**os.environ, **self.environment}


def find_emulator(cache: Cache, given: Path | None = None) -> Emulator:
    """Choose the QEMU to use, unpacking Debian's into the cache when the system has none that fits.

    Args:
        cache: where the unpacked one is kept.
        given: the user's `--qemu`; no other is tried then.

    Raises:
        UsageError: the given one is no QEMU, is too old, or fails the self-test.
        SetupError: none could be had.
    """
    if given is not None:
        return _native(cache, given.absolute(), "given")
    if system := shutil.which(PROGRAM):
        try:
            return _native(cache, Path(system), "system")
        except SetupError as error:
            note(f"{system} is not used ({error.said}): taking Debian's QEMU instead")
    return unpacked(cache, QEMU)


def _native(cache: Cache, program: Path, source: Source) -> Emulator:
    argv = (str(program),)
    try:
        version = version_of(argv, {})
    except SetupError as error:
        raise _unfit(source, error.tried, said=error.said) from error
    emulator = Emulator(argv=argv, environment={}, version=version, source=source, packages=())
    return _tested(cache, emulator, program)


def _unfit(source: Source, tried: str, *, said: str, evidence: str = "") -> UsageError | SetupError:
    """An error that says why a QEMU cannot be used: the caller's mistake, if it is theirs."""
    if source == "given":
        hint = f"Name an executable {PROGRAM}, {'.'.join(map(str, MINIMUM))} or newer, by --qemu, or leave it out"
        return UsageError(tried, said=said, hint=hint, evidence=evidence)
    return SetupError(tried, said=said, hint="This QEMU lacks something the lab needs", evidence=evidence)


def unpacked(cache: Cache, request: archive.Request) -> Emulator:
    """A QEMU of Debian's, unpacked into the cache.

    Args:
        cache: where it is kept.
        request: :data:`QEMU`, or the same from other suites.

    Raises:
        SetupError: it could not be had, or fails the self-test.
    """
    tree = archive.unpacked(cache, request)
    usr = tree.path / "usr"
    program = usr / "bin" / PROGRAM
    libraries = f"{usr}/lib/x86_64-linux-gnu:{usr}/lib"
    argv = [str(_loader(tree.path))]
    # The host's loader cache would offer the host's libraries for any that is missing here.
    argv += ["--inhibit-cache", "--library-path", libraries, str(program)]
    for firmware in ("qemu", "seabios"):
        argv += ["-L", str(usr / "share" / firmware)]
    environment = {"QEMU_MODULE_DIR": f"{usr}/lib/x86_64-linux-gnu/qemu", "LD_PRELOAD": ""}
    emulator = Emulator(
        argv=tuple(argv),
        environment=environment,
        version=version_of(tuple(argv), environment),
        source="unpacked",
        packages=tree.lock.names(),
    )
    return _tested(cache, emulator, program)


def _loader(tree: Path) -> Path:
    for place in ("usr/lib64/ld-linux-x86-64.so.2", "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"):
        # Absolute symbolic links would lead out of the tree: take the file itself.
        if (tree / place).is_file():
            return (tree / place).resolve()
    raise SetupError(
        f"looking for the loader of the unpacked QEMU in {tree}", said="libc6 has none where expected"
    )


def version_of(argv: tuple[str, ...], environment: Mapping[str, str]) -> str:
    """Ask a QEMU for its version.

    Raises:
        SetupError: it is no QEMU, or cannot run here.
    """
    tried = f"asking {argv[-1] if len(argv) == 1 else PROGRAM} for its version"
    try:
        result = _ended([*argv, "--version"], "", {**os.environ, **environment}, timeout_s=20)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SetupError(tried, said=_why(error)) from error
    match = re.match(r"QEMU emulator version (.+)", result.stdout)
    if not match:
        lines = (result.stderr or result.stdout).strip().splitlines()
        said = lines[0] if lines else f"exit status {result.returncode}"
        raise SetupError(tried, said=said)
    return match[1].strip()


def _ended(
    command: list[str], told: str, environment: Mapping[str, str], *, timeout_s: float
) -> subprocess.CompletedProcess[str]:
    """Run a program that may be anything to its end; what it has started does not outlive it.

    Raises:
        OSError: it cannot be run.
        subprocess.TimeoutExpired: it did not end by itself.
    """
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, errors="replace", env=dict(environment), start_new_session=True,
    ) as process:  # fmt: skip
        try:
            output, errors = process.communicate(told, timeout=timeout_s)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def _why(error: OSError | subprocess.TimeoutExpired) -> str:
    if isinstance(error, subprocess.TimeoutExpired):
        return f"it did not end in {error.timeout:.0f} s"
    return error.strerror or str(error)


def is_new_enough(version: str) -> bool:
    """Say whether a version, as `version_of` returns it, is at least `MINIMUM`."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2]) >= MINIMUM


# --- the self-test ------------------------------------------------------------------------------------------


def _tested(cache: Cache, emulator: Emulator, program: Path) -> Emulator:
    """Self-test each program once; the cache remembers who passed."""
    status = program.stat()
    key = key_of(
        {
            "argv": emulator.argv,
            "version": emulator.version,
            "file": [status.st_size, status.st_mtime_ns],
            "test": _self_test_arguments(Path("ram")),
        }
    )
    cache.publish("qemu-selftest", key, lambda folder: _self_test(emulator, folder))
    return emulator


def _self_test_arguments(ram: Path) -> list[str]:
    """Our machine in small: every device model the lab uses, on the buses it uses them on."""
    plugged = [
        "nvme,id=t1,bus=rp1,drive=d0,serial=selftest",
        "igb,id=t2,bus=rp2,romfile=",
        "e1000e,id=t3,bus=rp3,romfile=",
        "virtio-rng-pci,id=t4,bus=rp4",
        "edu,id=t5,bus=rp5",
    ]
    arguments = ["-no-user-config", "-nodefaults", "-display", "none", "-S", "-accel", "tcg,thread=multi"]
    arguments += ["-object", f"memory-backend-file,id=ram0,mem-path={ram},size=64M,share=on"]
    arguments += [
        "-M",
        "q35,memory-backend=ram0",
        "-m",
        "64M",
        "-cpu",
        "max",
        "-smp",
        "2",
        "-bios",
        "qboot.rom",
    ]
    arguments += ["-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off"]
    arguments += ["-blockdev", "driver=null-co,node-name=d0,size=67108864"]
    arguments += ["-device", "intel-iommu,intremap=on,caching-mode=on,device-iotlb=on"]
    arguments += ["-device", "virtio-serial-pci,id=vs", "-chardev", "null,id=c0"]
    arguments += ["-device", "virtserialport,bus=vs.0,chardev=c0,name=selftest"]
    arguments += ["-device", "pvpanic-pci", "-device", "nvme-subsys,id=ns0,nqn=selftest"]
    for number, device in enumerate(plugged, start=1):
        arguments += ["-device", f"pcie-root-port,id=rp{number},bus=pcie.0,chassis={number},slot={number}"]
        arguments += ["-device", device]
    return [*arguments, "-qmp", "stdio"]


_SELF_TEST_COMMANDS: Final = (
    {"execute": "qmp_capabilities"},
    # Clones read the template's memory file instead of a copy of it in the migration stream.
    {
        "execute": "migrate-set-capabilities",
        "arguments": {"capabilities": [{"capability": "x-ignore-shared", "state": True}]},
    },
    {"execute": "query-status"},
    {"execute": "quit"},
)


def _self_test(emulator: Emulator, folder: Path) -> None:
    """Start the small machine, speak QMP with it, and write what it said into the folder.

    Raises:
        UsageError, SetupError: QEMU refused a device, a property, a firmware file or a capability; see `_unfit`.
    """
    if not is_new_enough(emulator.version):
        needed = ".".join(map(str, MINIMUM))
        raise _unfit(emulator.source, f"using QEMU {emulator.version}", said=f"{needed} or newer is needed")
    tried = f"self-test of QEMU {emulator.version} ({emulator.source})"
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        command = [*emulator.argv, *_self_test_arguments(Path(scratch, "ram"))]
        try:
            told = "\n".join(map(json.dumps, _SELF_TEST_COMMANDS))
            # A runner that is killed takes it along.
            result = _ended(
                ["setpriv", "--pdeathsig", "KILL", *command], told, emulator.full_environment(), timeout_s=60
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise _unfit(emulator.source, tried, said=_why(error), evidence=" ".join(command)) from error
    answers = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    errors = [answer["error"]["desc"] for answer in answers if "error" in answer]
    returned = sum("return" in answer for answer in answers)
    if result.returncode or errors or returned != len(_SELF_TEST_COMMANDS):
        said = (errors or result.stderr.strip().splitlines() or [f"exit status {result.returncode}"])[0]
        raise _unfit(emulator.source, tried, said=said, evidence=f"{' '.join(command)}\n{result.stderr}")
    (folder / "passed.json").write_text(json.dumps({"version": emulator.version, "argv": emulator.argv}))

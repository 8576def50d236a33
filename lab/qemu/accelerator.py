"""Find out whether KVM really runs our kernel here, by booting it for a moment.

That `/dev/kvm` exists proves little: nested and paravirtual ones accept a guest and then emulate it
wrongly, or so slowly that nothing appears.  So the probe boots the very kernel of the lab and waits for
its first line.

This module refuses to guess: what does not print in time runs under TCG.
"""

from __future__ import annotations

import os
import select
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from harness.lab.cache.store import key_of
from harness.lab.kernel.boot_image import Kind, identify
from harness.lab.progress import note

if TYPE_CHECKING:
    from harness.lab.cache.store import Cache
    from harness.lab.qemu.emulator import Emulator

Accelerator = Literal["kvm", "tcg"]

DEADLINE_S: Final = 3.0
"""How long a kernel may take to its first line; under working KVM it is 0.2 s, under TCG 0.5 to 2.5 s."""

_FIRST_LINE: Final = b"Linux version "
_DEVICE: Final = Path("/dev/kvm")


def probe_accelerator(cache: Cache, emulator: Emulator, image: Path) -> Accelerator:
    """Choose between KVM and TCG; the answer is remembered until the machine boots again.

    Args:
        cache: where the answer is kept.
        emulator: the QEMU that will run the guests.
        image: the kernel image that the guests boot, best the one from `pvh_image`.
    """
    if not os.access(_DEVICE, os.R_OK | os.W_OK):
        return "tcg"
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    key = key_of(
        {"boot": boot_id, "qemu": [emulator.argv, emulator.version], "image": image, "by": os.getuid()}
    )

    def probe(folder: Path) -> None:
        works = prints_first_line(emulator, "kvm", image)
        if not works:
            note(f"{_DEVICE} is there, but boots no kernel within {DEADLINE_S:.0f} s: using TCG")
        (folder / "answer").write_text("kvm" if works else "tcg")

    answer = (cache.publish("accelerator", key, probe) / "answer").read_text()
    return "kvm" if answer == "kvm" else "tcg"


def prints_first_line(
    emulator: Emulator, accelerator: Accelerator, image: Path, *, deadline_s: float = DEADLINE_S
) -> bool:
    """Boot a kernel and say whether its first line appeared on the serial port in time."""
    # intremap needs a split irqchip under KVM; the guests have both, so the probe has them too.
    machine, cpu = ("q35,kernel-irqchip=split", "host") if accelerator == "kvm" else ("q35", "max")
    command = ["setpriv", "--pdeathsig", "KILL", *emulator.argv]
    command += ["-no-user-config", "-nodefaults", "-display", "none", "-no-reboot"]
    command += ["-M", machine, "-accel", accelerator, "-cpu", cpu, "-m", "256M", "-smp", "1"]
    command += ["-device", "intel-iommu,intremap=on", "-serial", "stdio"]
    command += ["-kernel", str(image), "-append", "console=ttyS0 earlyprintk=ttyS0 panic=-1"]
    if identify(image).kind is Kind.VMLINUX:
        command += ["-bios", "qboot.rom"]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=emulator.full_environment(),
    )
    try:
        return _reads(process, _FIRST_LINE, time.monotonic() + deadline_s)
    finally:
        process.kill()
        process.wait()


def _reads(process: subprocess.Popen[bytes], wanted: bytes, deadline_s: float) -> bool:
    if process.stdout is None:
        return False
    with process.stdout as console:
        text = b""
        while (left_s := deadline_s - time.monotonic()) > 0:
            if not select.select([console], [], [], left_s)[0]:
                return False
            chunk = os.read(console.fileno(), 4096)
            text += chunk
            if wanted in text:
                return True
            if not chunk:
                return False
    return False

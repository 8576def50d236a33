"""The bindings against the kernel headers of other releases, and the newer way of VFIO, which no Debian kernel has.

Needs no guest, but Debian's packages: the headers come through the lab's archive, as the kernels do.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from harness.lab.debian import archive
from harness.lab.kernel.find import debian_request
from tests.unit.bindings.layouts import assertions

if TYPE_CHECKING:
    from harness.lab.cache.store import Cache

_CDEFS: Final = Path(__file__).parents[2] / "cdefs"
_HERE: Final = Path(__file__).with_name("conformance")
_COMPILER: Final = os.environ.get("CC", "gcc")
_WARNINGS: Final = ("-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-Wno-missing-field-initializers")


@dataclass(frozen=True)
class Release:
    """The kernel headers of a Debian release.

    Attributes:
        branch: of the kernel.
        cdev: whether they have the character device of a function.
        sizes: of the structs bind, attach, detach and device info, in bytes.
    """

    branch: str
    cdev: bool
    sizes: tuple[int, int, int, int] = (0, 0, 0, 0)

    def include(self, cache: Cache) -> list[str]:
        """The options with which a compiler sees these headers and no others."""
        suites = debian_request(self.branch).suites
        preferred = next((suite for suite in suites if suite.endswith("-backports")), "")
        request = archive.Request(
            label=f"linux-libc-dev-{self.branch}",
            packages=("linux-libc-dev",),
            suites=suites,
            preferred=preferred,
            from_preferred=("linux-libc-dev",) if preferred else (),
            dependencies="",
            expected_bytes=3_000_000,
            unpacked_bytes=10_000_000,
            expected_s=2,
        )
        tree = archive.unpacked(cache, request).path / "usr"
        asm = [tree / "include/x86_64-linux-gnu", tree / "lib/linux/uapi/x86"]
        return [f"-I{folder}" for folder in (tree / "include", *asm) if folder.exists()]


_RELEASES: Final = (
    Release("6.1", cdev=False),
    Release("6.12", cdev=True, sizes=(16, 12, 8, 24)),
    Release("7.x", cdev=True, sizes=(24, 16, 12, 24)),
)


def compiled(arguments: list[str], *, source: str = "") -> None:
    """Run the compiler, and fail with what it says."""
    command = [_COMPILER, "-std=gnu11", *_WARNINGS, *arguments]
    done = subprocess.run(command, input=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def python_include() -> str:
    return f"-I{sysconfig.get_path('include')}"


@pytest.mark.parametrize("release", _RELEASES, ids=lambda release: release.branch)
def test_layouts_and_numbers_are_those_of_every_release(cache: Cache, release: Release) -> None:
    include = release.include(cache)
    seen = subprocess.run(
        [_COMPILER, *include, "-E", "-x", "c", "-"],
        input="#include <linux/version.h>\n#include <linux/vfio.h>\nLINUX_VERSION_MAJOR VFIO_DEVICE_BIND_IOMMUFD\n",
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()[-1]
    assert seen.split()[0] == release.branch.partition(".")[0]
    assert ("VFIO_DEVICE_BIND_IOMMUFD" not in seen) == release.cdev
    compiled([*include, "-fsyntax-only", "-x", "c", "-"], source=assertions())
    with pytest.raises(AssertionError, match="VFIO_DEVICE_RESET"):
        compiled(
            [*include, "-fsyntax-only", "-x", "c", "-"],
            source=assertions() + '_Static_assert(VFIO_DEVICE_RESET == 1, "VFIO_DEVICE_RESET");\n',
        )


@pytest.mark.parametrize("module", ["vfio", "iommufd"])
@pytest.mark.parametrize("release", _RELEASES, ids=lambda release: release.branch)
def test_the_bindings_compile_with_every_release(cache: Cache, release: Release, module: str) -> None:
    compiled([*release.include(cache), python_include(), "-fsyntax-only", str(_CDEFS / f"_{module}.c")])


_PROLOGUE: Final = """
import importlib.util, sys
from pathlib import Path
folder = Path(sys.argv[1])
for name in ("_vfio", "_iommufd"):
    spec = importlib.util.spec_from_file_location(f"harness.bindings.{name}", folder / f"{name}.abi3.so")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules[spec.name] = module
import harness.bindings
harness.bindings._vfio = sys.modules["harness.bindings._vfio"]
harness.bindings._iommufd = sys.modules["harness.bindings._iommufd"]
import mmap, os
from harness.bindings import iommufd, vfio
from harness.errors import HarnessError
from harness.model.pci import Bdf
from harness.pci import sysfs
from harness.vfio import cdev
sysfs.DEVICES = folder / "devices"
cdev.IOMMUFD, cdev.DEVICES = folder / "iommu", folder / "vfio"
bdf = Bdf.parse("0000:04:00.0")
"""


@dataclass(frozen=True)
class OtherKernel:
    """A process whose bindings were compiled with the headers of a release, and whose ioctl() is answered by ours."""

    release: Release
    folder: Path

    def run(self, source: str, **environment: str) -> tuple[list[str], list[dict[str, str]]]:
        """Run Python in it; the lines it printed, and the requests it made: their names and fields."""
        requests = self.folder / "requests"
        requests.write_text("")
        done = subprocess.run(
            [sys.executable, "-c", _PROLOGUE + source, str(self.folder)],
            env={
                **os.environ,
                "LD_PRELOAD": str(self.folder / "kernel.so"),
                "HIL_REQUESTS": str(requests),
                **environment,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        lines = requests.read_text().splitlines()
        made = [{"request": line.split()[0], **dict(re.findall(r"(\w+)=(\S+)", line))} for line in lines]
        return done.stdout.splitlines(), made


@pytest.fixture(params=[release for release in _RELEASES if release.cdev], ids=lambda release: release.branch)
def kernel(request: pytest.FixtureRequest, cache: Cache, tmp_path: Path) -> OtherKernel:
    """A machine with one function, whose files are ordinary ones."""
    release: Release = request.param
    include = release.include(cache)
    shared = ["-shared", "-fPIC", "-O2"]
    for name in ("_vfio", "_iommufd"):
        built = tmp_path / f"{name}.abi3.so"
        compiled([*shared, *include, python_include(), "-o", str(built), str(_CDEFS / f"{name}.c")])
    compiled([*shared, *include, "-o", str(tmp_path / "kernel.so"), str(_HERE / "iommufd_kernel.c")])
    (tmp_path / "devices/0000:04:00.0/vfio-dev/vfio3").mkdir(parents=True)
    (tmp_path / "vfio").mkdir()
    (tmp_path / "vfio/vfio3").write_text("")
    (tmp_path / "iommu").write_text("")
    return OtherKernel(release, tmp_path)


def test_a_function_is_opened_through_its_character_device(kernel: OtherKernel) -> None:
    source = """
memory = mmap.mmap(-1, 8192)
with cdev.AddressSpace() as space:
    device = space.open(bdf)
    mapping = space.map_dma(memory, 0x10000)
    print(space.fd, device.fd, device.regions, device.irqs, all(vfio.HEADER.present.values()))
    for one in device.hot_reset_info():
        print(one.bdf, one.group, one.owned)
    device.hot_reset()
    vfio.detach_iommufd_pt(device.fd)
space.close()
memory.close()
for fd in (space.fd, device.fd):
    try:
        os.fstat(fd)
    except OSError as error:
        print(error.errno)
"""
    (first, *others), made = kernel.run(source)
    iommufd, device, *facts = first.split()
    bind, attach, detach, info = map(str, kernel.release.sizes)
    assert facts == ["9", "5", "True"]
    assert others == ["0000:04:00.0 None True", "0001:04:01.2 None False", "9", "9"]
    mapped = {"ioas": "5", "length": "8192", "iova": str(0x10000)}
    assert made == [
        {"request": "ALLOC", "fd": iommufd, "size": "12", "flags": "0"},
        {"request": "BIND", "fd": device, "argsz": bind, "flags": "0", "iommufd": iommufd},
        {"request": "ATTACH", "fd": device, "argsz": attach, "flags": "0", "pt": "5"},
        {"request": "INFO", "fd": device, "argsz": info},
        {
            "request": "MAP",
            "fd": iommufd,
            "size": "40",
            "flags": "7",
            **mapped,
            "reserved": "0",
            "aligned": "1",
        },
        {"request": "HOT_RESET_INFO", "fd": device, "argsz": "12"},
        {"request": "HOT_RESET_INFO", "fd": device, "argsz": "28"},
        {"request": "HOT_RESET", "fd": device, "argsz": "12", "flags": "0", "count": "0"},
        {"request": "DETACH", "fd": device, "argsz": detach, "flags": "0"},
        {"request": "UNMAP", "fd": iommufd, "size": "24", **mapped},
    ]


def test_a_function_that_cannot_be_bound_is_closed_and_says_why(kernel: OtherKernel) -> None:
    source = """
with cdev.AddressSpace() as space:
    before = len(os.listdir("/proc/self/fd"))
    try:
        space.open(bdf)
    except HarnessError as error:
        print(error)
    print(len(os.listdir("/proc/self/fd")) - before)
"""
    (refused, left), made = kernel.run(source, HIL_BUSY="1")
    assert refused.startswith("VFIO_DEVICE_BIND_IOMMUFD of 0000:04:00.0: EBUSY")
    assert "Its group is open" in refused
    assert left == "0"
    assert [one["request"] for one in made] == ["ALLOC", "BIND"]


def test_the_remaining_requests_reach_the_kernel_whole(kernel: OtherKernel) -> None:
    source = """
fd = os.open("/dev/null", os.O_RDWR)
iommufd.destroy(fd, 5)
vfio.enter_low_power_with_wakeup(fd, 77)
vfio.set_feature(fd, vfio.HEADER.value("VFIO_DEVICE_FEATURE_LOW_POWER_EXIT"))
vfio.probe_feature(fd, 4, vfio.FeatureAccess.SET)
"""
    _, made = kernel.run(source)
    for one in made:
        one.pop("fd")
    assert made == [
        {"request": "DESTROY", "size": "8", "id": "5"},
        {"request": "FEATURE", "argsz": "16", "flags": "0x20004", "eventfd": "77", "reserved": "0"},
        {"request": "FEATURE", "argsz": "8", "flags": "0x20005"},
        {"request": "FEATURE", "argsz": "8", "flags": "0x60004"},
    ]

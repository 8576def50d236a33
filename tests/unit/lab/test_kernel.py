"""Kernels: what an image says about itself, what a tree offers, what a configuration lacks."""

from __future__ import annotations

import gzip
import lzma
import struct
import zlib
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.lab.cache.store import Cache
from harness.lab.kernel import boot_image
from harness.lab.kernel.choice import Given, OfDebian, choose, parse_branches
from harness.lab.kernel.config import NEEDED, WANTED, checks_itself, parse_config
from harness.lab.kernel.find import (
    Kernel,
    debian_kernel,
    debian_request,
    find_kernel,
    missing_options,
    pvh_image,
    unwelcome_gaps,
)

RELEASE = "6.12.0-mine"
COMPLETE = "".join(f"CONFIG_{name}=y\n" for name in NEEDED)


def vmlinux(*, note_type: int = 18, config: str = "") -> bytes:
    """Build a 64-bit ELF file with one note segment, and a kernel's texts in it."""
    note = struct.pack("<III4sQ", 4, 8, 1, b"Xen\0", 0) + struct.pack(
        "<III4sQ", 4, 8, note_type, b"Xen\0", 0x1000000
    )
    header = struct.pack("<6s58x", b"\x7fELF\x02\x01")
    header = header[:0x20] + struct.pack("<Q14xHH", 64, 56, 1) + header[0x3A:]
    segment = struct.pack("<IIQQQQQQ", 4, 0, 64 + 56, 0, 0, len(note), len(note), 4)
    data = header + segment + note + b"Linux version " + RELEASE.encode() + b" (me@here) #1\n\0"
    if config:
        data += b"IKCFG_ST" + gzip.compress(config.encode()) + b"IKCFG_ED"
    return data


def bzimage(payload: bytes, release: str = RELEASE) -> bytes:
    """Build the parts of a bzImage that a loader reads: setup header, release text, payload."""
    image = bytearray(5 * 512)
    image[0x1F1] = 4
    image[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", image, 0x20E, 0x400)
    text = release.encode() + b" (me@here) #1 SMP\0"
    image[0x600 : 0x600 + len(text)] = text
    struct.pack_into("<II", image, 0x248, 16, len(payload))
    return bytes(image) + bytes(16) + payload + bytes(8)


def sized(packed: bytes, plain: bytes) -> bytes:
    return packed + struct.pack("<I", len(plain))


def pack_zstd(plain: bytes) -> bytes:
    """Write a zstd frame with one raw block (RFC 8878): needs no compressor."""
    frame = b"\x28\xb5\x2f\xfd" + bytes([0xA0]) + struct.pack("<I", len(plain))
    return frame + struct.pack("<I", (len(plain) << 3) | 1)[:3] + plain


PACKERS = {
    "gzip": lambda plain: gzip.compress(plain, mtime=0),
    "xz": lambda plain: sized(lzma.compress(plain, check=lzma.CHECK_CRC32), plain),
    "zstd": lambda plain: sized(pack_zstd(plain), plain),
}


def write(path: Path, data: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def kernel_with(config: str, modules: Path | None = None) -> Kernel:
    parsed = parse_config(config)
    return Kernel(image=Path("x"), modules=modules, release=RELEASE, package="x", config=parsed, debug=False)


# --- images -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packer", PACKERS)
def test_the_packed_vmlinux_is_found_and_booted_by_pvh(tmp_path: Path, packer: str) -> None:
    image = write(tmp_path / "bzImage", bzimage(PACKERS[packer](vmlinux())))
    assert boot_image.unpack_payload(image) == vmlinux()
    with Cache(tmp_path / "cache") as cache:
        kernel = find_kernel(cache, image)
        unpacked = pvh_image(kernel, cache)
        assert unpacked.read_bytes() == vmlinux()
        assert pvh_image(kernel, cache) == unpacked


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(PACKERS["gzip"](vmlinux(note_type=17)), id="no PVH entry"),
        pytest.param(b"LZ4?" + vmlinux(), id="unknown packing"),
        pytest.param(PACKERS["xz"](vmlinux())[:60], id="truncated"),
        pytest.param(PACKERS["gzip"](b"no ELF file"), id="no ELF"),
    ],
)
def test_an_image_that_cannot_boot_by_pvh_boots_as_it_is(tmp_path: Path, payload: bytes) -> None:
    image = write(tmp_path / "bzImage", bzimage(payload))
    with Cache(tmp_path / "cache") as cache:
        assert pvh_image(find_kernel(cache, image), cache) == image


def test_the_pvh_image_follows_the_contents_and_not_the_name(tmp_path: Path) -> None:
    with Cache(tmp_path / "cache") as cache:
        image = write(tmp_path / "bzImage", bzimage(PACKERS["gzip"](vmlinux())))
        first = pvh_image(find_kernel(cache, image), cache)
        write(image, bzimage(PACKERS["gzip"](vmlinux(config="CONFIG_A=y\n"))))
        assert pvh_image(find_kernel(cache, image), cache) != first


def test_a_vmlinux_is_taken_as_it_is(tmp_path: Path) -> None:
    image = write(tmp_path / "vmlinux", vmlinux())
    with Cache(tmp_path / "cache") as cache:
        kernel = find_kernel(cache, image)
        assert (kernel.release, kernel.image, pvh_image(kernel, cache)) == (RELEASE, image, image)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (vmlinux(note_type=17), "PVH entry"),
        (b"MZ" + bytes(4096), "neither an x86 bzImage nor a 64-bit vmlinux"),
        (b"", "neither an x86 bzImage"),
        (b"\x7fELF\x02\x01" + bytes(100), "neither an x86 bzImage"),
    ],
)
def test_what_is_no_bootable_kernel_is_refused_in_one_line(tmp_path: Path, data: bytes, said: str) -> None:
    image = write(tmp_path / "image", data)
    with Cache(tmp_path / "cache") as cache, pytest.raises(UsageError, match=said) as caught:
        find_kernel(cache, image)
    assert str(image) in str(caught.value)


def test_a_path_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with Cache(tmp_path / "cache") as cache, pytest.raises(UsageError, match="No such file"):
        find_kernel(cache, tmp_path / "absent")


# --- trees, modules, configurations -----------------------------------------------------------------------


def make_tree(root: Path, config: str = COMPLETE) -> Path:
    write(root / "arch/x86/boot/bzImage", bzimage(PACKERS["gzip"](vmlinux())))
    write(root / ".config", config)
    write(root / "modules.order", "drivers/vfio/vfio.o\n")
    return root


def test_a_built_tree_gives_image_modules_and_configuration(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "linux", COMPLETE + "CONFIG_KASAN=y\n")
    with Cache(tmp_path / "cache") as cache:
        kernel = find_kernel(cache, tree)
    assert kernel.image == tree / "arch/x86/boot/bzImage"
    assert kernel.modules == tree
    assert kernel.debug
    assert missing_options(kernel) == []


def test_a_tree_that_was_not_built_is_refused(tmp_path: Path) -> None:
    (tmp_path / "linux").mkdir()
    with Cache(tmp_path / "cache") as cache, pytest.raises(UsageError, match="Build it first"):
        find_kernel(cache, tmp_path / "linux")


def test_an_installed_image_finds_what_lies_beside_it(tmp_path: Path) -> None:
    image = write(tmp_path / "boot/vmlinuz", bzimage(PACKERS["gzip"](vmlinux())))
    write(tmp_path / f"boot/config-{RELEASE}", 'CONFIG_VFIO=m\nCONFIG_LOCALVERSION="-mine"\n')
    modules = tmp_path / "usr/lib/modules" / RELEASE
    modules.mkdir(parents=True)
    with Cache(tmp_path / "cache") as cache:
        kernel = find_kernel(cache, image)
    assert kernel.modules == modules
    assert kernel.config == {"CONFIG_VFIO": "m", "CONFIG_LOCALVERSION": "-mine"}


def test_an_image_in_the_folder_of_its_modules_finds_what_lies_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "lib/modules" / RELEASE
    image = write(folder / "vmlinuz", bzimage(PACKERS["gzip"](vmlinux())))
    write(folder / "config", "CONFIG_VFIO=m\n")
    with Cache(tmp_path / "cache") as cache:
        kernel = find_kernel(cache, image)
    assert (kernel.modules, kernel.config) == (folder, {"CONFIG_VFIO": "m"})


@pytest.mark.parametrize("form", ["bzImage", "vmlinux"])
def test_a_configuration_inside_the_image_is_found(tmp_path: Path, form: str) -> None:
    plain = vmlinux(config="CONFIG_VFIO=y\n")
    image = write(tmp_path / form, plain if form == "vmlinux" else bzimage(PACKERS["xz"](plain)))
    with Cache(tmp_path / "cache") as cache:
        assert find_kernel(cache, image).config == {"CONFIG_VFIO": "y"}


def test_a_given_kernel_says_what_it_lacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree = make_tree(tmp_path / "linux", COMPLETE.replace("CONFIG_KPROBE_EVENTS=y\n", ""))
    with Cache(tmp_path / "cache") as cache:
        find_kernel(cache, tree)
    said = capsys.readouterr()
    needed, *wanted = said.err.splitlines()
    assert needed == f"lab: kernel {RELEASE} lacks CONFIG_KPROBE_EVENTS: {NEEDED['KPROBE_EVENTS']}"
    assert f"lab: kernel {RELEASE} lacks CONFIG_IGB: {WANTED['IGB']}" in wanted
    assert said.out == ""


def test_a_given_kernel_without_a_configuration_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = write(tmp_path / "bzImage", bzimage(PACKERS["gzip"](vmlinux())))
    with Cache(tmp_path / "cache") as cache:
        kernel = find_kernel(cache, image)
    assert missing_options(kernel) == []
    assert "no configuration" in capsys.readouterr().err


@pytest.mark.parametrize("below", [".", "lib/modules/" + RELEASE, RELEASE])
def test_modules_may_be_named_at_any_level(tmp_path: Path, below: str) -> None:
    image = write(tmp_path / "bzImage", bzimage(PACKERS["gzip"](vmlinux())))
    write(tmp_path / "mods" / below / "modules.order", "")
    with Cache(tmp_path / "cache") as cache:
        kernel = find_kernel(cache, image, tmp_path / "mods")
    assert kernel.modules == (tmp_path / "mods" / below).resolve()


def test_modules_of_another_release_are_refused(tmp_path: Path) -> None:
    image = write(tmp_path / "bzImage", bzimage(PACKERS["gzip"](vmlinux())))
    write(tmp_path / "lib/modules/6.1.0-other/modules.order", "")
    with Cache(tmp_path / "cache") as cache:
        for named in (tmp_path, tmp_path / "lib/modules/6.1.0-other"):
            with pytest.raises(UsageError, match=r"none of release 6.12.0-mine"):
                find_kernel(cache, image, named)


def test_modules_without_their_kernel_are_refused(tmp_path: Path) -> None:
    with Cache(tmp_path / "cache") as cache, pytest.raises(UsageError, match="Add --kernel"):
        find_kernel(cache, None, tmp_path)


def test_what_is_a_module_needs_modules() -> None:
    text = COMPLETE.replace("CONFIG_VFIO_PCI=y", "CONFIG_VFIO_PCI=m")
    assert missing_options(kernel_with(text)) == [
        f"the modules of CONFIG_VFIO_PCI=m (give --modules): {NEEDED['VFIO_PCI']}"
    ]
    assert missing_options(kernel_with(text, Path("modules"))) == []


@pytest.mark.parametrize("name", NEEDED)
def test_each_needed_option_is_missed(name: str) -> None:
    text = COMPLETE.replace(f"CONFIG_{name}=y\n", f"# CONFIG_{name} is not set\n")
    assert missing_options(kernel_with(text)) == [f"CONFIG_{name}: {NEEDED[name]}"]


def test_what_only_costs_scenarios_is_not_missing() -> None:
    assert missing_options(kernel_with(COMPLETE)) == []
    assert any(line.startswith("CONFIG_IGB:") for line in unwelcome_gaps(kernel_with(COMPLETE)))


def test_only_kernels_that_check_themselves_are_slow() -> None:
    assert checks_itself(parse_config("CONFIG_PROVE_LOCKING=y\n"))
    assert not checks_itself(
        parse_config("CONFIG_UBSAN=y\nCONFIG_KASAN_OUTLINE=y\n# CONFIG_KASAN is not set\n")
    )


# --- Debian's ---------------------------------------------------------------------------------------------


def test_branches_are_looked_for_where_they_are() -> None:
    assert all(suite.startswith("bookworm") for suite in debian_request("6.1").suites)
    assert not any("backports" in suite for suite in debian_request("6.12").suites)
    assert any("backports" in suite for suite in debian_request("7.x").suites)


@pytest.mark.parametrize(
    ("branch", "name", "fits"),
    [
        ("6.12", "linux-image-6.12.117+deb13-amd64", True),
        ("6.12", "linux-image-6.12.115+deb13.1-amd64", True),
        ("6.12", "linux-image-6.12.117+deb13-cloud-amd64", False),
        ("6.12", "linux-image-6.12.117+deb13-amd64-unsigned", False),
        ("6.1", "linux-image-6.1.0-56-amd64", True),
        ("6.1", "linux-image-6.12.117+deb13-amd64", False),
        ("7.x", "linux-image-7.3.4+deb13-amd64", True),
        ("7.x", "linux-image-6.7.4+deb13-amd64", False),
    ],
)
def test_only_the_signed_image_of_the_branch_fits(branch: str, name: str, fits: bool) -> None:  # noqa: FBT001
    import re  # noqa: PLC0415 - one use

    assert bool(re.fullmatch(debian_request(branch).newest, name)) is fits


@pytest.mark.parametrize("branch", ["6", "6.12.117", "x", "", "6.12; rm"])
def test_a_branch_is_written_like_one(tmp_path: Path, branch: str) -> None:
    with Cache(tmp_path) as cache, pytest.raises(UsageError, match=r"write it like 6\.12"):
        debian_kernel(cache, branch)


def test_several_branches_are_read_before_anything_is_fetched(tmp_path: Path) -> None:
    assert parse_branches("6.1, 6.12,7.x") == ("6.1", "6.12", "7.x")
    for text, said in (("6.1,6", "write it like"), ("", "write it like"), ("6.1,7.x,6.1", "twice")):
        with pytest.raises(UsageError, match=said):
            parse_branches(text)
    image = write(tmp_path / "vmlinux", vmlinux())
    with Cache(tmp_path / "cache") as cache, pytest.raises(UsageError, match="only one of them"):
        find_kernel(cache, image, branch="6.1")


def test_a_kernel_is_decided_before_anything_is_looked_at() -> None:
    here = Path("vmlinux").absolute()
    assert choose() == OfDebian("6.12")
    assert choose(branch="7.x") == OfDebian("7.x")
    assert choose(Path("vmlinux")) == Given(here)
    assert choose(here, Path("mods")) == Given(here, Path("mods").absolute())
    for given, modules, branch, said in (
        (None, here, "", "they need their kernel"),
        (here, None, "6.1", "a guest boots only one of them"),
        (here, here, "6.1", "a guest boots only one of them"),
        (None, None, "six", r"write it like 6\.12"),
    ):
        with pytest.raises(UsageError, match=said):
            choose(given, modules, branch)


def test_modules_that_say_where_they_were_built_name_the_tree(tmp_path: Path) -> None:
    image = write(tmp_path / "boot/vmlinuz", bzimage(PACKERS["gzip"](vmlinux())))
    modules, built = tmp_path / "lib/modules" / RELEASE, tmp_path / "src"
    modules.mkdir(parents=True)
    (modules / "build").symlink_to(built)
    with Cache(tmp_path / "cache") as cache:
        assert find_kernel(cache, image).build is None, "a link to what is gone"
        built.mkdir()
        assert find_kernel(cache, image).build == built
        tree = make_tree(tmp_path / "linux")
        assert find_kernel(cache, tree).build == tree


@pytest.mark.guest
def test_debians_kernel_has_all_that_the_lab_needs() -> None:
    with Cache() as cache:
        kernel = find_kernel(cache)
        assert kernel.release.startswith("6.12.")
        assert kernel.package.startswith(f"linux-image-{kernel.release}=")
        assert kernel.modules is not None
        assert list(kernel.modules.rglob("vfio-pci.ko*"))
        assert missing_options(kernel) + unwelcome_gaps(kernel) == []
        assert not kernel.debug
        assert boot_image.identify(kernel.image).release == kernel.release
        image = pvh_image(kernel, cache)
        assert boot_image.identify(image) == boot_image.Identity(
            kind=boot_image.Kind.VMLINUX, release=kernel.release
        )


def test_damaged_gzip_is_no_configuration(tmp_path: Path) -> None:
    data = vmlinux() + b"IKCFG_ST" + b"\x1f\x8bgarbage" + b"IKCFG_ED"
    with pytest.raises((OSError, EOFError, zlib.error)):
        gzip.decompress(b"\x1f\x8bgarbage")
    assert boot_image.embedded_config(write(tmp_path / "vmlinux", data)) is None

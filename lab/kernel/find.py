"""Find the kernel that our guests boot: Debian's, or the one that a kernel developer built.

A kernel is an image, the folder of its modules, and its configuration.  What a given kernel lacks for
the lab is said before anything boots.

This module refuses to build kernels and to load modules; lab/image/initramfs.py packs those that the guest needs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.errors import SetupError, UsageError
from harness.lab.debian import archive
from harness.lab.kernel import boot_image
from harness.lab.kernel.choice import DEFAULT_BRANCH, Choice, OfDebian, choose
from harness.lab.kernel.config import NEEDED, WANTED, checks_itself, lacking, parse_config
from harness.lab.progress import note

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.lab.cache.store import Cache

# Branches that are no longer, or not, in the newest stable suite and its backports.
_OLDER: Final = {"6.1": ("bookworm", "bookworm-updates", "bookworm-security")}
_STABLE: Final = (archive.STABLE, f"{archive.STABLE}-updates", f"{archive.STABLE}-security")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """A kernel that a guest can boot.

    Attributes:
        image: a bzImage, or an uncompressed vmlinux.
        modules: the folder below which its modules lie: `lib/modules/RELEASE` of an installation, or the root
            of the tree they were built in; None when there are none.
        release: what `uname -r` will say.
        package: `name=version` of the Debian package, or the path it was given by.
        config: `CONFIG_X` to its value ("y", "m", a number, a string); empty when it could not be found out.
        debug: whether it checks itself (KASAN, LOCKDEP, ...) and so may boot slowly.
        branch: of Debian, "6.12"; empty for a kernel of the user's own.
        build: a folder to build modules against, for a kernel of the user's own that has one.
    """

    image: Path
    modules: Path | None
    release: str
    package: str
    config: Mapping[str, str]
    debug: bool
    branch: str = ""
    build: Path | None = None


def find_kernel(
    cache: Cache, given: Path | None = None, modules: Path | None = None, branch: str = ""
) -> Kernel:
    """Choose a kernel, and have it.

    Args:
        cache: where Debian's is kept.
        given: as :func:`~harness.lab.kernel.choice.choose` takes it, and so are the others.
        modules: of `given`.
        branch: of Debian's.

    Raises:
        UsageError: as :func:`~harness.lab.kernel.choice.choose`, or a path is no kernel.
        SetupError: Debian's could not be had.
    """
    return provided(cache, choose(given, modules, branch))


def provided(cache: Cache, choice: Choice) -> Kernel:
    """Have the kernel that was chosen; only Debian's can need the network.

    Raises:
        UsageError: a path is no kernel.
        SetupError: Debian's could not be had.
    """
    if isinstance(choice, OfDebian):
        return debian_kernel(cache, choice.branch)
    kernel = _given_kernel(choice.path, choice.modules)
    if not kernel.config:
        note(
            f"kernel {kernel.release}: no configuration beside or in it; what it lacks will show in the guest"
        )
    for line in (*missing_options(kernel), *unwelcome_gaps(kernel)):
        note(f"kernel {kernel.release} lacks {line}")
    return kernel


def debian_request(branch: str) -> archive.Request:
    """Describe the download of a branch's newest kernel.

    Raises:
        UsageError: the branch is not written like one.
    """
    numbers = re.escape(OfDebian(branch).branch).replace("x", r"\d+")
    backports = () if branch in (*_OLDER, DEFAULT_BRANCH) else (f"{archive.STABLE}-backports",)
    return archive.Request(
        label=f"linux-{branch}",
        # The signed image without suffix: not -cloud, -rt, -dbg or -unsigned.
        newest=rf"linux-image-({numbers}(?:\.\d+)*(?:-\d+)?(?:\+deb[\d.]+)?)-amd64",
        # Since 7.0 the image is empty and these have its contents.
        companions=("linux-base-{}-amd64", "linux-binary-{}-amd64", "linux-modules-{}-amd64"),
        suites=_OLDER.get(branch, _STABLE) + backports,
        expected_bytes=110_000_000,
        unpacked_bytes=450_000_000 if branch in _OLDER else 130_000_000,
        expected_s=15,
    )


def debian_kernel(cache: Cache, branch: str) -> Kernel:
    """Return the newest Debian kernel of a branch, downloading it when the cache has none.

    Args:
        cache: where it is kept.
        branch: "6.12", "6.1", or "7.x" for the newest of a major version.

    Raises:
        UsageError: the branch is not written like one.
        SetupError: Debian has no such kernel, or it could not be fetched.
    """
    tree = archive.unpacked(cache, debian_request(branch))
    # Either boot/vmlinuz-RELEASE and boot/config-RELEASE, or both in the folder of the modules.
    folders = [*tree.path.glob("lib/modules/*"), *tree.path.glob("usr/lib/modules/*")]
    images = [*tree.path.glob("boot/vmlinuz-*"), *tree.path.glob("usr/lib/modules/*/vmlinuz")]
    if len(images) != 1 or len(folders) != 1:
        said = f"{len(images)} images and {len(folders)} folders of modules, not one of each"
        raise SetupError(f"looking for the kernel in {tree.path}", said=said)
    release = folders[0].name
    config_file = images[0].with_name(images[0].name.replace("vmlinuz", "config", 1))
    config = parse_config(config_file.read_text())
    package = next((name for name in tree.lock.names() if name.startswith("linux-image-")), tree.lock.label)
    return Kernel(
        image=images[0],
        modules=folders[0],
        release=release,
        package=package,
        config=config,
        debug=checks_itself(config),
        branch=branch,
    )


def _given_kernel(given: Path, modules: Path | None) -> Kernel:
    tree = given if given.is_dir() else None
    image = _image_of_tree(given) if tree else given
    try:
        identity = boot_image.identify(image)
    except OSError as error:
        raise UsageError(f"reading the kernel {image}", said=error.strerror or str(error)) from error
    if identity.kind is boot_image.Kind.VMLINUX and not boot_image.has_pvh_entry(boot_image.mapped(image)):
        raise UsageError(
            f"using the kernel {image}",
            said="QEMU boots a vmlinux only by its PVH entry, and this one has none",
            hint="Give the bzImage instead, or build with CONFIG_PVH",
        )
    config = _config_beside(image, tree, identity.release)
    if not config and (embedded := boot_image.embedded_config(image)):
        config = parse_config(embedded)
    folder = (
        _modules_of(modules, identity.release) if modules else _modules_beside(image, tree, identity.release)
    )
    return Kernel(
        image=image,
        modules=folder,
        release=identity.release,
        package=str(given),
        config=config,
        debug=checks_itself(config),
        build=tree or _build_folder(folder),
    )


def _image_of_tree(tree: Path) -> Path:
    places = (tree / name for name in ("arch/x86/boot/bzImage", "arch/x86_64/boot/bzImage", "vmlinux"))
    if image := next(filter(Path.is_file, places), None):
        return image
    raise UsageError(
        f"using the kernel tree {tree}",
        said="neither arch/x86/boot/bzImage nor vmlinux is there",
        hint="Build it first",
    )


def _config_beside(image: Path, tree: Path | None, release: str) -> dict[str, str]:
    names = [f"config-{release}", *["config"] * (image.parent.name == release)]  # lib/modules/RELEASE/vmlinuz
    places = [tree / ".config"] if tree else [image.parent / name for name in names]
    found = next(filter(Path.is_file, places), None)
    return parse_config(found.read_text(errors="replace")) if found else {}


def _modules_beside(image: Path, tree: Path | None, release: str) -> Path | None:
    """Find modules nobody named: in the tree, or installed beside the image's `boot` folder."""
    if tree:
        return tree if (tree / "modules.order").is_file() else None
    root = image.parent.parent
    places = [root / lib / "modules" / release for lib in ("lib", "usr/lib")]
    return image.parent if image.parent.name == release else next(filter(Path.is_dir, places), None)


def _build_folder(modules: Path | None) -> Path | None:
    """Find the tree that installed modules were built in: they keep a link to it."""
    link = modules / "build" if modules else None
    return link.resolve() if link and link.is_dir() else None


def _modules_of(folder: Path, release: str) -> Path:
    """Find `lib/modules/RELEASE` in what the user named: the folder itself or one above it.

    Raises:
        UsageError: no modules of this release are there.
    """
    below = (f"lib/modules/{release}", f"usr/lib/modules/{release}", release, ".")
    for candidate in (folder / part for part in below):
        if (candidate / "modules.order").is_file() or (candidate / "kernel").is_dir():
            if candidate == folder and re.match(r"\d+\.\d+", folder.name) and folder.name != release:
                break
            return candidate
    raise UsageError(
        f"using the modules in {folder}",
        said=f"none of release {release} there",
        hint="Name the folder that `make modules_install INSTALL_MOD_PATH=` filled",
    )


def missing_options(kernel: Kernel) -> list[str]:
    """List what the kernel lacks and the lab needs, each with what it is for.

    Nothing is listed when its configuration is unknown.
    """
    return lacking(kernel.config, kernel.modules, NEEDED)


def unwelcome_gaps(kernel: Kernel) -> list[str]:
    """List the options that only cost scenarios or time when they are absent, each with what it is for."""
    return lacking(kernel.config, kernel.modules, WANTED)


def pvh_image(kernel: Kernel, cache: Cache) -> Path:
    """Return an uncompressed image with a PVH entry, which boots 2 s sooner under emulation.

    The kernel's own image is returned when it has no such entry, or is packed in a way that cannot be
    unpacked here: it boots too, only slower.
    """
    identity = boot_image.identify(kernel.image)
    if identity.kind is boot_image.Kind.VMLINUX:
        return kernel.image
    key = f"{kernel.release}-{boot_image.fingerprint(kernel.image)}"

    def build(folder: Path) -> None:
        vmlinux = boot_image.unpack_payload(kernel.image)
        if vmlinux is not None and boot_image.has_pvh_entry(vmlinux):
            (folder / "vmlinux").write_bytes(vmlinux)
        else:
            (folder / "no-pvh").touch()

    entry = cache.publish("pvh", key, build, need_bytes=150_000_000)
    return entry / "vmlinux" if (entry / "vmlinux").exists() else kernel.image

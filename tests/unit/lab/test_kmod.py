"""The module for lock windows: what it is built against, when it is built again, and why there may be none."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.errors import SetupError, UsageError
from harness.lab.cache.store import Cache
from harness.lab.kernel import build_module as kmod
from harness.lab.kernel.build_module import (
    WindowsModule,
    first_error,
    headers_request,
    make_own,
    windows_module,
)
from harness.lab.kernel.find import Kernel
from harness.lab.kernel.names import WINDOWS
from harness.lab.needs import apt_line

BUILDS = "modules:\n\techo run >> $(CURDIR)/runs\n\techo $(LLVM) > $(M)/hil_windows.ko\n\ttouch $(M)/hil_faults.ko\n"
FAILS = "modules:\n\t@echo 'hil_windows.c:7:3: error: too old'\n\t@exit 1\n"
FORBIDDEN = "modules:\n\t@echo '/bin/sh: 1: scripts/basic/fixdep: Permission denied'\n\t@exit 126\n"
FULL = "modules:\n\t@echo 'hil_windows.c:1:2: fatal error: writing /tmp/cc.s: No space left on device'\n\t@exit 1\n"
KILLED = "modules:\n\t@echo 'gcc: fatal error: Killed signal terminated program cc1'\n\t@exit 1\n"
LEAVES_NOTHING = "modules:\n\t@true\n"


def tree(folder: Path, makefile: str) -> Kernel:
    """A kernel of the user's own, in whose tree `make modules` does what `makefile` says."""
    folder.mkdir()
    for name, text in (("Makefile", makefile), (".config", "CONFIG_MODULES=y\n"), ("Module.symvers", "1\n")):
        (folder / name).write_text(text)
    return kernel(build=folder)


def kernel(
    *, build: Path | None = None, branch: str = "", release: str = "6.12.0-mine", **config: str
) -> Kernel:
    """Describe a kernel that may be built against `build`."""
    known = {"CONFIG_MODULES": "y", **config}
    return Kernel(
        image=Path("bzImage"),
        modules=None,
        release=release,
        package="x",
        config=known,
        debug=False,
        branch=branch,
        build=build,
    )


def test_the_module_is_built_once_against_the_users_tree(tmp_path: Path) -> None:
    mine = tree(tmp_path / "linux", BUILDS)
    with Cache(tmp_path / "cache") as cache:
        first = windows_module(cache, mine)
        assert first.path is not None
        assert (first.path.name, first.why_not) == (f"{WINDOWS}.ko", "")
        assert windows_module(cache, mine) == first
        assert (tmp_path / "linux/runs").read_text() == "run\n"
        (tmp_path / "linux/Module.symvers").write_text("2\n")  # the kernel was built again
        assert windows_module(cache, mine).path not in (None, first.path)
    assert (tmp_path / "linux/runs").read_text() == "run\nrun\n"


@pytest.mark.parametrize(("config", "llvm"), [({}, ""), ({"CONFIG_CC_IS_CLANG": "y"}, "1")])
def test_the_compiler_is_that_of_the_tree(tmp_path: Path, config: dict[str, str], llvm: str) -> None:
    tree(tmp_path / "linux", BUILDS)
    with Cache(tmp_path / "cache") as cache:
        built = windows_module(cache, kernel(build=tmp_path / "linux", **config))
        assert built.path is not None
        assert built.path.read_text().strip() == llvm


@pytest.mark.parametrize(
    ("makefile", "said"),
    [
        (LEAVES_NOTHING, "left no module"),
        (FORBIDDEN, "fixdep: Permission denied"),
        (FULL, "writing /tmp/cc.s: No space left on device"),
        (KILLED, "Killed"),
    ],
)
def test_what_only_the_machine_had_against_a_build_is_tried_again(
    tmp_path: Path, makefile: str, said: str
) -> None:
    mine = tree(tmp_path / "linux", makefile)
    with Cache(tmp_path / "cache") as cache:
        failed = windows_module(cache, mine)
        assert failed.path is None
        assert said in failed.why_not
        assert "\n" not in failed.why_not
        (tmp_path / "linux/Makefile").write_text(BUILDS)
        assert windows_module(cache, mine).path is not None


def test_a_build_leaves_temporary_files_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder for them may be full, or one from which nothing may be executed."""
    monkeypatch.setattr("tempfile.tempdir", "/proc/nothing")
    monkeypatch.setenv("TMPDIR", "/proc/nothing")
    mine = tree(
        tmp_path / "linux", f"modules:\n\techo $$TMPDIR >$(CURDIR)/temporary\n{BUILDS.partition(chr(10))[2]}"
    )
    with Cache(tmp_path / "cache") as cache:
        assert windows_module(cache, mine).path is not None
    assert (tmp_path / "linux/temporary").read_text().startswith(str(tmp_path / "cache"))
    assert not list((tmp_path / "cache").rglob("kbuild-*"))


def test_a_path_that_linux_is_not_built_below_is_said(tmp_path: Path) -> None:
    mine = tree(tmp_path / "linux", BUILDS)
    with Cache(tmp_path / "my cache") as cache:
        assert "set VFIO_HARNESS_CACHE" in windows_module(cache, mine).why_not


def test_what_the_compiler_has_against_the_sources_is_not_tried_again(tmp_path: Path) -> None:
    mine = tree(tmp_path / "linux", FAILS)
    with Cache(tmp_path / "cache") as cache:
        failed = windows_module(cache, mine)
        assert failed.path is None
        assert failed.why_not.startswith("hil_windows.c:7:3: error: too old (see ")
        log = re.search(r"\(see (.+)\)$", failed.why_not)
        assert log is not None
        assert Path(log[1]).is_file()
        (tmp_path / "linux/Makefile").write_text(BUILDS)
        assert windows_module(cache, mine) == failed


def test_where_nothing_can_be_built_the_reason_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tree(tmp_path / "linux", BUILDS)
    with Cache(tmp_path / "cache") as cache:
        assert "give the kernel's tree" in windows_module(cache, kernel()).why_not
        assert "CONFIG_MODULES" in windows_module(cache, kernel(build=tmp_path, CONFIG_MODULES="n")).why_not
        (tmp_path / "linux/Module.symvers").unlink()
        assert "make modules" in windows_module(cache, mine).why_not
        monkeypatch.setenv("PATH", str(tmp_path))
        assert windows_module(cache, mine) == WindowsModule(
            why_not=f"no gcc and no make here (type: {apt_line()})"
        )


def test_without_an_archive_the_reason_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Final trouble: an archive that cannot be reached for a moment would be tried again, for seconds."""
    monkeypatch.setenv("VFIO_HARNESS_MIRROR", f"file:{tmp_path}/absent")
    with Cache(tmp_path / "cache") as cache:
        absent = windows_module(cache, kernel(branch="6.12", release="6.12.117+deb13-amd64"))
        assert absent.path is None
        assert f"{tmp_path}/absent" in absent.why_not
        assert "\n" not in absent.why_not
        assert [entry for entry in cache.entries() if entry.kind == "kmod"] == []


@pytest.mark.parametrize(
    ("branch", "release", "name", "kbuild"),
    [
        ("6.12", "6.12.117+deb13-amd64", "linux-headers-6.12.117+deb13-amd64", "linux-kbuild-6.12.117+deb13"),
        ("6.1", "6.1.0-56-amd64", "linux-headers-6.1.0-56-amd64", "linux-kbuild-6.1"),
    ],
)
def test_headers_are_those_of_the_very_kernel(branch: str, release: str, name: str, kbuild: str) -> None:
    request = headers_request(kernel(branch=branch, release=release))
    match = re.fullmatch(request.newest, name)
    assert match is not None
    assert not re.fullmatch(request.newest, name.replace("1", "2", 1))
    assert not re.fullmatch(request.newest, name.replace("-amd64", "-cloud-amd64"))
    assert kbuild in [companion.format(match[1]) for companion in request.companions]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("make: Entering\n  CC x.o\nx.c:1:2: error: no\nmake: *** [x] Error 1\n", "x.c:1:2: error: no"),
        ("ERROR: modpost: gone\nmake: *** [x] Error 1\n", "ERROR: modpost: gone"),
        (
            "y: libc.so.6: version `GLIBC_9' not found\nmake: *** [x] Error 1",
            "y: libc.so.6: version `GLIBC_9' not found",
        ),
        (
            "make: *** No rule to make target 'modules'.  Stop.",
            "make: *** No rule to make target 'modules'.  Stop.",
        ),
        (
            "  HOSTCC x\n/bin/sh: 1: scripts/fixdep: Permission denied\nmake: *** [x] Error 126\n",
            "/bin/sh: 1: scripts/fixdep: Permission denied",
        ),
        ("", "no output"),
    ],
)
def test_the_first_error_of_a_build_is_named(text: str, said: str) -> None:
    assert first_error(text) == said


def test_build_tools_run_with_their_own_loader_and_keep_their_name(tmp_path: Path) -> None:
    real = tmp_path / "kbuild" / "scripts"
    (real / "mod").mkdir(parents=True)
    shutil.copy("/bin/sh", real / "mod/fixdep")
    (real / "Makefile.lib").write_text("objtool := x\n")
    (real / "check.sh").write_text("#!/bin/sh\necho checked\n")
    kmod._mirror(real, tmp_path / "scripts", "/lib64/ld-linux-x86-64.so.2")
    tool = tmp_path / "scripts/mod/fixdep"
    assert tool.read_bytes()[:2] == b"#!"
    done = subprocess.run([tool, "-c", "echo $0"], capture_output=True, text=True, check=False)
    assert done.stdout == f"{tool}\n", "by its own name it finds what lies beside it"
    assert (tmp_path / "scripts/Makefile.lib").readlink() == real / "Makefile.lib"
    assert (tmp_path / "scripts/check.sh").readlink() == real / "check.sh"


# --- modules of the user's own ------------------------------------------------------------------------------


@pytest.fixture
def driver(tmp_path: Path) -> Path:
    folder = tmp_path / "driver"
    folder.mkdir()
    (folder / "Kbuild").write_text("obj-m := ipr.o\n")
    return folder


def test_a_users_modules_are_built_in_their_folder(tmp_path: Path, driver: Path) -> None:
    mine = tree(tmp_path / "linux", "modules:\n\ttouch $(M)/ipr.ko $(M)/a.ko $(M)/ipr.o\n")
    with Cache(tmp_path / "cache") as cache:
        assert make_own(cache, mine, driver) == (driver / "a.ko", driver / "ipr.ko")


def test_a_folder_without_a_makefile_is_told_what_to_write(tmp_path: Path) -> None:
    with (
        Cache(tmp_path / "cache") as cache,
        pytest.raises(UsageError, match=r"echo 'obj-m := ipr\.o' > Kbuild"),
    ):
        make_own(cache, kernel(build=tmp_path), tmp_path)


@pytest.mark.parametrize(
    ("makefile", "said"), [(FAILS, "7:3: error: too old"), (LEAVES_NOTHING, "left no module")]
)
def test_what_does_not_compile_is_said_with_all_that_make_printed(
    tmp_path: Path, driver: Path, makefile: str, said: str
) -> None:
    mine = tree(tmp_path / "linux", makefile)
    with Cache(tmp_path / "cache") as cache, pytest.raises(SetupError, match=said) as refused:
        make_own(cache, mine, driver)
    assert "make: Entering directory" in refused.value.evidence


def test_a_kernel_with_nothing_to_build_against_is_named(tmp_path: Path, driver: Path) -> None:
    with Cache(tmp_path / "cache") as cache, pytest.raises(SetupError, match="nothing to build it against"):
        make_own(cache, kernel(), driver)

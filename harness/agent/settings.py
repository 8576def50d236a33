"""What a plan sets before its stage, and how it is put back."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from harness.errors import KernelRefusal, UsageError
from harness.model.pci import Bdf
from harness.model.plan import Setting
from harness.pci import driver, sysfs

DRIVER: Final = "driver"
_PARAMETER: Final = "module"


@contextmanager
def applied(setting: Setting, addresses: Mapping[str, Bdf]) -> Iterator[None]:
    """Set something for a while; afterwards it is as it was before, whatever happened.

    Raises:
        UsageError: a module parameter that is not written as one.
        KernelRefusal: the kernel refused the value, or the one before.
        TargetError: the driver did not take the function.
    """
    if setting.attribute == DRIVER:
        with driver.borrowed(addresses[setting.function], setting.value):
            yield
        return
    path = _path(setting, addresses)
    before = sysfs.read_attribute(path).replace(driver.NO_OVERRIDE, "")
    sysfs.write_attribute(path, setting.value)
    try:
        yield
    finally:
        _put_back(path, before)


def _path(setting: Setting, addresses: Mapping[str, Bdf]) -> Path:
    kind, *names = setting.attribute.split("/")
    if kind != _PARAMETER:
        return sysfs.path_of(addresses[setting.function], setting.attribute)
    if len(names) != 2:
        raise UsageError(
            f"setting {setting.attribute!r}", said="no module parameter", hint="Write module/NAME/PARAMETER."
        )
    return Path("/sys/module", names[0], "parameters", names[1])


def _put_back(path: Path, before: str) -> None:
    if not sysfs.is_there(path.parent):
        return  # its function was unplugged meanwhile
    try:
        sysfs.write_attribute(path, before)
    except KernelRefusal as error:
        if path.name == "reset_method" and error.errno == errno.EINVAL:
            # The kernel found the methods before the function had a sibling, and now refuses its own list
            # ("flr bus" where bus has become impossible): let it look again.
            sysfs.write_attribute(path, "default")
            return
        raise KernelRefusal(
            f"putting {path} back to {before!r}",
            errno=error.errno,
            hint="Set it by hand before using the function.",
        ) from error

"""Facts on PCI functions, from sysfs.

Read file by file: what a library adds is run for the first time in every clone of an emulated guest, where code that
was not run before is what takes the time.
"""

from __future__ import annotations

from harness.errors import KernelRefusal, TargetError
from harness.model.observation import FunctionFacts
from harness.model.pci import Bdf
from harness.pci import sysfs


def facts(bdf: Bdf) -> FunctionFacts:
    """What is known of a function: identity, driver, reset methods, IOMMU group.

    Raises:
        TargetError: there is no such function.
    """
    if not sysfs.is_there(sysfs.path_of(bdf, "vendor")):
        raise TargetError(f"looking for function {bdf}", said="not there", hint="`lspci -D` lists what is.")
    try:
        methods = tuple(sysfs.read_attribute(sysfs.path_of(bdf, "reset_method")).split())
    except KernelRefusal:
        methods = ()  # a function that nothing can reset has no such file
    above = sysfs.leads_to(sysfs.DEVICES / str(bdf)).parent.name
    return FunctionFacts(
        bdf=bdf,
        vendor=_number(bdf, "vendor"),
        device=_number(bdf, "device"),
        class_code=_number(bdf, "class"),
        driver=sysfs.leads_to(sysfs.path_of(bdf, "driver")).name,
        reset_methods=methods,
        iommu_group=sysfs.leads_to(sysfs.path_of(bdf, "iommu_group")).name,
        port=Bdf.parse(above) if _is_function(above) else None,
    )


def everywhere() -> tuple[FunctionFacts, ...]:
    """Facts on every PCI function of this machine, in order of their addresses."""
    return tuple(facts(Bdf.parse(name)) for name in sysfs.names_in(sysfs.DEVICES))


def below(port: Bdf, function: int) -> Bdf | None:
    """The function with this number right below a root port, or None while nothing is plugged there."""
    found = (name for name in sysfs.names_in(sysfs.DEVICES / str(port)) if _is_function(name))
    return next((bdf for bdf in map(Bdf.parse, found) if bdf.function == function), None)


def _is_function(name: str) -> bool:
    """Whether a name in sysfs is 0000:01:00.0, and no bus (pci0000:00) or service of a port (0000:00:06.0:pcie001)."""
    return name.count(":") == 2


def _number(bdf: Bdf, attribute: str) -> int:
    return int(sysfs.read_attribute(sysfs.path_of(bdf, attribute)), 16)

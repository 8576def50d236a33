"""The steps by which a function is opened and used, and what is known of their refusals.

Source: Linux drivers/vfio/group.c, container.c, vfio_iommu_type1.c, pci/vfio_pci_core.c.
"""

from __future__ import annotations

import enum
import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from harness.errors import KernelRefusal


class Step(enum.Enum):
    """What is asked of the kernel; the value says it in an error, with the function in place of the braces."""

    OPEN_CONTAINER = "opening /dev/vfio/vfio"
    OPEN_GROUP = "opening the IOMMU group of {}"
    GROUP_STATUS = "asking for the state of {}"
    SET_CONTAINER = "putting the IOMMU group of {} into a container"
    SET_IOMMU = "choosing the type 1 IOMMU for {}"
    IOMMU_INFO = "asking for the IOMMU of a container"
    MAP_DMA = "mapping memory for functions"
    UNMAP_DMA = "unmapping memory for functions"
    GET_DEVICE = "VFIO_GROUP_GET_DEVICE_FD of {}"
    OPEN_CDEV = "opening the character device of {}"
    OPEN_IOMMUFD = "opening /dev/iommu"
    ALLOCATE_IOAS = "making an I/O address space"
    BIND_IOMMUFD = "VFIO_DEVICE_BIND_IOMMUFD of {}"
    ATTACH_IOAS = "attaching {} to an I/O address space"
    DEVICE_INFO = "asking {} what it is"
    REGION_INFO = "asking {} for its regions"
    READ_REGION = "reading a region of {} through VFIO"
    WRITE_REGION = "writing a region of {} through VFIO"
    MAP_REGION = "mapping a region of {}"
    IRQ_INFO = "asking {} for its interrupts"
    ARM_IRQS = "arming interrupts of {}"
    ACT_ON_IRQS = "masking, unmasking or triggering interrupts of {}"
    DISARM_IRQS = "disarming interrupts of {}"
    RESET = "VFIO_DEVICE_RESET of {}"
    HOT_RESET_INFO = "asking which functions a hot reset of {} resets"
    HOT_RESET = "VFIO_DEVICE_PCI_HOT_RESET of {}"
    FEATURE = "VFIO_DEVICE_FEATURE of {}"


_MODULES: Final = "Load vfio-pci and vfio_iommu_type1."
CDEV_HINT: Final = (
    "The kernel needs CONFIG_IOMMUFD and CONFIG_VFIO_DEVICE_CDEV; or open it through its group."
)
_CONTENTION: Final = "Somebody holds a lock of it or resets it: try again."

HINTS: Final = {
    (Step.OPEN_CONTAINER, errno.ENOENT): _MODULES,
    (Step.OPEN_CONTAINER, errno.ENODEV): _MODULES,
    (Step.OPEN_GROUP, errno.ENOENT): "Bind every function of the group to vfio-pci first.",
    (Step.OPEN_GROUP, errno.EBUSY): "The group is open elsewhere: it has one user at a time.",
    (Step.OPEN_GROUP, errno.EACCES): "The file of a group belongs to root.",
    (Step.SET_CONTAINER, errno.EPERM): "A driver other than vfio-pci owns a function of the group.",
    (Step.SET_CONTAINER, errno.EINVAL): "The group is in a container already.",
    (Step.SET_IOMMU, errno.EPERM): "No interrupt remapping: boot with intremap=on, or set "
    "vfio_iommu_type1.allow_unsafe_interrupts=1.",
    (Step.SET_IOMMU, errno.ENODEV): "Load vfio_iommu_type1.",
    (Step.MAP_DMA, errno.EEXIST): "This I/O virtual address is mapped already.",
    (Step.MAP_DMA, errno.ENOMEM): "Raise RLIMIT_MEMLOCK.",
    (
        Step.MAP_DMA,
        errno.EINVAL,
    ): "Address, I/O virtual address and size are whole pages, inside the IOVA ranges.",
    (Step.GET_DEVICE, errno.ENODEV): "Bind it to vfio-pci; while somebody unbinds it, it cannot be opened.",
    (Step.GET_DEVICE, errno.EINVAL): "Its group has no container with an IOMMU.",
    (Step.GET_DEVICE, errno.EAGAIN): _CONTENTION,
    (Step.OPEN_CDEV, errno.ENOENT): CDEV_HINT,
    (Step.OPEN_IOMMUFD, errno.ENOENT): CDEV_HINT,
    (Step.BIND_IOMMUFD, errno.EBUSY): "Its group is open: a function is opened in one way at a time.",
    (Step.BIND_IOMMUFD, errno.EINVAL): "It is bound to an iommufd already.",
    (Step.BIND_IOMMUFD, errno.EAGAIN): _CONTENTION,
    (Step.READ_REGION, errno.EIO): "Its memory decode is off, or it sleeps in D3.",
    (Step.WRITE_REGION, errno.EIO): "Its memory decode is off, or it sleeps in D3.",
    (Step.RESET, errno.EAGAIN): _CONTENTION,
    (Step.RESET, errno.EINVAL): "It could not be reset when it was opened.",
    (Step.RESET, errno.ENOTTY): "No reset method of it worked.",
    (Step.HOT_RESET_INFO, errno.ENODEV): "Neither its slot nor its bus can be reset.",
    (Step.HOT_RESET, errno.ENODEV): "Neither its slot nor its bus can be reset.",
    (
        Step.HOT_RESET,
        errno.EINVAL,
    ): "Every function of the slot or bus must be bound to vfio-pci, and its group be given.",
    (Step.HOT_RESET, errno.EAGAIN): _CONTENTION,
    (Step.HOT_RESET, errno.EBUSY): "Another VFIO user is inside a reset or an access to a BAR: try again.",
}
"""What to do next, for refusals whose cause is known."""


@contextmanager
def doing(step: Step, what: object = "") -> Iterator[None]:
    """Turn what the kernel refuses inside the block into an error that names step, function and errno.

    Args:
        step: what is asked.
        what: the function it is asked of.

    Raises:
        KernelRefusal: for any OSError.
    """
    try:
        yield
    except OSError as error:
        raise refused(step, what, error) from error


def refused(step: Step, what: object, error: OSError) -> KernelRefusal:
    """What :func:`doing` raises, for where a context manager would take longer than the system call."""
    number = error.errno or 0
    return KernelRefusal(step.value.format(what), errno=number, hint=HINTS.get((step, number), ""))

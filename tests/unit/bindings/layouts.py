"""Layouts of `<linux/vfio.h>` and `<linux/iommufd.h>` on x86-64 as literals, and C that holds a header against them.

Sources: include/uapi/linux/vfio.h and include/uapi/linux/iommufd.h of Linux 6.1, 6.12 and 7.x.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass


@dataclass(frozen=True)
class Layout:
    """Size of a struct in bytes and offsets of its members.

    Attributes:
        needs: a name of the preprocessor that a header with this struct has; empty for what every header has.
        lacks: a name that a header with this layout does not have; a later layout of the same struct needs it.
    """

    struct: str
    size: int
    members: dict[str, int]
    needs: str = ""
    lacks: str = ""


_CDEV = "VFIO_DEVICE_BIND_IOMMUFD"
_IOMMUFD = "IOMMU_IOAS_ALLOC"

LAYOUTS = (
    Layout("vfio_info_cap_header", 8, {"id": 0, "version": 2, "next": 4}),
    Layout("vfio_group_status", 8, {"argsz": 0, "flags": 4}),
    Layout(
        "vfio_device_info",
        20,
        {"argsz": 0, "flags": 4, "num_regions": 8, "num_irqs": 12, "cap_offset": 16},
        lacks=_CDEV,
    ),
    Layout(
        "vfio_device_info",
        24,
        {"argsz": 0, "flags": 4, "num_regions": 8, "num_irqs": 12, "cap_offset": 16, "pad": 20},
        needs=_CDEV,
    ),
    Layout(
        "vfio_region_info",
        32,
        {"argsz": 0, "flags": 4, "index": 8, "cap_offset": 12, "size": 16, "offset": 24},
    ),
    Layout("vfio_region_sparse_mmap_area", 16, {"offset": 0, "size": 8}),
    Layout("vfio_region_info_cap_sparse_mmap", 16, {"header": 0, "nr_areas": 8, "reserved": 12, "areas": 16}),
    Layout("vfio_irq_info", 16, {"argsz": 0, "flags": 4, "index": 8, "count": 12}),
    Layout("vfio_irq_set", 20, {"argsz": 0, "flags": 4, "index": 8, "start": 12, "count": 16, "data": 20}),
    Layout("vfio_pci_dependent_device", 8, {"group_id": 0, "segment": 4, "bus": 6, "devfn": 7}),
    Layout("vfio_pci_dependent_device", 8, {"devid": 0}, needs="VFIO_PCI_HOT_RESET_FLAG_DEV_ID"),
    Layout("vfio_pci_hot_reset_info", 12, {"argsz": 0, "flags": 4, "count": 8, "devices": 12}),
    Layout("vfio_pci_hot_reset", 12, {"argsz": 0, "flags": 4, "count": 8, "group_fds": 12}),
    Layout("vfio_iommu_type1_info", 24, {"argsz": 0, "flags": 4, "iova_pgsizes": 8, "cap_offset": 16}),
    Layout("vfio_iommu_type1_info", 24, {"pad": 20}, needs=_CDEV),
    Layout("vfio_iova_range", 16, {"start": 0, "end": 8}),
    Layout(
        "vfio_iommu_type1_info_cap_iova_range",
        16,
        {"header": 0, "nr_iovas": 8, "reserved": 12, "iova_ranges": 16},
    ),
    Layout("vfio_iommu_type1_dma_map", 32, {"argsz": 0, "flags": 4, "vaddr": 8, "iova": 16, "size": 24}),
    Layout("vfio_iommu_type1_dma_unmap", 24, {"argsz": 0, "flags": 4, "iova": 8, "size": 16, "data": 24}),
    Layout("vfio_device_feature", 8, {"argsz": 0, "flags": 4, "data": 8}),
    Layout(
        "vfio_device_low_power_entry_with_wakeup",
        8,
        {"wakeup_eventfd": 0, "reserved": 4},
        needs="VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY",
    ),
    Layout(
        "vfio_device_bind_iommufd",
        16,
        {"argsz": 0, "flags": 4, "iommufd": 8, "out_devid": 12},
        needs=_CDEV,
        lacks="VFIO_DEVICE_BIND_FLAG_TOKEN",
    ),
    Layout(
        "vfio_device_bind_iommufd",
        24,
        {"argsz": 0, "flags": 4, "iommufd": 8, "out_devid": 12, "token_uuid_ptr": 16},
        needs="VFIO_DEVICE_BIND_FLAG_TOKEN",
    ),
    Layout(
        "vfio_device_attach_iommufd_pt",
        12,
        {"argsz": 0, "flags": 4, "pt_id": 8},
        needs=_CDEV,
        lacks="VFIO_DEVICE_ATTACH_PASID",
    ),
    Layout(
        "vfio_device_attach_iommufd_pt",
        16,
        {"argsz": 0, "flags": 4, "pt_id": 8, "pasid": 12},
        needs="VFIO_DEVICE_ATTACH_PASID",
    ),
    Layout(
        "vfio_device_detach_iommufd_pt",
        8,
        {"argsz": 0, "flags": 4},
        needs=_CDEV,
        lacks="VFIO_DEVICE_DETACH_PASID",
    ),
    Layout(
        "vfio_device_detach_iommufd_pt",
        12,
        {"argsz": 0, "flags": 4, "pasid": 8},
        needs="VFIO_DEVICE_DETACH_PASID",
    ),
    Layout("iommu_destroy", 8, {"size": 0, "id": 4}, needs=_IOMMUFD),
    Layout("iommu_ioas_alloc", 12, {"size": 0, "flags": 4, "out_ioas_id": 8}, needs=_IOMMUFD),
    Layout(
        "iommu_ioas_map",
        40,
        {"size": 0, "flags": 4, "ioas_id": 8, "user_va": 16, "length": 24, "iova": 32},
        needs=_IOMMUFD,
    ),
    Layout("iommu_ioas_unmap", 24, {"size": 0, "ioas_id": 4, "iova": 8, "length": 16}, needs=_IOMMUFD),
)

NUMBERS = {
    "VFIO_GET_API_VERSION": 0x3B64,
    "VFIO_CHECK_EXTENSION": 0x3B65,
    "VFIO_SET_IOMMU": 0x3B66,
    "VFIO_GROUP_GET_STATUS": 0x3B67,
    "VFIO_GROUP_SET_CONTAINER": 0x3B68,
    "VFIO_GROUP_GET_DEVICE_FD": 0x3B6A,
    "VFIO_DEVICE_GET_INFO": 0x3B6B,
    "VFIO_DEVICE_GET_REGION_INFO": 0x3B6C,
    "VFIO_DEVICE_GET_IRQ_INFO": 0x3B6D,
    "VFIO_DEVICE_SET_IRQS": 0x3B6E,
    "VFIO_DEVICE_RESET": 0x3B6F,
    "VFIO_DEVICE_GET_PCI_HOT_RESET_INFO": 0x3B70,
    "VFIO_DEVICE_PCI_HOT_RESET": 0x3B71,
    "VFIO_DEVICE_FEATURE": 0x3B75,
    "VFIO_IOMMU_GET_INFO": 0x3B70,
    "VFIO_IOMMU_MAP_DMA": 0x3B71,
    "VFIO_IOMMU_UNMAP_DMA": 0x3B72,
    "VFIO_API_VERSION": 0,
    "VFIO_TYPE1_IOMMU": 1,
    "VFIO_TYPE1v2_IOMMU": 3,
    "VFIO_GROUP_FLAGS_VIABLE": 1,
    "VFIO_DEVICE_FLAGS_RESET": 1,
    "VFIO_DEVICE_FLAGS_PCI": 2,
    "VFIO_DEVICE_FLAGS_CAPS": 0x80,
    "VFIO_REGION_INFO_FLAG_READ": 1,
    "VFIO_REGION_INFO_FLAG_WRITE": 2,
    "VFIO_REGION_INFO_FLAG_MMAP": 4,
    "VFIO_REGION_INFO_FLAG_CAPS": 8,
    "VFIO_REGION_INFO_CAP_SPARSE_MMAP": 1,
    "VFIO_PCI_CONFIG_REGION_INDEX": 7,
    "VFIO_PCI_INTX_IRQ_INDEX": 0,
    "VFIO_PCI_MSI_IRQ_INDEX": 1,
    "VFIO_PCI_MSIX_IRQ_INDEX": 2,
    "VFIO_PCI_ERR_IRQ_INDEX": 3,
    "VFIO_PCI_REQ_IRQ_INDEX": 4,
    "VFIO_IRQ_INFO_EVENTFD": 1,
    "VFIO_IRQ_INFO_MASKABLE": 2,
    "VFIO_IRQ_INFO_AUTOMASKED": 4,
    "VFIO_IRQ_INFO_NORESIZE": 8,
    "VFIO_IRQ_SET_DATA_NONE": 1,
    "VFIO_IRQ_SET_DATA_EVENTFD": 4,
    "VFIO_IRQ_SET_ACTION_MASK": 8,
    "VFIO_IRQ_SET_ACTION_UNMASK": 16,
    "VFIO_IRQ_SET_ACTION_TRIGGER": 32,
    "VFIO_DEVICE_FEATURE_GET": 1 << 16,
    "VFIO_DEVICE_FEATURE_SET": 1 << 17,
    "VFIO_DEVICE_FEATURE_PROBE": 1 << 18,
    "VFIO_DEVICE_FEATURE_PCI_VF_TOKEN": 0,
    "VFIO_IOMMU_INFO_CAPS": 2,
    "VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE": 1,
    "VFIO_DMA_MAP_FLAG_READ": 1,
    "VFIO_DMA_MAP_FLAG_WRITE": 2,
}
"""What every supported `<linux/vfio.h>` defines."""

NEWER_NUMBERS = {
    "VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY": 3,
    "VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP": 4,
    "VFIO_DEVICE_FEATURE_LOW_POWER_EXIT": 5,
    "VFIO_PCI_HOT_RESET_FLAG_DEV_ID": 1,
    "VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED": 2,
    "VFIO_DEVICE_BIND_IOMMUFD": 0x3B76,
    "VFIO_DEVICE_ATTACH_IOMMUFD_PT": 0x3B77,
    "VFIO_DEVICE_DETACH_IOMMUFD_PT": 0x3B78,
}
"""What newer ones define."""

IOMMUFD_NUMBERS = {
    "IOMMU_DESTROY": 0x3B80,
    "IOMMU_IOAS_ALLOC": 0x3B81,
    "IOMMU_IOAS_MAP": 0x3B85,
    "IOMMU_IOAS_UNMAP": 0x3B86,
}
"""What `<linux/iommufd.h>` defines, where there is one."""


def assertions(layouts: tuple[Layout, ...] = LAYOUTS) -> str:
    """C that compiles when the headers agree with every layout and number that applies to them."""
    lines = [
        "#include <stddef.h>",
        "#include <linux/vfio.h>",
        "#if __has_include(<linux/iommufd.h>)",
        "#include <linux/iommufd.h>",
        "#endif",
    ]
    for layout in layouts:
        lines.append(f"#if {_condition(layout)}")
        lines.append(f'_Static_assert(sizeof(struct {layout.struct}) == {layout.size}, "{layout.struct}");')
        for name, offset in layout.members.items():
            text = f"offsetof(struct {layout.struct}, {name}) == {offset}"
            lines.append(f'_Static_assert({text}, "{layout.struct}.{name}");')
        lines.append("#endif")
    for name, value in NUMBERS.items():
        lines.append(f'_Static_assert({name} == {value}, "{name}");')
    for name, value in itertools.chain(NEWER_NUMBERS.items(), IOMMUFD_NUMBERS.items()):
        lines += [f"#ifdef {name}", f'_Static_assert({name} == {value}, "{name}");', "#endif"]
    return "\n".join([*lines, ""])


def _condition(layout: Layout) -> str:
    wanted = [f"defined({layout.needs})"] if layout.needs else []
    unwanted = [f"!defined({layout.lacks})"] if layout.lacks else []
    return " && ".join([*wanted, *unwanted]) or "1"

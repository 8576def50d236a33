/* One typed C function per ioctl of <linux/vfio.h>: the variadic ioctl() would accept any mistake.
 *
 * Written for any header from Linux 5.10 on: what came later is guarded by its own name.
 */
#include <errno.h>
#include <linux/version.h>
#include <linux/vfio.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>

struct hx_newer {
    const char *name;
    const char *since;
    int64_t value;
};

static const struct hx_newer hx_vfio_newer[] = {
#ifdef VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY
    { "VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY", "6.1", VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY },
    { "VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP", "6.1", VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP },
    { "VFIO_DEVICE_FEATURE_LOW_POWER_EXIT", "6.1", VFIO_DEVICE_FEATURE_LOW_POWER_EXIT },
#else
    { "VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY", "6.1", -1 },
    { "VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP", "6.1", -1 },
    { "VFIO_DEVICE_FEATURE_LOW_POWER_EXIT", "6.1", -1 },
#endif
#ifdef VFIO_PCI_HOT_RESET_FLAG_DEV_ID
    { "VFIO_PCI_HOT_RESET_FLAG_DEV_ID", "6.6", VFIO_PCI_HOT_RESET_FLAG_DEV_ID },
    { "VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED", "6.6", VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED },
#else
    { "VFIO_PCI_HOT_RESET_FLAG_DEV_ID", "6.6", -1 },
    { "VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED", "6.6", -1 },
#endif
#ifdef VFIO_DEVICE_BIND_IOMMUFD
    { "VFIO_DEVICE_BIND_IOMMUFD", "6.6", VFIO_DEVICE_BIND_IOMMUFD },
    { "VFIO_DEVICE_ATTACH_IOMMUFD_PT", "6.6", VFIO_DEVICE_ATTACH_IOMMUFD_PT },
    { "VFIO_DEVICE_DETACH_IOMMUFD_PT", "6.6", VFIO_DEVICE_DETACH_IOMMUFD_PT },
#else
    { "VFIO_DEVICE_BIND_IOMMUFD", "6.6", -1 },
    { "VFIO_DEVICE_ATTACH_IOMMUFD_PT", "6.6", -1 },
    { "VFIO_DEVICE_DETACH_IOMMUFD_PT", "6.6", -1 },
#endif
};

/* ---- container ---- */

static int hx_vfio_api_version(int container)
{
    return ioctl(container, VFIO_GET_API_VERSION);
}

static int hx_vfio_has_extension(int container, int extension)
{
    return ioctl(container, VFIO_CHECK_EXTENSION, extension);
}

static int hx_vfio_set_iommu(int container, int type)
{
    return ioctl(container, VFIO_SET_IOMMU, type);
}

static int hx_vfio_iommu_info(int container, struct vfio_iommu_type1_info *info)
{
    return ioctl(container, VFIO_IOMMU_GET_INFO, info);
}

static int hx_vfio_map_dma(int container, struct vfio_iommu_type1_dma_map *map)
{
    return ioctl(container, VFIO_IOMMU_MAP_DMA, map);
}

static int hx_vfio_unmap_dma(int container, struct vfio_iommu_type1_dma_unmap *unmap)
{
    return ioctl(container, VFIO_IOMMU_UNMAP_DMA, unmap);
}

/* ---- group ---- */

static int hx_vfio_group_status(int group, struct vfio_group_status *status)
{
    return ioctl(group, VFIO_GROUP_GET_STATUS, status);
}

static int hx_vfio_group_set_container(int group, int container)
{
    return ioctl(group, VFIO_GROUP_SET_CONTAINER, &container);
}

static int hx_vfio_group_device_fd(int group, const char *bdf)
{
    return ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf);
}

/* ---- device ---- */

static int hx_vfio_device_info(int device, struct vfio_device_info *info)
{
    return ioctl(device, VFIO_DEVICE_GET_INFO, info);
}

static int hx_vfio_region_info(int device, struct vfio_region_info *info)
{
    return ioctl(device, VFIO_DEVICE_GET_REGION_INFO, info);
}

static int hx_vfio_irq_info(int device, struct vfio_irq_info *info)
{
    return ioctl(device, VFIO_DEVICE_GET_IRQ_INFO, info);
}

static int hx_vfio_set_irqs(int device, const struct vfio_irq_set *set)
{
    return ioctl(device, VFIO_DEVICE_SET_IRQS, set);
}

static int hx_vfio_device_reset(int device)
{
    return ioctl(device, VFIO_DEVICE_RESET);
}

static int hx_vfio_hot_reset_info(int device, struct vfio_pci_hot_reset_info *info)
{
    return ioctl(device, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, info);
}

struct hx_vfio_affected {
    uint32_t owner;
    uint32_t segment;
    uint32_t bus;
    uint32_t devfn;
};

/* group_id became a union with devid in 6.6: it is the first member, whatever the header calls it. */
static struct hx_vfio_affected hx_vfio_affected(const struct vfio_pci_hot_reset_info *info, uint32_t number)
{
    const struct vfio_pci_dependent_device *one = &info->devices[number];
    struct hx_vfio_affected affected = { .segment = one->segment, .bus = one->bus, .devfn = one->devfn };

    memcpy(&affected.owner, one, sizeof(affected.owner));
    return affected;
}

static int hx_vfio_hot_reset(int device, const struct vfio_pci_hot_reset *reset)
{
    return ioctl(device, VFIO_DEVICE_PCI_HOT_RESET, reset);
}

static int hx_vfio_feature(int device, struct vfio_device_feature *feature)
{
    return ioctl(device, VFIO_DEVICE_FEATURE, feature);
}

#ifdef VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP
static int hx_vfio_low_power_entry_with_wakeup(int device, int eventfd)
{
    struct vfio_device_low_power_entry_with_wakeup wakeup = { .wakeup_eventfd = eventfd };
    union {
        struct vfio_device_feature feature;
        uint8_t bytes[sizeof(struct vfio_device_feature) + sizeof(wakeup)];
    } request = { .feature = { .argsz = sizeof(request),
                               .flags = VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP } };

    memcpy(request.bytes + sizeof(struct vfio_device_feature), &wakeup, sizeof(wakeup));
    return ioctl(device, VFIO_DEVICE_FEATURE, &request);
}
#else
static int hx_vfio_low_power_entry_with_wakeup(int device, int eventfd)
{
    errno = ENOSYS;
    return -1;
}
#endif

/* ---- device, opened through its own character device ---- */

#ifdef VFIO_DEVICE_BIND_IOMMUFD
static int hx_vfio_bind_iommufd(int device, int iommufd, uint32_t *out_devid)
{
    struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind), .iommufd = iommufd };
    int result = ioctl(device, VFIO_DEVICE_BIND_IOMMUFD, &bind);

    *out_devid = bind.out_devid;
    return result;
}

static int hx_vfio_attach_iommufd_pt(int device, uint32_t *pt_id)
{
    struct vfio_device_attach_iommufd_pt attach = { .argsz = sizeof(attach), .pt_id = *pt_id };
    int result = ioctl(device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach);

    *pt_id = attach.pt_id;
    return result;
}

static int hx_vfio_detach_iommufd_pt(int device)
{
    struct vfio_device_detach_iommufd_pt detach = { .argsz = sizeof(detach) };

    return ioctl(device, VFIO_DEVICE_DETACH_IOMMUFD_PT, &detach);
}
#else
static int hx_vfio_bind_iommufd(int device, int iommufd, uint32_t *out_devid)
{
    errno = ENOSYS;
    return -1;
}

static int hx_vfio_attach_iommufd_pt(int device, uint32_t *pt_id)
{
    errno = ENOSYS;
    return -1;
}

static int hx_vfio_detach_iommufd_pt(int device)
{
    errno = ENOSYS;
    return -1;
}
#endif

/* A kernel's side of cdev and iommufd, for machines whose kernel has none: preloaded, it answers ioctl() itself.
 *
 * Each request is written to the file in $HIL_REQUESTS as a line of name=value, with what the caller put into its
 * struct; answers are invented.  It shares nothing with the harness but <linux/vfio.h> and <linux/iommufd.h>.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/iommufd.h>
#include <linux/vfio.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define DEVICE_ID 7
#define IOAS_ID 5

static void note(const char *format, ...)
{
    FILE *file = fopen(getenv("HIL_REQUESTS"), "a");
    va_list values;

    if (file == NULL)
        abort();
    va_start(values, format);
    vfprintf(file, format, values);
    va_end(values);
    fclose(file);
}

int ioctl(int fd, unsigned long request, ...)
{
    va_list values;

    va_start(values, request);
    void *argument = va_arg(values, void *);
    va_end(values);

    switch (request) {
    case IOMMU_IOAS_ALLOC: {
        struct iommu_ioas_alloc *alloc = argument;
        note("ALLOC fd=%d size=%u flags=%u\n", fd, alloc->size, alloc->flags);
        alloc->out_ioas_id = IOAS_ID;
        return 0;
    }
    case IOMMU_IOAS_MAP: {
        struct iommu_ioas_map *map = argument;
        note("MAP fd=%d size=%u flags=%u ioas=%u reserved=%u length=%llu iova=%llu aligned=%d\n", fd, map->size,
             map->flags, map->ioas_id, map->__reserved, (unsigned long long)map->length,
             (unsigned long long)map->iova, map->user_va % 4096 == 0);
        return 0;
    }
    case IOMMU_IOAS_UNMAP: {
        struct iommu_ioas_unmap *unmap = argument;
        note("UNMAP fd=%d size=%u ioas=%u length=%llu iova=%llu\n", fd, unmap->size, unmap->ioas_id,
             (unsigned long long)unmap->length, (unsigned long long)unmap->iova);
        return 0;
    }
    case IOMMU_DESTROY: {
        struct iommu_destroy *destroy = argument;
        note("DESTROY fd=%d size=%u id=%u\n", fd, destroy->size, destroy->id);
        return 0;
    }
    case VFIO_DEVICE_BIND_IOMMUFD: {
        struct vfio_device_bind_iommufd *bind = argument;
        note("BIND fd=%d argsz=%u flags=%u iommufd=%d\n", fd, bind->argsz, bind->flags, bind->iommufd);
        if (getenv("HIL_BUSY") != NULL) {
            errno = EBUSY;
            return -1;
        }
        bind->out_devid = DEVICE_ID;
        return 0;
    }
    case VFIO_DEVICE_ATTACH_IOMMUFD_PT: {
        struct vfio_device_attach_iommufd_pt *attach = argument;
        note("ATTACH fd=%d argsz=%u flags=%u pt=%u\n", fd, attach->argsz, attach->flags, attach->pt_id);
        return 0;
    }
    case VFIO_DEVICE_DETACH_IOMMUFD_PT: {
        struct vfio_device_detach_iommufd_pt *detach = argument;
        note("DETACH fd=%d argsz=%u flags=%u\n", fd, detach->argsz, detach->flags);
        return 0;
    }
    case VFIO_DEVICE_GET_INFO: {
        struct vfio_device_info *info = argument;
        note("INFO fd=%d argsz=%u\n", fd, info->argsz);
        info->flags = VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET;
        info->num_regions = VFIO_PCI_NUM_REGIONS;
        info->num_irqs = VFIO_PCI_NUM_IRQS;
        return 0;
    }
    case VFIO_DEVICE_GET_PCI_HOT_RESET_INFO: {
        /* Two functions of one device: the caller's own, and one that nobody has bound. */
        struct vfio_pci_hot_reset_info *info = argument;
        note("HOT_RESET_INFO fd=%d argsz=%u\n", fd, info->argsz);
        info->flags = VFIO_PCI_HOT_RESET_FLAG_DEV_ID;
        info->count = 2;
        if (info->argsz < sizeof(*info) + 2 * sizeof(info->devices[0])) {
            errno = ENOSPC;
            return -1;
        }
        info->devices[0] = (struct vfio_pci_dependent_device){ .devid = DEVICE_ID, .bus = 4 };
        info->devices[1] = (struct vfio_pci_dependent_device){
            .devid = (__u32)VFIO_PCI_DEVID_NOT_OWNED, .segment = 1, .bus = 4, .devfn = 1 << 3 | 2
        };
        return 0;
    }
    case VFIO_DEVICE_PCI_HOT_RESET: {
        struct vfio_pci_hot_reset *reset = argument;
        note("HOT_RESET fd=%d argsz=%u flags=%u count=%u\n", fd, reset->argsz, reset->flags, reset->count);
        return 0;
    }
    case VFIO_DEVICE_FEATURE: {
        struct vfio_device_feature *feature = argument;
        struct vfio_device_low_power_entry_with_wakeup *wakeup = (void *)feature->data;
        note("FEATURE fd=%d argsz=%u flags=%#x", fd, feature->argsz, feature->flags);
        if (feature->argsz == sizeof(*feature) + sizeof(*wakeup))
            note(" eventfd=%d reserved=%u", wakeup->wakeup_eventfd, wakeup->reserved);
        note("\n");
        return 0;
    }
    default: {
        int (*real)(int, unsigned long, void *) = (int (*)(int, unsigned long, void *))dlsym(RTLD_NEXT, "ioctl");
        return real(fd, request, argument);
    }
    }
}

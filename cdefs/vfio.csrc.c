/* One typed C function per ioctl of <linux/vfio.h>: the variadic ioctl() would accept any mistake. */
#include <linux/vfio.h>
#include <stdint.h>
#include <sys/ioctl.h>

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

static int hx_vfio_group_status(int group, struct vfio_group_status *status)
{
    status->argsz = sizeof(*status);
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

static int hx_vfio_device_info(int device, struct vfio_device_info *info)
{
    info->argsz = sizeof(*info);
    return ioctl(device, VFIO_DEVICE_GET_INFO, info);
}

static int hx_vfio_region_info(int device, struct vfio_region_info *info)
{
    info->argsz = sizeof(*info);
    return ioctl(device, VFIO_DEVICE_GET_REGION_INFO, info);
}

static int hx_vfio_device_reset(int device)
{
    return ioctl(device, VFIO_DEVICE_RESET);
}

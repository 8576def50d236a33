/* One typed C function per ioctl of <linux/iommufd.h>, or a refusal where this machine has no such header. */
#include <errno.h>
#include <stdint.h>
#include <sys/ioctl.h>
#if __has_include(<linux/iommufd.h>)
#include <linux/iommufd.h>
#endif

struct hx_newer {
    const char *name;
    const char *since;
    int64_t value;
};

#ifdef IOMMU_IOAS_ALLOC

static const struct hx_newer hx_iommufd_newer[] = {
    { "IOMMU_DESTROY", "6.2", IOMMU_DESTROY },
    { "IOMMU_IOAS_ALLOC", "6.2", IOMMU_IOAS_ALLOC },
    { "IOMMU_IOAS_MAP", "6.2", IOMMU_IOAS_MAP },
    { "IOMMU_IOAS_UNMAP", "6.2", IOMMU_IOAS_UNMAP },
};

static int hx_iommufd_ioas_alloc(int iommufd, uint32_t *ioas)
{
    struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };
    int result = ioctl(iommufd, IOMMU_IOAS_ALLOC, &alloc);

    *ioas = alloc.out_ioas_id;
    return result;
}

/* Readable and writable by the function, at the address that the caller chose. */
static int hx_iommufd_ioas_map(int iommufd, uint32_t ioas, uint64_t address, uint64_t length, uint64_t iova)
{
    struct iommu_ioas_map map = {
        .size = sizeof(map),
        .flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_WRITEABLE | IOMMU_IOAS_MAP_READABLE,
        .ioas_id = ioas,
        .user_va = address,
        .length = length,
        .iova = iova,
    };

    return ioctl(iommufd, IOMMU_IOAS_MAP, &map);
}

static int hx_iommufd_ioas_unmap(int iommufd, uint32_t ioas, uint64_t iova, uint64_t *length)
{
    struct iommu_ioas_unmap unmap = { .size = sizeof(unmap), .ioas_id = ioas, .iova = iova, .length = *length };
    int result = ioctl(iommufd, IOMMU_IOAS_UNMAP, &unmap);

    *length = unmap.length;
    return result;
}

static int hx_iommufd_destroy(int iommufd, uint32_t id)
{
    struct iommu_destroy destroy = { .size = sizeof(destroy), .id = id };

    return ioctl(iommufd, IOMMU_DESTROY, &destroy);
}

#else

static const struct hx_newer hx_iommufd_newer[] = {
    { "IOMMU_DESTROY", "6.2", -1 },
    { "IOMMU_IOAS_ALLOC", "6.2", -1 },
    { "IOMMU_IOAS_MAP", "6.2", -1 },
    { "IOMMU_IOAS_UNMAP", "6.2", -1 },
};

static int hx_iommufd_refuse(void)
{
    errno = ENOSYS;
    return -1;
}

static int hx_iommufd_ioas_alloc(int iommufd, uint32_t *ioas)
{
    return hx_iommufd_refuse();
}

static int hx_iommufd_ioas_map(int iommufd, uint32_t ioas, uint64_t address, uint64_t length, uint64_t iova)
{
    return hx_iommufd_refuse();
}

static int hx_iommufd_ioas_unmap(int iommufd, uint32_t ioas, uint64_t iova, uint64_t *length)
{
    return hx_iommufd_refuse();
}

static int hx_iommufd_destroy(int iommufd, uint32_t id)
{
    return hx_iommufd_refuse();
}

#endif

/* A whole life of a function under VFIO, timed: open, info, reads, map, reset, close.  vfio_cycle BDF GROUP
 *
 * The peer of the figure vfio_cycle: the same system calls as lab/figures/vfio_cycle.py, written as plainly as C allows.
 * Prints nanoseconds of CLOCK_MONOTONIC.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define READS 1000
#define DMA_BYTES (2u << 20)
#define COMMAND 4

static void must(int good, const char *step)
{
    if (!good) {
        fprintf(stderr, "%s: %s\n", step, strerror(errno));
        exit(1);
    }
}

static long long now(void)
{
    struct timespec at;

    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000000000LL + at.tv_nsec;
}

int main(int argc, char **argv)
{
    char path[64];
    struct vfio_group_status status = { .argsz = sizeof(status) };
    struct vfio_device_info info = { .argsz = sizeof(info) };
    struct vfio_region_info bar = { .argsz = sizeof(bar), .index = VFIO_PCI_BAR0_REGION_INDEX };
    struct vfio_region_info config = { .argsz = sizeof(config), .index = VFIO_PCI_CONFIG_REGION_INDEX };
    struct vfio_iommu_type1_dma_map map = { .argsz = sizeof(map),
                                            .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
                                            .size = DMA_BYTES };
    struct vfio_iommu_type1_dma_unmap unmap = { .argsz = sizeof(unmap), .size = DMA_BYTES };
    uint32_t value;

    must(argc == 3, "usage: vfio_cycle BDF GROUP");
    snprintf(path, sizeof(path), "/dev/vfio/%s", argv[2]);
    void *memory = mmap(NULL, DMA_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(memory != MAP_FAILED, "memory");

    long long begin = now();
    int container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
    must(container >= 0, "container");
    must(ioctl(container, VFIO_GET_API_VERSION) == VFIO_API_VERSION, "version");
    must(ioctl(container, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU) > 0, "type 1");
    int group = open(path, O_RDWR | O_CLOEXEC);
    must(group >= 0, "group");
    must(ioctl(group, VFIO_GROUP_GET_STATUS, &status) == 0, "status");
    must(status.flags & VFIO_GROUP_FLAGS_VIABLE, "viable");
    must(ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) == 0, "set container");
    must(ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) == 0, "set iommu");
    int device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, argv[1]);
    must(device >= 0, "device");
    must(ioctl(device, VFIO_DEVICE_GET_INFO, &info) == 0, "info");
    must(ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &config) == 0, "config");
    must(ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &bar) == 0, "bar");
    for (int number = 0; number < READS; number++)
        must(pread(device, &value, 4, config.offset + COMMAND) == 4, "read");
    void *registers = mmap(NULL, bar.size, PROT_READ | PROT_WRITE, MAP_SHARED, device, bar.offset);
    must(registers != MAP_FAILED, "map bar");
    map.vaddr = (uintptr_t)memory;
    must(ioctl(container, VFIO_IOMMU_MAP_DMA, &map) == 0, "map dma");
    must(ioctl(device, VFIO_DEVICE_RESET) == 0, "reset");
    must(ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap) == 0, "unmap dma");
    munmap(registers, bar.size);
    close(device);
    close(group);
    close(container);
    printf("%lld\n", now() - begin);
    return 0;
}

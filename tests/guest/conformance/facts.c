/* Print what VFIO says of one function, as JSON: facts BDF GROUP.
 *
 * A reader of <linux/vfio.h> that shares nothing with the harness: one fixed buffer of 64 KiB for every answer, no
 * growing, no abstractions.  A step that is refused ends it with the name of the step and the errno.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static union {
    char bytes[65536];
    struct vfio_device_info device;
    struct vfio_region_info region;
    struct vfio_irq_info irq;
    struct vfio_iommu_type1_info iommu;
    struct vfio_pci_hot_reset_info reset;
} answer;

static void must(int good, const char *step)
{
    if (!good) {
        fprintf(stderr, "%s: %s\n", step, strerror(errno));
        exit(1);
    }
}

static void clear(void)
{
    memset(&answer, 0, sizeof(answer));
    answer.device.argsz = sizeof(answer); /* argsz comes first in all of them */
}

static void print_chain(unsigned at)
{
    const char *comma = "";

    printf(", \"capabilities\": [");
    while (at) {
        struct vfio_info_cap_header *header = (void *)(answer.bytes + at);
        printf("%s[%u, %u]", comma, header->id, header->version);
        comma = ", ";
        at = header->next;
    }
    printf("]");
}

int main(int argc, char **argv)
{
    char path[64];
    struct vfio_group_status status = { .argsz = sizeof(status) };
    unsigned index, regions, irqs;
    unsigned long long config_at = 0, config_size = 0;

    must(argc == 3, "usage: facts BDF GROUP");
    int container = open("/dev/vfio/vfio", O_RDWR);
    must(container >= 0, "container");
    snprintf(path, sizeof(path), "/dev/vfio/%s", argv[2]);
    int group = open(path, O_RDWR);
    must(group >= 0, "group");
    must(ioctl(group, VFIO_GROUP_GET_STATUS, &status) == 0, "status");
    must(status.flags & VFIO_GROUP_FLAGS_VIABLE, "viable");
    must(ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) == 0, "set container");
    must(ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) == 0, "set iommu");
    int device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, argv[1]);
    must(device >= 0, "device");

    clear();
    must(ioctl(container, VFIO_IOMMU_GET_INFO, &answer) == 0, "iommu info");
    printf("{\"iommu\": {\"page_sizes\": %llu", (unsigned long long)answer.iommu.iova_pgsizes);
    print_chain(answer.iommu.flags & VFIO_IOMMU_INFO_CAPS ? answer.iommu.cap_offset : 0);

    clear();
    must(ioctl(device, VFIO_DEVICE_GET_INFO, &answer) == 0, "device info");
    regions = answer.device.num_regions;
    irqs = answer.device.num_irqs;
    printf("},\n\"device\": {\"flags\": %u, \"regions\": %u, \"irqs\": %u}", answer.device.flags, regions, irqs);

    printf(",\n\"regions\": [");
    for (index = 0; index < regions; index++) {
        clear();
        answer.region.index = index;
        printf("%s", index ? ",\n  " : "\n  ");
        if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &answer)) {
            printf("{\"errno\": %d}", errno);
            continue;
        }
        printf("{\"flags\": %u, \"size\": %llu, \"offset\": %llu", answer.region.flags,
               (unsigned long long)answer.region.size, (unsigned long long)answer.region.offset);
        print_chain(answer.region.flags & VFIO_REGION_INFO_FLAG_CAPS ? answer.region.cap_offset : 0);
        printf("}");
        if (index == VFIO_PCI_CONFIG_REGION_INDEX) {
            config_at = answer.region.offset;
            config_size = answer.region.size;
        }
    }

    printf("],\n\"interrupts\": [");
    for (index = 0; index < irqs; index++) {
        clear();
        answer.irq.index = index;
        printf("%s", index ? ", " : "");
        if (ioctl(device, VFIO_DEVICE_GET_IRQ_INFO, &answer))
            printf("{\"errno\": %d}", errno);
        else
            printf("{\"flags\": %u, \"count\": %u}", answer.irq.flags, answer.irq.count);
    }

    clear();
    if (ioctl(device, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, &answer)) {
        printf("],\n\"hot_reset\": {\"errno\": %d", errno);
    } else {
        printf("],\n\"hot_reset\": {\"affected\": [");
        for (index = 0; index < answer.reset.count; index++) {
            struct vfio_pci_dependent_device *one = &answer.reset.devices[index];
            unsigned number;

            memcpy(&number, one, sizeof(number)); /* group_id, in a union since 6.6 */
            printf("%s[%u, \"%04x:%02x:%02x.%x\"]", index ? ", " : "", number, one->segment, one->bus,
                   one->devfn >> 3, one->devfn & 7);
        }
        printf("]");
    }

    clear();
    must(config_size <= sizeof(answer), "config size");
    must(pread(device, answer.bytes, config_size, config_at) == (ssize_t)config_size, "config space");
    printf("},\n\"config\": \"");
    for (index = 0; index < config_size; index++)
        printf("%02x", (unsigned char)answer.bytes[index]);
    printf("\"}\n");
    return 0;
}

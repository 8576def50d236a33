/* read_times COUNT FILE OFFSET [FILE OFFSET ...]: how long a 4-byte pread of each file takes, by turns; a line a turn, ns. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 8 };

static int64_t now(void)
{
    struct timespec at;

    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000000000LL + at.tv_nsec;
}

int main(int argc, char **argv)
{
    int files = (argc - 2) / 2, descriptors[MOST];
    long count = argc > 1 ? strtol(argv[1], NULL, 0) : 0;
    int64_t *times;

    if (argc < 4 || argc % 2 || files > MOST || count < 1)
        return fprintf(stderr, "usage: read_times COUNT FILE OFFSET ...\n"), 2;
    for (int one = 0; one < files; one++) {
        descriptors[one] = open(argv[2 + 2 * one], O_RDONLY);
        if (descriptors[one] < 0)
            return perror(argv[2 + 2 * one]), 1;
    }
    times = calloc(count * files, sizeof(*times));
    if (!times)
        return perror("calloc"), 1;
    for (long turn = 0; turn < count; turn++)
        for (int one = 0; one < files; one++) {
            off_t offset = strtol(argv[3 + 2 * one], NULL, 0);
            uint32_t value;
            int64_t begin = now();

            if (pread(descriptors[one], &value, sizeof(value), offset) != sizeof(value))
                return perror("pread"), 1;
            times[turn * files + one] = now() - begin;
        }
    for (long turn = 0; turn < count; turn++)
        for (int one = 0; one < files; one++)
            printf("%lld%c", (long long)times[turn * files + one], one == files - 1 ? '\n' : ' ');
    return 0;
}

/* The peer of op_rate and vfio_op_rate: nothing but preads of 4 bytes at one offset, for so many milliseconds; prints
 * reads a second. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int main(int argc, char **argv)
{
    uint32_t value;
    int64_t count = 0, begin, end;
    /* a descriptor that was inherited is named by its number */
    int file = argc < 4 ? -1 : argv[1][0] == '/' ? open(argv[1], O_RDONLY) : atoi(argv[1]);

    if (file < 0) {
        perror("preads FILE|DESCRIPTOR OFFSET MILLISECONDS");
        return 1;
    }
    off_t offset = (off_t)atoll(argv[2]);
    begin = now();
    do { /* the clock is read once in 64 reads: what is measured is pread alone */
        for (int i = 0; i < 64; i++)
            if (pread(file, &value, 4, offset) != 4)
                return 1;
        count += 64;
        end = now();
    } while (end - begin < atoll(argv[3]) * 1000000);
    printf("%f\n", (double)count * 1e9 / (double)(end - begin));
    return 0;
}

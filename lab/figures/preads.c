/* The peer of op_rate: nothing but preads of 4 bytes at offset 4, for so many milliseconds; prints reads a second. */
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
    int file = argc > 2 ? open(argv[1], O_RDONLY) : -1;

    if (file < 0) {
        perror("preads FILE MILLISECONDS");
        return 1;
    }
    begin = now();
    do { /* the clock is read once in 64 reads: what is measured is pread alone */
        for (int i = 0; i < 64; i++)
            if (pread(file, &value, 4, 4) != 4)
                return 1;
        count += 64;
        end = now();
    } while (end - begin < atoll(argv[2]) * 1000000);
    printf("%f\n", (double)count * 1e9 / (double)(end - begin));
    return 0;
}

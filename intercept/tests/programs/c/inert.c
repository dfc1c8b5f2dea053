/* Nanoseconds of a call that does as little as possible in the kernel: a read of nothing from a bad descriptor. */
#include <stdio.h>
#include <time.h>
#include <unistd.h>

int main(void) {
    enum { CALLS = 10000 };
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (int i = 0; i < CALLS; i++)
        if (read(-1, NULL, 0) == 0) return 1;
    clock_gettime(CLOCK_MONOTONIC, &end);
    double ns = (end.tv_sec - start.tv_sec) * 1e9 + (end.tv_nsec - start.tv_nsec);
    printf("%.1f\n", ns / CALLS);
    return 0;
}

/* limits.c - what this machine can do at most: float32 multiply-adds and memory traffic
 * SPDX-License-Identifier: BSD-3-Clause
 *
 *     cc -O2 -ffp-contract=fast -pthread limits.c -o limits && ./limits 0,1
 *
 * Its argument names CPUs. It answers lines on standard input, each about the first THREADS of them:
 *
 *     fma ISA THREADS SECONDS           GFLOP/s of fused multiply-adds, two operations each
 *     triad ISA THREADS SECONDS BYTES   GB/s of a[i] = b[i] + s c[i] over three arrays of BYTES in
 *                                       all, on each thread its own; 12 bytes an element counted
 *
 * ISA is avx512, avx2, or generic (128-bit vectors, whatever the compiler makes of them).
 *
 * The multiply-adds stay in registers: ACC independent chains, more than two units of latency 4
 * need, and few enough for 16 registers. Read the loop with
 *     objdump -d limits | less     (fma_avx512: vfmadd on zmm0 and so on, no memory operand)
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    ACC = 12,      /* chains of multiply-adds */
    ROUNDS = 4096, /* of the chains between two looks at the clock */
    MAX_CPUS = 1024,
    LINE = 64, /* bytes of a cache line */
};

typedef struct {
    size_t bytes; /* triad: of the three arrays */
    double seconds;
    int cpu;
    pthread_barrier_t *start;
    double (*measure)(void *job);
    double rate; /* out: operations or bytes a second */
} job;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Keeps a value without storing it: the compiler may not drop what made it. */
#define KEEP(v) __asm__ volatile("" ::"x"(v))

#define EACH(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11)
#define DECLARE(i) vec a##i = x + (float)i;
#define STEP(i) a##i = a##i * x + y;
#define USE(i) KEEP(a##i);

/* fma_NAME and triad_NAME for vectors of BYTES. */
#define VARIANT(NAME, TARGET, BYTES)                                                              \
    TARGET static double fma_##NAME(void *argument)                                               \
    {                                                                                             \
        typedef float vec __attribute__((vector_size(BYTES)));                                    \
        const job *task = argument;                                                               \
        volatile float half = 0.5F; /* a <- a/2 + 1/2 tends to 1: no infinities, no denormals */  \
        const vec x = (vec){0} + half, y = x;                                                     \
        EACH(DECLARE)                                                                             \
        double done = 0;                                                                          \
        const double begin = now();                                                               \
        double end = begin;                                                                       \
        do {                                                                                      \
            for (int i = 0; i < ROUNDS; i++) {                                                    \
                EACH(STEP)                                                                        \
                __asm__ volatile("");                                                             \
            }                                                                                     \
            done += 2.0 * ACC * ROUNDS * (BYTES / sizeof(float));                                 \
            end = now();                                                                          \
        } while (end - begin < task->seconds);                                                    \
        EACH(USE)                                                                                 \
        return done / (end - begin);                                                              \
    }                                                                                             \
    TARGET static double triad_##NAME(void *argument)                                             \
    {                                                                                             \
        typedef float vec __attribute__((vector_size(BYTES), may_alias));                         \
        const job *task = argument;                                                               \
        const size_t n = task->bytes / 3 / LINE * LINE / sizeof(vec), per = 4;                    \
        /* Arrays a few lines apart from a power of two, lest they share cache sets. */           \
        const size_t stride = n * sizeof(vec) + 5 * LINE;                                         \
        char *memory = aligned_alloc(LINE, (3 * stride + LINE - 1) / LINE * LINE);                \
        if (memory == NULL) return -1;                                                            \
        memset(memory, 0, 3 * stride);                                                            \
        vec *a = (vec *)memory;                                                                   \
        const vec *b = (const vec *)(memory + stride), *c = (const vec *)(memory + 2 * stride);   \
        volatile float half = 0.5F;                                                               \
        const vec s = (vec){0} + half;                                                            \
        const size_t again = 1 + (1 << 20) / task->bytes; /* sweeps between looks at the clock */ \
        double done = 0, begin = 0, end = 0;                                                      \
        for (bool warm = false;; warm = true) {                                                   \
            for (size_t k = 0; k < again; k++) {                                                  \
                for (size_t i = 0; i + per <= n; i += per) {                                      \
                    a[i] = b[i] + s * c[i];                                                       \
                    a[i + 1] = b[i + 1] + s * c[i + 1];                                           \
                    a[i + 2] = b[i + 2] + s * c[i + 2];                                           \
                    a[i + 3] = b[i + 3] + s * c[i + 3];                                           \
                }                                                                                 \
                __asm__ volatile("" ::: "memory");                                                \
            }                                                                                     \
            end = now();                                                                          \
            if (!warm) {                                                                          \
                begin = end;                                                                      \
                continue;                                                                         \
            }                                                                                     \
            done += 3.0 * (double)(again * (n / per * per) * sizeof(vec));                        \
            if (end - begin >= task->seconds) break;                                              \
        }                                                                                         \
        free(memory);                                                                             \
        return done / (end - begin);                                                              \
    }

#if defined(__x86_64__)
VARIANT(avx512, __attribute__((target("avx512f,fma"))), 64)
VARIANT(avx2, __attribute__((target("avx2,fma"))), 32)
#endif
VARIANT(generic, , 16)

typedef struct {
    const char *name;
    double (*fma)(void *), (*triad)(void *);
} variant;

static const variant VARIANTS[] = {
#if defined(__x86_64__)
    {"avx512", fma_avx512, triad_avx512},
    {"avx2", fma_avx2, triad_avx2},
#endif
    {"generic", fma_generic, triad_generic},
};

static void *run(void *argument)
{
    job *task = argument;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(task->cpu, &set);
    const bool pinned = sched_setaffinity(0, sizeof set, &set) == 0;
    pthread_barrier_wait(task->start);
    task->rate = pinned ? task->measure(task) : -1;
    return NULL;
}

/* Returns the sum of the threads' rates, or -1 when one could not be measured. */
static double measure(job what, const int *cpus, int threads)
{
    static job jobs[MAX_CPUS];
    static pthread_t ids[MAX_CPUS];
    pthread_barrier_t start;
    pthread_barrier_init(&start, NULL, (unsigned)threads);
    for (int i = 0; i < threads; i++) {
        jobs[i] = what;
        jobs[i].cpu = cpus[i];
        jobs[i].start = &start;
        if (pthread_create(&ids[i], NULL, run, &jobs[i]) != 0) exit(1);
    }
    double sum = 0;
    for (int i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
        sum = jobs[i].rate < 0 || sum < 0 ? -1 : sum + jobs[i].rate;
    }
    pthread_barrier_destroy(&start);
    return sum;
}

int main(int argc, char **argv)
{
    static int cpus[MAX_CPUS];
    int n_cpus = 0;
    for (char *p = argc > 1 ? argv[1] : NULL; p != NULL && n_cpus < MAX_CPUS;) {
        cpus[n_cpus++] = atoi(p);
        p = strchr(p, ',');
        if (p != NULL) p++;
    }
    char line[256], kind[16], isa[16];
    while (fgets(line, sizeof line, stdin) != NULL) {
        job what = {0};
        int threads = 0;
        const int n =
            sscanf(line, "%15s %15s %d %lf %zu", kind, isa, &threads, &what.seconds, &what.bytes);
        const bool triad = strcmp(kind, "triad") == 0;
        for (size_t i = 0; i < sizeof VARIANTS / sizeof *VARIANTS; i++) {
            if (strcmp(isa, VARIANTS[i].name) == 0) {
                what.measure = triad ? VARIANTS[i].triad : VARIANTS[i].fma;
            }
        }
        if (n < (triad ? 5 : 4) || what.measure == NULL || threads < 1 || threads > n_cpus) {
            fprintf(stderr, "limits: cannot do %s", line);
            return 1;
        }
        printf("%.6g\n", 1e-9 * measure(what, cpus, threads));
        fflush(stdout);
    }
    return 0;
}

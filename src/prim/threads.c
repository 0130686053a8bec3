/* threads.c - one team of threads per chunk of work, its barrier, and how many may be used.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Threads come from OpenMP; a team of one opens no region at all. Members meet at a barrier of our
 * own: a counter and a generation. A waiter spins for a microsecond, then yields, then sleeps on the
 * generation: spinning on with more threads than CPUs made a step hundreds of times slower.
 * Sizes are those that OpenMP delivered, never those asked for. Without OpenMP every team is of one.
 */
#define _GNU_SOURCE
#include "prim.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#endif
#if defined(_OPENMP)
#include <omp.h>
#endif

enum {
    BP_SPIN_NANOSECONDS = 1000,
    BP_YIELD_NANOSECONDS = 20 *
        1000 /* then sleep: a yielding thread keeps its peers from a busy CPU */
};

struct bp_team {
    _Alignas(BP_ALIGN) _Atomic uint32_t arrived;
    _Alignas(BP_ALIGN) _Atomic uint32_t generation;
    _Atomic uint32_t sleepers;
    size_t size;
};

size_t bp_team_size(const bp_team *team) { return team->size; }

static uint64_t nanoseconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

double bp_seconds(void) { return 1e-9 * (double)nanoseconds(); }

static inline void pause_cpu(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void sleep_until_changed(bp_team *team, uint32_t seen)
{
#if defined(__linux__)
    atomic_fetch_add(&team->sleepers, 1);
    if (atomic_load(&team->generation) == seen)
        syscall(SYS_futex, (uint32_t *)&team->generation, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
    atomic_fetch_sub(&team->sleepers, 1);
#else
    (void)team;
    (void)seen;
    sched_yield();
#endif
}

static void wait_for_change(bp_team *team, uint32_t seen)
{
    for (int i = 0; i < 16; ++i) { /* the common case: no clock is read */
        if (atomic_load_explicit(&team->generation, memory_order_acquire) != seen) return;
        pause_cpu();
    }
    const uint64_t start = nanoseconds();
    while (atomic_load_explicit(&team->generation, memory_order_acquire) == seen) {
        const uint64_t waited = nanoseconds() - start;
        if (waited < BP_SPIN_NANOSECONDS)
            pause_cpu();
        else if (waited < BP_YIELD_NANOSECONDS)
            sched_yield();
        else
            sleep_until_changed(team, seen);
    }
}

void bp_team_wait(bp_team *team, size_t id)
{
    (void)id;
    if (team->size == 1) return;
    const uint32_t seen = atomic_load_explicit(&team->generation, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&team->arrived, 1, memory_order_acq_rel) + 1 < team->size) {
        wait_for_change(team, seen);
        return;
    }
    atomic_store_explicit(&team->arrived, 0, memory_order_relaxed);
    atomic_store(&team->generation, seen + 1);
#if defined(__linux__)
    if (atomic_load(&team->sleepers))
        syscall(SYS_futex, (uint32_t *)&team->generation, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL,
                0);
#endif
}

/* Each calling thread has its own pool, which goes to sleep when it is not used. */
static _Thread_local double team_ended = -1e9;

double bp_team_idle_seconds(void) { return bp_seconds() - team_ended; }

void bp_team_run(size_t wanted, bp_task_fn *task, void *arg)
{
    bp_team team = {.size = 1};
#if defined(_OPENMP)
    if (wanted > 1 && !omp_in_parallel()) {
#pragma omp parallel num_threads((int)wanted)
        {
#pragma omp single
            team.size = (size_t)omp_get_num_threads();
            task(arg, &team, (size_t)omp_get_thread_num());
        }
        team_ended = bp_seconds();
        return;
    }
#else
    (void)wanted;
#endif
    task(arg, &team, 0);
}

/* ---- how many threads ---- */

#if defined(__linux__)
static bool read_line(const char *path, char *line, int size)
{
    FILE *f = fopen(path, "re");
    if (!f) return false;
    const bool ok = fgets(line, size, f) != NULL;
    fclose(f);
    return ok;
}

/* Distinct (package, core) pairs among the CPUs this process may use; 0 when unknown. */
static size_t physical_cores(const cpu_set_t *allowed)
{
    enum { MOST = 4096 };
    static const char *const names[2] = {"physical_package_id", "core_id"};
    long seen[MOST][2];
    size_t n = 0;
    for (int cpu = 0; cpu < CPU_SETSIZE && n < MOST; ++cpu) {
        long pair[2];
        char path[128], line[32];
        bool known = false;
        if (!CPU_ISSET((size_t)cpu, allowed)) continue;
        for (int i = 0; i < 2; ++i) {
            snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/%s", cpu, names[i]);
            if (!read_line(path, line, sizeof line)) return 0;
            pair[i] = strtol(line, NULL, 10);
        }
        for (size_t i = 0; i < n; ++i) known |= seen[i][0] == pair[0] && seen[i][1] == pair[1];
        if (known) continue;
        seen[n][0] = pair[0];
        seen[n++][1] = pair[1];
    }
    return n;
}

/* Whole CPUs of the control group's quota (versions 2 and 1), at least 1; 0 when unlimited. */
static size_t cgroup_quota(void)
{
    char line[128];
    double quota = 0, period = 0;
    if (read_line("/sys/fs/cgroup/cpu.max", line, sizeof line)) {
        if (sscanf(line, "%lf %lf", &quota, &period) != 2) return 0; /* "max" */
    } else {
        if (!read_line("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", line, sizeof line)) return 0;
        quota = strtod(line, NULL);
        if (!read_line("/sys/fs/cgroup/cpu/cpu.cfs_period_us", line, sizeof line)) return 0;
        period = strtod(line, NULL);
    }
    if (quota <= 0 || period <= 0) return 0;
    return quota < period ? 1 : (size_t)(quota / period);
}

/* Reading those files takes tens of microseconds, so each calling thread keeps what it read: the
 * cores as long as its affinity stays the same, the quota, which may change at any time, for a
 * second. */
static void machine_limits(bp_thread_limits *limits)
{
    static const double quota_seconds = 1.0;
    static _Thread_local struct {
        cpu_set_t allowed;
        size_t cores, quota;
        double quota_read; /* when; 0: never */
    } kept;
    cpu_set_t allowed;
    const double now = bp_seconds();
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) {
        if (!CPU_EQUAL(&allowed, &kept.allowed)) kept.cores = physical_cores(&allowed);
        kept.allowed = allowed;
        limits->affinity = (size_t)CPU_COUNT(&allowed);
        limits->cores = kept.cores;
    }
    if (kept.quota_read == 0 || now - kept.quota_read > quota_seconds) {
        kept.quota = cgroup_quota();
        kept.quota_read = now;
    }
    limits->quota = kept.quota;
}
#endif

static void lower(bp_thread_limits *limits, size_t value, const char *reason)
{
    if (value == 0 || value >= limits->threads) return;
    limits->threads = value;
    limits->reason = reason;
}

bp_thread_limits bp_threads_limits(void)
{
    bp_thread_limits limits = {.threads = 1, .openmp = 1, .reason = "built without OpenMP"};
#if defined(_OPENMP)
    limits.has_openmp = true;
    if (omp_in_parallel()) {
        limits.reason = "inside a parallel region";
        return limits;
    }
    limits.openmp = (size_t)omp_get_max_threads();
    limits.threads = limits.openmp;
    limits.reason = "OpenMP's maximum";
#if defined(__linux__)
    machine_limits(&limits);
    lower(&limits, limits.affinity, "CPU affinity");
    lower(&limits, limits.quota, "control group quota");
    lower(&limits, limits.cores, "physical cores");
#endif
#endif
    return limits;
}

/* A second thread costs two barriers a step, some imbalance, and lines of cache that the other core
 * wrote. On two Sapphire Rapids cores steps of 24 and 38 us lose by it, 1500 us gain by half; steps
 * shorter than 2 x 60 us at the 50 GFLOP/s of small layers start with one (net/tune.c then tries). */
size_t bp_threads_for(size_t available, double flops, size_t rows)
{
    const double per_thread = 60e-6 * 50e9;
    const double useful = flops / per_thread;
    const size_t by_work = useful < 2 ? 1 : useful > 1e6 ? available : (size_t)useful;
    return bp_max(1, bp_min(bp_min(available, by_work), rows));
}

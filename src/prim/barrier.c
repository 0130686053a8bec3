/* barrier.c - where the threads of a team meet, the clock, and whether others want the CPUs.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * A counter and a generation. A waiter spins for a microsecond, then yields, then sleeps on the
 * generation: spinning on with more threads than CPUs made a step hundreds of times slower.
 */
#define _GNU_SOURCE
#include "cpus.h"

#include <limits.h>
#include <sched.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#endif

enum {
    BP_SPIN_NANOSECONDS = 1000,
    /* Then sleep: a yielding thread keeps its peers from a busy CPU. But who sleeps may be woken on the
     * wrong CPU (cpus.c), and where each has its own a late one has that way to go: some 50 us. */
    BP_YIELD_NANOSECONDS = 100 * 1000,
    BP_SHARED_YIELD_NANOSECONDS = 20 * 1000
};

static uint64_t nanoseconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

double bp_seconds(void) { return 1e-9 * (double)nanoseconds(); }

long bp_preemptions(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? usage.ru_nivcsw : 0;
}

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

static void wait_for_change(bp_team *team, size_t id, uint32_t seen)
{
    for (int i = 0; i < 16; ++i) { /* the common case: no clock is read */
        if (atomic_load_explicit(&team->generation, memory_order_acquire) != seen) return;
        pause_cpu();
    }
    const uint64_t start = nanoseconds();
    const uint64_t yield =
        bp_cpus_shared(team->cpus) ? BP_SHARED_YIELD_NANOSECONDS : BP_YIELD_NANOSECONDS;
    while (atomic_load_explicit(&team->generation, memory_order_acquire) == seen) {
        const uint64_t waited = nanoseconds() - start;
        if (waited < BP_SPIN_NANOSECONDS) {
            pause_cpu();
            continue;
        }
        if (waited < yield)
            sched_yield();
        else
            sleep_until_changed(team, seen);
        bp_cpus_keep(team->cpus, id);
    }
}

void bp_team_wait(bp_team *team, size_t id)
{
    const size_t size = bp_team_size(team);
    if (size == 1) return;
    const uint32_t seen = atomic_load_explicit(&team->generation, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&team->arrived, 1, memory_order_acq_rel) + 1 < size) {
        wait_for_change(team, id, seen);
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

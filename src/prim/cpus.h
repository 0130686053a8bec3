/* cpus.h - what the system says about CPUs, and which of them a team's threads are on.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * For threads.c and barrier.c. Files are read below `root`, which the library leaves empty; tests bring a tree of their own.
 */
#ifndef BP_CPUS_H
#define BP_CPUS_H

#include "prim.h"

#if defined(__linux__)
#include <sched.h>

enum { BP_CPU_WORDS = CPU_SETSIZE / 64 };
/* The CPUs of a team's threads. */
struct bp_cpus_taken {
    _Atomic uint64_t word[BP_CPU_WORDS]; /* a bit each */
    int16_t home[CPU_SETSIZE];           /* of thread id: its CPU + 1, or 0 */
    _Atomic bool shared;                 /* there were too few for all threads */
};
BP_INLINE bool bp_cpus_shared(const bp_cpus_taken *taken)
{
    return atomic_load_explicit(&taken->shared, memory_order_relaxed);
}
/* The calling thread, `id`, enters the team: it takes the CPU that it is on, or where another of the team has
 * that, goes to one of its affinity that none has, if there is one. Its affinity stays. */
void bp_cpus_take(bp_cpus_taken *taken, size_t id);
/* It has left its CPU to others, and may go on elsewhere: from one of the team's it returns to its own. */
void bp_cpus_keep(bp_cpus_taken *taken, size_t id);

/* The CPUs that this process may use; false when the system does not say. */
bool bp_cpus_allowed(cpu_set_t *cpus);
/* Distinct physical cores among them; 0 when unknown. */
size_t bp_cpus_cores(const char *root, const cpu_set_t *cpus);
/* Whole CPUs that the quota of the process's control group, and of the groups around it, is worth:
 * rounded down, at least 1; 0 without a quota. Versions 2 and 1. */
size_t bp_cpus_quota(const char *root);
#else
struct bp_cpus_taken {
    char unused;
};
BP_INLINE void bp_cpus_take(bp_cpus_taken *taken, size_t id)
{
    (void)taken;
    (void)id;
}
BP_INLINE void bp_cpus_keep(bp_cpus_taken *taken, size_t id)
{
    (void)taken;
    (void)id;
}
BP_INLINE bool bp_cpus_shared(const bp_cpus_taken *taken)
{
    (void)taken;
    return true;
}
#endif

#endif

/* cpus.h - what the system says about CPUs. For threads.c alone.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Files are read below `root`, which the library leaves empty; tests bring a tree of their own.
 */
#ifndef BP_CPUS_H
#define BP_CPUS_H

#include "prim.h"

#if defined(__linux__)
#include <sched.h>

enum { BP_CPU_WORDS = CPU_SETSIZE / 64 };
/* The CPUs that threads of one team run on, a bit each. */
typedef struct {
    _Atomic uint64_t word[BP_CPU_WORDS];
} bp_cpus_taken;
/* Takes the CPU of the calling thread. Where another of the team has it, the thread goes to one of its
 * affinity that none has, if there is one; it may leave that again, its affinity stays. */
void bp_cpus_take(bp_cpus_taken *taken);

/* The CPUs that this process may use; false when the system does not say. */
bool bp_cpus_allowed(cpu_set_t *cpus);
/* Distinct physical cores among them; 0 when unknown. */
size_t bp_cpus_cores(const char *root, const cpu_set_t *cpus);
/* Whole CPUs that the quota of the process's control group, and of the groups around it, is worth:
 * rounded down, at least 1; 0 without a quota. Versions 2 and 1. */
size_t bp_cpus_quota(const char *root);
#endif

#endif

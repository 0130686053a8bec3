/* cpus.c - what the system says about CPUs, and a CPU of its own for each thread of a team.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * It says which there are to use: affinity, physical cores, the control group's quota.
 * Everything is read anew by each call; threads.c keeps what it needs.
 */
#define _GNU_SOURCE
#include "cpus.h"

#if defined(__linux__)
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(_OPENMP)
#include <omp.h>
#endif

enum { BP_PATH = 4096 }; /* Linux's PATH_MAX */

/* A runtime that binds threads to places (OMP_PROC_BIND) has bound the caller too: its own mask is
 * one place, the others run the rest of its team. */
static bool add_places(cpu_set_t *cpus)
{
#if defined(_OPENMP)
    enum { MOST = CPU_SETSIZE };
    if (omp_get_proc_bind() == omp_proc_bind_false) return false;
    for (int place = 0; place < omp_get_num_places(); ++place) {
        int ids[MOST];
        const int n = omp_get_place_num_procs(place);
        if (n > MOST) return false;
        omp_get_place_proc_ids(place, ids);
        for (int i = 0; i < n; ++i)
            if (ids[i] < CPU_SETSIZE) CPU_SET((size_t)ids[i], cpus);
    }
    return CPU_COUNT(cpus) > 0;
#else
    (void)cpus;
    return false;
#endif
}

bool bp_cpus_allowed(cpu_set_t *cpus)
{
    CPU_ZERO(cpus);
    return add_places(cpus) || sched_getaffinity(0, sizeof *cpus, cpus) == 0;
}

static bool read_line(const char *path, char *line, int size)
{
    FILE *f = fopen(path, "re");
    if (!f) return false;
    const bool ok = fgets(line, size, f) != NULL;
    fclose(f);
    return ok;
}

/* A core is a pair of package and core number. */
size_t bp_cpus_cores(const char *root, const cpu_set_t *cpus)
{
    enum { MOST = CPU_SETSIZE };
    static const char *const names[2] = {"physical_package_id", "core_id"};
    long seen[MOST][2];
    size_t n = 0;
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        long pair[2];
        char path[BP_PATH], line[32];
        bool known = false;
        if (!CPU_ISSET((size_t)cpu, cpus)) continue;
        for (int i = 0; i < 2; ++i) {
            snprintf(path, sizeof path, "%s/sys/devices/system/cpu/cpu%d/topology/%s", root, cpu,
                     names[i]);
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

/* ---- the quota ---- */

static size_t least(size_t a, size_t b) { return a == 0 ? b : b == 0 ? a : bp_min(a, b); }

static size_t whole_cpus(double quota, double period)
{
    if (quota <= 0 || period <= 0) return 0;
    return quota < period ? 1 : (size_t)(quota / period);
}

/* Version 2: "quota period" in one file, or "max period". */
static size_t quota_of_2(const char *group)
{
    char path[BP_PATH + 16], line[64];
    double quota, period;
    snprintf(path, sizeof path, "%s/cpu.max", group);
    if (!read_line(path, line, sizeof line)) return 0;
    return sscanf(line, "%lf %lf", &quota, &period) == 2 ? whole_cpus(quota, period) : 0;
}

/* Version 1: two files; -1 is no quota. */
static size_t quota_of_1(const char *group)
{
    char path[BP_PATH + 32], line[64];
    snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", group);
    if (!read_line(path, line, sizeof line)) return 0;
    const double quota = strtod(line, NULL);
    snprintf(path, sizeof path, "%s/cpu.cfs_period_us", group);
    return read_line(path, line, sizeof line) ? whole_cpus(quota, strtod(line, NULL)) : 0;
}

/* The least quota of the group `path` below `mount` and of all groups around it. A container may see
 * a path of its host, of which only the last, the mount itself, exists here. */
static size_t quota_upwards(size_t (*quota_of)(const char *), const char *root, const char *mount,
                            const char *path)
{
    char group[BP_PATH];
    size_t quota = 0;
    const int base = snprintf(group, sizeof group, "%s/sys/fs/cgroup%s", root, mount);
    if (base + (int)strlen(path) >= BP_PATH) return 0;
    strcpy(group + base, path);
    for (;;) {
        quota = least(quota, quota_of(group));
        char *slash = strrchr(group + base, '/');
        if (!slash) return quota;
        *slash = '\0';
    }
}

static bool lists_cpu(const char *controllers)
{
    const size_t length = strlen("cpu");
    for (const char *c = controllers; c; c = strchr(c, ',')) {
        c += *c == ',';
        if (strncmp(c, "cpu", length) == 0 && (c[length] == ',' || c[length] == '\0')) return true;
    }
    return false;
}

/* A line of /proc/self/cgroup is "number:controllers:path"; version 2 is "0::path". */
size_t bp_cpus_quota(const char *root)
{
    char line[BP_PATH], mount[BP_PATH];
    size_t quota = 0;
    snprintf(line, sizeof line, "%s/proc/self/cgroup", root);
    FILE *f = fopen(line, "re");
    if (!f) return 0;
    while (fgets(line, sizeof line, f)) {
        char *controllers = strchr(line, ':'),
             *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path) continue;
        *path++ = '\0';
        ++controllers;
        path[strcspn(path, "\n")] = '\0';
        if (*controllers == '\0') {
            quota = least(quota, quota_upwards(quota_of_2, root, "", path));
            quota = least(quota, quota_upwards(quota_of_2, root, "/unified", path));
        } else if (lists_cpu(controllers)) {
            snprintf(mount, sizeof mount, "/%s", controllers); /* "/cpu,cpuacct" */
            quota = least(quota, quota_upwards(quota_of_1, root, mount, path));
            quota = least(quota, quota_upwards(quota_of_1, root, "/cpu", path));
        }
    }
    fclose(f);
    return quota;
}

/* ---- a CPU for each thread ---- */

/* Linux may start a thread on its creator's CPU, or wake it on that of the thread that wakes it, while
 * another CPU stands idle: in virtual machines it takes a CPU that has halted for one that the host has
 * taken away (6.18: vcpu_is_preempted). Both then share a CPU for up to 70 ms, and each barrier takes
 * as long as the system lets the other one spin. */
static uint64_t bit_of(size_t cpu) { return (uint64_t)1 << cpu % 64; }

static bool take(bp_cpus_taken *taken, size_t cpu)
{
    return !(atomic_fetch_or(&taken->word[cpu / 64], bit_of(cpu)) & bit_of(cpu));
}

static int this_cpu(void)
{
    const int cpu = sched_getcpu();
    return cpu < CPU_SETSIZE ? cpu : -1;
}

/* Binding moves a thread at once; afterwards it is as free as before. */
static void go_to(size_t cpu, const cpu_set_t *own)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    if (sched_setaffinity(0, sizeof one, &one) == 0) sched_setaffinity(0, sizeof *own, own);
}

void bp_cpus_take(bp_cpus_taken *taken, size_t id)
{
    const int here = this_cpu();
    cpu_set_t own;
    if (here < 0 || id >= CPU_SETSIZE) return;
    if (take(taken, (size_t)here)) {
        taken->home[id] = (int16_t)(here + 1);
        return;
    }
    if (sched_getaffinity(0, sizeof own, &own) != 0) return;
    for (size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (!CPU_ISSET(cpu, &own) || !take(taken, cpu)) continue;
        go_to(cpu, &own);
        taken->home[id] = (int16_t)(cpu + 1);
        return;
    }
    atomic_store_explicit(&taken->shared, true, memory_order_relaxed);
}

void bp_cpus_keep(bp_cpus_taken *taken, size_t id)
{
    const int here = this_cpu(), home = id < CPU_SETSIZE ? taken->home[id] - 1 : -1;
    cpu_set_t own;
    if (home < 0 || here < 0 || here == home) return;
    if (take(taken, (size_t)here)) {
        atomic_fetch_and(&taken->word[home / 64], ~bit_of((size_t)home));
        taken->home[id] = (int16_t)(here + 1);
    } else if (sched_getaffinity(0, sizeof own, &own) == 0 && CPU_ISSET((size_t)home, &own)) {
        go_to((size_t)home, &own);
    }
}
#endif

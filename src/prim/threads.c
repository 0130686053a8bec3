/* threads.c - teams of threads: how many may work, and where they come from.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Threads come from OpenMP, whose runtime keeps a pool for each thread that calls us; a team of one
 * opens no region at all. Sizes are those that OpenMP delivered, never those asked for. Before a
 * pool grows the system is tried for room, and before a fork the pool of the forking thread is
 * taken down, since its threads do not exist in the child.
 *
 * Teams of one process share its CPUs: each takes from a budget, and gets at least its caller.
 * Without OpenMP every team is of one.
 */
#define _GNU_SOURCE
#include "prim.h"

#include <pthread.h>

#include "cpus.h"
#if defined(_OPENMP)
#include <omp.h>
#endif

/* The process's one mutable state. */
static struct {
    _Atomic size_t working;  /* threads in teams, callers included */
    _Atomic bool poolless;   /* a child that was forked inside a parallel region */
    pthread_once_t handlers; /* of forks: registered when the first pool is made */
} shared = {.handlers = PTHREAD_ONCE_INIT};

/* Of a calling thread: its pool goes to sleep when it is not used. */
static _Thread_local struct {
    double ended; /* when its last team of several did */
    size_t size;  /* of that team: what the pool holds, the caller included */
    bool paused;  /* a fork under way has taken it down */
} pool = {.ended = -1e9};

double bp_team_idle_seconds(void) { return bp_seconds() - pool.ended; }

/* ---- how many threads ---- */

#if defined(__linux__)
/* Reading the files takes tens of microseconds, so each calling thread keeps what it read: the cores
 * as long as its affinity stays the same, the quota, which may change at any time, for a second. */
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
    if (bp_cpus_allowed(&allowed)) {
        if (!CPU_EQUAL(&allowed, &kept.allowed)) kept.cores = bp_cpus_cores("", &allowed);
        kept.allowed = allowed;
        limits->affinity = (size_t)CPU_COUNT(&allowed);
        limits->cores = kept.cores;
    }
    if (kept.quota_read == 0 || now - kept.quota_read > quota_seconds) {
        kept.quota = bp_cpus_quota("");
        kept.quota_read = now;
    }
    limits->quota = kept.quota;
}

size_t bp_threads_cores(const char *root, size_t cpus)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    for (size_t i = 0; i < bp_min(cpus, CPU_SETSIZE); ++i) CPU_SET(i, &set);
    return bp_cpus_cores(root, &set);
}

size_t bp_threads_quota(const char *root) { return bp_cpus_quota(root); }
#else
static void machine_limits(bp_thread_limits *limits) { (void)limits; }

size_t bp_threads_cores(const char *root, size_t cpus)
{
    (void)root;
    (void)cpus;
    return 0;
}

size_t bp_threads_quota(const char *root)
{
    (void)root;
    return 0;
}
#endif

#if defined(_OPENMP)
static void lower(bp_thread_limits *limits, size_t value, const char *reason)
{
    if (value == 0) return;
    if (value < limits->cpus) {
        limits->cpus = value;
        limits->cpus_reason = reason;
    }
    if (value < limits->threads) {
        limits->threads = value;
        limits->reason = reason;
    }
}

bp_thread_limits bp_threads_limits(void)
{
    const size_t most = (size_t)omp_get_max_threads(), limit = (size_t)omp_get_thread_limit();
    bp_thread_limits limits = {.threads = most,
                               .cpus = SIZE_MAX,
                               .openmp = most,
                               .thread_limit = limit < INT32_MAX ? limit : 0,
                               .reason = "OpenMP's maximum",
                               .cpus_reason = "nothing",
                               .has_openmp = true};
    machine_limits(&limits);
    lower(&limits, limits.thread_limit, "OMP_THREAD_LIMIT");
    lower(&limits, limits.affinity, "CPU affinity");
    lower(&limits, limits.quota, "control group quota");
    lower(&limits, limits.cores, "physical cores");
    if (limits.cpus == SIZE_MAX) lower(&limits, (size_t)omp_get_num_procs(), "processors");
    if (omp_in_parallel() || shared.poolless) {
        limits.threads = limits.cpus = 1;
        limits.reason = limits.cpus_reason = "inside a parallel region";
    }
    return limits;
}
#else
bp_thread_limits bp_threads_limits(void)
{
    static const char serial[] = "a build without OpenMP";
    bp_thread_limits limits = {
        .threads = 1, .cpus = 1, .openmp = 1, .reason = serial, .cpus_reason = serial};
    machine_limits(&limits);
    return limits;
}
#endif

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

/* ---- the budget ---- */

/* At least one, the caller, who is there anyway. */
static size_t take_threads(size_t wanted, size_t cpus)
{
    size_t working = shared.working, taken;
    do {
        taken = bp_max(1, bp_min(wanted, cpus > working ? cpus - working : 0));
    } while (!atomic_compare_exchange_weak(&shared.working, &working, working + taken));
    return taken;
}

static void give_back(size_t taken) { shared.working -= taken; }

/* ---- pools ---- */

#if defined(_OPENMP)
/* LLVM's runtime, also where it stands in for libgomp, has fork handlers of its own. */
extern void kmp_set_blocktime(int milliseconds) __attribute__((weak));

/* libgomp's pool belongs to the thread that forks; others' are lost in the child with their owners. */
static void before_fork(void)
{
    pool.paused = kmp_set_blocktime || omp_pause_resource_all(omp_pause_soft) == 0;
    if (pool.paused) pool.size = 0;
}

static void in_child(void)
{
    shared.working = 0;
    shared.poolless = shared.poolless || !pool.paused;
    pool.ended = -1e9;
}

static void register_handlers(void) { pthread_atfork(before_fork, NULL, in_child); }

static void *wait_for_release(void *gate)
{
    pthread_mutex_lock(gate);
    pthread_mutex_unlock(gate);
    return NULL;
}

/* Runtimes end the process when they cannot create a thread, so that many are created here first, to
 * live at the same time. */
static bool room_for(size_t threads)
{
    enum { MOST = 1024 };
    pthread_t created[MOST];
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    size_t n = 0;
    pthread_mutex_lock(&gate);
    while (n < bp_min(threads, MOST) &&
           pthread_create(&created[n], NULL, wait_for_release, &gate) == 0)
        ++n;
    pthread_mutex_unlock(&gate);
    for (size_t i = 0; i < n; ++i) pthread_join(created[i], NULL);
    return n == threads;
}

static bool may_open_region(size_t wanted)
{
    if (wanted == 1 || omp_in_parallel() || shared.poolless) return false;
    pthread_once(&shared.handlers, register_handlers);
    return wanted <= pool.size || room_for(wanted - bp_max(1, pool.size));
}

static size_t run_region(size_t wanted, bp_task_fn *task, void *arg)
{
    bp_cpus_taken taken = {0};
    bp_team team = {.size = 1, .cpus = &taken};
    bp_cpus_take(&taken, 0); /* the caller stays where it is: it is the first */
#pragma omp parallel num_threads((int)wanted)
    {
        const size_t id = (size_t)omp_get_thread_num();
        atomic_store_explicit(&team.size, (size_t)omp_get_num_threads(), memory_order_relaxed);
        if (id > 0) bp_cpus_take(&taken, id);
        bp_team_wait(&team, id); /* a caller at work would keep others from a CPU that they share */
        task(arg, &team, id);
        bp_team_wait(&team, id); /* the runtime's barrier spins for milliseconds, ours sleeps */
    }
    pool.size = bp_team_size(&team);
    pool.ended = bp_seconds();
    return pool.size;
}
#endif

static size_t run_team(size_t wanted, bp_task_fn *task, void *arg)
{
    bp_team alone = {.size = 1};
#if defined(_OPENMP)
    if (may_open_region(wanted)) return run_region(wanted, task, arg);
#else
    (void)wanted;
#endif
    task(arg, &alone, 0);
    return 1;
}

size_t bp_team_run(size_t wanted, bool exact, bp_task_fn *task, void *arg)
{
    const size_t cpus = exact ? SIZE_MAX : wanted > 1 ? bp_threads_limits().cpus : 1;
    const size_t taken = take_threads(wanted, cpus);
    const size_t size = run_team(taken, task, arg);
    give_back(taken);
    return size;
}

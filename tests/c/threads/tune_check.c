/* tune_check.c - the choice of a run's threads, on machines whose steps take what a table says.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Prints a line a machine: its name, the threads that more than half of the late steps had, and the time
 * that all took over that of the better number throughout; each the worst of all moments for stalls.
 */
#include <math.h>
#include <stdio.h>

#include "net/net.h"

enum { STEPS = 1000, STALL_EVERY = 37, CROWDED = 10 };

typedef struct {
    const char *name;
    double one, two; /* seconds of a step, alone and with two threads */
    double stall;    /* seconds for which now and then a CPU stands still */
    size_t guess, right;
    size_t crowd; /* first steps that others preempt: a team takes CROWDED times as long */
} machine;

typedef struct {
    size_t right; /* late steps with the better number of threads */
    double ratio;
} outcome;

/* Steps are as many later than the stalls as `moment`. */
static double step_seconds(const machine *m, size_t threads, size_t i, size_t moment)
{
    const double step = threads == 1 ? m->one : m->two * (i < m->crowd ? CROWDED : 1);
    const size_t since = (i + moment) % STALL_EVERY; /* each CPU has its turn */
    return step + (since == 0 || (threads == 2 && since == STALL_EVERY / 2) ? m->stall : 0);
}

static outcome run(const machine *m, size_t moment)
{
    bp_tuner t = bp_tune_start(2, m->guess);
    double total = 0, best = 0;
    size_t right = 0;
    for (size_t i = 0; i < STEPS;) {
        const double limit = bp_tune_seconds(&t);
        const size_t threads = t.now, first = i;
        double seconds = 0;
        while (i < STEPS && (i == first || seconds < limit)) {
            seconds += step_seconds(m, threads, i++, moment);
            right += threads == m->right && i > STEPS / 2;
        }
        total += seconds;
        bp_tune_add(&t, threads, i - first, seconds, first < m->crowd);
    }
    for (size_t i = 0; i < STEPS; ++i)
        best += step_seconds(m, i < m->crowd ? 1 : m->right, i, moment);
    return (outcome){right, total / best};
}

int main(void)
{
    const machine machines[] = {
        {"two pay", 5e-3, 3e-3, 0, 2, 2},
        {"two pay, one guessed", 5e-3, 3e-3, 0, 1, 2},
        {"two pay, short steps", 150e-6, 100e-6, 0, 2, 2},
        {"one pays", 100e-6, 150e-6, 0, 2, 1},
        {"a crowd", 1e-3, 100e-3, 0, 2, 1},
        {"two pay, a crowd that goes", 6e-3, 4e-3, 0, 2, 2, 450},
        {"two pay, stalls", 6e-3, 4e-3, 13e-3, 2, 2},
        {"two pay, stalls, one guessed", 6e-3, 4e-3, 13e-3, 1, 2},
    };
    for (size_t i = 0; i < sizeof machines / sizeof *machines; ++i) {
        const machine *m = &machines[i];
        outcome worst = {STEPS, 0};
        for (size_t moment = 0; moment < (m->stall > 0 ? STALL_EVERY : 1); ++moment) {
            const outcome o = run(m, moment);
            worst = (outcome){bp_min(worst.right, o.right), fmax(worst.ratio, o.ratio)};
        }
        printf("%s: %zu%% %.3f\n", m->name, worst.right * 100 / (STEPS / 2), worst.ratio);
    }
    return 0;
}

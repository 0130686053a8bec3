/* tune.c - how many threads a run uses: tried while it trains, since no bit depends on it.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * What a second thread costs differs tenfold between machines (two barriers, and every line of cache
 * that the other core wrote: up to 28 ns each on one Xeon) and from one second to the next, when other
 * processes want the CPUs. So a run starts with a guess, and now and then a short trial with half or
 * twice the threads shows whether that is right:
 *
 *      best ................ | warm up | trial | best: the winner ............ | warm up | ...
 *      50 ms and 200 steps     0.5 ms    1 ms    doubled after a lost trial, at most 2 s
 *
 * More threads that lost while the system preempted one of ours, as other processes wanted the CPUs,
 * or NumPy's threads, which spin for 25 ms after their work, have another trial once none was for 20 ms,
 * doubled each time until a run begins after a pause as long.
 *
 * A trial has three steps or more, so it takes some percent of what it judges. It wins when its steps
 * are shorter by BP_MARGIN, on average and in the middle one of its parts; where these disagree, since
 * a CPU stood still for some milliseconds, up to four times as many steps decide on average. What threads
 * need to wake up does not count, nor do the first steps of a run, which find no cache warm. A run that
 * begins with a team tries half of it after 2 ms: where others want the CPUs, a team's step takes a
 * hundred times as long. So short a trial may err: what has won is tried against again as soon.
 */
#include "run.h"

#include <math.h>

static const double BP_EARLY_WAIT = 2e-3, BP_FIRST_WAIT = 50e-3,
                    BP_LONGEST_WAIT = 2.0; /* seconds */
static const double BP_WARM_UP = 0.5e-3, BP_TRIAL = 1e-3, BP_QUIET = 20e-3;
static const double BP_MARGIN = 0.97;
enum { BP_EARLY_STEPS = 8, BP_STEPS_BETWEEN = 200, BP_STEPS_OF_TRIAL = 3 };

bp_tuner bp_tune_start(size_t most, size_t guess)
{
    const bool team = guess > 1;
    return (bp_tuner){.most = most,
                      .best = guess,
                      .now = guess,
                      .down = team,
                      .cold = true,
                      .wait = team ? BP_EARLY_WAIT : BP_FIRST_WAIT,
                      .wait_steps = team ? BP_EARLY_STEPS : BP_STEPS_BETWEEN};
}

/* A crowd that was there may be gone by now. */
void bp_tune_resume(bp_tuner *t, double idle)
{
    if (idle >= t->quiet_wait) t->quiet_wait = fmin(t->quiet_wait, BP_QUIET);
    t->cold = true;
}

/* What to try next, up or down in turn; 0 when there is nothing else. */
static size_t candidate(const bp_tuner *t)
{
    const size_t up = bp_min(2 * t->best, t->most), down = t->best / 2;
    const size_t first = t->down ? down : up, second = t->down ? up : down;
    if (first > 0 && first != t->best) return first;
    return second != t->best ? second : 0;
}

static void enter(bp_tuner *t, bp_tune_phase phase, size_t threads)
{
    t->phase = phase;
    t->now = threads;
    t->seconds = 0;
    t->steps = 0;
    t->parts = 0;
    t->quiet = 0;
    t->quiet_steps = 0;
}

static bool is_faster(const bp_tuner *t, double step) { return step < BP_MARGIN * t->best_step; }

static void add_part(bp_tuner *t, double step)
{
    size_t i = t->parts++;
    for (; i > 0 && t->part[i - 1] > step; --i) t->part[i] = t->part[i - 1];
    t->part[i] = step;
}

static bool is_decided(const bp_tuner *t)
{
    if (t->parts == BP_MOST_TRIAL_PARTS) return true;
    if (t->parts < BP_TRIAL_PARTS || t->seconds < BP_TRIAL || t->steps < BP_STEPS_OF_TRIAL)
        return false;
    return is_faster(t, t->seconds / (double)t->steps) == is_faster(t, t->part[t->parts / 2]);
}

static void judge(bp_tuner *t)
{
    if (is_faster(t, t->seconds / (double)t->steps)) {
        t->best = t->now;
        t->wait = BP_EARLY_WAIT;
        t->wait_steps = BP_EARLY_STEPS;
        t->quiet_wait = 0;
    } else {
        if (t->now > t->best)
            t->quiet_wait =
                t->crowded ? fmin(fmax(2 * t->quiet_wait, BP_QUIET), BP_LONGEST_WAIT) : 0;
        t->down = !t->down;
        t->wait = fmin(fmax(2 * t->wait, BP_FIRST_WAIT), BP_LONGEST_WAIT);
        t->wait_steps = BP_STEPS_BETWEEN;
    }
    enter(t, BP_TUNE_BEST, t->best);
}

/* Ends the steps with the best number, of which one takes so long. */
static void try_other(bp_tuner *t, size_t threads, double best_step)
{
    t->best_step = best_step;
    t->crowded = false;
    enter(t, BP_TUNE_WARM, threads);
}

double bp_tune_seconds(const bp_tuner *t)
{
    if (t->most == 1) return INFINITY;
    if (t->phase != BP_TUNE_BEST || t->cold) return BP_TRIAL / BP_TRIAL_PARTS;
    /* Long steps pass the wait before they are enough: not a region for each. */
    const size_t missing = t->wait_steps - bp_min(t->steps, t->wait_steps);
    const double step = t->steps > 0 ? t->seconds / (double)t->steps : 0;
    const double wait = fmax(fmax(t->wait - t->seconds, (double)missing * step), BP_TRIAL);
    return t->quiet_wait > 0 ? fmin(wait, BP_QUIET) : wait;
}

void bp_tune_add(bp_tuner *t, size_t team, size_t steps, double seconds, bool preempted)
{
    if (team != t->now) {
        enter(t, BP_TUNE_BEST, t->best);
        return;
    }
    if (t->cold) {
        t->cold = false;
        return;
    }
    if (steps == 0) return;
    t->steps += steps;
    t->seconds += seconds;
    if (t->most == 1) return;
    switch (t->phase) {
    case BP_TUNE_BEST:
        t->quiet = preempted ? 0 : t->quiet + seconds;
        t->quiet_steps = preempted ? 0 : t->quiet_steps + steps;
        if (t->seconds >= t->wait && t->steps >= t->wait_steps)
            try_other(t, candidate(t), t->seconds / (double)t->steps);
        else if (t->quiet_wait > 0 && t->quiet >= t->quiet_wait && t->quiet_steps >= BP_EARLY_STEPS)
            try_other(t, bp_min(2 * t->best, t->most), t->quiet / (double)t->quiet_steps);
        return;
    case BP_TUNE_WARM:
        t->crowded |= preempted;
        if (t->seconds >= BP_WARM_UP) enter(t, BP_TUNE_TRIAL, t->now);
        return;
    case BP_TUNE_TRIAL:
        t->crowded |= preempted;
        add_part(t, seconds / (double)steps);
        if (is_decided(t)) judge(t);
        return;
    }
}

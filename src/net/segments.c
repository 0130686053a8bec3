/* segments.c - the steps of a batch, on the rows or the panels that a thread takes.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * A segment's rows, or its panels of columns, are parts that threads claim: each its own first, the same
 * ones every step, since what it reads and wrote is in its caches. Between segments all threads meet.
 */
#include "run.h"

void bp_run_gather(bpfast_run *run, const bp_batch *batch, size_t row0, size_t rows)
{
    const bpfast_net *net = run->net;
    const bp_panels x = run->m[run->plan.input], t = run->m[run->plan.targets];
    const bpfast_data *data = &run->config.train;
    const size_t first = batch->first + row0;
    const int64_t *order = run->order ? run->order + first : NULL;
    bp_gather_inputs(net, &data->x, order, first, x, row0, rows);
    if (!run->objective.labels) {
        const bp_panels at = {bp_panel(net->k, t, 0, row0), t.stride};
        bp_gather(net->k, &data->y, order, first, rows, at, NULL, NULL);
    }
    if (!run->config.check_inputs || bp_inputs_finite(net, x, row0, rows)) return;
    for (size_t r = 0; r < rows; ++r)
        if (!bp_inputs_finite(net, x, row0 + r, 1))
            run->bad_row = order ? (size_t)order[r] : first + r;
}

void bp_run_steps(const bpfast_run *run, const bp_pass *pass, size_t first, size_t last,
                  size_t row0, size_t rows)
{
    for (size_t s = first; s < last; ++s)
        run->plan.steps[s].run(&run->plan.steps[s], pass, row0, rows);
}

void bp_run_loss(bpfast_run *run, const bp_batch *batch, const bp_pass *pass, size_t row0,
                 size_t rows)
{
    const bp_plan *plan = &run->plan;
    bp_loss_rows(pass, &run->objective, &batch->targets, run->m[plan->delta], run->m[plan->output],
                 run->net->outputs, run->stats, row0, rows);
}

bp_pass bp_run_panels_pass(const bpfast_run *run, const bp_batch *batch, const bp_pass *pass,
                           size_t first, size_t last, size_t soon)
{
    bp_pass part = *pass;
    part.own = run->own;
    part.panels = (bp_range){first, last, soon};
    part.learns = batch->learns;
    return part;
}

void bp_run_step_of_panels(const bp_step *step, const bp_pass *pass)
{
    if (step->ready && step->flags & BP_WAITS) step->ready(step, pass);
    step->run(step, pass, 0, pass->batch);
}

/* A segment on some rows; the loss stands between forward and backward. */
static void segment_rows(bpfast_run *run, const bp_batch *batch, const bp_pass *pass,
                         size_t segment, size_t row0, size_t rows)
{
    const bp_plan *plan = &run->plan;
    const size_t first = plan->segments[segment].first, last = plan->segments[segment].last;
    if (segment == 0) bp_run_gather(run, batch, row0, rows);
    if (segment != plan->loss_segment) {
        bp_run_steps(run, pass, first, last, row0, rows);
        return;
    }
    bp_run_steps(run, pass, first, plan->n_forward, row0, rows);
    bp_run_loss(run, batch, pass, row0, rows);
    bp_run_steps(run, pass, plan->n_forward, last, row0, rows);
}

/* A thread's rows in parts: so that a late thread can be helped, and that what a part of many positions
 * leaves is still in cache when it is read. Each part reads all weights, so where they do not stay in L2
 * there are but two. */
static size_t row_parts(const bpfast_run *run, size_t rows, size_t size)
{
    enum { ROWS = 16, MOST = 8, MOST_FAR = 2 };
    const size_t cached = run->cached_rows ? bp_ceil_div(rows, size * run->cached_rows) : 1;
    if (size == 1) return cached;
    const size_t most = run->far && !run->cached_rows ? MOST_FAR : MOST;
    return bp_max(bp_min(rows / size / ROWS, most), cached);
}

static void fetch(const char *at, size_t bytes)
{
    for (const char *end = at + bytes; at < end; at += BP_ALIGN) __builtin_prefetch(at, 0, 2);
}

/* What other threads wrote comes much faster in order than in the midst of a product. */
static void fetch_others(const bpfast_run *run, const bp_step *step, size_t rows, size_t size,
                         size_t id)
{
    const bp_kernels *k = run->net->k;
    const size_t n = bp_panel_count(k, run->plan.buffers[step->in].cols);
    const size_t own = bp_share(n, size, id), others = bp_share(n, size, id + 1);
    for (size_t j = 0; j < n; ++j)
        if (j < own || j >= others)
            fetch(bp_panel(k, run->m[step->in], j, 0), rows * k->nr * k->size);
}

/* One panel after the other: it stays in cache from its product to its last step. */
static void segment_panels(bpfast_run *run, const bp_batch *batch, const bp_pass *pass,
                           const bp_segment *segment, size_t size, size_t id)
{
    const bp_step *first = &run->plan.steps[segment->first];
    const size_t own = bp_share(segment->panels, size, id);
    const size_t others = bp_share(segment->panels, size, id + 1);
    size_t j;
    bp_claimer c = bp_claim_open(run->claims, size, id, own, others);
    if (size > 1 && first->split == BP_PANELS) fetch_others(run, first, batch->rows, size, id);
    while (bp_claim_next(&c, &j)) {
        const bp_pass part = bp_run_panels_pass(run, batch, pass, j, j + 1, others);
        for (size_t s = segment->first; s < segment->last; ++s)
            bp_run_step_of_panels(&run->plan.steps[s], &part);
    }
}

void bp_run_segments(bpfast_run *run, const bp_batch *batch, const bp_pass *pass, bp_team *team,
                     size_t id)
{
    const bp_plan *plan = &run->plan;
    const size_t size = bp_team_size(team), rows = batch->rows;
    const size_t each = row_parts(run, rows, size);
    for (size_t segment = 0; segment < plan->n_segments; ++segment) {
        size_t part;
        if (segment > 0) bp_team_wait(team, id);
        if (plan->segments[segment].panels > 0) {
            segment_panels(run, batch, pass, &plan->segments[segment], size, id);
            continue;
        }
        bp_plan_ready(plan, pass, segment);
        if (size * each == 1) {
            segment_rows(run, batch, pass, segment, 0, rows);
            continue;
        }
        bp_claimer c = bp_claim_open(run->claims, size, id, id * each, (id + 1) * each);
        while (bp_claim_next(&c, &part)) {
            const size_t row0 = bp_plan_part(plan, rows, size * each, part);
            const size_t end = bp_plan_part(plan, rows, size * each, part + 1);
            if (end > row0) segment_rows(run, batch, pass, segment, row0, end - row0);
        }
    }
}

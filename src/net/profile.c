/* profile.c - a training step timed piece by piece, and its kernels timed alone.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * The same pieces as the step loop of run.c, in the same order and with the same barriers, so the
 * bits are the same; between two pieces each thread reads the clock. That loop itself has no clock.
 *
 *   mask, gather, forward ..., loss, backward ...     own rows; wait between segments
 *   wait, prepare (thread 0: scores)
 *   gradient ..., wait, norm, update ...              own items; gradient and norm only where swept
 *   prepare (thread 0: the next step), wait
 */
#include "run.h"

#include <math.h>

/* ---- pieces: where each stands in a row of seconds ---- */

enum { MASK, GATHER, FIRST_STEP };

static size_t at_loss(const bpfast_run *run) { return FIRST_STEP + run->plan.n_forward; }
static size_t at_step(const bpfast_run *run, size_t s)
{
    return FIRST_STEP + s + (s >= run->plan.n_forward);
}
/* Of the last layer; those before follow, since gradients run backwards. */
static size_t at_gradients(const bpfast_run *run) { return FIRST_STEP + run->plan.n_steps + 1; }
static size_t at_norm(const bpfast_run *run) { return at_gradients(run) + run->net->n_nodes; }
static size_t at_updates(const bpfast_run *run) { return at_norm(run) + 1; }
static size_t at_prepare(const bpfast_run *run) { return at_updates(run) + run->net->n_nodes; }
static size_t at_wait(const bpfast_run *run) { return at_prepare(run) + 1; }

size_t bpfast_run_piece_count(const bpfast_run *run) { return at_wait(run) + 1; }

static bool sweeps(const bpfast_run *run)
{
    return run->config.sweep || run->net->optimizer.clip_norm > 0;
}

static double product_flops(const bpfast_run *run, const bp_node *node)
{
    return (double)run->plan.batch * bp_node_flops(node);
}

/* relu forward is part of the product's last store. */
static const char *activation_of(const bp_step *step, bool backward)
{
    const bp_node *node = step->node;
    const bool none = node->activation == BP_ACT_identity || (step->flags & BP_SKIP_ACTIVATION);
    const bool fused = node->op->needs(node).multiplies && node->activation == BP_ACT_relu;
    return none || (!backward && fused) ? NULL : bp_activation_name(node->activation);
}

static bpfast_piece step_piece(const bpfast_run *run, size_t s)
{
    const bp_step *step = &run->plan.steps[s];
    const bp_node *node = step->node;
    const bool backward = s >= run->plan.n_forward;
    const bool multiplies = step->out != BP_NONE && step->node->op->needs(node).multiplies &&
                            (backward || step->out == run->plan.at[node->index].y);
    return (bpfast_piece){.what = backward ? "backward" : "forward",
                          .layer = node->index,
                          .flops = multiplies ? product_flops(run, node) : 0,
                          .elements = (double)run->plan.batch * (double)bp_positions(node->to) *
                                      (double)node->to.channels,
                          .activation = activation_of(step, backward)};
}

static bpfast_piece gradient_piece(const bpfast_run *run, size_t layer, bool update)
{
    const bp_node *node = &run->net->nodes[layer];
    const bool sweep = sweeps(run), product = node->op == &bp_op_dense && (!sweep || !update);
    const bool kernel = bp_owns_kernel(node) && bp_trains_kernel(run->net, node);
    const bool bias = bp_owns_bias(node) && bp_trains_bias(run->net, node);
    if ((!kernel && !bias) || (!sweep && update)) return (bpfast_piece){0};
    return (bpfast_piece){.what = sweep && !update ? "gradient" : "update",
                          .layer = layer,
                          .flops = product && kernel ? product_flops(run, node) : 0,
                          .elements = (double)((kernel * node->in + bias) * node->out)};
}

bpfast_piece bpfast_run_piece(const bpfast_run *run, size_t index)
{
    const size_t n = run->net->n_nodes;
    bpfast_piece piece = {.layer = n};
    if (index == MASK)
        piece.what = run->masks_weights ? "mask" : NULL;
    else if (index == GATHER)
        piece.what = "gather";
    else if (index == at_loss(run))
        piece.what = "loss";
    else if (index < at_gradients(run))
        return step_piece(run, index - FIRST_STEP - (index > at_loss(run)));
    else if (index < at_norm(run))
        return gradient_piece(run, n - 1 - (index - at_gradients(run)), false);
    else if (index == at_norm(run))
        piece.what = run->net->optimizer.clip_norm > 0 ? "norm" : NULL;
    else if (index < at_prepare(run))
        return gradient_piece(run, n - 1 - (index - at_updates(run)), true);
    else
        piece.what = index == at_prepare(run) ? "prepare" : "wait";
    return piece;
}

/* ---- a timed chunk of steps ---- */

typedef struct {
    bpfast_run *run;
    double *seconds;
    size_t team;
} profile;

typedef struct {
    double *seconds; /* by piece */
    double last;
} stopwatch;

static void lap(stopwatch *watch, size_t piece)
{
    const double now = bp_seconds();
    watch->seconds[piece] += now - watch->last;
    watch->last = now;
}

static void timed_rows(bpfast_run *run, const bp_batch *batch, const bp_pass *pass, bp_team *team,
                       size_t id, stopwatch *watch)
{
    const bp_plan *plan = &run->plan;
    const size_t size = bp_team_size(team), row0 = bp_plan_part(plan, batch->rows, size, id);
    const size_t rows = bp_plan_part(plan, batch->rows, size, id + 1) - row0;
    bp_run_mask(run, pass, team, id);
    lap(watch, MASK);
    bp_run_gather(run, batch, row0, rows);
    lap(watch, GATHER);
    for (size_t segment = 0; segment < plan->n_segments; ++segment) {
        if (segment > 0) bp_team_wait(team, id);
        if (segment > 0) lap(watch, at_wait(run));
        const bp_segment *part = &plan->segments[segment];
        const size_t own = bp_share(part->panels, size, id);
        const size_t others = bp_share(part->panels, size, id + 1);
        const bp_pass panels = bp_run_panels_pass(run, batch, pass, own, others, others);
        if (part->panels == 0) bp_plan_ready(plan, pass, segment);
        for (size_t s = part->first; s <= part->last; ++s) {
            if (s == plan->n_forward && segment == plan->loss_segment) {
                bp_run_loss(run, batch, pass, row0, rows);
                lap(watch, at_loss(run));
            }
            if (s == part->last) break;
            if (part->panels > 0)
                bp_run_step_of_panels(&plan->steps[s], &panels);
            else
                bp_run_steps(run, pass, s, s + 1, row0, rows);
            lap(watch, at_step(run, s));
        }
    }
}

static void timed_items(const bpfast_run *run, const bp_pass *pass, bp_team *team, size_t id,
                        const bp_gradient *job, stopwatch *watch, size_t at)
{
    const size_t size = bp_team_size(team), last = bp_plan_share(&run->plan, size, id + 1);
    for (size_t i = bp_plan_share(&run->plan, size, id); i < last; ++i) {
        const bp_item *item = &run->plan.items[i];
        bp_gradient_item(pass, item, NULL, job);
        if (i + 1 == last || item[1].node != item->node)
            lap(watch, at + run->net->n_nodes - 1 - item->node);
    }
}

static void timed_gradients(bpfast_run *run, const bp_batch *batch, const bp_pass *pass,
                            bp_team *team, size_t id, stopwatch *watch)
{
    bp_update update = batch->update;
    const bool sweep = sweeps(run);
    if (sweep) {
        const bp_gradient store = bp_run_gradient(run, batch, BP_GRADIENT_STORE, NULL);
        timed_items(run, pass, team, id, &store, watch, at_gradients(run));
        bp_team_wait(team, id);
        lap(watch, at_wait(run));
    }
    if (run->norm_clips) {
        update.gradient_scale =
            bp_clip_factor(bp_run_gradient_norm(run, team, id), run->net->optimizer.clip_norm);
        lap(watch, at_norm(run));
    }
    const bp_gradient job =
        bp_run_gradient(run, batch, sweep ? BP_GRADIENT_SWEEP : BP_GRADIENT_UPDATE, &update);
    timed_items(run, pass, team, id, &job, watch, sweep ? at_updates(run) : at_gradients(run));
}

static void timed_task(void *arg, bp_team *team, size_t id)
{
    profile *p = arg;
    bpfast_run *run = p->run;
    const size_t pieces = bpfast_run_piece_count(run), stride = run->tuner.best * pieces;
    const bp_fpmode mode = bp_fpmode_enter();
    stopwatch watch = {p->seconds + id * pieces, 0};
    if (id == 0) p->team = bp_team_size(team);
    bp_team_wait(team, id);
    watch.last = bp_seconds();
    for (size_t parity = 0;; parity = 1 - parity, watch.seconds += stride) {
        const bp_batch *batch = &run->batch[parity];
        const bp_pass pass = bp_run_pass(run, batch, id);
        timed_rows(run, batch, &pass, team, id, &watch);
        bp_team_wait(team, id);
        lap(&watch, at_wait(run));
        const bool steps = batch->learns && run->bad_row == SIZE_MAX;
        if (id == 0) bp_run_add_scores(run, batch, &pass);
        lap(&watch, at_prepare(run));
        if (steps) timed_gradients(run, batch, &pass, team, id, &watch);
        if (id == 0) bp_run_advance(run, batch, &run->batch[1 - parity], steps);
        lap(&watch, at_prepare(run));
        bp_team_wait(team, id);
        lap(&watch, at_wait(run));
        if (run->stop) break;
    }
    bp_fpmode_leave(mode);
}

bpfast_status bpfast_run_profile(bpfast_run *run, size_t max_steps, double *seconds, size_t *team)
{
    profile p = {.run = run, .seconds = seconds};
    if (run->cursor.batch < run->batches && run->status == BPFAST_OK) {
        if (!run->packed) bp_run_pack(run);
        run->steps_left = max_steps;
        run->deadline = INFINITY;
        run->stop = false;
        const bp_fpmode mode = bp_fpmode_enter();
        bp_run_prepare(run, &run->batch[0]);
        bp_team_run(run->tuner.best, run->config.exact_threads, timed_task, &p);
        bp_fpmode_leave(mode);
    }
    *team = p.team;
    return run->status;
}

/* ---- kernels alone, on operands that fit together in an L1 of 32 KB ---- */

enum { OPERAND_BYTES = 6 * 1024, PANEL_BYTES = 12 * 1024, TILES = 2, TRIALS = 5 };
static const double trial_seconds = 1e-4;

typedef struct {
    const bp_kernels *k;
    const bp_node *node;
    bp_update update;
    void *a, *b, *c, *d; /* OPERAND_BYTES for maps; a and b PANEL_BYTES for products */
    size_t n, depth;     /* elements of a map; rows of a panel */
} bench;

/* Each runs once and returns how many operations or elements that was. */
typedef size_t bench_fn(const bench *b);

static size_t run_product(const bench *b)
{
    const bp_kernels *k = b->k;
    const size_t m = TILES * k->mr;
    k->gemm_rows(b->c, b->a, b->b, NULL, m, b->depth, k->nr, bp_panel_stride(k, m), BP_FROM_ZERO,
                 false, NULL);
    return 2 * m * b->depth * k->nr;
}

static size_t run_gradient(const bench *b)
{
    b->k->gemm_block(b->c, b->a, b->b, b->depth, b->k->nr, b->k->nr, BP_FROM_ZERO, NULL);
    return 2 * b->depth * b->k->nr * b->k->nr;
}

static size_t run_activation(const bench *b)
{
    const size_t width = bp_min(b->node->out, b->n);
    if (b->node->activation != BP_ACT_softmax) {
        b->k->act[b->node->activation](b->c, b->a, b->n);
        return b->n;
    }
    b->k->softmax(b->c, b->a, width);
    return width;
}

static size_t run_derivative(const bench *b)
{
    const size_t width = bp_min(b->node->out, b->n);
    if (b->node->activation != BP_ACT_softmax) {
        b->k->grad[b->node->activation](b->c, b->a, b->b, b->n);
        return b->n;
    }
    b->k->softmax_grad(b->c, b->a, b->b, width);
    return width;
}

static size_t run_update(const bench *b)
{
    bp_update_run(b->k, &b->update, b->a, b->b, b->c, b->d, 1, b->n, b->n);
    return b->n;
}

/* The best of a few trials, each long enough for the clock. */
static double best_seconds(bench_fn *run, const bench *b)
{
    double best = INFINITY;
    size_t repeats = 1;
    for (size_t trial = 0; trial < TRIALS;) {
        size_t units = 0;
        const double start = bp_seconds();
        for (size_t i = 0; i < repeats; ++i) units += run(b);
        const double seconds = bp_seconds() - start;
        best = seconds < trial_seconds ? best : fmin(best, seconds / (double)units);
        if (seconds < trial_seconds)
            repeats *= 2;
        else
            ++trial;
    }
    return best;
}

bpfast_status bpfast_net_kernel_seconds(const bpfast_net *net, bpfast_kernel kernel, size_t layer,
                                        double *seconds, bpfast_message *message)
{
    static bench_fn *const runs[] = {[BPFAST_KERNEL_PRODUCT] = run_product,
                                     [BPFAST_KERNEL_GRADIENT] = run_gradient,
                                     [BPFAST_KERNEL_ACTIVATION] = run_activation,
                                     [BPFAST_KERNEL_DERIVATIVE] = run_derivative,
                                     [BPFAST_KERNEL_UPDATE] = run_update};
    const bp_kernels *k = net->k;
    const size_t depth = bp_max(PANEL_BYTES / (k->nr * k->size) / k->nr, 1) * k->nr;
    const size_t n = OPERAND_BYTES / k->size, operands = 4; /* strides are padded by a line */
    const size_t room = bp_max(n, (depth + TILES * k->mr + BP_ALIGN) * bp_max(k->nr, depth));
    bp_layout layout = {0};
    void *memory;
    size_t at[4];
    for (size_t i = 0; i < operands; ++i) at[i] = bp_layout_add(&layout, room, k->size);
    BP_TRY(bp_arena_try(&memory, &layout, "timing a kernel", message));
    const bench b = {.k = k,
                     .node = &net->nodes[layer],
                     .update = bp_update_prepare(k, &net->optimizer, 0.0, 1),
                     .a = bp_at(memory, at[0], 1),
                     .b = bp_at(memory, at[1], 1),
                     .c = bp_at(memory, at[2], 1),
                     .d = bp_at(memory, at[3], 1),
                     .n = n,
                     .depth = depth};
    const bp_fpmode mode = bp_fpmode_enter();
    bp_fill_random(k, net->k64, b.a, room, true, 0.0, 1.0, 0, BP_STREAM_USER);
    bp_fill_random(k, net->k64, b.b, room, true, 0.0, 1.0, 1, BP_STREAM_USER);
    *seconds = best_seconds(runs[kernel], &b);
    bp_fpmode_leave(mode);
    bp_arena_free(memory);
    return BPFAST_OK;
}

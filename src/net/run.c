/* run.c - a training run: memory, packing, epochs and their chunks of steps.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * One chunk is one parallel region. Every thread walks the same steps:
 *
 *     own rows:   gather, forward, loss, backward; in between, where statistics of all rows are needed
 *                 (segments of the plan), barriers
 *     barrier     thread 0 adds up the loss
 *     own items:  weight gradients to the optimizer (or to GRAD, barrier, sweep)
 *     barrier     thread 0 has prepared the next step or the stop
 *
 * Where a step's gradient is that of several batches together, they pass one after the other: each adds
 * its own to GRAD, and the last is followed by the sweep.
 *
 * Threads split rows and items, never sums, so their number cannot show in the results.
 */
#include "run.h"

#include <math.h>
#include <string.h>

/* ---- a step ---- */

bp_pass bp_run_pass(const bpfast_run *run, const bp_batch *batch, size_t id)
{
    const bpfast_net *net = run->net;
    return (bp_pass){.k = net->k,
                     .k64 = net->k64,
                     .m = run->m,
                     .at = run->plan.at,
                     .w = run->read,
                     .buffers = net->buffers,
                     .own = run->own + id * run->own_size,
                     .scratch = run->scratch + id * run->scratch_size,
                     .seed = net->counters.seed,
                     .step = batch->step,
                     .batch = batch->rows,
                     .panels = BP_ALL_PANELS,
                     .learns = id == 0 && batch->learns};
}

/* DropConnect: the step's masked copies, shared out like the gradients. */
void bp_run_mask(bpfast_run *run, const bp_pass *pass, bp_team *team, size_t id)
{
    const size_t last = bp_plan_share(&run->plan, bp_team_size(team), id + 1);
    if (!run->masks_weights) return;
    for (size_t i = bp_plan_share(&run->plan, bp_team_size(team), id); i < last; ++i) {
        const bp_item *item = &run->plan.items[i];
        const bp_node *node = &run->net->nodes[item->node];
        if (bp_masks_weights(node) && item->first < item->last)
            bp_gradient_mask(pass, node, item, &run->w[item->node]);
    }
    bp_team_wait(team, id);
}

bp_gradient bp_run_gradient(const bpfast_run *run, const bp_batch *batch, bp_gradient_mode mode,
                            const bp_update *update)
{
    const bpfast_net *net = run->net;
    const bool shared = run->tuner.now > 1;
    const bool updates = mode == BP_GRADIENT_UPDATE || mode == BP_GRADIENT_SWEEP;
    const double of_step = batch->targets.weight_sum;
    const double decay = run->config.decay > 0 ? run->config.decay / of_step : 0;
    return (bp_gradient){.mode = mode,
                         .penalises = mode == BP_GRADIENT_UPDATE || mode == BP_GRADIENT_STORE,
                         .decay = decay,
                         .update = update,
                         .grad = net->gradients,
                         .state = {bp_state_slot(net, 0), bp_state_slot(net, 1)},
                         .average = net->average,
                         .share = updates ? batch->average_share : 0,
                         .batch = batch->rows,
                         .far = mode == BP_GRADIENT_UPDATE && (run->far || shared),
                         .shared = shared,
                         .w = run->w,
                         .nodes = net->nodes};
}

static void run_items(const bpfast_run *run, const bp_pass *pass, bp_team *team, size_t id,
                      const bp_gradient *job)
{
    const size_t size = bp_team_size(team);
    size_t i;
    bp_claimer c = bp_claim_open(run->claims, size, id, bp_plan_share(&run->plan, size, id),
                                 bp_plan_share(&run->plan, size, id + 1));
    while (bp_claim_next(&c, &i)) {
        const bp_item *item = &run->plan.items[i];
        const bp_item *next = i + 1 < run->plan.n_items ? item + 1 : NULL;
        bp_gradient_item(pass, item, next, job);
    }
}

/* Every thread adds up the same shards in the same order. */
double bp_run_gradient_norm(bpfast_run *run, bp_team *team, size_t id)
{
    const size_t n = run->net->n_parameters, shards = bp_shard_count(n), size = bp_team_size(team);
    bp_shard_squares(run->net->k, run->shards, run->net->gradients, n, bp_share(shards, size, id),
                     bp_share(shards, size, id + 1));
    bp_team_wait(team, id);
    return sqrt(bp_shard_total(run->shards, n));
}

/* UPDATE is fused unless the whole gradient is needed first, for its norm or since other batches are
 * part of it: they are added to GRAD, and the last one's sweep reads it. */
void bp_step_gradients(bpfast_run *run, const bp_batch *batch, const bp_pass *pass, bp_team *team,
                       size_t id, bp_gradient_mode mode)
{
    bp_update update = batch->update;
    const bool alone = batch->starts && batch->ends;
    const bool sweep = run->norm_clips || run->config.sweep || run->watches || !alone;
    if (mode == BP_GRADIENT_UPDATE && sweep) {
        bp_gradient store =
            bp_run_gradient(run, batch, batch->starts ? BP_GRADIENT_STORE : BP_GRADIENT_ADD, NULL);
        store.penalises = batch->ends; /* last, as in a single batch */
        run_items(run, pass, team, id, &store);
        if (!batch->ends) return;
        bp_team_wait(team, id);
        mode = BP_GRADIENT_SWEEP;
    }
    if (mode == BP_GRADIENT_SWEEP && run->norm_clips)
        update.gradient_scale =
            bp_clip_factor(bp_run_gradient_norm(run, team, id), run->net->optimizer.clip_norm);
    const bp_gradient job = bp_run_gradient(run, batch, mode, &update);
    run_items(run, pass, team, id, &job);
}

/* ---- between steps: thread 0 ---- */

void bp_run_prepare(bpfast_run *run, bp_batch *batch)
{
    const bpfast_net *net = run->net;
    const bpfast_data *data = &run->config.train;
    const size_t start = run->cursor.batch * bp_run_step_rows(run);
    const size_t end = bp_min(start + bp_run_step_rows(run), data->rows);
    const size_t first = start + run->part * run->config.batch_size;
    const size_t rows = bp_min(run->config.batch_size, end - first);
    const int64_t *order = run->order ? run->order + first : NULL;
    if (run->part == 0) run->weight_sum = bp_weight_sum(data, order, start, end - start);
    const double rate = run->rates[run->n_rates > 1 ? run->cursor.batch : 0];
    *batch = (bp_batch){
        .first = first,
        .rows = rows,
        .step = bp_random_step(net, run->part),
        .learns = run->weight_sum > 0,
        .starts = run->part == 0,
        .ends = first + rows == end,
        .targets = {.rows = order,
                    .first = first,
                    .targets = run->m[run->plan.targets],
                    .labels = data->labels,
                    .weights = data->weights,
                    .weight_sum = run->weight_sum},
        .update = bp_update_prepare(net->k, &net->optimizer, rate, net->counters.step + 1),
        .average_share = bp_net_average_share(net)};
}

static void name_fault(bpfast_run *run, size_t rows)
{
    const bpfast_net *net = run->net;
    run->fault = (bpfast_fault){.layer = net->n_nodes, .batch = run->cursor.batch};
    for (size_t s = 0; s < run->plan.n_forward; ++s) {
        const bp_step *step = &run->plan.steps[s];
        const size_t positions = rows * bp_positions(bp_node_gives(step->node));
        if (step->out != run->plan.at[step->node->index].y ||
            bp_panels_finite(net->k, run->m[step->out], step->node->to.channels, 0, positions))
            continue;
        run->fault.layer = step->node->index;
        return;
    }
}

/* The batch's scores, in row order. Outputs stay untouched until the next step's forward. */
void bp_run_add_scores(bpfast_run *run, const bp_batch *batch, const bp_pass *pass)
{
    bpfast_scores *scores = &run->cursor.scores;
    if (run->bad_row != SIZE_MAX) {
        run->status = BPFAST_BAD_INPUT;
        run->fault = (bpfast_fault){.batch = run->cursor.batch, .row = run->bad_row};
        return;
    }
    bp_scores_add(scores, run->stats, &batch->targets, batch->rows);
    if (run->config.objective.residuals)
        bp_loss_residuals(pass, &run->objective, &batch->targets, run->m[run->plan.output],
                          run->net->outputs, run->residuals, 0, batch->rows);
    if (run->config.ignore_faults || isfinite(scores->loss_sum)) return;
    run->status = BPFAST_NOT_FINITE;
    name_fault(run, batch->rows);
}

void bp_run_advance(bpfast_run *run, const bp_batch *done, bp_batch *next, bool learnt)
{
    run->part = done->ends ? 0 : run->part + 1;
    run->stop = run->status != BPFAST_OK;
    if (done->ends) {
        ++run->cursor.batch;
        if (learnt) ++run->net->counters.step;
        --run->steps_left;
        run->stop |= run->cursor.batch == run->batches || run->steps_left == 0 ||
                     bp_seconds() >= run->deadline;
    }
    if (!run->stop) bp_run_prepare(run, next);
}

/* Thread 0 adds up, does its items, and prepares the next step while others finish theirs. */
static void chunk_task(void *arg, bp_team *team, size_t id)
{
    bpfast_run *run = arg;
    const bp_fpmode mode = bp_fpmode_enter();
    for (size_t parity = 0;; parity = 1 - parity) {
        const bp_batch *batch = &run->batch[parity];
        const bp_pass pass = bp_run_pass(run, batch, id);
        bp_run_mask(run, &pass, team, id);
        bp_run_segments(run, batch, &pass, team, id);
        bp_team_wait(team, id);
        const bool steps = batch->learns && run->bad_row == SIZE_MAX;
        if (id == 0) bp_run_add_scores(run, batch, &pass);
        if (steps) bp_step_gradients(run, batch, &pass, team, id, BP_GRADIENT_UPDATE);
        if (id == 0) bp_run_advance(run, batch, &run->batch[1 - parity], steps);
        bp_team_wait(team, id);
        if (run->stop) break;
    }
    bp_fpmode_leave(mode);
}

/* ---- epochs ---- */

void bp_run_pack(bpfast_run *run)
{
    bp_weights_read(run->net, run->w, run->net->parameters);
    run->packed = true;
}

void bpfast_run_unpack(bpfast_run *run)
{
    if (run->packed) bp_weights_write(run->net, run->w, run->net->parameters);
    run->packed = false;
}

void bpfast_run_begin_epoch(bpfast_run *run, const double *rates, size_t n_rates,
                            const bpfast_cursor *cursor)
{
    bpfast_net *net = run->net;
    memcpy(net->snapshot, net->parameters, net->n_parameters * net->k->size);
    memcpy(bp_at(net->snapshot, net->n_parameters, net->k->size), net->buffers,
           net->n_buffers * net->k->size);
    run->norm_clips = net->has_optimizer && net->optimizer.clip_norm > 0;
    run->rates = rates;
    run->n_rates = n_rates;
    run->cursor = *cursor;
    run->part = 0;
    run->status = BPFAST_OK;
    run->bad_row = SIZE_MAX;
    run->watched = false;
    if (cursor->residuals)
        memcpy(run->residuals, cursor->residuals, net->outputs * sizeof *run->residuals);
    else
        memset(run->residuals, 0, net->outputs * sizeof *run->residuals);
    run->cursor.residuals = run->residuals;
    if (run->order)
        bp_permutation(run->order, run->config.train.rows, net->counters.seed, BP_STREAM_SHUFFLE,
                       net->counters.epoch);
}

/* Steps with one number of threads: until max_steps, the deadline, or the next trial. */
static void run_chunk(bpfast_run *run, size_t max_steps, double deadline)
{
    const size_t before = run->cursor.batch;
    const long preemptions = bp_preemptions();
    const double start = bp_seconds();
    run->steps_left = max_steps;
    run->deadline = fmin(deadline, start + bp_tune_seconds(&run->tuner));
    run->stop = false;
    bp_run_prepare(run, &run->batch[0]);
    const size_t team = bp_team_run(run->tuner.now, run->config.exact_threads, chunk_task, run);
    if (run->watches) return; /* such a step is no measure of the others */
    bp_tune_add(&run->tuner, team, run->cursor.batch - before, bp_seconds() - start,
                bp_preemptions() != preemptions);
}

/* As run_chunk, up to the epoch's last step or that one alone: its gradient is left in GRAD. */
static void run_watched(bpfast_run *run, size_t max_steps, double deadline)
{
    bpfast_net *net = run->net;
    const size_t left = run->batches - 1 - run->cursor.batch;
    run->watches = left == 0;
    if (run->watches) bp_weights_write(net, run->w, run->before);
    run_chunk(run, run->watches ? 1 : bp_min(max_steps, left), deadline);
    if (!run->watches) return;
    if (!run->batch[0].learns) /* no weight, no step: nothing was stored */
        memset(net->gradients, 0, net->n_parameters * net->k->size);
    run->watches = false;
    run->watched = true;
    run->before = NULL;
}

bpfast_status bpfast_run_steps(bpfast_run *run, size_t max_steps, double seconds, bool *finished)
{
    const double deadline = bp_seconds() + seconds;
    const size_t before = run->cursor.batch;
    size_t done = 0;
    *finished = run->cursor.batch >= run->batches;
    if (*finished || run->status != BPFAST_OK) return run->status;
    if (!run->packed) bp_run_pack(run);
    const bp_fpmode mode = bp_fpmode_enter(); /* steps are prepared here too */
    do {
        (run->before ? run_watched : run_chunk)(run, max_steps - done, deadline);
        done = run->cursor.batch - before;
        *finished = run->cursor.batch >= run->batches;
    } while (!*finished && run->status == BPFAST_OK && done < max_steps && bp_seconds() < deadline);
    bp_fpmode_leave(mode);
    run->net->tuner = run->tuner;
    run->net->tuned_at = bp_seconds();
    run->net->tuned_batch = run->config.batch_size;
    return run->status;
}

void bpfast_run_watch(bpfast_run *run, void *before) { run->before = before; }

bool bpfast_run_watched(const bpfast_run *run) { return run->watched; }

bpfast_cursor bpfast_run_cursor(const bpfast_run *run) { return run->cursor; }

bpfast_fault bpfast_run_fault(const bpfast_run *run) { return run->fault; }

size_t bpfast_run_threads(const bpfast_run *run) { return run->tuner.best; }

const double *bpfast_run_residuals(const bpfast_run *run, bool validation)
{
    return validation ? run->validation_residuals : run->residuals;
}

void bpfast_run_restore(bpfast_run *run)
{
    bpfast_net *net = run->net;
    memcpy(net->parameters, net->snapshot, net->n_parameters * net->k->size);
    memcpy(net->buffers, bp_at(net->snapshot, net->n_parameters, net->k->size),
           net->n_buffers * net->k->size);
    run->packed = false;
}

static bool weights_finite(bpfast_run *run)
{
    const bpfast_net *net = run->net;
    bpfast_tensor t;
    for (size_t i = 0; bpfast_net_tensor(net, i, &t); ++i) {
        if (net->k->all_finite(bp_at(net->parameters, t.offset, net->k->size), t.rows * t.cols))
            continue;
        run->fault = (bpfast_fault){.layer = t.layer, .batch = run->cursor.batch - 1};
        return false;
    }
    return true;
}

bpfast_status bpfast_run_end_epoch(bpfast_run *run, double *penalty, bpfast_scores *validation)
{
    const bool packed = run->packed;
    ++run->net->counters.epoch;
    if (packed) bpfast_run_unpack(run);
    if (!run->config.ignore_faults && !weights_finite(run)) return BPFAST_NOT_FINITE;
    *penalty = bpfast_penalty(run->net);
    if (run->config.validation.rows == 0) return BPFAST_OK;
    if (!packed) bp_run_pack(run); /* the epoch ended exactly where a chunk did */
    bp_team_run(run->tuner.best, run->config.exact_threads, bp_infer_task, &run->validation);
    run->packed = false;
    bp_infer_totals(&run->validation, validation,
                    run->config.objective.residuals ? run->validation_residuals : NULL);
    return BPFAST_OK;
}

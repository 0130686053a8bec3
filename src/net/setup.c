/* setup.c - a run's memory: sizes first, then one allocation, then pointers into it.
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "run.h"

/* Offsets of a run's parts in its one allocation. */
typedef struct {
    bp_layout layout;
    size_t matrices, table, weights, read, plain, panels, transposed, masked, masked_transposed;
    size_t scratch, scratch_size, own, own_size, claims, stats, residuals, shards, order;
    size_t validation_arenas, validation_stats, validation_chunks, validation_residuals;
} parts;

static bool masks_weights(const bpfast_net *net)
{
    for (size_t i = 0; i < net->n_nodes; ++i)
        if (bp_masks_weights(&net->nodes[i])) return true;
    return false;
}

static parts lay_out(const bpfast_net *net, const bpfast_config *config, const bp_plan *plan,
                     size_t infer_size, size_t threads)
{
    const size_t size = net->k->size;
    const size_t masked = masks_weights(net) ? net->n_state : 0;
    const size_t rows = config->validation.rows, chunks = bp_ceil_div(rows, net->infer->batch);
    parts p = {0};
    bp_layout *l = &p.layout;
    bp_layout one = {0}, own = {0};
    bp_layout_add(&one, plan->scratch, size);
    bp_layout_add(&own, plan->own, size);
    p.scratch_size = one.size;
    p.own_size = own.size;
    p.matrices = bp_layout_add(l, plan->bytes, 1);
    p.table = bp_layout_add(l, plan->n_buffers, sizeof(bp_panels));
    p.weights = bp_layout_add(l, net->n_nodes, sizeof(bp_weights));
    p.read = bp_layout_add(l, net->n_nodes, sizeof(bp_weights));
    p.plain = bp_layout_add(l, net->n_nodes, sizeof(bp_weights));
    p.panels = bp_layout_add(l, net->n_state, size);
    p.transposed = bp_layout_add(l, net->n_state, size);
    p.masked = bp_layout_add(l, masked, size);
    p.masked_transposed = bp_layout_add(l, masked, size);
    p.scratch = bp_layout_add(l, threads, p.scratch_size);
    p.own = bp_layout_add(l, threads, p.own_size);
    p.claims = bp_layout_add(l, threads, sizeof(bp_claim));
    p.stats = bp_layout_add(l, config->batch_size, sizeof(bp_row_stats));
    p.residuals = bp_layout_add(l, net->outputs, sizeof(double));
    p.shards = bp_layout_add(l, bp_shard_count(net->n_parameters), sizeof(double));
    p.order = bp_layout_add(l, config->shuffle ? config->train.rows : 0, sizeof(int64_t));
    if (rows == 0) return p;
    p.validation_arenas = bp_layout_add(l, threads, infer_size);
    p.validation_stats = bp_layout_add(l, rows, sizeof(bp_row_stats));
    p.validation_chunks = bp_layout_add(l, chunks * net->outputs, sizeof(double));
    p.validation_residuals = bp_layout_add(l, net->outputs, sizeof(double));
    return p;
}

/* The transposed copy is for gradients that are passed on, and for layers tied to this one. */
static bool needs_transposed(const bpfast_run *run, const bp_node *owner)
{
    for (const bp_node *use = owner;; use = &run->net->nodes[use->next_use]) {
        if (use->tied) return true;
        for (size_t s = run->plan.n_forward; s < run->plan.n_steps; ++s) {
            const bp_step *step = &run->plan.steps[s];
            if (step->node == use && step->out != BP_NONE && use->op->needs(use).multiplies)
                return true;
        }
        if (!use->next_use) return false;
    }
}

/* What products read: the weights themselves, or the step's masked copies. */
static void place_weights(bpfast_run *run, char *base, const parts *p)
{
    const bpfast_net *net = run->net;
    run->w = (bp_weights *)(base + p->weights);
    run->read = (bp_weights *)(base + p->read);
    run->plain = (bp_weights *)(base + p->plain);
    run->masks_weights = masks_weights(net);
    for (size_t i = 0; i < net->n_nodes; ++i) {
        const bp_node *node = &net->nodes[i], *owner = &net->nodes[node->owner];
        const bool turns = needs_transposed(run, owner);
        run->w[i] = bp_weights_at(net, node, base + p->panels, turns ? base + p->transposed : NULL);
        run->w[i].far = run->far || run->threads > 1;
        run->read[i] = run->w[i];
        if (!bp_masks_weights(owner)) continue;
        const bp_weights masked =
            bp_weights_at(net, node, base + p->masked, turns ? base + p->masked_transposed : NULL);
        run->read[i].w = masked.w;
        run->read[i].wt = masked.wt;
    }
}

/* Weights, their transposes, moments. */
static size_t update_bytes(const bpfast_net *net)
{
    return (2 + bp_rule_slots(net->optimizer.rule)) * net->n_state * net->k->size;
}

static void place(bpfast_run *run, const parts *p)
{
    const bpfast_net *net = run->net;
    char *base = run->memory;
    run->m = (bp_panels *)(base + p->table);
    bp_plan_bind(&run->plan, net->k, base + p->matrices, run->m);
    run->far = update_bytes(net) > net->l2;
    if (bp_positions(net->input) > 1)
        run->cached_rows = bp_max(run->plan.unit, net->l2 / bp_max(run->plan.row_bytes, 1));
    place_weights(run, base, p);
    run->own = base + p->own;
    run->own_size = p->own_size;
    run->scratch = base + p->scratch;
    run->scratch_size = p->scratch_size;
    run->claims = (bp_claim *)(base + p->claims);
    run->stats = (bp_row_stats *)(base + p->stats);
    run->residuals = (double *)(base + p->residuals);
    run->shards = (double *)(base + p->shards);
    run->order = run->config.shuffle ? (int64_t *)(base + p->order) : NULL;
    run->validation_residuals = (double *)(base + p->validation_residuals);
}

static bp_inference validation_job(const bpfast_run *run, const parts *p, size_t infer_size)
{
    char *base = run->memory;
    const bool residuals = run->config.objective.residuals;
    return (bp_inference){.net = run->net,
                          .plan = run->infer,
                          .w = run->w,
                          .x = &run->config.validation.x,
                          .rows = run->config.validation.rows,
                          .data = &run->config.validation,
                          .objective = &run->objective,
                          .stats = (bp_row_stats *)(base + p->validation_stats),
                          .residuals = residuals ? (double *)(base + p->validation_chunks) : NULL,
                          .arenas = base + p->validation_arenas,
                          .arena_size = infer_size};
}

/* Room for as many threads as may be tried, and the number to begin with. */
static void choose_threads(bpfast_run *run, size_t batch, double steps)
{
    const bpfast_config *config = &run->config;
    const bp_tuner *last = &run->net->tuner;
    const double flops = bp_net_flops(run->net) * (double)batch, shortest = 10e-6 * 50e9;
    const size_t guess =
        bp_choose_threads(config->threads, config->exact_threads, flops, steps, batch);
    const bool settled = config->exact_threads || flops < shortest;
    const size_t most =
        settled || !bp_worth_waking(flops, steps) ? guess : bp_min(config->threads, batch);
    run->threads = most;
    run->tuner = bp_tune_start(settled ? 1 : most, guess);
    /* a settled run's tuner has most 1, whatever its team */
    if (run->net->tuned_batch == batch && last->most == most && most > 1 && !settled) {
        run->tuner = *last;
        bp_tune_resume(&run->tuner, bp_seconds() - run->net->tuned_at);
    }
}

static bpfast_status open_run(bpfast_run *run, bpfast_message *message)
{
    const bpfast_net *net = run->net;
    const bpfast_config *config = &run->config;
    const bool stream = config->train.rows == 0;             /* low-level: one batch at a time */
    const bool to_input = stream && !config->objective.loss; /* backward returns dX */
    bool fused = false;
    size_t infer_size = 0;
    if (config->objective.loss) {
        BP_TRY(bp_objective_read(&run->objective, net, &config->objective, message));
        fused = bp_loss_fused_activation(run->objective.loss) != BP_ACT_identity;
    }
    const size_t batch = config->batch_size;
    const double steps =
        stream ? 1.0 : config->planned_epochs * (double)(run->batches * config->accumulate);
    choose_threads(run, batch, steps);
    BP_TRY(bp_plan_new(&run->plan, net, batch, run->threads,
                       to_input ? BP_PLAN_TRAIN_INPUT : BP_PLAN_TRAIN, fused, message));
    if (config->validation.rows > 0) {
        run->infer = &net->infer[fused];
        infer_size = bp_infer_arena_size(net, run->infer);
    }
    const parts p = lay_out(net, config, &run->plan, infer_size, run->threads);
    BP_TRY(bp_arena_try(&run->memory, &p.layout, "a training run", message));
    place(run, &p);
    if (config->validation.rows > 0) run->validation = validation_job(run, &p, infer_size);
    return BPFAST_OK;
}

bpfast_status bpfast_run_new(bpfast_run **out, bpfast_net *net, const bpfast_config *config,
                             bpfast_message *message)
{
    bpfast_run *run = bp_arena_new(sizeof *run);
    *out = NULL;
    if (!run) return bp_fail(message, BPFAST_NO_MEMORY, "cannot allocate a training run");
    run->net = net;
    run->config = *config;
    run->bad_row = SIZE_MAX;
    run->config.accumulate = bp_max(config->accumulate, 1);
    run->batches = bp_ceil_div(config->train.rows, bp_run_step_rows(run));
    const bpfast_status status = open_run(run, message);
    if (status != BPFAST_OK) {
        bpfast_run_free(run);
        return status;
    }
    *out = run;
    return BPFAST_OK;
}

void bpfast_run_free(bpfast_run *run)
{
    if (!run) return;
    bp_plan_free(&run->plan);
    bp_arena_free(run->memory);
    bp_arena_free(run);
}

bool bpfast_net_memory(const bpfast_net *net, size_t batch_size, size_t rows, size_t slots,
                       size_t *persist, size_t *state, size_t *work)
{
    bpfast_message message;
    bp_plan plan;
    const bpfast_config config = {
        .train = {.rows = rows}, .batch_size = batch_size, .shuffle = true};
    if (bp_plan_new(&plan, net, batch_size, 1, BP_PLAN_TRAIN, false, &message) != BPFAST_OK)
        return false;
    const parts p = lay_out(net, &config, &plan, 0, bp_threads_limits().threads);
    bp_plan_free(&plan);
    *persist = (3 * net->n_parameters + 2 * net->n_buffers) *
               net->k->size; /* PARAM, GRAD, BUFFERS, SNAPSHOT */
    *state = slots * net->n_state * net->k->size;
    *work = p.layout.size;
    return !p.layout.overflow;
}

/* lowlevel.c - forward, backward and one optimizer step as calls of their own.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * They run the steps of the same plan as fit, so equal batches end in equal bits. The caller may have
 * written to the weights since the last call. A step packs them anew; in chains of layers products read
 * them where they stand, which costs less than packing for any one batch (prim/plain.c), but for masks
 * and for penalties of gradients made in blocks.
 */
#include "run.h"

#include <math.h>
#include <string.h>

typedef struct {
    bpfast_run *run;
    const bpfast_data *data; /* NULL: inputs only */
    const bpfast_array *x;
    bp_gradient_mode mode;
} job;

/* Whether gradients go straight to GRAD: else block by block, which masks need too. */
static bool few_rows(const bpfast_run *run)
{
    return run->net->chain && !run->masks_weights && bp_plain_gradient_pays(run->batch[0].rows);
}

static void read_weights(bpfast_run *run)
{
    const bpfast_net *net = run->net;
    if (!net->chain) {
        bp_weights_read(net, run->w, net->parameters);
        memcpy(run->plain, run->read, net->n_nodes * sizeof *run->plain);
        return;
    }
    for (size_t i = 0; i < net->n_nodes; ++i) {
        const bp_node *node = &net->nodes[i];
        if (!node->use_kernel) continue;
        const bool penalised = node->l1 + node->l2 + node->bias_l1 + node->bias_l2 > 0;
        run->plain[i] = bp_dense_plain(net->k, node, net->parameters, net->l2);
        if (!bp_masks_weights(node) && (few_rows(run) || !penalised)) continue;
        bp_weights_read_one(net, node, &run->w[i], net->parameters);
        run->plain[i] = run->read[i];
    }
}

/* A segment's forward or backward steps, on the thread's rows or panels. */
static void run_segment(bpfast_run *run, const bp_pass *pass, size_t segment, bool backward,
                        size_t size, size_t id)
{
    const bp_plan *plan = &run->plan;
    const bp_segment *part = &plan->segments[segment];
    const size_t batch = run->batch[0].rows;
    const size_t first = backward ? bp_max(part->first, plan->n_forward) : part->first;
    const size_t last = backward ? part->last : bp_min(part->last, plan->n_forward);
    if (part->panels == 0) {
        const size_t row0 = bp_plan_part(plan, batch, size, id);
        const size_t rows = bp_plan_part(plan, batch, size, id + 1) - row0;
        bp_run_steps(run, pass, first, last, row0, rows);
        return;
    }
    const size_t own = bp_share(part->panels, size, id);
    const size_t others = bp_share(part->panels, size, id + 1);
    const bp_pass panels = bp_run_panels_pass(run, &run->batch[0], pass, own, others, others);
    for (size_t s = first; s < last; ++s) bp_run_step_of_panels(&plan->steps[s], &panels);
}

static void run_forward(bpfast_run *run, const bp_pass *pass, bp_team *team, size_t id)
{
    const bp_plan *plan = &run->plan;
    for (size_t s = 0; s <= plan->loss_segment; ++s) {
        if (s > 0) bp_team_wait(team, id);
        if (plan->segments[s].panels == 0) bp_plan_ready(plan, pass, s);
        run_segment(run, pass, s, false, bp_team_size(team), id);
    }
}

/* Perhaps on other threads: each makes ready of rows what forward steps had. */
static void run_backward(bpfast_run *run, const bp_pass *pass, bp_team *team, size_t id)
{
    const bp_plan *plan = &run->plan;
    bp_pass again = *pass;
    again.learns = false;
    for (size_t s = 0; s < plan->n_segments; ++s) {
        if (s > plan->loss_segment) bp_team_wait(team, id);
        if (plan->segments[s].panels == 0) bp_plan_ready(plan, &again, s);
        if (s >= plan->loss_segment) run_segment(run, pass, s, true, bp_team_size(team), id);
    }
}

static void forward_task(void *arg, bp_team *team, size_t id)
{
    const job *j = arg;
    bpfast_run *run = j->run;
    const bpfast_net *net = run->net;
    const bp_plan *plan = &run->plan;
    const bp_batch *batch = &run->batch[0];
    const size_t size = bp_team_size(team), row0 = bp_plan_part(plan, batch->rows, size, id);
    const size_t rows = bp_plan_part(plan, batch->rows, size, id + 1) - row0;
    bp_pass pass = bp_run_pass(run, batch, id);
    const bp_fpmode mode = bp_fpmode_enter();
    bp_run_mask(run, &pass, team, id);
    pass.w = run->plain;
    bp_gather_inputs(net, j->x, NULL, row0, run->m[plan->input], row0, rows);
    run_forward(run, &pass, team, id);
    if (j->data && !run->objective.labels) {
        const bp_panels t = run->m[plan->targets];
        const bp_panels at = {bp_panel(net->k, t, 0, row0), t.stride};
        bp_gather(net->k, &j->data->y, NULL, row0, rows, at, NULL, NULL);
    }
    if (j->data) bp_run_loss(run, batch, &pass, row0, rows);
    bp_fpmode_leave(mode);
}

static void store_gradients(bpfast_run *run, const bp_pass *pass, bp_team *team, size_t id,
                            bp_gradient_mode mode)
{
    const bpfast_net *net = run->net;
    const bp_batch *batch = &run->batch[0];
    if (!few_rows(run)) {
        bp_step_gradients(run, batch, pass, team, id, mode);
        return;
    }
    for (size_t i = 0; i < net->n_nodes; ++i) {
        const bp_node *node = &net->nodes[i];
        if (!bp_trains_kernel(net, node)) continue;
        bp_dense_plain_gradient(pass, node, &run->plain[i], net->gradients, batch->rows,
                                mode == BP_GRADIENT_ADD, bp_team_size(team), id);
    }
}

static void backward_task(void *arg, bp_team *team, size_t id)
{
    const job *j = arg;
    bpfast_run *run = j->run;
    bp_pass pass = bp_run_pass(run, &run->batch[0], id);
    const bp_fpmode mode = bp_fpmode_enter();
    pass.w = run->plain;
    run_backward(run, &pass, team, id);
    bp_team_wait(team, id);
    store_gradients(run, &pass, team, id, j->mode);
    bp_fpmode_leave(mode);
}

static void apply_task(void *arg, bp_team *team, size_t id)
{
    const job *j = arg;
    const bp_pass pass = bp_run_pass(j->run, &j->run->batch[0], id);
    const bp_fpmode mode = bp_fpmode_enter();
    bp_step_gradients(j->run, &j->run->batch[0], &pass, team, id, BP_GRADIENT_SWEEP);
    bp_fpmode_leave(mode);
}

void bpfast_run_forward(bpfast_run *run, const bpfast_array *x, size_t rows, size_t part, void *out)
{
    const bpfast_net *net = run->net;
    const bp_panels y = run->m[run->plan.output];
    job j = {.run = run, .x = x};
    run->batch[0] = (bp_batch){.rows = rows, .step = bp_random_step(net, part), .learns = true};
    read_weights(run);
    bp_team_run(run->tuner.now, run->config.exact_threads, forward_task, &j);
    net->k->unpack(out, y.data, rows, net->outputs, net->outputs, y.stride);
}

void bpfast_run_backward(bpfast_run *run, const bpfast_array *dy, bool accumulate, void *dx)
{
    const bpfast_net *net = run->net;
    job j = {.run = run, .mode = accumulate ? BP_GRADIENT_ADD : BP_GRADIENT_STORE};
    const bp_fpmode mode = bp_fpmode_enter();
    bp_gather(net->k, dy, NULL, 0, run->batch[0].rows, run->m[run->plan.delta], NULL, NULL);
    bp_team_run(run->tuner.now, run->config.exact_threads, backward_task, &j);
    if (dx) {
        const bp_panels m = run->m[run->plan.input_delta];
        const size_t each = bp_positions(net->input), cols = net->input.channels;
        net->k->unpack(dx, m.data, run->batch[0].rows * each, cols, cols, m.stride);
    }
    if (dx && net->standardizes) /* through a first standardize layer: d/dx (x - mean) scale */
        net->k->scale_columns(dx, bp_net_scale(net), run->batch[0].rows, net->inputs);
    bp_fpmode_leave(mode);
}

bpfast_status bpfast_run_loss(bpfast_run *run, const bpfast_data *data, double *loss,
                              double *penalty)
{
    const bpfast_net *net = run->net;
    bpfast_scores scores = {0};
    job j = {.run = run, .data = data, .x = &data->x, .mode = BP_GRADIENT_STORE};
    bp_batch *batch = &run->batch[0];
    const bp_fpmode mode = bp_fpmode_enter();
    *batch = (bp_batch){.rows = data->rows,
                        .step = net->counters.step,
                        .learns = true,
                        .targets = {.targets = run->m[run->plan.targets],
                                    .labels = data->labels,
                                    .weights = data->weights,
                                    .weight_sum = bp_weight_sum(data, NULL, 0, data->rows)}};
    read_weights(run);
    bp_team_run(run->tuner.now, run->config.exact_threads, forward_task, &j);
    bp_team_run(run->tuner.now, run->config.exact_threads, backward_task, &j);
    bp_scores_add(&scores, run->stats, &batch->targets, data->rows);
    *loss = scores.weight_sum > 0 ? scores.loss_sum / scores.weight_sum : 0.0;
    *penalty = bpfast_penalty(net);
    bp_fpmode_leave(mode);
    return isfinite(*loss) ? BPFAST_OK : BPFAST_NOT_FINITE;
}

void bpfast_run_apply(bpfast_run *run, double rate)
{
    bpfast_net *net = run->net;
    job j = {.run = run};
    const bp_fpmode mode = bp_fpmode_enter();
    run->norm_clips = net->optimizer.clip_norm > 0;
    run->batch[0].update = bp_update_prepare(net->k, &net->optimizer, rate, net->counters.step + 1);
    run->batch[0].average_share = bp_net_average_share(net);
    bp_run_pack(run);
    bp_team_run(run->tuner.now, run->config.exact_threads, apply_task, &j);
    bpfast_run_unpack(run);
    bp_fpmode_leave(mode);
    ++net->counters.step;
}

/* ---- one loss over plain rows ---- */

bpfast_status bpfast_loss_value(const bpfast_data *data, const bpfast_array *output,
                                const bpfast_objective *objective, size_t itemsize, double *value,
                                void *gradient, bpfast_message *message)
{
    const bp_kernels *k = bp_kernels_get(bp_isa_default(), itemsize);
    const size_t cols = output->cols, stride = bp_panel_stride(k, data->rows);
    bp_layout layout = {0};
    void *memory;
    const bp_node node = {.op = &bp_op_dense, .out = cols, .activation = BP_ACT_identity};
    const bpfast_net net = {.nodes = (bp_node *)(uintptr_t)&node, .n_nodes = 1, .outputs = cols};
    bp_objective o;
    BP_TRY(bp_objective_read(&o, &net, objective, message));
    const size_t panels = stride * bp_panel_count(k, cols);
    const size_t z_at = bp_layout_add(&layout, panels, itemsize);
    const size_t t_at = bp_layout_add(&layout, panels, itemsize);
    const size_t d_at = bp_layout_add(&layout, panels, itemsize);
    const size_t scratch_at =
        bp_layout_add(&layout, BP_SCRATCH_ROWS * bp_round_up(cols, k->nr), itemsize);
    const size_t stats_at = bp_layout_add(&layout, data->rows, sizeof(bp_row_stats));
    BP_TRY(bp_arena_try(&memory, &layout, "the loss", message));
    const bp_panels z = {bp_at(memory, z_at, 1), stride}, t = {bp_at(memory, t_at, 1), stride};
    const bp_panels d = {bp_at(memory, d_at, 1), stride};
    const bp_fpmode mode = bp_fpmode_enter();
    const bp_targets targets = {.targets = t,
                                .labels = data->labels,
                                .weights = data->weights,
                                .weight_sum = bp_weight_sum(data, NULL, 0, data->rows)};
    const bp_pass pass = {.k = k, .scratch = bp_at(memory, scratch_at, 1)};
    bp_row_stats *stats = bp_at(memory, stats_at, 1);
    bpfast_scores scores = {0};
    bp_gather(k, output, NULL, 0, data->rows, z, NULL, NULL);
    if (!o.labels) bp_gather(k, &data->y, NULL, 0, data->rows, t, NULL, NULL);
    bp_loss_rows(&pass, &o, &targets, d, z, cols, stats, 0, data->rows);
    bp_scores_add(&scores, stats, &targets, data->rows);
    if (gradient) k->unpack(gradient, d.data, data->rows, cols, cols, stride);
    *value = scores.weight_sum > 0 ? scores.loss_sum / scores.weight_sum : 0.0;
    bp_fpmode_leave(mode);
    bp_arena_free(memory);
    return BPFAST_OK;
}

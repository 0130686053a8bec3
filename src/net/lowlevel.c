/* lowlevel.c - forward, backward and one optimizer step as calls of their own.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * They run the steps of the same plan as fit, so equal batches end in equal bits. The caller may have
 * written to the weights since the last call. A step packs them anew; products read them where they
 * stand, which costs less than packing for any one batch (prim/plain.c), but for masks and for
 * penalties of gradients made in blocks.
 */
#include "run.h"

#include <math.h>

typedef struct {
    bpfast_run *run;
    bool training;
    const bpfast_data *data; /* NULL: inputs only */
    const bpfast_array *x;
    bp_gradient_mode mode;
} job;

/* Whether gradients go straight to GRAD: else block by block, which masks need too. */
static bool few_rows(const bpfast_run *run)
{
    return !run->masks_weights && bp_plain_gradient_pays(run->batch[0].rows);
}

static void read_weights(bpfast_run *run, bool training)
{
    const bpfast_net *net = run->net;
    for (size_t i = 0; i < net->n_nodes; ++i) {
        const bp_node *node = &net->nodes[i];
        if (node->op != &bp_op_dense) continue;
        const bool penalised = node->l1 + node->l2 + node->bias_l1 + node->bias_l2 > 0;
        run->plain[i] = bp_dense_plain(net->k, node, net->parameters, net->l2);
        if (!training || (node->rate == 0 && (few_rows(run) || !penalised))) continue;
        bp_weights_pack(net->k, &run->w[i], run->plain[i].plain, run->plain[i].plain_bias);
        run->plain[i] = run->read[i];
    }
}

/* Layers without an inference form (dropout) pass their input on. */
static void forward_step(const bpfast_run *run, const bp_pass *pass, const bp_step *step,
                         bool training, size_t row0, size_t rows)
{
    const bp_kernels *k = pass->k;
    if (training || step->node->op->needs(step->node).infer) {
        step->run(step, pass, row0, rows);
        return;
    }
    for (size_t j = 0; j < bp_panel_count(k, step->node->out); ++j)
        k->act[BP_ACT_identity](bp_panel(k, run->m[step->out], j, row0),
                                bp_panel(k, run->m[step->in], j, row0), rows * k->nr);
}

static void forward_task(void *arg, bp_team *team, size_t id)
{
    const job *j = arg;
    bpfast_run *run = j->run;
    const bpfast_net *net = run->net;
    const bp_batch *batch = &run->batch[0];
    const size_t size = bp_team_size(team), row0 = bp_share(batch->rows, size, id);
    const size_t rows = bp_share(batch->rows, size, id + 1) - row0;
    bp_pass pass = bp_run_pass(run, id);
    const bp_fpmode mode = bp_fpmode_enter();
    if (j->training) bp_run_mask(run, &pass, team, id);
    pass.w = run->plain;
    bp_gather_inputs(net, j->x, NULL, row0, run->m[run->plan.input], row0, rows);
    for (size_t s = 0; s < run->plan.n_forward; ++s)
        forward_step(run, &pass, &run->plan.steps[s], j->training, row0, rows);
    if (j->data && !run->objective.labels) {
        const bp_panels t = run->m[run->plan.targets];
        const bp_panels at = {bp_panel(net->k, t, 0, row0), t.stride};
        bp_gather(net->k, &j->data->y, NULL, row0, rows, at, NULL, NULL);
    }
    if (j->data)
        bp_loss_rows(&pass, &run->objective, &batch->targets, run->m[run->plan.delta],
                     run->m[run->plan.output], net->outputs, run->stats, row0, rows);
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
        if (node->op != &bp_op_dense || !node->trainable) continue;
        bp_dense_plain_gradient(pass, node, &run->plain[i], net->gradients, batch->rows,
                                mode == BP_GRADIENT_ADD, bp_team_size(team), id);
    }
}

static void backward_task(void *arg, bp_team *team, size_t id)
{
    const job *j = arg;
    bpfast_run *run = j->run;
    bp_pass pass = bp_run_pass(run, id);
    const size_t batch = run->batch[0].rows, size = bp_team_size(team);
    const size_t row0 = bp_share(batch, size, id), rows = bp_share(batch, size, id + 1) - row0;
    const bp_fpmode mode = bp_fpmode_enter();
    pass.w = run->plain;
    bp_run_steps(run, &pass, run->plan.n_forward, run->plan.n_steps, row0, rows);
    bp_team_wait(team, id);
    store_gradients(run, &pass, team, id, j->mode);
    bp_fpmode_leave(mode);
}

static void apply_task(void *arg, bp_team *team, size_t id)
{
    const job *j = arg;
    const bp_pass pass = bp_run_pass(j->run, id);
    const bp_fpmode mode = bp_fpmode_enter();
    bp_step_gradients(j->run, &j->run->batch[0], &pass, team, id, BP_GRADIENT_SWEEP);
    bp_fpmode_leave(mode);
}

bpfast_status bpfast_run_forward(bpfast_run *run, const bpfast_array *x, size_t rows, bool training,
                                 void *out)
{
    const bpfast_net *net = run->net;
    const bp_panels y = run->m[run->plan.output];
    job j = {.run = run, .training = training, .x = x};
    run->batch[0] = (bp_batch){.rows = rows, .step = net->counters.step};
    read_weights(run, training);
    bp_team_run(run->tuner.now, run->config.exact_threads, forward_task, &j);
    net->k->unpack(out, y.data, rows, net->outputs, net->outputs, y.stride);
    return BPFAST_OK;
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
        net->k->unpack(dx, m.data, run->batch[0].rows, net->inputs, net->inputs, m.stride);
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
    job j = {.run = run, .training = true, .data = data, .x = &data->x, .mode = BP_GRADIENT_STORE};
    bp_batch *batch = &run->batch[0];
    const bp_fpmode mode = bp_fpmode_enter();
    *batch = (bp_batch){.rows = data->rows,
                        .step = net->counters.step,
                        .targets = {.targets = run->m[run->plan.targets],
                                    .labels = data->labels,
                                    .weights = data->weights,
                                    .weight_sum = bp_weight_sum(data, NULL, 0, data->rows)}};
    read_weights(run, true);
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

/* infer.c - predict and evaluate: no training state, own scratch, so any number may run at once.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * One chunk of rows reads row-major weights in place, in a chain of layers without a plan. More rows
 * pack the weights once and go through the plan in chunks. All run the same chains of sums, so
 * predict(X)[i] equals predict(X[i:i+1])[0] bit for bit. Threads take whole chunks.
 */
#include "net.h"

#include <string.h>

bool bp_worth_waking(double flops, double repeats)
{
    enum { BP_COLD_AFTER_MS = 5, BP_WORTH_WAKING_MS = 20 };
    const double rate = 50e9; /* FLOP/s of one core on small layers */
    const bool warm = bp_team_idle_seconds() < 1e-3 * BP_COLD_AFTER_MS;
    return warm || flops * repeats / rate >= 1e-3 * BP_WORTH_WAKING_MS;
}

size_t bp_choose_threads(size_t most, bool exact, double flops, double repeats, size_t rows)
{
    if (exact) return bp_max(1, most);
    return bp_worth_waking(flops, repeats) ? bp_threads_for(most, flops, rows) : 1;
}

static size_t chunk_rows(const bp_inference *job)
{
    return job->chunk ? job->chunk : job->plan->batch;
}

static void run_steps(const bp_inference *job, const bp_pass *pass, size_t first, size_t rows)
{
    for (size_t s = 0; s < job->plan->n_forward; ++s) {
        const bp_step *step = &job->plan->steps[s];
        step->run(step, pass, 0, rows);
        if (job->look) bp_look_at(job->look, job->plan, pass, step, first, rows);
    }
}

/* The plans of a network: a chunk's matrices should stay in L2. */
bpfast_status bp_infer_plans(bpfast_net *net, bpfast_message *message)
{
    enum { MOST = 96, LEAST = 4, SHARE = 2 };
    bp_layout layout = {0};
    bp_layout_add(&layout, 2, sizeof(bp_plan));
    BP_TRY(bp_arena_try((void **)&net->infer, &layout, "the plans of inference", message));
    size_t rows = MOST;
    if (!net->chain) {
        BP_TRY(bp_plan_new(&net->infer[0], net, 1, 1, BP_PLAN_INFER, false, message));
        rows = bp_max(LEAST, bp_min(MOST, net->l2 / SHARE / bp_max(net->infer[0].row_bytes, 1)));
        bp_plan_free(&net->infer[0]);
    }
    BP_TRY(bp_plan_new(&net->infer[0], net, rows, 1, BP_PLAN_INFER, false, message));
    return bp_plan_new(&net->infer[1], net, rows, 1, BP_PLAN_INFER, true, message);
}

/* Offsets in a thread's arena. */
typedef struct {
    bp_layout layout;
    size_t table, scratch, own;
} parts;

static parts lay_out(const bpfast_net *net, const bp_plan *plan)
{
    parts p = {0};
    bp_layout_add(&p.layout, plan->bytes, 1);
    p.table = bp_layout_add(&p.layout, plan->n_buffers, sizeof(bp_panels));
    p.scratch = bp_layout_add(&p.layout, plan->scratch, net->k->size);
    p.own = bp_layout_add(&p.layout, plan->own, net->k->size);
    return p;
}

size_t bp_infer_arena_size(const bpfast_net *net, const bp_plan *plan)
{
    return lay_out(net, plan).layout.size;
}

static void score_chunk(const bp_inference *job, const bp_pass *pass, size_t first, size_t rows)
{
    const bpfast_data *data = job->data;
    const bp_kernels *k = pass->k;
    const bp_targets targets = {.first = first,
                                .targets = pass->m[job->plan->targets],
                                .labels = data->labels,
                                .weights = data->weights,
                                .weight_sum = 1.0};
    const bp_panels z = pass->m[job->plan->output], none = {NULL, 0};
    memset(job->stats + first, 0, rows * sizeof *job->stats); /* what is not wanted stays zero */
    if (!job->objective->labels)
        bp_gather(k, &data->y, NULL, first, rows, targets.targets, NULL, NULL);
    bp_loss_rows(pass, job->objective, &targets, none, z, job->net->outputs, job->stats + first, 0,
                 rows);
    if (!job->residuals) return;
    double *sums = job->residuals + first / job->plan->batch * job->net->outputs;
    memset(sums, 0, job->net->outputs * sizeof *sums); /* an earlier epoch left its own */
    bp_loss_residuals(pass, job->objective, &targets, z, job->net->outputs, sums, 0, rows);
}

void bp_infer_task(void *arg, bp_team *team, size_t id)
{
    const bp_inference *job = arg;
    const bpfast_net *net = job->net;
    const bp_kernels *k = net->k;
    const size_t chunk = chunk_rows(job), size = bp_team_size(team);
    const size_t chunks = bp_ceil_div(job->rows, chunk);
    const parts p = lay_out(net, job->plan);
    char *arena = job->arenas + id * job->arena_size;
    bp_panels *m = bp_at(arena, p.table, 1);
    const bp_pass pass = {.k = k,
                          .k64 = net->k64,
                          .m = m,
                          .at = job->plan->at,
                          .w = job->w,
                          .buffers = net->buffers,
                          .own = bp_at(arena, p.own, 1),
                          .panels = BP_ALL_PANELS,
                          .scratch = bp_at(arena, p.scratch, 1)};
    const bp_fpmode mode = bp_fpmode_enter();
    bp_plan_bind(job->plan, k, arena, m);
    bp_plan_ready(job->plan, &pass, 0);
    for (size_t c = bp_share(chunks, size, id); c < bp_share(chunks, size, id + 1); ++c) {
        const size_t first = c * chunk, rows = bp_min(chunk, job->rows - first);
        bp_gather_inputs(net, job->x, NULL, first, m[job->plan->input], 0, rows);
        run_steps(job, &pass, first, rows);
        if (job->look) continue;
        if (job->out)
            k->unpack(bp_at(job->out, first * net->outputs, k->size), m[job->plan->output].data,
                      rows, net->outputs, net->outputs, m[job->plan->output].stride);
        else
            score_chunk(job, &pass, first, rows);
    }
    bp_fpmode_leave(mode);
}

void bp_infer_totals(const bp_inference *job, bpfast_scores *scores, double *residuals)
{
    const bp_targets all = {.weights = job->data->weights};
    const size_t outputs = residuals ? job->net->outputs : 0;
    const bp_fpmode mode = bp_fpmode_enter();
    *scores = (bpfast_scores){0};
    bp_scores_add(scores, job->stats, &all, job->rows);
    for (size_t j = 0; j < outputs; ++j) residuals[j] = 0;
    for (size_t c = 0; c < bp_ceil_div(job->rows, job->plan->batch); ++c)
        for (size_t j = 0; j < outputs; ++j) residuals[j] += job->residuals[c * outputs + j];
    bp_fpmode_leave(mode);
}

/* ---- few rows ---- */

/* One chunk of rows or less: layer by layer, weights as they stand, no plan. */
static bpfast_status predict_rows(const bpfast_net *net, const bpfast_array *x, size_t rows,
                                  void *out, bpfast_message *message)
{
    enum { ON_STACK = 16384 }; /* bytes: small networks need no allocation */
    const bp_kernels *k = net->k;
    const size_t stride = bp_panel_stride(k, rows), panels = bp_panel_count(k, net->widest);
    _Alignas(BP_ALIGN) char room[ON_STACK];
    bp_layout layout = {0};
    void *memory = NULL;
    const size_t from = bp_layout_add(&layout, panels * stride, k->size);
    const size_t to = bp_layout_add(&layout, panels * stride, k->size);
    const size_t scratch = bp_layout_add(&layout, panels * k->nr, k->size);
    const bool borrows = layout.overflow || layout.size > sizeof room;
    if (borrows) BP_TRY(bp_arena_borrow(net->spare, &memory, &layout, "a few rows", message));
    char *base = borrows ? memory : room;
    bp_panels a = {base + from, stride}, b = {base + to, stride};
    const bp_fpmode mode = bp_fpmode_enter();
    bp_gather_inputs(net, x, NULL, 0, a, 0, rows);
    for (size_t i = 0; i < net->n_nodes; ++i) {
        const bp_node *node = &net->nodes[i];
        if (node->op != &bp_op_dense) continue;
        const bp_weights w = bp_dense_plain(k, node, net->parameters, net->l2);
        bp_dense_plain_rows(k, node, &w, b, a, rows, base + scratch);
        const bp_panels held = a;
        a = b;
        b = held;
    }
    k->unpack(out, a.data, rows, net->outputs, net->outputs, stride);
    bp_fpmode_leave(mode);
    if (borrows) bp_arena_return(net->spare, memory);
    return BPFAST_OK;
}

/* ---- many rows ---- */

/* Memory of one call: weights, a scratch arena for each thread, row numbers. For few rows wide kernels
 * of dense layers are read where they stand. */
bpfast_status bp_infer_open(void **memory, bp_inference *job, size_t threads, bool residuals,
                            bpfast_message *message)
{
    const bpfast_net *net = job->net;
    const bp_kernels *k = net->k;
    const size_t chunks = bp_ceil_div(job->rows, job->plan->batch);
    bp_layout layout = {0};
    job->arena_size = bp_infer_arena_size(net, job->plan);
    const size_t table = bp_layout_add(&layout, net->n_nodes, sizeof(bp_weights));
    const size_t weights = bp_layout_add(&layout, net->n_state, k->size);
    const size_t transposed = bp_layout_add(&layout, net->ties ? net->n_state : 0, k->size);
    const size_t arenas = bp_layout_add(&layout, threads, job->arena_size);
    const size_t stats = bp_layout_add(&layout, job->data ? job->rows : 0, sizeof(bp_row_stats));
    const size_t sums =
        bp_layout_add(&layout, residuals ? chunks * net->outputs : 0, sizeof(double));
    BP_TRY(bp_arena_borrow(net->spare, memory, &layout, "inference", message));
    bp_weights *w = bp_at(*memory, table, 1);
    for (size_t i = 0; i < net->n_nodes; ++i) {
        const bp_node *node = &net->nodes[i];
        const bool plain = chunks == 1 && node->op == &bp_op_dense && !net->ties;
        w[i] = plain ? bp_dense_plain(k, node, net->parameters, net->l2)
                     : bp_weights_at(net, node, bp_at(*memory, weights, 1),
                                     net->ties ? bp_at(*memory, transposed, 1) : NULL);
    }
    bp_weights_read(net, w, net->parameters);
    job->w = w;
    job->arenas = bp_at(*memory, arenas, 1);
    job->stats = bp_at(*memory, stats, 1);
    job->residuals = residuals ? bp_at(*memory, sums, 1) : NULL;
    return BPFAST_OK;
}

size_t bp_infer_threads(const bp_inference *job, size_t threads, bool exact)
{
    const double flops = bp_net_flops(job->net) / 3 * (double)job->rows;
    return bp_choose_threads(threads, exact, flops, 1.0, bp_ceil_div(job->rows, chunk_rows(job)));
}

bpfast_status bpfast_predict(const bpfast_net *net, const bpfast_array *x, size_t rows, void *out,
                             size_t threads, bool exact_threads, bpfast_message *message)
{
    void *memory;
    bp_inference job = {.net = net, .plan = &net->infer[0], .x = x, .rows = rows, .out = out};
    if (net->chain && rows <= net->infer->batch) return predict_rows(net, x, rows, out, message);
    threads = bp_infer_threads(&job, threads, exact_threads);
    BP_TRY(bp_infer_open(&memory, &job, threads, false, message));
    bp_team_run(threads, exact_threads, bp_infer_task, &job);
    bp_arena_return(net->spare, memory);
    return BPFAST_OK;
}

bpfast_status bpfast_evaluate(const bpfast_net *net, const bpfast_data *data,
                              const bpfast_objective *objective, size_t threads,
                              bpfast_scores *scores, double *residuals, bpfast_message *message)
{
    void *memory;
    bp_objective target;
    BP_TRY(bp_objective_read(&target, net, objective, message));
    const bool fused = bp_loss_fused_activation(target.loss) != BP_ACT_identity;
    bp_inference job = {.net = net,
                        .plan = &net->infer[fused],
                        .x = &data->x,
                        .rows = data->rows,
                        .data = data,
                        .objective = &target};
    threads = bp_infer_threads(&job, threads, false);
    BP_TRY(bp_infer_open(&memory, &job, threads, residuals != NULL, message));
    bp_team_run(threads, false, bp_infer_task, &job);
    bp_infer_totals(&job, scores, residuals);
    bp_arena_return(net->spare, memory);
    return BPFAST_OK;
}

bool bpfast_activate(const char *activation, void *values, size_t rows, size_t cols,
                     size_t itemsize)
{
    const bp_kernels *k = bp_kernels_get(bp_isa_default(), itemsize);
    const size_t index = bp_find_name(bp_activation_name, activation);
    if (index == BP_N_ACTIVATIONS) return false;
    const bp_fpmode mode = bp_fpmode_enter();
    if (index != BP_ACT_softmax) k->act[index](values, values, rows * cols);
    for (size_t r = 0; index == BP_ACT_softmax && r < rows; ++r) {
        void *row = bp_at(values, r * cols, itemsize);
        k->softmax(row, row, cols);
    }
    bp_fpmode_leave(mode);
    return true;
}

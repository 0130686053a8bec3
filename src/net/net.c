/* net.c - a network: its layers, its parameters, its optimizer.
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "net.h"

#include <float.h>
#include <math.h>
#include <string.h>

const char *bpfast_isa_name(size_t index)
{
    return index < bp_isa_count() ? bp_isa_name(index) : NULL;
}

bool bpfast_isa_supported(size_t index) { return bp_isa_supported(index); }

const char *bpfast_isa_default(void) { return bp_isa_name(bp_isa_default()); }

bpfast_threads bpfast_thread_limits(void)
{
    const bp_thread_limits l = bp_threads_limits();
    return (bpfast_threads){l.threads, l.cpus,  l.openmp, l.thread_limit, l.affinity,
                            l.cores,   l.quota, l.reason, l.cpus_reason,  l.has_openmp};
}

size_t bpfast_cpu_cores(const char *root, size_t cpus) { return bp_threads_cores(root, cpus); }

size_t bpfast_cpu_quota(const char *root) { return bp_threads_quota(root); }

static bpfast_status find_isa(size_t *index, const char *isa, bpfast_message *message)
{
    *index = bp_isa_default();
    if (!isa) return BPFAST_OK;
    for (*index = 0; *index < bp_isa_count(); ++*index) {
        if (strcmp(bp_isa_name(*index), isa) != 0) continue;
        if (bp_isa_supported(*index)) return BPFAST_OK;
        return bp_fail(message, BPFAST_BAD_ARGUMENT, "ISA \"%s\" does not run on this CPU", isa);
    }
    return bp_fail(message, BPFAST_BAD_ARGUMENT, "unknown ISA \"%s\"", isa);
}

static bpfast_status allocate(bpfast_net *net, bpfast_message *message)
{
    bp_layout layout = {0};
    const size_t size = net->k->size;
    const size_t parameters = bp_layout_add(&layout, net->n_parameters, size);
    const size_t gradients = bp_layout_add(&layout, net->n_parameters, size);
    const size_t buffers = bp_layout_add(&layout, net->n_buffers, size);
    const size_t snapshot = bp_layout_add(&layout, net->n_parameters + net->n_buffers, size);
    BP_TRY(bp_arena_try(&net->persist, &layout, "the network's parameters", message));
    net->parameters = bp_at(net->persist, parameters, 1);
    net->gradients = bp_at(net->persist, gradients, 1);
    net->buffers = bp_at(net->persist, buffers, 1);
    net->snapshot = bp_at(net->persist, snapshot, 1);
    bpfast_buffer buffer; /* spreads start at 1, means at 0 */
    for (size_t i = 0; bpfast_net_buffer(net, i, &buffer); ++i)
        if (buffer.part == 1)
            net->k->fill(bp_at(net->buffers, buffer.offset, size), 1.0, buffer.size);
    return BPFAST_OK;
}

bpfast_status bpfast_net_new(bpfast_net **out, const bpfast_layer *layers, size_t n_layers,
                             bpfast_shape input, size_t itemsize, const char *isa, uint64_t seed,
                             bpfast_message *message)
{
    size_t row = 0;
    *out = NULL;
    BP_TRY(find_isa(&row, isa, message));
    struct {
        bpfast_net net;
        bp_spare spare;
    } *both = bp_arena_new(sizeof *both);
    bp_layout layout = {0};
    bp_layout_add(&layout, n_layers, sizeof(bp_node));
    if (!both) return bp_fail(message, BPFAST_NO_MEMORY, "cannot allocate a network");
    bpfast_net *net = &both->net;
    net->spare = &both->spare;
    net->k = bp_kernels_get(row, itemsize);
    net->k64 = bp_kernels_get(row, sizeof(double));
    net->l2 = bp_l2_bytes();
    net->k_block = bp_k_block();
    net->input = (bp_shape){input.height, input.width, input.channels};
    net->inputs = bp_positions(net->input) * net->input.channels;
    net->counters.seed = seed;
    bpfast_status status = bp_arena_try((void **)&net->nodes, &layout, "the layers", message);
    if (status == BPFAST_OK) status = bp_spec_read(net, layers, n_layers, message);
    if (status == BPFAST_OK) status = allocate(net, message);
    if (status == BPFAST_OK) status = bp_infer_plans(net, message);
    if (status != BPFAST_OK) {
        bpfast_net_free(net);
        return status;
    }
    *out = net;
    return BPFAST_OK;
}

void bpfast_net_free(bpfast_net *net)
{
    if (!net) return;
    for (size_t i = 0; net->infer && i < 2; ++i) bp_plan_free(&net->infer[i]);
    bp_arena_free(net->infer);
    bp_arena_free(net->nodes);
    bp_arena_free(net->persist);
    bp_arena_free(net->state);
    bp_arena_free(net->average);
    bp_arena_free(*net->spare);
    bp_arena_free(net);
}

bpfast_net_info bpfast_net_describe(const bpfast_net *net)
{
    return (bpfast_net_info){.parameters = net->parameters,
                             .gradients = net->gradients,
                             .buffers = net->buffers,
                             .n_parameters = net->n_parameters,
                             .n_buffers = net->n_buffers,
                             .inputs = net->inputs,
                             .outputs = net->outputs,
                             .itemsize = net->k->size,
                             .n_state = net->n_state,
                             .isa = net->k->isa};
}

bpfast_counters bpfast_net_counters(const bpfast_net *net) { return net->counters; }

void bpfast_net_set_counters(bpfast_net *net, bpfast_counters counters)
{
    net->counters = counters;
}

/* ---- input statistics: in double, rows in blocks, columns as lanes ---- */

enum { BP_STATISTICS_ROWS = 256 };

static void add_columns(const bpfast_net *net, double *total, const bpfast_array *x, size_t rows,
                        bp_panels block, double *part, const double *mean, const double *one)
{
    const bp_kernels *k = net->k64;
    for (size_t first = 0; first < rows; first += BP_STATISTICS_ROWS) {
        const size_t m = bp_min(BP_STATISTICS_ROWS, rows - first);
        bp_gather(k, x, NULL, first, m, block, mean, one);
        for (size_t j = 0; j < bp_panel_count(k, x->cols); ++j) {
            k->fill(part, 0, k->nr);
            if (mean)
                k->col_squares(part, bp_panel(k, block, j, 0), m);
            else
                k->col_sums(part, bp_panel(k, block, j, 0), m);
            for (size_t c = 0; c < bp_panel_width(k, x->cols, j); ++c)
                total[j * k->nr + c] += part[c];
        }
    }
}

bpfast_status bpfast_net_standardize(bpfast_net *net, const bpfast_array *x, size_t rows,
                                     bpfast_message *message)
{
    const bp_kernels *k = net->k64;
    const size_t cols = net->inputs, stride = bp_panel_stride(k, BP_STATISTICS_ROWS);
    bp_layout layout = {0};
    void *memory;
    const size_t mean_at = bp_layout_add(&layout, cols, sizeof(double));
    const size_t scale_at = bp_layout_add(&layout, cols, sizeof(double));
    const size_t one_at = bp_layout_add(&layout, cols, sizeof(double));
    const size_t part_at = bp_layout_add(&layout, k->nr, sizeof(double));
    const size_t block_at =
        bp_layout_add(&layout, stride * bp_panel_count(k, cols), sizeof(double));
    BP_TRY(bp_arena_try(&memory, &layout, "input statistics", message));
    double *mean = bp_at(memory, mean_at, 1), *scale = bp_at(memory, scale_at, 1);
    double *one = bp_at(memory, one_at, 1), *part = bp_at(memory, part_at, 1);
    const bp_panels block = {bp_at(memory, block_at, 1), stride};
    /* below it a spread counts as zero, and its inverse may be infinite */
    const double least = net->k->size == sizeof(float) ? (double)FLT_MIN : DBL_MIN;
    const bp_fpmode mode = bp_fpmode_enter();
    k->fill(one, 1.0, cols);
    add_columns(net, mean, x, rows, block, part, NULL, NULL);
    for (size_t j = 0; j < cols; ++j) mean[j] /= (double)rows;
    add_columns(net, scale, x, rows, block, part, mean, one);
    for (size_t j = 0; j < cols; ++j) {
        const double root = sqrt(scale[j] / (double)rows); /* population */
        scale[j] = root >= least ? 1.0 / root : 1.0;       /* a constant column stays at zero */
    }
    net->k->convert(net->buffers, mean, cols);
    net->k->convert(bp_at(net->buffers, cols, net->k->size), scale, cols);
    bp_fpmode_leave(mode);
    bp_arena_free(memory);
    return BPFAST_OK;
}

/* ---- optimizer ---- */

size_t bpfast_optimizer_slots(size_t rule) { return bp_rule_slots(rule); }
const char *bpfast_optimizer_slot_names(size_t rule) { return bp_rule_slot_names(rule); }

static bp_optimizer internal(const bpfast_optimizer *o)
{
    return (bp_optimizer){.rule = o->rule,
                          .momentum = o->momentum,
                          .beta_1 = o->beta_1,
                          .beta_2 = o->beta_2,
                          .epsilon = o->epsilon,
                          .weight_decay = o->weight_decay,
                          .rho = o->rho,
                          .eta_minus = o->eta_minus,
                          .eta_plus = o->eta_plus,
                          .step_min = o->step_min,
                          .step_max = o->step_max,
                          .bias_correction = o->bias_correction,
                          .clip_norm = o->clip_norm,
                          .clip_value = o->clip_value};
}

/* Rules whose slots mean the same may follow each other: momentum and nesterov. */
static bool continues(const bpfast_net *net, size_t rule)
{
    const size_t old = net->optimizer.rule;
    const bool velocity = (rule == BP_OPT_momentum || rule == BP_OPT_nesterov) &&
                          (old == BP_OPT_momentum || old == BP_OPT_nesterov);
    return net->has_optimizer && (rule == old || velocity);
}

/* What a layer owns of a slot; new ones are zero already. */
static void start_slot(bpfast_net *net, size_t slot, const bp_node *node)
{
    const bp_kernels *k = net->k;
    const double rate = net->learning_rate * node->lr_scale;
    const double start = bp_optimizer_slot_start(&net->optimizer, slot, rate);
    void *at = bp_state_slot(net, slot);
    if (start == 0) return;
    if (bp_owns_kernel(node))
        k->fill(bp_at(at, node->state, k->size), start, bp_weights_size(k, node->in, node->out));
    if (bp_owns_bias(node))
        k->fill(bp_at(at, node->bias_state, k->size), start, bp_round_up(node->out, k->nr));
}

static void start_state(bpfast_net *net)
{
    const bp_fpmode mode = bp_fpmode_enter();
    for (size_t s = 0; s < bp_rule_slots(net->optimizer.rule); ++s)
        for (size_t i = 0; i < net->n_nodes; ++i) start_slot(net, s, &net->nodes[i]);
    bp_fpmode_leave(mode);
    net->counters.step = 0;
}

bpfast_status bpfast_net_set_optimizer(bpfast_net *net, const bpfast_optimizer *optimizer,
                                       bool anew, bpfast_message *message)
{
    const bool same = !anew && continues(net, optimizer->rule);
    if (!same) {
        bp_layout layout = {0};
        void *state;
        bp_layout_add(&layout, net->n_state, net->k->size * bp_rule_slots(optimizer->rule));
        BP_TRY(bp_arena_try(&state, &layout, "the optimizer's state", message));
        bp_arena_free(net->state);
        net->state = state;
    }
    net->optimizer = internal(optimizer);
    net->learning_rate = optimizer->learning_rate;
    net->has_optimizer = true;
    if (!same) start_state(net);
    return BPFAST_OK;
}

void bpfast_net_reset_optimizer(bpfast_net *net)
{
    bpfast_net_drop_average(net); /* it counts steps */
    bp_arena_free(net->state);
    net->state = NULL;
    net->has_optimizer = false;
    net->counters.step = 0;
}

/* A slot's numbers stand as weights do. */
static bool read_slot(const bpfast_net *net, void *slot, void *out)
{
    if (!slot) return false;
    for (size_t i = 0; i < net->n_nodes; ++i) {
        const bp_weights w = bp_weights_at(net, &net->nodes[i], slot, NULL);
        bp_weights_write_one(net, &net->nodes[i], &w, out);
    }
    return true;
}

static bool write_slot(bpfast_net *net, void *slot, const void *values)
{
    if (!slot) return false;
    for (size_t i = 0; i < net->n_nodes; ++i) {
        const bp_weights w = bp_weights_at(net, &net->nodes[i], slot, NULL);
        bp_weights_read_one(net, &net->nodes[i], &w, values);
    }
    return true;
}

bool bpfast_net_read_state(const bpfast_net *net, size_t slot, void *out)
{
    return net->has_optimizer && read_slot(net, bp_state_slot(net, slot), out);
}

bool bpfast_net_write_state(bpfast_net *net, size_t slot, const void *values)
{
    return net->has_optimizer && write_slot(net, bp_state_slot(net, slot), values);
}

/* ---- an average of the parameters ---- */

bpfast_status bpfast_net_set_average(bpfast_net *net, double decay, uint64_t start,
                                     bpfast_message *message)
{
    if (!net->average) {
        bp_layout layout = {0};
        bp_layout_add(&layout, net->n_state, net->k->size);
        BP_TRY(bp_arena_try(&net->average, &layout, "the average of the parameters", message));
        (void)bpfast_net_write_average(net, net->parameters);
    }
    net->average_decay = decay;
    net->average_start = start;
    return BPFAST_OK;
}

void bpfast_net_drop_average(bpfast_net *net)
{
    bp_arena_free(net->average);
    net->average = NULL;
}

bool bpfast_net_read_average(const bpfast_net *net, void *out)
{
    return out ? read_slot(net, net->average, out) : net->average != NULL;
}

bool bpfast_net_write_average(bpfast_net *net, const void *values)
{
    return write_slot(net, net->average, values);
}

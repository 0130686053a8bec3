/* look.c - what weights, gradients and layers' outputs look like, for people.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Threads share arrays, and groups of rows, never sums. Outputs are those of inference, met on the way:
 * after a layer's step its matrix is read before later steps use the memory. Of each unit (a column) and
 * group there are two sums in double, over rows in order; groups are added in order, then units. So
 * neither threads nor chunks of rows nor the width of a panel show in a bit. Outputs of float32 leave
 * half of a double's digits for the difference of the two sums.
 */
#include "net.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* ---- arrays ---- */

typedef struct {
    const bp_kernels *k, *k64;
    bpfast_part *parts;
    size_t n_parts, bins;
} summary_job;

/* Evenly, as NumPy's linspace; half a unit to both sides, and of large numbers a millionth, where there
 * are fewer numbers between the two than bins. */
static void lay_edges(double *edges, size_t bins, double low, double high)
{
    const double size = fmax(fabs(low), fabs(high));
    if (!(high - low > fmax(DBL_MIN, DBL_EPSILON * size) * (double)bins)) {
        const double pad = fmax(0.5, 1e-6 * size);
        low -= pad;
        high += pad;
    }
    const double width = (high - low) / (double)bins;
    for (size_t b = 0; b < bins; ++b) edges[b] = (double)b * width + low;
    edges[bins] = high;
}

static void summarize(const summary_job *job, bpfast_part *part)
{
    const bp_kernels *k = job->k, *k64 = job->k64;
    const double n = (double)part->n;
    const bp_moments m = bp_moments_of(k, k64, part->x, part->n);
    part->mean = m.mean;
    part->std = sqrt(m.m2 / n);
    part->norm = sqrt(m.m2 + n * m.mean * m.mean);
    part->min = m.min;
    part->max = m.max;
    part->change =
        part->before ? sqrt(bp_squared_distance(k, k64, part->x, part->before, part->n)) : 0;
    if (!isfinite(m.mean) || !isfinite(4 * m.min) || !isfinite(4 * m.max)) {
        memset(part->counts, 0, job->bins * sizeof *part->counts);
        for (size_t b = 0; b <= job->bins; ++b) part->edges[b] = NAN;
        return;
    }
    const bool equal = m.min == m.max; /* biases at first, gradients of frozen layers */
    lay_edges(part->edges, job->bins, m.min, m.max);
    bp_histogram(k, part->counts, part->edges, job->bins, part->x, equal ? 1 : part->n);
    for (size_t b = 0; equal && b < job->bins; ++b) part->counts[b] *= (int64_t)part->n;
}

static void summary_task(void *arg, bp_team *team, size_t id)
{
    const summary_job *job = arg;
    const bp_fpmode mode = bp_fpmode_enter();
    for (size_t i = id; i < job->n_parts; i += bp_team_size(team)) summarize(job, &job->parts[i]);
    bp_fpmode_leave(mode);
}

void bpfast_summarize(bpfast_part *parts, size_t n_parts, size_t itemsize, size_t bins,
                      size_t threads, bool exact_threads)
{
    enum { FLOPS = 64 }; /* that the time of an element is worth */
    const size_t isa = bp_isa_default();
    summary_job job = {bp_kernels_get(isa, itemsize), bp_kernels_get(isa, sizeof(double)), parts,
                       n_parts, bins};
    double flops = 0;
    for (size_t i = 0; i < n_parts; ++i) flops += FLOPS * (double)parts[i].n;
    threads = bp_choose_threads(threads, exact_threads, flops, 1.0, n_parts);
    bp_team_run(threads, exact_threads, summary_task, &job);
}

/* ---- layers ---- */

enum { GROUP_ROWS = 32, BLOCK_ROWS = 32 };

/* Of a unit: sum and sum of squares of its outputs, and the largest. */
typedef struct {
    double sum, square, most;
} unit;

typedef struct {
    size_t lows, highs;
} tally;

struct bp_look {
    bpfast_outputs *layers;
    size_t n_layers, columns;
    size_t *first;  /* [layers] columns before its own */
    unit *units;    /* [groups][columns] */
    tally *tallies; /* [groups][layers] */
};

/* Rows of one panel. */
static void add_block(const bpfast_outputs *layer, tally *count, unit *units, const double *block,
                      size_t rows, size_t width, size_t nr)
{
    double sum[BP_MOST_NR] = {0}, square[BP_MOST_NR] = {0}, most[BP_MOST_NR] = {0};
    double lows[BP_MOST_NR] = {0}, highs[BP_MOST_NR] = {0};
    for (size_t l = 0; l < width; ++l) {
        sum[l] = units[l].sum;
        square[l] = units[l].square;
        most[l] = units[l].most;
    }
    for (size_t r = 0; r < rows; ++r)
        for (size_t l = 0; l < nr; ++l) {
            const double v = block[r * nr + l];
            sum[l] += v;
            square[l] += v * v;
            most[l] = v > most[l] ? v : most[l];
        }
    const bool counts = layer->low == layer->low || layer->high == layer->high; /* not both NaN */
    for (size_t r = 0; counts && r < rows; ++r)
        for (size_t l = 0; l < nr; ++l) {
            lows[l] += block[r * nr + l] <= layer->low ? 1.0 : 0.0;
            highs[l] += block[r * nr + l] >= layer->high ? 1.0 : 0.0;
        }
    for (size_t l = 0; l < width; ++l) {
        units[l] = (unit){sum[l], square[l], most[l]};
        count->lows += (size_t)lows[l];
        count->highs += (size_t)highs[l];
    }
}

void bp_look_at(bp_look *look, const bp_plan *plan, const bp_pass *pass, const bp_step *step,
                size_t first, size_t rows)
{
    const bp_kernels *k = pass->k;
    const size_t cols = step->node->to.channels, group = first / GROUP_ROWS;
    const size_t m = rows * bp_positions(bp_node_gives(step->node));
    double block[BLOCK_ROWS * BP_MOST_NR];
    if (step->out != plan->at[step->node->index].y) return; /* a move before the layer's own step */
    for (size_t i = 0; i < look->n_layers; ++i) {
        if (look->layers[i].layer != step->node->index) continue;
        unit *units = look->units + group * look->columns + look->first[i];
        for (size_t j = 0; j < bp_panel_count(k, cols); ++j)
            for (size_t r = 0; r < m; r += BLOCK_ROWS) {
                const size_t count = bp_min(BLOCK_ROWS, m - r);
                k->widen(block, bp_panel(k, pass->m[step->out], j, r), count * k->nr);
                add_block(&look->layers[i], &look->tallies[group * look->n_layers + i],
                          units + j * k->nr, block, count, bp_panel_width(k, cols, j), k->nr);
            }
    }
}

/* Whether a layer has a step of its own at inference. */
static bool has_step(const bp_plan *plan, size_t layer)
{
    for (size_t s = 0; s < plan->n_forward; ++s)
        if (plan->steps[s].node->index == layer && plan->steps[s].out == plan->at[layer].y)
            return true;
    return false;
}

static void finish(const bp_look *look, size_t i, size_t rows, const bp_node *node)
{
    bpfast_outputs *layer = &look->layers[i];
    const size_t cols = node->to.channels;
    double sum = 0, square = 0;
    layer->units = cols;
    layer->outputs = rows * bp_positions(bp_node_gives(node)) * cols;
    for (size_t j = 0; j < cols; ++j) {
        unit all = {0};
        for (size_t g = 0; g < bp_ceil_div(rows, GROUP_ROWS); ++g) {
            const unit *part = &look->units[g * look->columns + look->first[i] + j];
            all.sum += part->sum;
            all.square += part->square;
            all.most = part->most > all.most ? part->most : all.most;
        }
        sum += all.sum;
        square += all.square;
        layer->silent += all.most > 0 ? 0 : 1;
    }
    for (size_t g = 0; g < bp_ceil_div(rows, GROUP_ROWS); ++g) {
        layer->lows += look->tallies[g * look->n_layers + i].lows;
        layer->highs += look->tallies[g * look->n_layers + i].highs;
    }
    layer->mean = sum / (double)layer->outputs;
    const double variance = square / (double)layer->outputs - layer->mean * layer->mean;
    layer->std = sqrt(variance < 0 ? 0 : variance);
}

/* Room for the sums, zero. */
static bpfast_status open_look(void **memory, bp_look *look, const bpfast_net *net, size_t rows,
                               bpfast_message *message)
{
    bp_layout layout = {0};
    for (size_t i = 0; i < look->n_layers; ++i)
        look->columns += net->nodes[look->layers[i].layer].to.channels;
    const size_t groups = bp_ceil_div(rows, GROUP_ROWS);
    const size_t first = bp_layout_add(&layout, look->n_layers, sizeof(size_t));
    const size_t units = bp_layout_add(&layout, groups * look->columns, sizeof(unit));
    const size_t tallies = bp_layout_add(&layout, groups * look->n_layers, sizeof(tally));
    BP_TRY(bp_arena_try(memory, &layout, "a look at the layers", message));
    look->first = bp_at(*memory, first, 1);
    look->units = bp_at(*memory, units, 1);
    look->tallies = bp_at(*memory, tallies, 1);
    for (size_t i = 0; i + 1 < look->n_layers; ++i)
        look->first[i + 1] = look->first[i] + net->nodes[look->layers[i].layer].to.channels;
    return BPFAST_OK;
}

bpfast_status bpfast_look(const bpfast_net *net, const bpfast_array *x, size_t rows, size_t threads,
                          bool exact_threads, bpfast_outputs *layers, size_t n_layers,
                          bpfast_message *message)
{
    bp_look look = {.layers = layers, .n_layers = n_layers};
    bp_inference job = {.net = net, .plan = &net->infer[0], .x = x, .rows = rows, .look = &look};
    void *memory, *call;
    BP_TRY(open_look(&memory, &look, net, rows, message));
    /* A group is one thread's: where chunks are smaller, all are. */
    for (job.chunk = GROUP_ROWS; job.chunk > job.plan->batch;) job.chunk /= 2;
    threads = job.chunk < GROUP_ROWS ? 1 : bp_infer_threads(&job, threads, exact_threads);
    const bpfast_status status = bp_infer_open(&call, &job, threads, false, message);
    if (status != BPFAST_OK) {
        bp_arena_free(memory);
        return status;
    }
    bp_team_run(threads, exact_threads, bp_infer_task, &job);
    const bp_fpmode mode = bp_fpmode_enter();
    for (size_t i = 0; i < n_layers; ++i) {
        const size_t layer = layers[i].layer;
        layers[i] = (bpfast_outputs){layer, layers[i].low, layers[i].high, 0, 0, 0, 0, 0, 0, 0};
        if (has_step(job.plan, layer)) finish(&look, i, rows, &net->nodes[layer]);
    }
    bp_fpmode_leave(mode);
    bp_arena_return(net->spare, call);
    bp_arena_free(memory);
    return BPFAST_OK;
}

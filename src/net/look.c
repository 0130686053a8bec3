/* look.c - what weights, gradients and layers' outputs look like, for people.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Outputs are those of inference, met on the way: after a layer's step its matrix is read before later
 * steps use the memory. Each unit (a column) has two sums in double, over rows in order, so that neither
 * the size of a chunk nor the width of a panel shows in a bit; units are added in order. Outputs of
 * float32 leave half of a double's digits for the difference of the two.
 */
#include "net.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* ---- arrays ---- */

/* Evenly, as NumPy's linspace; half a unit to both sides where there is no width. */
static void lay_edges(double *edges, size_t bins, double low, double high)
{
    if (!(high - low > DBL_MIN * (double)bins)) {
        low -= 0.5;
        high += 0.5;
    }
    const double width = (high - low) / (double)bins;
    for (size_t b = 0; b < bins; ++b) edges[b] = (double)b * width + low;
    edges[bins] = high;
}

void bpfast_summarize(const void *x, const void *before, size_t n, size_t itemsize, size_t bins,
                      bpfast_summary *out, int64_t *counts, double *edges)
{
    const bp_kernels *k = bp_kernels_get(bp_isa_default(), itemsize);
    const bp_fpmode mode = bp_fpmode_enter();
    const bp_moments m = bp_moments_of(k, x, n);
    *out = (bpfast_summary){.mean = m.mean,
                            .std = sqrt(m.m2 / (double)n),
                            .norm = sqrt(m.m2 + (double)n * m.mean * m.mean),
                            .min = m.min,
                            .max = m.max,
                            .change = before ? sqrt(bp_squared_distance(k, x, before, n)) : 0};
    if (isfinite(m.mean) && isfinite(m.max - m.min)) {
        lay_edges(edges, bins, m.min, m.max);
        bp_histogram(k, counts, edges, bins, x, n);
    } else {
        memset(counts, 0, bins * sizeof *counts);
        for (size_t b = 0; b <= bins; ++b) edges[b] = NAN;
    }
    bp_fpmode_leave(mode);
}

/* ---- layers ---- */

/* Of a unit: sum and sum of squares of its outputs, and the largest. */
typedef struct {
    double sum, square, most;
} unit;

struct bp_look {
    bpfast_outputs *layers;
    size_t n_layers;
    unit **units; /* by layer */
};

enum { BLOCK_ROWS = 32 };

/* Rows of one panel. */
static void add_block(bpfast_outputs *layer, unit *units, const double *block, size_t rows,
                      size_t width, size_t nr)
{
    double sum[BP_MOST_NR], square[BP_MOST_NR], most[BP_MOST_NR];
    double lows[BP_MOST_NR] = {0}, highs[BP_MOST_NR] = {0};
    for (size_t l = 0; l < nr; ++l) {
        const unit start = l < width ? units[l] : (unit){0};
        sum[l] = start.sum;
        square[l] = start.square;
        most[l] = start.most;
    }
    for (size_t r = 0; r < rows; ++r)
        for (size_t l = 0; l < nr; ++l) {
            const double v = block[r * nr + l];
            sum[l] += v;
            square[l] += v * v;
            most[l] = v > most[l] ? v : most[l];
            lows[l] += v <= layer->low ? 1.0 : 0.0;
            highs[l] += v >= layer->high ? 1.0 : 0.0;
        }
    for (size_t l = 0; l < width; ++l) {
        units[l] = (unit){sum[l], square[l], most[l]};
        layer->lows += (size_t)lows[l];
        layer->highs += (size_t)highs[l];
    }
}

void bp_look_at(bp_look *look, const bp_plan *plan, const bp_pass *pass, const bp_step *step,
                size_t rows)
{
    const bp_kernels *k = pass->k;
    const size_t cols = step->node->to.channels;
    const size_t m = rows * bp_positions(bp_node_gives(step->node));
    double block[BLOCK_ROWS * BP_MOST_NR];
    if (step->out != plan->at[step->node->index].y) return; /* a move before the layer's own step */
    for (size_t i = 0; i < look->n_layers; ++i) {
        bpfast_outputs *layer = &look->layers[i];
        if (layer->layer != step->node->index) continue;
        layer->outputs += m * cols;
        for (size_t j = 0; j < bp_panel_count(k, cols); ++j)
            for (size_t r = 0; r < m; r += BLOCK_ROWS) {
                const size_t count = bp_min(BLOCK_ROWS, m - r);
                k->widen(block, bp_panel(k, pass->m[step->out], j, r), count * k->nr);
                add_block(layer, look->units[i] + j * k->nr, block, count,
                          bp_panel_width(k, cols, j), k->nr);
            }
    }
}

static void finish(bpfast_outputs *layer, const unit *units, size_t cols)
{
    double sum = 0, square = 0;
    if (layer->outputs == 0) return;
    layer->units = cols;
    for (size_t j = 0; j < cols; ++j) {
        sum += units[j].sum;
        square += units[j].square;
        layer->silent += (size_t)!(units[j].most > 0);
    }
    layer->mean = sum / (double)layer->outputs;
    const double variance = square / (double)layer->outputs - layer->mean * layer->mean;
    layer->std = sqrt(variance < 0 ? 0 : variance);
}

bpfast_status bpfast_look(const bpfast_net *net, const bpfast_array *x, size_t rows,
                          bpfast_outputs *layers, size_t n_layers, bpfast_message *message)
{
    bp_look look = {.layers = layers, .n_layers = n_layers};
    bp_inference job = {.net = net, .plan = &net->infer[0], .x = x, .rows = rows, .look = &look};
    bp_layout layout = {0};
    void *memory, *call;
    size_t columns = 0;
    for (size_t i = 0; i < n_layers; ++i) columns += net->nodes[layers[i].layer].to.channels;
    const size_t table = bp_layout_add(&layout, n_layers, sizeof(unit *));
    const size_t units = bp_layout_add(&layout, columns, sizeof(unit));
    BP_TRY(bp_arena_try(&memory, &layout, "a look at the layers", message));
    const bpfast_status status = bp_infer_open(&call, &job, 1, false, message);
    if (status != BPFAST_OK) {
        bp_arena_free(memory);
        return status;
    }
    look.units = bp_at(memory, table, 1);
    columns = 0;
    for (size_t i = 0; i < n_layers; ++i) {
        look.units[i] = (unit *)bp_at(memory, units, 1) + columns;
        columns += net->nodes[layers[i].layer].to.channels;
        layers[i].units = layers[i].outputs = layers[i].silent = layers[i].lows = layers[i].highs =
            0;
        layers[i].mean = layers[i].std = 0;
    }
    bp_team_run(1, false, bp_infer_task, &job);
    const bp_fpmode mode = bp_fpmode_enter();
    for (size_t i = 0; i < n_layers; ++i)
        finish(&layers[i], look.units[i], net->nodes[layers[i].layer].to.channels);
    bp_fpmode_leave(mode);
    bp_arena_return(net->spare, call);
    bp_arena_free(memory);
    return BPFAST_OK;
}

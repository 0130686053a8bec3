/* batchnorm.c - BatchNorm: columns normalised by the statistics of the batch (Ioffe & Szegedy 2015).
 * SPDX-License-Identifier: BSD-3-Clause
 *
 *   training    t = (x - mean) f,   f = 1 / sqrt(variance + epsilon)       of all N rows, biased
 *               y = t gamma + beta
 *               running mean += momentum (mean - it), and the variance M2 / (N - 1) likewise
 *   backward    dx = gamma f (dy - mean of dy - t mean of dy t)
 *               dgamma = sum of dy t, dbeta = sum of dy
 *   inference   y = x s + h,   s = gamma / sqrt(running variance + epsilon),   h = beta - running mean s
 *
 * The rows of the matrix are positions of rows of the batch: columns are channels. Where the layer is
 * frozen, training does as inference does. One row alone is its own mean: y = beta, dx = 0, and
 * nothing is learnt about the variance, so the running statistics stay.
 *
 *   collect        each shard's mean and M2            in `sums`
 *   ready          all threads: mean, f, gamma f       of the whole batch, in double, to `own`
 *   forward        rows
 *   collect_back   each shard's sums of dy t and dy    in `partial`: they are its gradients too
 *   ready_back     all threads: their means            to `own`
 *   backward       rows
 */
#include "op.h"

#include <math.h>

/* Vectors of NR that `own` has for each panel. */
enum { MEAN, FACTOR, SCALE, SHIFT, LEVEL, SLOPE, OWN_VECTORS };

static void *own_at(const bp_pass *pass, const bp_node *node, size_t panel, size_t vector)
{
    const bp_kernels *k = pass->k;
    void *own = bp_at(pass->own, pass->at[node->index].own, k->size);
    return bp_at(own, (panel * OWN_VECTORS + vector) * k->nr, k->size);
}

static const void *beta_at(const bp_pass *pass, const bp_node *node, size_t panel)
{
    const bp_kernels *k = pass->k;
    return node->use_bias ? bp_at(pass->w[node->index].bias, panel * k->nr, k->size) : NULL;
}

/* gamma of a panel in double; 1 where there is none. */
static void read_gamma(double *gamma, const bp_pass *pass, const bp_node *node, size_t panel)
{
    const bp_kernels *k = pass->k;
    for (size_t l = 0; l < k->nr; ++l) gamma[l] = 1;
    if (node->use_kernel) k->widen(gamma, bp_block(k, &pass->w[node->index], 0, panel), k->nr);
}

static size_t positions(const bp_node *node) { return bp_positions(node->to); }
static size_t count(const bp_pass *pass, const bp_node *node)
{
    return pass->batch * positions(node);
}

/* ---- by the batch's statistics ---- */

static void collect(const bp_step *step, const bp_pass *pass, size_t row0, size_t rows)
{
    const bp_kernels *k = pass->k;
    const bp_node *node = step->node;
    const bp_place *at = &pass->at[node->index];
    const size_t each = positions(node);
    for (size_t j = pass->panels.first; j < bp_pass_panels(pass, node->out); ++j)
        k->col_stats(bp_panel(k, pass->m[at->sums], j, row0 / BP_SHARD_ROWS * 2),
                     bp_panel(k, pass->m[at->x[0]], j, row0 * each), rows * each,
                     BP_SHARD_ROWS * each);
}

/* part 0: the running mean, 1: variance; `now` replaces `momentum` of it. */
static void learn(const bp_pass *pass, const bp_node *node, size_t part, size_t panel,
                  const double *now)
{
    const bp_kernels *k = pass->k;
    const size_t n = bp_panel_width(k, node->out, panel);
    void *running = bp_at(pass->buffers, node->buffer + part * node->out + panel * k->nr, k->size);
    double value[BP_MOST_NR];
    k->widen(value, running, n);
    for (size_t l = 0; l < n; ++l) value[l] += node->momentum * (now[l] - value[l]);
    k->convert(running, value, n);
}

static void ready(const bp_step *step, const bp_pass *pass)
{
    const bp_kernels *k = pass->k;
    const bp_node *node = step->node;
    const bp_panels sums = pass->m[pass->at[node->index].sums];
    const size_t n = count(pass, node);
    double mean[BP_MOST_NR], m2[BP_MOST_NR], factor[BP_MOST_NR], gamma[BP_MOST_NR];
    for (size_t j = pass->panels.first; j < bp_pass_panels(pass, node->out); ++j) {
        k->merge_stats(mean, m2, bp_panel(k, sums, j, 0), n, BP_SHARD_ROWS * positions(node));
        read_gamma(gamma, pass, node, j);
        for (size_t l = 0; l < k->nr; ++l) {
            factor[l] = 1 / sqrt(m2[l] / (double)n + node->epsilon);
            gamma[l] *= factor[l];
        }
        k->convert(own_at(pass, node, j, MEAN), mean, k->nr);
        k->convert(own_at(pass, node, j, FACTOR), factor, k->nr);
        k->convert(own_at(pass, node, j, SCALE), gamma, k->nr);
        if (!pass->learns || n == 1) continue;
        for (size_t l = 0; l < k->nr; ++l) m2[l] /= (double)(n - 1);
        learn(pass, node, 0, j, mean);
        learn(pass, node, 1, j, m2);
    }
}

static void forward(const bp_step *step, const bp_pass *pass, size_t row0, size_t rows)
{
    const bp_kernels *k = pass->k;
    const bp_node *node = step->node;
    const size_t each = positions(node), first = row0 * each;
    for (size_t j = pass->panels.first; j < bp_pass_panels(pass, node->out); ++j)
        k->norm_columns(bp_panel(k, pass->m[step->out], j, first),
                        bp_panel(k, pass->m[step->in], j, first), own_at(pass, node, j, MEAN),
                        own_at(pass, node, j, SCALE), beta_at(pass, node, j), rows * each);
}

static void collect_back(const bp_step *step, const bp_pass *pass, size_t row0, size_t rows)
{
    const bp_kernels *k = pass->k;
    const bp_node *node = step->node;
    const bp_place *at = &pass->at[node->index];
    const size_t each = positions(node), first = row0 * each;
    for (size_t j = pass->panels.first; j < bp_pass_panels(pass, node->out); ++j)
        k->col_slopes(bp_panel(k, pass->m[at->partial], j, row0 / BP_SHARD_ROWS * 2),
                      bp_panel(k, pass->m[step->in], j, first),
                      bp_panel(k, pass->m[at->x[0]], j, first), own_at(pass, node, j, MEAN),
                      own_at(pass, node, j, FACTOR), rows * each, BP_SHARD_ROWS * each);
}

static void ready_back(const bp_step *step, const bp_pass *pass)
{
    const bp_kernels *k = pass->k;
    const bp_node *node = step->node;
    const bp_panels partial = pass->m[pass->at[node->index].partial];
    const double n = (double)count(pass, node);
    double total[2 * BP_MOST_NR], factor[BP_MOST_NR];
    for (size_t j = pass->panels.first; j < bp_pass_panels(pass, node->out); ++j) {
        k->add_rows(total, bp_panel(k, partial, j, 0), bp_shards(pass->batch), 2 * k->nr);
        k->widen(factor, own_at(pass, node, j, FACTOR), k->nr);
        for (size_t l = 0; l < k->nr; ++l) {
            total[l] *= factor[l] / n; /* t = (x - mean) f: the kernel multiplies by x - mean */
            total[k->nr + l] /= n;
        }
        k->convert(own_at(pass, node, j, SLOPE), total, k->nr);
        k->convert(own_at(pass, node, j, LEVEL), total + k->nr, k->nr);
    }
}

static void backward(const bp_step *step, const bp_pass *pass, size_t row0, size_t rows)
{
    const bp_kernels *k = pass->k;
    const bp_node *node = step->node;
    const bp_panels x = pass->m[pass->at[node->index].x[0]];
    const size_t each = positions(node), first = row0 * each;
    if (step->out == BP_NONE) return;
    for (size_t j = pass->panels.first; j < bp_pass_panels(pass, node->out); ++j)
        k->norm_columns_back(
            bp_panel(k, pass->m[step->out], j, first), bp_panel(k, pass->m[step->in], j, first),
            bp_panel(k, x, j, first), own_at(pass, node, j, MEAN), own_at(pass, node, j, SLOPE),
            own_at(pass, node, j, LEVEL), own_at(pass, node, j, SCALE), rows * each);
}

/* ---- by the running statistics: inference, and a frozen layer in training ---- */

static void ready_running(const bp_step *step, const bp_pass *pass)
{
    const bp_kernels *k = pass->k;
    const bp_node *node = step->node;
    const void *running = bp_cat(pass->buffers, node->buffer, k->size);
    double scale[BP_MOST_NR], mean[BP_MOST_NR], variance[BP_MOST_NR], shift[BP_MOST_NR];
    for (size_t j = pass->panels.first; j < bp_pass_panels(pass, node->out); ++j) {
        const size_t width = bp_panel_width(k, node->out, j);
        const void *beta = beta_at(pass, node, j);
        for (size_t l = 0; l < k->nr; ++l) mean[l] = variance[l] = shift[l] = 0;
        k->widen(mean, bp_cat(running, j * k->nr, k->size), width);
        k->widen(variance, bp_cat(running, node->out + j * k->nr, k->size), width);
        if (beta) k->widen(shift, beta, k->nr);
        read_gamma(scale, pass, node, j);
        for (size_t l = 0; l < k->nr; ++l) {
            scale[l] /= sqrt(variance[l] + node->epsilon);
            shift[l] -= mean[l] * scale[l];
        }
        k->convert(own_at(pass, node, j, SCALE), scale, k->nr);
        k->convert(own_at(pass, node, j, SHIFT), shift, k->nr);
    }
}

static void forward_running(const bp_step *step, const bp_pass *pass, size_t row0, size_t rows)
{
    const bp_kernels *k = pass->k;
    const bp_node *node = step->node;
    const size_t each = positions(node), first = row0 * each;
    for (size_t j = pass->panels.first; j < bp_pass_panels(pass, node->out); ++j)
        k->norm_columns(bp_panel(k, pass->m[step->out], j, first),
                        bp_panel(k, pass->m[step->in], j, first), NULL,
                        own_at(pass, node, j, SCALE), own_at(pass, node, j, SHIFT), rows * each);
}

static void backward_running(const bp_step *step, const bp_pass *pass, size_t row0, size_t rows)
{
    const bp_kernels *k = pass->k;
    const bp_node *node = step->node;
    const size_t each = positions(node), first = row0 * each;
    if (step->out == BP_NONE) return;
    for (size_t j = pass->panels.first; j < bp_pass_panels(pass, node->out); ++j)
        k->norm_columns(bp_panel(k, pass->m[step->out], j, first),
                        bp_panel(k, pass->m[step->in], j, first), NULL,
                        own_at(pass, node, j, SCALE), NULL, rows * each);
}

/* ---- */

static const char *shape(bp_node *node)
{
    node->in = 1;
    node->out = node->to.channels;
    node->n_buffers = 2 * node->out;
    return NULL;
}

static bp_needs needs(const bp_node *node)
{
    bp_needs n = {.forward = forward_running,
                  .backward = backward_running,
                  .infer = forward_running,
                  .ready = ready_running,
                  .ready_infer = ready_running,
                  .split = BP_PANEL,
                  .split_back = BP_PANEL,
                  .own = bp_round_up(node->out, BP_MOST_NR) * OWN_VECTORS,
                  .spares_output = true,
                  .in_place_delta = true};
    if (!node->trainable) return n;
    n.forward = forward;
    n.backward = backward;
    n.collect = collect;
    n.collect_back = collect_back;
    n.ready = ready;
    n.ready_back = ready_back;
    n.sums = 2;
    n.partial = true;
    return n;
}

const bp_op bp_op_batchnorm = {"batchnorm", shape, needs};

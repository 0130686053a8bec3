/* dense.c - y = f(x W + b): forward, backward, and the gradient of W block by block.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 *   forward    z = x W + b             rows, any range         one chain over inputs from b
 *              y = f(z)                the same rows, in cache
 *   backward   dz = dy f'(y or z)      rows
 *              dx = dz W^T             rows                    one chain over outputs
 *   gradient   dW = x^T dz             NR x NR blocks          one chain over the batch's rows
 *              db = column sums of dz  with the first block of each panel
 *
 * A block of dW is 1 to 4 KB: it goes to the optimizer while in L1, and the new W is written in both
 * orders. Rumelhart, Hinton & Williams 1986, equations 1 to 9.
 */
#include "op.h"

#include <string.h>

enum { BP_BLOCK_BYTES = 4096, BP_CHUNK_TILES = 8 };

static void dense_forward(const bp_step *step, const bp_pass *pass, size_t row0, size_t rows)
{
    const bp_kernels *k = pass->k;
    const bp_node *node = step->node;
    const bool skip = step->flags & BP_SKIP_ACTIVATION || node->activation == BP_ACT_identity;
    const bool relu = !skip && node->activation == BP_ACT_relu;
    const bp_panels y = pass->m[step->out];
    const bp_panels z = step->kept != BP_NONE ? pass->m[step->kept] : y;
    const size_t chunk = skip || relu ? rows : BP_CHUNK_TILES * k->mr;
    for (size_t r = 0; r < rows; r += chunk) {
        const size_t m = bp_min(chunk, rows - r);
        const bool direct = skip || relu;
        bp_gemm_forward(k, direct ? y : z, pass->m[step->in], &pass->w[node->index], row0 + r, m,
                        relu);
        if (!direct) bp_activate(k, node->activation, y, z, node->out, row0 + r, m, pass->scratch);
    }
}

static void dense_backward(const bp_step *step, const bp_pass *pass, size_t row0, size_t rows)
{
    const bp_kernels *k = pass->k;
    const bp_node *node = step->node;
    const bp_panels dz = pass->m[step->in];
    if (!(step->flags & BP_SKIP_ACTIVATION) && node->activation != BP_ACT_identity)
        bp_derive(k, node->activation, dz, dz, pass->m[step->kept], node->out, row0, rows,
                  pass->scratch);
    if (step->out != BP_NONE)
        bp_gemm_backward(k, pass->m[step->out], dz, &pass->w[node->index], row0, rows);
}

/* ---- gradients ---- */

/* The mask of block (i, j) at this step: element (row, col) of W. */
static void weight_mask(const bp_pass *pass, const bp_node *node, uint8_t *mask, size_t i, size_t j,
                        size_t rows)
{
    const bp_rng_key key = {pass->seed, BP_STREAM_WEIGHT_DROPOUT + (uint32_t)node->index,
                            pass->step};
    pass->k->mask_rows(mask, &key, i * pass->k->nr, j * pass->k->nr, rows, node->rate);
}

void bp_dense_mask(const bp_pass *pass, const bp_node *node, const bp_item *item,
                   const bp_weights *from)
{
    const bp_kernels *k = pass->k;
    const bp_weights *to = &pass->w[node->index];
    uint8_t mask[BP_BLOCK_BYTES];
    for (size_t i = item->first; i < item->last; ++i) {
        const size_t rows = bp_block_rows(k, from, i);
        weight_mask(pass, node, mask, i, item->panel, rows);
        k->mask_apply(bp_block(k, to, i, item->panel), bp_block(k, from, i, item->panel), mask,
                      1.0 / (1.0 - node->rate), rows * k->nr);
        bp_block_transposed(k, to, i, item->panel);
    }
}

/* Block (i, j) of dW into g[NR][NR], which holds the gradient so far where the mode adds. Its chain
 * goes on, but under a mask that scales only what is new. */
static void block_gradient(const bp_pass *pass, const bp_node *node, const bp_gradient *job,
                           size_t i, size_t j, void *g, const bp_ahead *ahead)
{
    const bp_kernels *k = pass->k;
    const size_t rows = bp_min(k->nr, node->in - i * k->nr);
    const bool add = job->mode == BP_GRADIENT_ADD, masked = node->rate > 0;
    _Alignas(BP_ALIGN) char before[BP_BLOCK_BYTES];
    if (add && masked) memcpy(before, g, rows * k->nr * k->size);
    k->gemm_block(g, bp_panel(k, pass->m[node->x], i, 0), bp_panel(k, pass->m[node->delta], j, 0),
                  job->batch, rows, bp_panel_width(k, node->out, j),
                  add && !masked ? BP_FROM_C : BP_FROM_ZERO, ahead);
    if (!masked) return;
    uint8_t mask[BP_BLOCK_BYTES];
    weight_mask(pass, node, mask, i, j, rows);
    k->mask_apply(g, g, mask, 1.0 / (1.0 - node->rate), rows * k->nr);
    if (add) k->add(g, before, rows * k->nr);
}

typedef struct {
    void *w, *g, *grad, *s0, *s1; /* w and state in block order; grad row-major, ld = node->out */
    size_t rows, width;
    double l1, l2;
    bool non_negative;
} part;

/* A finished gradient of rows x width (in panel rows) to GRAD, or to the optimizer. */
static void settle(const bp_kernels *k, const bp_node *node, const bp_gradient *job, const part *p)
{
    const size_t n = p->rows * k->nr;
    const bool penalised = p->l1 > 0 || p->l2 > 0;
    if (penalised && (job->mode == BP_GRADIENT_UPDATE || job->mode == BP_GRADIENT_STORE))
        k->add_penalty(p->g, p->w, p->l1, p->l2, n);
    if (job->mode == BP_GRADIENT_STORE || job->mode == BP_GRADIENT_ADD) {
        k->unpack(p->grad, p->g, p->rows, p->width, node->out, 0);
        return;
    }
    bp_update_run(k, job->update, p->w, p->g, p->s0, p->s1, p->rows, p->width, k->nr);
    if (p->non_negative) k->non_negative(p->w, n);
}

/* Rows of GRAD into g in panel rows, where the mode continues from them. */
static void load_gradient(const bp_kernels *k, const bp_node *node, const part *p)
{
    k->pack(p->g, p->grad, p->rows, p->width, node->out, 0);
}

static void *state_at(const bp_kernels *k, void *slot, size_t index)
{
    return slot ? bp_at(slot, index, k->size) : NULL;
}

static void bias_gradient(const bp_pass *pass, const bp_node *node, const bp_gradient *job,
                          size_t j)
{
    const bp_kernels *k = pass->k;
    const bp_weights *w = &job->w[node->index];
    const size_t in_block = bp_weights_size(k, node->in, node->out) + j * k->nr;
    _Alignas(BP_ALIGN) char g[BP_BLOCK_BYTES], before[BP_BLOCK_BYTES];
    part p = {.w = bp_at(w->bias, j * k->nr, k->size),
              .g = g,
              .grad = bp_at(job->grad, node->param + node->in * node->out + j * k->nr, k->size),
              .s0 = state_at(k, job->state[0], node->state + in_block),
              .s1 = state_at(k, job->state[1], node->state + in_block),
              .rows = 1,
              .width = bp_panel_width(k, node->out, j),
              .l1 = node->bias_l1,
              .l2 = node->bias_l2};
    if (job->mode == BP_GRADIENT_SWEEP) {
        load_gradient(k, node, &p);
    } else {
        k->col_sums(g, bp_panel(k, pass->m[node->delta], j, 0), job->batch);
        if (job->mode == BP_GRADIENT_ADD) {
            p.g = before;
            load_gradient(k, node, &p);
            p.g = g;
            k->add(g, before, k->nr);
        }
    }
    settle(k, node, job, &p);
}

/* Max-norm is of whole columns: once all blocks of the panel are updated. */
static void limit_columns(const bp_kernels *k, const bp_node *node, const bp_weights *w, size_t j)
{
    _Alignas(BP_ALIGN) char squares[BP_BLOCK_BYTES];
    k->fill(squares, 0, k->nr);
    k->col_squares(squares, bp_block(k, w, 0, j), node->in);
    k->col_limit(bp_block(k, w, 0, j), squares, node->max_norm, node->in);
}

/* What the processor should fetch while it computes a block's gradient: what the block's update will
 * change, for writing where another core has read it, and the operands of the next block, which
 * another core may have written. */
enum { BP_MOST_AHEAD = 7 };
static void list_ahead(const bp_pass *pass, const bp_node *node, const bp_gradient *job,
                       const bp_item *item, const bp_item *next, const part *p, void *transpose,
                       bp_ahead *list)
{
    const bp_kernels *k = pass->k;
    const size_t panel = job->batch * k->nr * k->size;
    void *const updated[] = {p->w, transpose, p->s0, p->s1};
    for (size_t u = 0; job->far && u < 4; ++u)
        if (updated[u]) *list++ = (bp_ahead){updated[u], p->rows * k->nr * k->size, job->shared};
    if (job->shared && next && next->node == item->node) {
        *list++ = (bp_ahead){bp_panel(k, pass->m[node->x], next->first, 0), panel, false};
        if (next->panel != item->panel)
            *list++ = (bp_ahead){bp_panel(k, pass->m[node->delta], next->panel, 0), panel, false};
    }
    *list = (bp_ahead){NULL, 0, false};
}

void bp_dense_gradient(const bp_pass *pass, const bp_node *node, const bp_item *item,
                       const bp_item *next, const bp_gradient *job)
{
    const bp_kernels *k = pass->k;
    const bp_weights *w = &job->w[node->index];
    const size_t j = item->panel, in_padded = bp_round_up(node->in, k->nr);
    const bool updates = job->mode == BP_GRADIENT_UPDATE || job->mode == BP_GRADIENT_SWEEP;
    _Alignas(BP_ALIGN) char g[BP_BLOCK_BYTES];
    if (bp_panel_width(k, node->out, j) < k->nr) /* lanes of the last panel that nobody writes */
        k->fill(g, 0, bp_min(k->nr, node->in) * k->nr);
    for (size_t i = item->first; i < item->last; ++i) {
        const size_t block = node->state + (j * in_padded + i * k->nr) * k->nr;
        const part p = {
            .w = bp_block(k, w, i, j),
            .g = g,
            .grad = bp_at(job->grad, node->param + i * k->nr * node->out + j * k->nr, k->size),
            .s0 = state_at(k, job->state[0], block),
            .s1 = state_at(k, job->state[1], block),
            .rows = bp_block_rows(k, w, i),
            .width = bp_panel_width(k, node->out, j),
            .l1 = node->l1,
            .l2 = node->l2,
            .non_negative = node->non_negative};
        if (job->mode == BP_GRADIENT_SWEEP || job->mode == BP_GRADIENT_ADD)
            load_gradient(k, node, &p);
        bp_ahead ahead[BP_MOST_AHEAD];
        list_ahead(pass, node, job, item, next, &p, bp_block_of_transpose(k, w, i, j), ahead);
        if (job->mode != BP_GRADIENT_SWEEP) block_gradient(pass, node, job, i, j, g, ahead);
        settle(k, node, job, &p);
        if (updates && node->max_norm == 0) bp_block_transposed(k, w, i, j);
    }
    if (item->first == 0 && node->use_bias) bias_gradient(pass, node, job, j);
    if (!updates || node->max_norm == 0) return;
    limit_columns(k, node, w, j);
    for (size_t i = item->first; i < item->last; ++i) bp_block_transposed(k, w, i, j);
}

static bp_needs needs(const bp_node *node)
{
    return (bp_needs){.forward = dense_forward,
                      .backward = dense_backward,
                      .infer = dense_forward,
                      .keeps_input = bp_activation_keeps_input(node->activation)};
}

const bp_op bp_op_dense = {"dense", needs};

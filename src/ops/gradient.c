/* gradient.c - the gradient of a layer's parameters, block by block, to GRAD or to the optimizer.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 *   dense   dW = x^T dz          NR x NR blocks: one chain over the rows of each use in turn
 *           db = column sums of dz, of each use in turn, with the first block of each panel
 *   others  what their backward steps left, shard after shard of each use in turn
 *
 * Uses are those of the layer that has the parameters, and of the layers that share them. Where a use
 * is tied it reads W^T, and its part of dW is dz^T x. A block is 1 to 4 KB: it goes to the optimizer
 * while in L1, and the new W is written in both orders.
 */
#include "op.h"

#include <string.h>

enum { BP_BLOCK_BYTES = 4096 };

/* The mask of block (i, j) at this step: element (row, col) of W. */
static void weight_mask(const bp_pass *pass, const bp_node *node, uint8_t *mask, size_t i, size_t j,
                        size_t rows)
{
    const bp_rng_key key = {pass->seed, BP_STREAM_WEIGHT_DROPOUT + (uint32_t)node->index,
                            pass->step};
    pass->k->mask_rows(mask, &key, i * pass->k->nr, j * pass->k->nr, rows, node->rate);
}

void bp_gradient_mask(const bp_pass *pass, const bp_node *node, const bp_item *item,
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

/* The use after this one of the same kernel, or NULL. */
static const bp_node *next_use(const bp_gradient *job, const bp_node *node)
{
    return node->next_use ? &job->nodes[node->next_use] : NULL;
}

/* One use's part of block (i, j), whose chains go on in g where `add` says so. */
static void use_product(const bp_pass *pass, const bp_node *use, const bp_gradient *job, size_t i,
                        size_t j, size_t rows, size_t width, void *g, bool add,
                        const bp_ahead *ahead)
{
    const bp_kernels *k = pass->k;
    const bp_place *at = &pass->at[use->index];
    const bp_panels x = pass->m[at->x[0]], dz = pass->m[at->delta];
    k->gemm_block(g, bp_panel(k, use->tied ? dz : x, i, 0), bp_panel(k, use->tied ? x : dz, j, 0),
                  job->batch, rows, width, add ? BP_FROM_C : BP_FROM_ZERO, ahead);
}

/* One use's shards added up in g[rows][NR], from row `row` of each shard's gradient on. */
static void use_shards(const bp_pass *pass, const bp_node *use, const bp_gradient *job, size_t row,
                       size_t j, size_t rows, void *g, bool add)
{
    const bp_kernels *k = pass->k;
    const bp_panels partial = pass->m[pass->at[use->index].partial];
    for (size_t s = 0; s < bp_shards(job->batch); ++s) {
        const void *part = bp_panel(k, partial, j, s * (use->in + 1) + row);
        if (add || s > 0)
            k->add(g, part, rows * k->nr);
        else
            memcpy(g, part, rows * k->nr * k->size);
    }
}

/* Block (i, j) of dW into g[NR][NR], which holds the gradient so far where the mode adds. Its chain
 * goes on, but under a mask that scales only what is new. */
static void block_gradient(const bp_pass *pass, const bp_node *node, const bp_gradient *job,
                           size_t i, size_t j, void *g, const bp_ahead *ahead)
{
    const bp_kernels *k = pass->k;
    const size_t rows = bp_min(k->nr, node->in - i * k->nr);
    const size_t width = bp_panel_width(k, node->out, j);
    const bool masked = bp_masks_weights(node);
    const bool after = job->mode == BP_GRADIENT_ADD;
    bool add = after && !masked;
    _Alignas(BP_ALIGN) char before[BP_BLOCK_BYTES];
    if (after && masked) memcpy(before, g, rows * k->nr * k->size);
    for (const bp_node *use = node; use; use = next_use(job, use), add = true) {
        if (pass->at[use->index].partial == BP_NONE)
            use_product(pass, use, job, i, j, rows, width, g, add, ahead);
        else
            use_shards(pass, use, job, i * k->nr, j, rows, g, add);
    }
    if (!masked) return;
    uint8_t mask[BP_BLOCK_BYTES];
    weight_mask(pass, node, mask, i, j, rows);
    k->mask_apply(g, g, mask, 1.0 / (1.0 - node->rate), rows * k->nr);
    if (after) k->add(g, before, rows * k->nr);
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
    if (job->penalises && (p->l1 > 0 || p->l2 > 0)) k->add_penalty(p->g, p->w, p->l1, p->l2, n);
    if (job->mode == BP_GRADIENT_STORE || job->mode == BP_GRADIENT_ADD) {
        k->unpack(p->grad, p->g, p->rows, p->width, node->out, 0);
        return;
    }
    const bp_update *update = job->update;
    bp_update scaled;
    if (node->lr_scale != 1.0) {
        scaled = bp_update_scaled(update, node->lr_scale);
        update = &scaled;
    }
    bp_update_run(k, update, p->w, p->g, p->s0, p->s1, p->rows, p->width, k->nr);
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

/* Sums of dz over all uses into g[NR], or added to it. */
static void bias_sums(const bp_pass *pass, const bp_node *node, const bp_gradient *job, size_t j,
                      void *g, bool add)
{
    const bp_kernels *k = pass->k;
    _Alignas(BP_ALIGN) char sums[BP_BLOCK_BYTES];
    for (const bp_node *use = node; use; use = next_use(job, use)) {
        if (use->tied && use != node) continue; /* it has a bias of its own */
        if (pass->at[use->index].partial != BP_NONE) {
            use_shards(pass, use, job, use->in, j, 1, g, add);
        } else {
            k->col_sums(add ? sums : g, bp_panel(k, pass->m[pass->at[use->index].delta], j, 0),
                        job->batch);
            if (add) k->add(g, sums, k->nr);
        }
        if (node->tied) return;
        add = true;
    }
}

/* The new weights' part in their average; `at`: where they stand in a slot. */
static void settle_average(const bp_kernels *k, const bp_gradient *job, const void *w, size_t at,
                           size_t n)
{
    if (job->share > 0) k->average(bp_at(job->average, at, k->size), w, job->share, n);
}

static void bias_gradient(const bp_pass *pass, const bp_node *node, const bp_gradient *job,
                          size_t j)
{
    const bp_kernels *k = pass->k;
    const bp_weights *w = &job->w[node->index];
    _Alignas(BP_ALIGN) char g[BP_BLOCK_BYTES], before[BP_BLOCK_BYTES];
    part p = {.w = bp_at(w->bias, j * k->nr, k->size),
              .g = g,
              .grad = bp_at(job->grad, node->bias_param + j * k->nr, k->size),
              .s0 = state_at(k, job->state[0], node->bias_state + j * k->nr),
              .s1 = state_at(k, job->state[1], node->bias_state + j * k->nr),
              .rows = 1,
              .width = bp_panel_width(k, node->out, j),
              .l1 = node->bias_l1,
              .l2 = node->bias_l2};
    if (job->mode == BP_GRADIENT_SWEEP) {
        load_gradient(k, node, &p);
    } else {
        bias_sums(pass, node, job, j, g, false);
        if (job->mode == BP_GRADIENT_ADD) {
            p.g = before;
            load_gradient(k, node, &p);
            p.g = g;
            k->add(g, before, k->nr);
        }
    }
    settle(k, node, job, &p);
    settle_average(k, job, p.w, node->bias_state + j * k->nr, k->nr);
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
enum { BP_MOST_AHEAD = 8 };
static void list_ahead(const bp_pass *pass, const bp_node *node, const bp_gradient *job,
                       const bp_item *item, const bp_item *next, const part *p, void *transpose,
                       void *average, bp_ahead *list)
{
    const bp_kernels *k = pass->k;
    const bp_place *at = &pass->at[node->index];
    const size_t panel = job->batch * k->nr * k->size;
    void *const updated[] = {p->w, transpose, p->s0, p->s1, average};
    for (size_t u = 0; job->far && u < 5; ++u)
        if (updated[u]) *list++ = (bp_ahead){updated[u], p->rows * k->nr * k->size, job->shared};
    if (job->shared && at->partial == BP_NONE && next && next->node == item->node) {
        *list++ = (bp_ahead){bp_panel(k, pass->m[at->x[0]], next->first, 0), panel, false};
        if (next->panel != item->panel)
            *list++ = (bp_ahead){bp_panel(k, pass->m[at->delta], next->panel, 0), panel, false};
    }
    *list = (bp_ahead){NULL, 0, false};
}

/* Where block (i, j) stands in a slot. */
static size_t block_state(const bp_kernels *k, const bp_node *node, size_t i, size_t j)
{
    return node->state + (j * bp_round_up(node->in, k->nr) + i * k->nr) * k->nr;
}

/* A scale of normalisation is no kernel in this sense. */
static bool multiplies(const bp_node *node)
{
    return node->op == &bp_op_dense || node->op == &bp_op_conv;
}

/* What follows from a block's new weights. */
static void finish_block(const bp_kernels *k, const bp_node *node, const bp_gradient *job,
                         const bp_weights *w, size_t i, size_t j)
{
    settle_average(k, job, bp_block(k, w, i, j), block_state(k, node, i, j),
                   bp_block_rows(k, w, i) * k->nr);
    bp_block_transposed(k, w, i, j);
}

void bp_gradient_item(const bp_pass *pass, const bp_item *item, const bp_item *next,
                      const bp_gradient *job)
{
    const bp_kernels *k = pass->k;
    const bp_node *node = &job->nodes[item->node];
    const bp_weights *w = &job->w[node->index];
    const size_t j = item->panel;
    const bool updates = job->mode == BP_GRADIENT_UPDATE || job->mode == BP_GRADIENT_SWEEP;
    _Alignas(BP_ALIGN) char g[BP_BLOCK_BYTES];
    if (bp_panel_width(k, node->out, j) < k->nr) /* lanes of the last panel that nobody writes */
        k->fill(g, 0, bp_min(k->nr, node->in) * k->nr);
    for (size_t i = item->first; i < item->last; ++i) {
        const size_t block = block_state(k, node, i, j);
        const part p = {
            .w = bp_block(k, w, i, j),
            .g = g,
            .grad = bp_at(job->grad, node->param + i * k->nr * node->out + j * k->nr, k->size),
            .s0 = state_at(k, job->state[0], block),
            .s1 = state_at(k, job->state[1], block),
            .rows = bp_block_rows(k, w, i),
            .width = bp_panel_width(k, node->out, j),
            .l1 = node->l1,
            .l2 = node->l2 + (multiplies(node) ? job->decay : 0),
            .non_negative = node->non_negative};
        if (job->mode == BP_GRADIENT_SWEEP || job->mode == BP_GRADIENT_ADD)
            load_gradient(k, node, &p);
        bp_ahead ahead[BP_MOST_AHEAD];
        void *average = job->share > 0 ? bp_at(job->average, block, k->size) : NULL;
        list_ahead(pass, node, job, item, next, &p, bp_block_of_transpose(k, w, i, j), average,
                   ahead);
        if (job->mode != BP_GRADIENT_SWEEP) block_gradient(pass, node, job, i, j, g, ahead);
        settle(k, node, job, &p);
        if (updates && node->max_norm == 0) finish_block(k, node, job, w, i, j);
    }
    if (item->bias) bias_gradient(pass, node, job, j);
    if (!updates || node->max_norm == 0 || item->first == item->last) return;
    limit_columns(k, node, w, j);
    for (size_t i = item->first; i < item->last; ++i) finish_block(k, node, job, w, i, j);
}

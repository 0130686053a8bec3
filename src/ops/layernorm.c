/* layernorm.c - LayerNorm, and RMSNorm as the same without a mean: rows normalised over their columns.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 *   LayerNorm   t = (x - mean) / s,   s = sqrt(variance + epsilon), the biased variance
 *   RMSNorm     t = x / s,            s = sqrt(mean of x^2 + epsilon)
 *               y = t gamma + beta
 *   backward    g = dy gamma
 *               dx = (g - mean of g - t mean of g t) / s            RMSNorm: without the mean of g
 *               dgamma = sum of dy t, dbeta = sum of dy             over the rows, shard by shard
 *
 * A row of the matrix is one position of a row of the batch, its columns are the channels. Its moments
 * are computed again on the way back, where x is read anyway. Ba, Kiros & Hinton 2016.
 */
#include "op.h"

static bp_row_norm arguments(const bp_pass *pass, const bp_node *node)
{
    const bp_kernels *k = pass->k;
    const bp_weights *w = &pass->w[node->index];
    return (bp_row_norm){.gamma = node->use_kernel ? bp_block(k, w, 0, 0) : NULL,
                         .gamma_stride = bp_round_up(node->in, k->nr) * k->nr,
                         .beta = node->use_bias ? w->bias : NULL,
                         .n = node->out,
                         .epsilon = node->epsilon,
                         .centred = node->op == &bp_op_layernorm};
}

static void forward(const bp_step *step, const bp_pass *pass, size_t row0, size_t rows)
{
    const bp_kernels *k = pass->k;
    const size_t each = bp_positions(step->node->to), first = row0 * each;
    const bp_row_norm args = arguments(pass, step->node);
    const bp_panels y = pass->m[step->out], x = pass->m[step->in];
    k->norm_rows(bp_panel(k, y, 0, first), bp_panel(k, x, 0, first), y.stride, x.stride, &args,
                 rows * each);
}

static void backward(const bp_step *step, const bp_pass *pass, size_t row0, size_t rows)
{
    const bp_kernels *k = pass->k;
    const bp_node *node = step->node;
    const bp_place *at = &pass->at[node->index];
    const bool wanted = step->out != BP_NONE, learns = at->partial != BP_NONE;
    const bp_panels none = {NULL, 0}, dy = pass->m[step->in], x = pass->m[at->x[0]];
    const bp_panels dx = wanted ? pass->m[step->out] : none;
    const bp_panels partial = learns ? pass->m[at->partial] : none;
    const bp_row_strides strides = {dx.stride, partial.stride, dy.stride, x.stride};
    const bp_row_norm args = arguments(pass, node);
    const size_t each = bp_positions(node->to), part = learns ? BP_SHARD_ROWS : rows;
    if (!wanted && !learns) return;
    for (size_t r = row0; r < row0 + rows; r += part)
        k->norm_rows_back(wanted ? bp_panel(k, dx, 0, r * each) : NULL,
                          learns ? bp_panel(k, partial, 0, r / BP_SHARD_ROWS * 2) : NULL,
                          bp_panel(k, dy, 0, r * each), bp_panel(k, x, 0, r * each), &strides,
                          &args, bp_min(part, row0 + rows - r) * each);
}

const char *bp_row_norm_shape(bp_node *node)
{
    node->in = 1;
    node->out = node->to.channels;
    return NULL;
}

bp_needs bp_row_norm_needs(const bp_node *node)
{
    return (bp_needs){.forward = forward,
                      .backward = backward,
                      .infer = forward,
                      .partial = node->trainable && (node->use_kernel || node->use_bias),
                      .in_place_delta = true};
}

const bp_op bp_op_layernorm = {"layernorm", bp_row_norm_shape, bp_row_norm_needs};

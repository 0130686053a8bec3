/* maxpool.c - y = the largest of each window, channel by channel.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Where it alone reads a convolution, that does it (conv_pool.c): there are no steps then.
 * The gradient goes to the first of the largest in its window, found again by comparison (pool.tmpl.h).
 */
#include "window.h"

static void forward(const bp_step *step, const bp_pass *pass, size_t row0, size_t rows)
{
    const bp_kernels *k = pass->k;
    const bp_node *node = step->node;
    const bp_pool pool = bp_pool_of(node);
    const size_t in = bp_positions(node->from[0]), out = bp_positions(node->to);
    for (size_t r = row0; r < row0 + rows; ++r)
        for (size_t j = 0; j < bp_panel_count(k, node->to.channels); ++j)
            k->max_pool(bp_panel(k, pass->m[step->out], j, r * out),
                        bp_panel(k, pass->m[step->in], j, r * in), &pool,
                        bp_panel_width(k, node->to.channels, j));
}

static void backward(const bp_step *step, const bp_pass *pass, size_t row0, size_t rows)
{
    const bp_kernels *k = pass->k;
    const bp_node *node = step->node;
    const bp_place *place = &pass->at[node->index];
    const bp_pool pool = bp_pool_of(node);
    const size_t in = bp_positions(node->from[0]), out = bp_positions(node->to);
    if (step->out == BP_NONE) return;
    for (size_t r = row0; r < row0 + rows; ++r)
        for (size_t j = 0; j < bp_panel_count(k, node->to.channels); ++j)
            k->max_pool_grad(bp_panel(k, pass->m[step->out], j, r * in),
                             bp_panel(k, pass->m[step->in], j, r * out),
                             bp_panel(k, pass->m[place->y], j, r * out),
                             bp_panel(k, pass->m[place->x[0]], j, r * in), &pool,
                             bp_panel_width(k, node->to.channels, j), step->flags & BP_ADD);
}

static bp_needs needs(const bp_node *node)
{
    if (node->pooled) return (bp_needs){0};
    return (bp_needs){.forward = forward, .backward = backward, .infer = forward, .adds = true};
}

const bp_op bp_op_maxpool = {"maxpool", bp_pool_shape, needs};

/* avgpool.c - y = the mean of each window's positions inside the image, channel by channel.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * A window as large as the image gives one mean a channel (Lin, Chen & Yan 2014).
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
            k->mean_pool(bp_panel(k, pass->m[step->out], j, r * out),
                         bp_panel(k, pass->m[step->in], j, r * in), &pool,
                         bp_panel_width(k, node->to.channels, j));
}

static void backward(const bp_step *step, const bp_pass *pass, size_t row0, size_t rows)
{
    const bp_kernels *k = pass->k;
    const bp_node *node = step->node;
    const bp_pool pool = bp_pool_of(node);
    const size_t in = bp_positions(node->from[0]), out = bp_positions(node->to);
    if (step->out == BP_NONE) return;
    for (size_t r = row0; r < row0 + rows; ++r)
        for (size_t j = 0; j < bp_panel_count(k, node->to.channels); ++j)
            k->mean_pool_grad(bp_panel(k, pass->m[step->out], j, r * in),
                              bp_panel(k, pass->m[step->in], j, r * out), &pool,
                              bp_panel_width(k, node->to.channels, j), step->flags & BP_ADD);
}

static bp_needs needs(const bp_node *node)
{
    (void)node;
    return (bp_needs){.forward = forward, .backward = backward, .infer = forward, .adds = true};
}

const bp_op bp_op_avgpool = {"avgpool", bp_pool_shape, needs};

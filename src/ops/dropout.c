/* dropout.c - inverted dropout on activations (Srivastava et al. 2014).
 * SPDX-License-Identifier: BSD-3-Clause
 *
 *   forward    y = x m / (1 - rate)       m drawn for (step, row of the batch, column)
 *   backward   dx = dy m / (1 - rate)     with the kept mask, in place or not
 *
 * Nothing at inference.
 */
#include "op.h"

static uint8_t *mask_at(const bp_kernels *k, bp_panels mask, size_t panel, size_t row)
{
    return (uint8_t *)mask.data + panel * mask.stride + row * k->nr;
}

static double keep_scale(const bp_node *node) { return 1.0 / (1.0 - node->rate); }

static void forward(const bp_step *step, const bp_pass *pass, size_t row0, size_t rows)
{
    const bp_kernels *k = pass->k;
    const bp_node *node = step->node;
    const size_t each = bp_positions(node->to), first = row0 * each, m = rows * each;
    const bp_rng_key key = {pass->seed, BP_STREAM_DROPOUT + (uint32_t)node->index, pass->step};
    for (size_t j = pass->panels.first; j < bp_pass_panels(pass, node->to.channels); ++j) {
        uint8_t *mask = mask_at(k, pass->m[step->mask], j, first);
        k->mask_rows(mask, &key, first, j * k->nr, m, node->rate);
        k->mask_apply(bp_panel(k, pass->m[step->out], j, first),
                      bp_panel(k, pass->m[step->in], j, first), mask, keep_scale(node), m * k->nr);
    }
}

static void backward(const bp_step *step, const bp_pass *pass, size_t row0, size_t rows)
{
    const bp_kernels *k = pass->k;
    const bp_node *node = step->node;
    const size_t each = bp_positions(node->to), first = row0 * each, m = rows * each;
    if (step->out == BP_NONE) return;
    for (size_t j = pass->panels.first; j < bp_pass_panels(pass, node->to.channels); ++j)
        k->mask_apply(bp_panel(k, pass->m[step->out], j, first),
                      bp_panel(k, pass->m[step->in], j, first),
                      mask_at(k, pass->m[step->mask], j, first), keep_scale(node), m * k->nr);
}

static bp_needs needs(const bp_node *node)
{
    (void)node;
    return (bp_needs){.forward = forward,
                      .backward = backward,
                      .split = BP_PANEL,
                      .split_back = BP_PANEL,
                      .in_place_delta = true,
                      .keeps_mask = true};
}

const bp_op bp_op_dropout = {"dropout", NULL, needs};

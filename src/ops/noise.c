/* noise.c - y = x + s e in training: e normal with mean 0, variance 1, s the layer's `rate`.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * A draw belongs to (step, row of the matrix, column). The gradient passes as it is; nothing at
 * inference. On inputs, this is Tikhonov regularization (Bishop 1995).
 */
#include "op.h"

static void forward(const bp_step *step, const bp_pass *pass, size_t row0, size_t rows)
{
    const bp_kernels *k = pass->k;
    const bp_node *node = step->node;
    const size_t each = bp_positions(node->to), first = row0 * each;
    const bp_rng_key key = {pass->seed, BP_STREAM_NOISE + (uint32_t)node->index, pass->step};
    for (size_t j = pass->panels.first; j < bp_pass_panels(pass, node->to.channels); ++j)
        k->noise_rows(bp_panel(k, pass->m[step->out], j, first),
                      bp_panel(k, pass->m[step->in], j, first), &key, first, j * k->nr, rows * each,
                      node->rate);
}

static bp_needs needs(const bp_node *node)
{
    (void)node;
    return (bp_needs){.forward = forward, .split = BP_PANEL};
}

const bp_op bp_op_noise = {"noise", NULL, needs};

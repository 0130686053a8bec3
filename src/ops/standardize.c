/* standardize.c - (x - mean) / std of the training inputs, as the first layer.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * It has no step of its own: the batch gather reads inputs once and applies it there, in double for
 * sources that float32 cannot hold. Its statistics are buffers of the model, set by fit.
 */
#include "op.h"

static const char *shape(bp_node *node)
{
    if (node->index != 0 || node->inputs[0] != 0) return "standardize must be the first layer";
    node->n_buffers = 2 * bp_positions(node->to) * node->to.channels;
    return NULL;
}

static bp_needs needs(const bp_node *node)
{
    (void)node;
    return (bp_needs){.forward = NULL};
}

const bp_op bp_op_standardize = {"standardize", shape, needs};

/* concat.c - y = [a b]: the columns of two inputs side by side, position by position (Huang et al. 2017).
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * The gradient of each is its own columns of dy.
 */
#include "op.h"

static void forward(const bp_step *step, const bp_pass *pass, size_t row0, size_t rows)
{
    const bp_node *node = step->node;
    const size_t each = bp_positions(node->to), a = node->from[0].channels;
    bp_copy_columns(pass->k, pass->m[step->out], 0, pass->m[step->in], 0, a, row0 * each,
                    rows * each);
    bp_copy_columns(pass->k, pass->m[step->out], a, pass->m[step->in2], 0, node->from[1].channels,
                    row0 * each, rows * each);
}

static void backward(const bp_step *step, const bp_pass *pass, size_t row0, size_t rows)
{
    const bp_node *node = step->node;
    const size_t each = bp_positions(node->to), first = step->which ? node->from[0].channels : 0;
    if (step->out == BP_NONE) return;
    bp_copy_columns(pass->k, pass->m[step->out], 0, pass->m[step->in], first,
                    node->from[step->which].channels, row0 * each, rows * each);
}

static const char *shape(bp_node *node)
{
    const bp_shape a = node->from[0], b = node->from[1];
    if (node->n_inputs != 2 || a.height != b.height || a.width != b.width)
        return "concat takes two inputs with the same positions";
    node->to.channels = a.channels + b.channels;
    return NULL;
}

static bp_needs needs(const bp_node *node)
{
    (void)node;
    return (bp_needs){.forward = forward, .backward = backward, .infer = forward};
}

const bp_op bp_op_concat = {"concat", shape, needs};

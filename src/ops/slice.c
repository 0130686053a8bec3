/* slice.c - y = x[:, first : first + count]: some columns. The gradient of the others is zero.
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "op.h"

static void forward(const bp_step *step, const bp_pass *pass, size_t row0, size_t rows)
{
    const bp_node *node = step->node;
    const size_t each = bp_positions(node->to);
    bp_copy_columns(pass->k, pass->m[step->out], 0, pass->m[step->in], node->first, node->count,
                    row0 * each, rows * each);
}

static void backward(const bp_step *step, const bp_pass *pass, size_t row0, size_t rows)
{
    const bp_kernels *k = pass->k;
    const bp_node *node = step->node;
    const size_t each = bp_positions(node->to);
    if (step->out == BP_NONE) return;
    for (size_t j = 0; j < bp_panel_count(k, node->from[0].channels); ++j)
        k->fill(bp_panel(k, pass->m[step->out], j, row0 * each), 0, rows * each * k->nr);
    bp_copy_columns(k, pass->m[step->out], node->first, pass->m[step->in], 0, node->count,
                    row0 * each, rows * each);
}

static const char *shape(bp_node *node)
{
    const size_t cols = node->from[0].channels;
    if (node->count == 0 || node->first >= cols || node->count > cols - node->first)
        return "slice takes columns that its input has";
    node->to.channels = node->count;
    return NULL;
}

static bp_needs needs(const bp_node *node)
{
    (void)node;
    return (bp_needs){.forward = forward, .backward = backward, .infer = forward};
}

const bp_op bp_op_slice = {"slice", shape, needs};

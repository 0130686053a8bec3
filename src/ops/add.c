/* add.c - y = a + b: where a shortcut meets its branch (He et al. 2015). The gradient passes to both.
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "op.h"

static void forward(const bp_step *step, const bp_pass *pass, size_t row0, size_t rows)
{
    const bp_kernels *k = pass->k;
    const size_t each = bp_positions(step->node->to), first = row0 * each;
    for (size_t j = pass->panels.first; j < bp_pass_panels(pass, step->node->to.channels); ++j)
        k->sum_of(bp_panel(k, pass->m[step->out], j, first),
                  bp_panel(k, pass->m[step->in], j, first),
                  bp_panel(k, pass->m[step->in2], j, first), rows * each * k->nr);
}

static const char *shape(bp_node *node)
{
    const bp_shape a = node->from[0], b = node->from[1];
    const bool same = a.height == b.height && a.width == b.width && a.channels == b.channels;
    return node->n_inputs == 2 && same ? NULL : "add takes two inputs of one shape";
}

static bp_needs needs(const bp_node *node)
{
    (void)node;
    return (bp_needs){.forward = forward, .infer = forward, .split = BP_PANEL};
}

const bp_op bp_op_add = {"add", shape, needs};

/* distance.c - y = |a - b|, element by element: how a siamese network compares two halves of its
 * input (Bromley et al. 1993; Koch et al. 2015).
 * SPDX-License-Identifier: BSD-3-Clause
 *
 *   backward   da = dy sign(a - b), db = -da, where sign(0) = 0
 */
#include "op.h"

static void forward(const bp_step *step, const bp_pass *pass, size_t row0, size_t rows)
{
    const bp_kernels *k = pass->k;
    const size_t each = bp_positions(step->node->to), first = row0 * each;
    for (size_t j = 0; j < bp_panel_count(k, step->node->to.channels); ++j)
        k->distance(bp_panel(k, pass->m[step->out], j, first),
                    bp_panel(k, pass->m[step->in], j, first),
                    bp_panel(k, pass->m[step->in2], j, first), rows * each * k->nr);
}

static void backward(const bp_step *step, const bp_pass *pass, size_t row0, size_t rows)
{
    const bp_kernels *k = pass->k;
    const bp_place *at = &pass->at[step->node->index];
    const bp_panels mine = pass->m[at->x[step->which]], other = pass->m[at->x[1 - step->which]];
    const size_t each = bp_positions(step->node->to), first = row0 * each;
    if (step->out == BP_NONE) return;
    for (size_t j = 0; j < bp_panel_count(k, step->node->to.channels); ++j)
        k->distance_grad(bp_panel(k, pass->m[step->out], j, first),
                         bp_panel(k, pass->m[step->in], j, first), bp_panel(k, mine, j, first),
                         bp_panel(k, other, j, first), rows * each * k->nr);
}

static const char *shape(bp_node *node)
{
    const bp_shape a = node->from[0], b = node->from[1];
    const bool same = a.height == b.height && a.width == b.width && a.channels == b.channels;
    return node->n_inputs == 2 && same ? NULL : "distance takes two inputs of one shape";
}

static bp_needs needs(const bp_node *node)
{
    (void)node;
    return (bp_needs){.forward = forward, .backward = backward, .infer = forward};
}

const bp_op bp_op_distance = {"distance", shape, needs};

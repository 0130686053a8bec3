/* activation.c - y = f(x), element by element; softmax by rows of the matrix.
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "op.h"

static void forward(const bp_step *step, const bp_pass *pass, size_t row0, size_t rows)
{
    const size_t each = bp_positions(step->node->to);
    bp_activate(pass->k, step->node->activation, bp_pass_matrix(pass, step->out),
                bp_pass_matrix(pass, step->in), bp_pass_cols(pass, step->node->to.channels),
                row0 * each, rows * each, pass->scratch);
}

static void backward(const bp_step *step, const bp_pass *pass, size_t row0, size_t rows)
{
    const bp_node *node = step->node;
    const bp_place *at = &pass->at[node->index];
    const size_t each = bp_positions(node->to);
    const int saved = bp_activation_keeps_input(node->activation) ? at->x[0] : at->y;
    if (step->out == BP_NONE) return;
    bp_derive(pass->k, node->activation, bp_pass_matrix(pass, step->out),
              bp_pass_matrix(pass, step->in), bp_pass_matrix(pass, saved),
              bp_pass_cols(pass, node->to.channels), row0 * each, rows * each, pass->scratch);
}

static bp_needs needs(const bp_node *node)
{
    const bp_split split = node->activation == BP_ACT_softmax ? BP_ROWS : BP_PANEL;
    return (bp_needs){.forward = forward,
                      .backward = backward,
                      .infer = forward,
                      .split = split,
                      .split_back = split,
                      .in_place = split == BP_PANEL && !bp_activation_keeps_input(node->activation),
                      .in_place_delta = true};
}

const bp_op bp_op_activation = {"activation", NULL, needs};

/* reshape.c - the same numbers of a row, positions before channels, in another shape.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Matrices of other widths have other panels, so the numbers move.
 */
#include "op.h"

/* Runs of numbers that are neighbours in one row of both matrices. */
static void move(const bp_pass *pass, bp_panels y, bp_shape to, bp_panels x, bp_shape from,
                 size_t row0, size_t rows)
{
    const size_t c = from.channels, d = to.channels, n = bp_positions(from) * c;
    for (size_t r = row0; r < row0 + rows; ++r) {
        size_t run;
        for (size_t at = 0; at < n; at += run) {
            run = bp_min(c - at % c, d - at % d);
            bp_copy_row(pass->k, y, r * (n / d) + at / d, at % d, x, r * (n / c) + at / c, at % c,
                        run);
        }
    }
}

static void forward(const bp_step *step, const bp_pass *pass, size_t row0, size_t rows)
{
    move(pass, pass->m[step->out], step->node->to, pass->m[step->in], step->node->from[0], row0,
         rows);
}

static void backward(const bp_step *step, const bp_pass *pass, size_t row0, size_t rows)
{
    if (step->out == BP_NONE) return;
    move(pass, pass->m[step->out], step->node->from[0], pass->m[step->in], step->node->to, row0,
         rows);
}

static const char *shape(bp_node *node)
{
    const size_t from = bp_positions(node->from[0]) * node->from[0].channels;
    return bp_positions(node->to) * node->to.channels == from
               ? NULL
               : "reshape keeps the number of values";
}

static bp_needs needs(const bp_node *node)
{
    (void)node;
    return (bp_needs){.forward = forward, .backward = backward, .infer = forward};
}

const bp_op bp_op_reshape = {"reshape", shape, needs};

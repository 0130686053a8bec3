/* move.c - steps that the planner puts between those of layers: matrices copied and added up.
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "op.h"

#include <string.h>

void bp_move_spread(const bp_step *step, const bp_pass *pass, size_t row0, size_t rows)
{
    const bp_kernels *k = pass->k;
    const bp_panels x = pass->m[step->in], y = pass->m[step->out];
    const size_t each = bp_positions(step->shape), cols = step->shape.channels;
    for (size_t r = row0; r < row0 + rows; ++r)
        k->pack(bp_panel(k, y, 0, r * each), bp_at(x.data, r * x.stride, k->size), each, cols, cols,
                y.stride);
}

void bp_move_copy(const bp_step *step, const bp_pass *pass, size_t row0, size_t rows)
{
    const bp_kernels *k = pass->k;
    const size_t each = bp_positions(step->shape);
    for (size_t j = pass->panels.first; j < bp_pass_panels(pass, step->shape.channels); ++j)
        memcpy(bp_panel(k, pass->m[step->out], j, row0 * each),
               bp_panel(k, pass->m[step->in], j, row0 * each), rows * each * k->nr * k->size);
}

void bp_move_add(const bp_step *step, const bp_pass *pass, size_t row0, size_t rows)
{
    const bp_kernels *k = pass->k;
    const size_t each = bp_positions(step->shape);
    for (size_t j = pass->panels.first; j < bp_pass_panels(pass, step->shape.channels); ++j)
        k->add(bp_panel(k, pass->m[step->out], j, row0 * each),
               bp_panel(k, pass->m[step->in], j, row0 * each), rows * each * k->nr);
}

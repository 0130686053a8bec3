/* loss.c - the loss of each row, its gradient, and the row's share of the metrics.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * The gradient is scaled by the row's weight over the weight sum of the batch. Cross-entropies take
 * the pre-activation, so softmax and sigmoid are never applied twice. Each row's numbers are stored;
 * one thread adds them in row order later, so neither threads nor shares can show.
 */
#include "op.h"

static double row_correct(const bp_kernels *k, const bp_objective *o, const void *z, const void *t,
                          size_t label, size_t cols)
{
    if (o->by_threshold) return (double)k->matches(z, t, o->threshold, cols) / (double)cols;
    return k->argmax(z, cols) == (t ? k->argmax(t, cols) : label) ? 1.0 : 0.0;
}

/* The network's output of one row: the activation that the loss had fused is applied first. */
static const void *row_output(const bp_kernels *k, const bp_objective *o, const void *z,
                              size_t cols, void *scratch)
{
    if (o->activation == BP_ACT_identity) return z;
    if (o->activation == BP_ACT_softmax)
        k->softmax(scratch, z, cols);
    else
        k->act[o->activation](scratch, z, cols);
    return scratch;
}

static void row_errors(const bp_kernels *k, const bp_objective *o, bp_row_stats *stats,
                       const void *z, const void *t, size_t cols, void *scratch)
{
    k->row_errors(row_output(k, o, z, cols, scratch), t, cols, &stats->squared, &stats->absolute);
    stats->squared /= (double)cols;
    stats->absolute /= (double)cols;
}

void bp_loss_rows(const bp_pass *pass, const bp_objective *o, const bp_targets *targets,
                  bp_panels dz, bp_panels z, size_t cols, bp_row_stats *stats, size_t row0,
                  size_t rows)
{
    const bp_kernels *k = pass->k;
    const size_t padded = bp_round_up(cols, k->nr);
    void *z_room = pass->scratch, *t_room = bp_at(z_room, padded, k->size);
    void *other = bp_at(t_room, padded, k->size);
    for (size_t r = row0; r < row0 + rows; ++r) {
        const size_t row = bp_target_row(targets, r);
        const double weight = targets->weights ? targets->weights[row] : 1.0;
        const void *zr = bp_row_read(k, z, cols, r, z_room);
        bp_loss_args args = {
            .target = o->labels ? NULL : bp_row_read(k, targets->targets, cols, r, t_room),
            .label = o->labels ? (size_t)targets->labels[row] : 0,
            .parameter = o->parameter,
            .scale = targets->weight_sum > 0 ? weight / targets->weight_sum : 0.0};
        if (dz.data) {
            stats[r].loss = k->loss[o->loss](bp_row_open(k, dz, cols, r, other), zr, &args, cols);
            bp_row_close(k, dz, cols, r, other);
        } else {
            stats[r].loss = k->loss[o->loss](NULL, zr, &args, cols);
        }
        if (o->want_correct)
            stats[r].correct = row_correct(k, o, zr, args.target, args.label, cols);
        if (o->want_errors) row_errors(k, o, &stats[r], zr, args.target, cols, other);
    }
}

void bp_loss_residuals(const bp_pass *pass, const bp_objective *o, const bp_targets *targets,
                       bp_panels z, size_t cols, double *total, size_t row0, size_t rows)
{
    const bp_kernels *k = pass->k;
    const size_t padded = bp_round_up(cols, k->nr);
    void *z_room = pass->scratch, *t_room = bp_at(z_room, padded, k->size);
    void *other = bp_at(t_room, padded, k->size);
    for (size_t r = row0; r < row0 + rows; ++r) {
        const double *weights = targets->weights;
        const void *y = row_output(k, o, bp_row_read(k, z, cols, r, z_room), cols, other);
        const void *t = bp_row_read(k, targets->targets, cols, r, t_room);
        k->add_residuals(total, y, t, weights ? weights[bp_target_row(targets, r)] : 1.0, cols);
    }
}

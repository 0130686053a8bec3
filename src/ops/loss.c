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

/* Rows that go to a kernel at once. */
enum { BP_LOSS_GROUP = 32 };

/* Losses and gradients of a group of rows. Outputs of several panels go row by row through scratch. */
static void group_losses(const bp_pass *pass, const bp_objective *o, bp_panels targets,
                         bp_loss_args *args, bp_panels dz, bp_panels z, size_t cols, double *losses,
                         size_t row0, size_t rows)
{
    const bp_kernels *k = pass->k;
    const size_t padded = bp_round_up(cols, k->nr);
    void *z_room = pass->scratch, *t_room = bp_at(z_room, padded, k->size);
    void *other = bp_at(t_room, padded, k->size);
    if (cols <= k->nr) {
        if (!o->labels) args->targets = bp_panel(k, targets, 0, row0);
        k->loss[o->loss](losses, dz.data ? bp_panel(k, dz, 0, row0) : NULL, bp_panel(k, z, 0, row0),
                         args, rows, cols);
        return;
    }
    for (size_t i = 0; i < rows; ++i, ++args->labels, ++args->scales) {
        const size_t r = row0 + i;
        if (!o->labels) args->targets = bp_row_read(k, targets, cols, r, t_room);
        k->loss[o->loss](&losses[i], dz.data ? bp_row_open(k, dz, cols, r, other) : NULL,
                         bp_row_read(k, z, cols, r, z_room), args, 1, cols);
        if (dz.data) bp_row_close(k, dz, cols, r, other);
    }
}

static void row_metrics(const bp_pass *pass, const bp_objective *o, const bp_targets *targets,
                        bp_panels z, size_t cols, bp_row_stats *stats, size_t label, size_t r)
{
    const bp_kernels *k = pass->k;
    const size_t padded = bp_round_up(cols, k->nr);
    void *z_room = pass->scratch, *t_room = bp_at(z_room, padded, k->size);
    void *other = bp_at(t_room, padded, k->size);
    const void *row = bp_row_read(k, z, cols, r, z_room);
    const void *t = o->labels ? NULL : bp_row_read(k, targets->targets, cols, r, t_room);
    if (o->want_correct) stats->correct = row_correct(k, o, row, t, label, cols);
    if (o->want_errors) row_errors(k, o, stats, row, t, cols, other);
}

void bp_loss_rows(const bp_pass *pass, const bp_objective *o, const bp_targets *targets,
                  bp_panels dz, bp_panels z, size_t cols, bp_row_stats *stats, size_t row0,
                  size_t rows)
{
    size_t labels[BP_LOSS_GROUP];
    double scales[BP_LOSS_GROUP], losses[BP_LOSS_GROUP];
    const double unit = targets->weight_sum > 0 ? 1.0 / targets->weight_sum : 0.0;
    for (size_t first = row0; first < row0 + rows; first += BP_LOSS_GROUP) {
        const size_t m = bp_min(BP_LOSS_GROUP, row0 + rows - first);
        bp_loss_args args = {.labels = labels,
                             .scales = scales,
                             .parameter = o->parameter,
                             .each = o->each,
                             .ld = pass->k->nr};
        for (size_t i = 0; i < m; ++i) {
            const size_t row = bp_target_row(targets, first + i);
            labels[i] = o->labels ? (size_t)targets->labels[row] : 0;
            scales[i] =
                targets->weights && unit > 0 ? targets->weights[row] / targets->weight_sum : unit;
        }
        group_losses(pass, o, targets->targets, &args, dz, z, cols, losses, first, m);
        for (size_t i = 0; i < m; ++i) {
            stats[first + i].loss = losses[i];
            if (o->want_correct || o->want_errors)
                row_metrics(pass, o, targets, z, cols, &stats[first + i], labels[i], first + i);
        }
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

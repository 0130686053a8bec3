/* check_loss.c - every loss with and without its gradient, and the metrics of a row.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Losses: the bits of the reference row where FMA is; formulas in long double for the reference row
 * and rows without, within 32 eps of the sum of the absolute terms: 4 ulp of exp and log on
 * arguments that round, and sums of n. Metrics are exact everywhere.
 */
#include "check_real.h"

enum { DZ_ROOM, Z_ROOM, T_ROOM, TOTAL_ROOM };

/* What a loss is of its row: value, slope by element, and the size of the terms that round. */
typedef struct {
    wide value, size;
    wide slope[LONGEST], slope_size[LONGEST];
} judged_loss;

static wide logistic(wide x) { return 1 / (1 + expl(-x)); }

static void cross_entropy(judged_loss *l, const real *z, const real *t, const bp_loss_args *a,
                          size_t n)
{
    const wide keep = 1 - (wide)a->parameter, share = (wide)a->parameter / (wide)n;
    wide most = -INFINITY, total = 0, mass = 0;
    for (size_t i = 0; i < n; ++i) most = z[i] > most ? z[i] : most;
    for (size_t i = 0; i < n; ++i) {
        total += expl(z[i] - most);
        mass += keep * (t ? (wide)t[i] : i == a->labels[0]) + share;
    }
    for (size_t i = 0; i < n; ++i) {
        const wide target = keep * (t ? (wide)t[i] : i == a->labels[0]) + share;
        const wide s = z[i] - most, p = expl(s) / total;
        l->value += target * (logl(total) - s);
        l->size += target * (1 + fabsl(logl(total)) + fabsl(s));
        l->slope[i] = p * mass - target;
        l->slope_size[i] = p * (1 + fabsl(s)) * mass + fabsl(target);
        l->slope_size[i] += mass * REAL_MIN / EPS; /* e^s below the least normal number may be 0 */
    }
}

static void judge(judged_loss *l, size_t loss, const real *z, const real *t, const bp_loss_args *a,
                  size_t n)
{
    const wide p = (real)a->parameter;
    bool average = true;
    memset(l, 0, sizeof *l);
    if (loss == BP_LOSS_cross_entropy) {
        cross_entropy(l, z, t, a, n);
        return;
    }
    for (size_t i = 0; i < n; ++i) {
        const wide d = (wide)z[i] - t[i], size = fabsl(d), sign = d > 0 ? 1 : d < 0 ? -1 : 0;
        wide value = 0, slope = 0, round = 0;
        switch (loss) {
        case BP_LOSS_half_squared_error:
            average = false;
            value = d * d / 2;
            slope = d;
            break;
        case BP_LOSS_mse:
            value = d * d;
            slope = 2 * d;
            break;
        case BP_LOSS_mae:
            value = size;
            slope = sign;
            break;
        case BP_LOSS_huber:
            value = size > p ? p * (size - p / 2) : d * d / 2;
            slope = size > p ? p * sign : d;
            break;
        case BP_LOSS_quantile: /* r = t - z = -d: tau r above, (tau - 1) r below */
            value = d < 0 ? -d * p : -d * (p - 1);
            slope = d < 0 ? -p : d > 0 ? 1 - p : 0;
            break;
        case BP_LOSS_binary_cross_entropy: {
            const wide target = t[i] + p * (0.5L - t[i]);
            value = (z[i] > 0 ? z[i] : 0) - z[i] * target + log1pl(expl(-fabsl((wide)z[i])));
            slope = logistic(z[i]) - target;
            round = 1 + fabsl((wide)z[i]) * (1 + fabsl(target));
            break;
        }
        case BP_LOSS_poisson:
            value = expl(z[i]) - z[i] * (wide)t[i];
            slope = expl(z[i]) - t[i];
            round =
                expl(z[i]) * (1 + fabsl((wide)z[i])) + fabsl(z[i] * (wide)t[i]) + fabsl((wide)t[i]);
            break;
        default:
            failed("loss %zu has no reference", loss);
        }
        l->value += value;
        l->size += fabsl(value) + round;
        l->slope[i] = slope;
        l->slope_size[i] = fabsl(slope) + round;
    }
    const wide share = average && n ? 1 / (wide)n : 1;
    l->value *= share;
    l->size *= share;
    for (size_t i = 0; i < n; ++i) l->slope[i] *= share;
    for (size_t i = 0; i < n; ++i) l->slope_size[i] *= share;
}

static void fill_targets(real *t, size_t n, size_t loss)
{
    const bool probability = loss == BP_LOSS_cross_entropy || loss == BP_LOSS_binary_cross_entropy;
    fill_tame(t, n, probability || loss == BP_LOSS_poisson ? 0 : -3, probability ? 1 : 3);
}

static double parameter_of(size_t loss)
{
    if (random_bits() % 2 && loss >= BP_LOSS_cross_entropy) return 0; /* no smoothing */
    return loss == BP_LOSS_huber ? 1.3 : loss == BP_LOSS_quantile ? 0.3 : 0.1;
}

static void fill_case(real *z, real *t, size_t n, size_t loss, kind what)
{
    fill(z, n, what);
    if (what == SPECIAL)
        fill(t, n, what);
    else
        fill_targets(t, n, loss);
    for (size_t i = 0; what == RANDOM && loss == BP_LOSS_poisson && i < n; ++i)
        z[i] = z[i] > 30 ? 30 : z[i]; /* sums of e^z within range */
}

static void loss_case(const subject *s, size_t loss, size_t n, size_t slack, kind what, bool labels)
{
    real want[LONGEST];
    wide tolerance[LONGEST];
    judged_loss exact;
    double value, alone, expected;
    real *z = reals(Z_ROOM, n, slack), *t = reals(T_ROOM, n, slack), *dz = reals(DZ_ROOM, n, slack);
    const size_t label = n ? (size_t)random_bits() % n : 0;
    const double scale = 0.37;
    const bp_loss_args args = {.targets = labels ? NULL : t,
                               .labels = &label,
                               .scales = &scale,
                               .parameter = parameter_of(loss),
                               .ld = n};
    BEGIN(loss, n, slack, what, labels);
    fill_case(z, t, n, loss, what);
    for (size_t i = 0; i < n; ++i) dz[i] = (real)NAN; /* written, never read */
    s->k->loss[loss](&value, dz, z, &args, 1, n);
    s->k->loss[loss](&alone, NULL, z, &args, 1, n);
    if (n == 0) return rooms_intact(); /* a mean over no outputs is no number that anybody uses */
    verdict(value == alone || (value != value && alone != alone), "the value depends on dz");
    if (s->fused) {
        s->ref->loss[loss](&expected, want, z, &args, 1, n);
        same("dz", dz, want, n);
        if (value != expected && (value == value || expected == expected))
            failed("value %a, not %a", value, expected);
        passed();
    }
    if (s->judged && what != SPECIAL) {
        judge(&exact, loss, z, labels ? NULL : t, &args, n);
        if (!(fabsl(value - exact.value) <= 32 * EPS * exact.size))
            failed("value %.9g, not %.9Lg", value, exact.value);
        for (size_t i = 0; i < n; ++i) {
            exact.slope[i] *= (wide)scale;
            tolerance[i] = 32 * EPS * (wide)scale * exact.slope_size[i];
        }
        near_all("dz", dz, exact.slope, tolerance, n);
    }
    rooms_intact();
}

/* Many rows at once have the bits of each by itself. */
static void rows_case(const subject *s, size_t loss, size_t m, size_t n, kind what, bool labels)
{
    enum { MOST_ROWS = 40 };
    const size_t ld = s->k->nr;
    real *z = reals(Z_ROOM, m * ld, 0), *t = reals(T_ROOM, m * ld, 0);
    real *dz = reals(DZ_ROOM, m * ld, 0), want[LONGEST];
    size_t label[MOST_ROWS];
    double scale[MOST_ROWS], value[MOST_ROWS], alone[MOST_ROWS], expected;
    bp_loss_args args = {.targets = labels ? NULL : t,
                         .labels = label,
                         .scales = scale,
                         .parameter = parameter_of(loss),
                         .ld = ld};
    kernel_is("loss of rows", "loss m n data labels");
    BEGIN(loss, m, n, what, labels);
    fill_case(z, t, m * ld, loss, what);
    for (size_t i = 0; i < m; ++i) {
        label[i] = (size_t)random_bits() % n;
        scale[i] = 0.01 * (double)(i + 1);
    }
    s->k->loss[loss](value, dz, z, &args, m, n);
    s->k->loss[loss](alone, NULL, z, &args, m, n);
    for (size_t i = 0; i < m; ++i, ++args.labels, ++args.scales) {
        args.targets = labels ? NULL : t + i * ld;
        s->k->loss[loss](&expected, want, z + i * ld, &args, 1, n);
        same("dz", dz + i * ld, want, n);
        if (value[i] != expected && (value[i] == value[i] || expected == expected))
            failed("value %a, not %a", value[i], expected);
        verdict(value[i] == alone[i] || value[i] != value[i], "the value depends on dz");
    }
    rooms_intact();
}

static void check_rows(const subject *s, size_t loss, kind what, bool labels)
{
    static const size_t heights[] = {2, 4, 7, 8, 9, 16, 17, 40};
    for (size_t h = 0; h < sizeof heights / sizeof heights[0]; ++h)
        for (size_t n = 1; n <= s->k->nr; ++n) rows_case(s, loss, heights[h], n, what, labels);
}

/* ---- metrics ---- */

static size_t first_largest(const real *x, size_t n)
{
    size_t best = 0;
    for (size_t i = 0; i < n; ++i)
        if (x[i] != x[i]) return i;
    for (size_t i = 1; i < n; ++i)
        if (x[i] > x[best]) best = i;
    return best;
}

static void metrics_case(const subject *s, size_t n, size_t slack, kind what)
{
    real *y = reals(Z_ROOM, n, slack), *t = reals(T_ROOM, n, slack);
    double *total = place(TOTAL_ROOM, n * sizeof(double), 0), before[LONGEST], squared, absolute;
    real squares[LANES] = {0}, sizes[LANES] = {0};
    size_t count = 0;
    bool ok = true;
    fill(y, n, what);
    fill(t, n, what);

    kernel_is("argmax", "n slack data");
    BEGIN(n, slack, what);
    verdict(s->k->argmax(y, n) == first_largest(y, n), "not the first of the largest");

    kernel_is("matches", "n slack data");
    BEGIN(n, slack, what);
    for (size_t i = 0; i < n; ++i) count += (y[i] > (real)0.25) == (t[i] > (real)0.5);
    verdict(s->k->matches(y, t, 0.25, n) == count, "wrong count");

    kernel_is("row_errors", "n slack data");
    BEGIN(n, slack, what);
    for (size_t i = 0; i < n; ++i) {
        const real d = y[i] - t[i];
        squares[i % LANES] = link(s, d, d, squares[i % LANES]);
        sizes[i % LANES] = sizes[i % LANES] + (d < 0 ? -d : d);
    }
    s->k->row_errors(y, t, n, &squared, &absolute);
    const real got[] = {(real)squared, (real)absolute};
    const real want[] = {fold_lanes(squares), fold_lanes(sizes)};
    same("squared, absolute", got, want, 2);

    kernel_is("add_residuals", "n slack data");
    BEGIN(n, slack, what);
    for (size_t i = 0; i < n; ++i) before[i] = total[i] = random_normal();
    s->k->add_residuals(total, y, t, 0.7, n);
    for (size_t i = 0; i < n; ++i) {
        const double d = (double)y[i] - (double)t[i], square = d * d, more = 0.7 * square;
        const double expected = before[i] + more;
        ok = ok && (total[i] == expected || (total[i] != total[i] && expected != expected));
    }
    verdict(ok, "wrong total");
    rooms_intact();
}

void NAME(check_loss)(const subject *s)
{
    for (kind what = RANDOM; what < N_KINDS; ++what) {
        for (size_t loss = 0; loss < BP_N_LOSSES; ++loss) {
            check_rows(s, loss, what, false);
            if (bp_loss_takes_labels(loss)) check_rows(s, loss, what, true);
        }
    }
    for (size_t i = 0; i < N_LENGTHS; ++i) {
        for (size_t slack = 0; slack <= sizeof(real); slack += sizeof(real)) {
            for (kind what = RANDOM; what < N_KINDS; ++what) {
                kernel_is("loss", "loss n slack data labels");
                for (size_t loss = 0; loss < BP_N_LOSSES; ++loss) {
                    loss_case(s, loss, lengths[i], slack, what, false);
                    if (bp_loss_takes_labels(loss))
                        loss_case(s, loss, lengths[i], slack, what, true);
                }
                metrics_case(s, lengths[i], slack, what);
            }
        }
    }
}

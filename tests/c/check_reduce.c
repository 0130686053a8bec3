/* check_reduce.c - sums of a fixed shape against that shape written out, bit for bit in every row.
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "check_real.h"

enum { X_ROOM, OUT_ROOM, SQUARES_ROOM, MOST_NR = 64, MOST_ROWS = 13, LONG_SUM = 1003 };

static void sum_case(const subject *s, size_t n, size_t slack, kind what)
{
    real *x = reals(X_ROOM, n, slack);
    real plain[LANES] = {0}, squares[LANES] = {0}, sizes[LANES] = {0};
    bool finite = true;
    fill(x, n, what);
    for (size_t i = 0; i < n; ++i) {
        const size_t l = i % LANES;
        plain[l] = plain[l] + x[i];
        squares[l] = link(s, x[i], x[i], squares[l]);
        sizes[l] = sizes[l] + (x[i] < 0 ? -x[i] : x[i]);
        finite = finite && isfinite(x[i]);
    }
    BEGIN(n, slack, what);
    const double got[] = {s->k->sum(x, n), s->k->sum_squares(x, n), s->k->sum_abs(x, n)};
    const real want[] = {fold_lanes(plain), fold_lanes(squares), fold_lanes(sizes)};
    const real rounded[] = {(real)got[0], (real)got[1], (real)got[2]};
    same("sum, sum_squares, sum_abs", rounded, want, 3);
    verdict(s->k->all_finite(x, n) == finite, "all_finite is wrong");
    rooms_intact();
}

static void deviations_case(const subject *s, size_t n, size_t slack, kind what)
{
    real *x = reals(X_ROOM, n, slack);
    const real mean = (real)0.375;
    real squares[LANES] = {0};
    fill(x, n, what);
    for (size_t i = 0; i < n; ++i)
        squares[i % LANES] = link(s, x[i] - mean, x[i] - mean, squares[i % LANES]);
    BEGIN(n, slack, what);
    const real got[] = {(real)s->k->deviations(x, (double)mean, n)}, want[] = {fold_lanes(squares)};
    same("deviations", got, want, 1);
    rooms_intact();
}

static void bins_case(const subject *s, size_t n, size_t slack)
{
    real *x = reals(X_ROOM, n, slack);
    int32_t bin[LONG_SUM];
    double low, high;
    real least = (real)HUGE_VAL, most = -(real)HUGE_VAL;
    size_t wrong = 0, near = 0;
    fill_tame(x, n, -3, 5);
    if (n > 2) x[n / 2] = 1; /* on an edge */
    for (size_t i = 0; i < n; ++i) {
        if (x[i] < least) least = x[i];
        if (x[i] > most) most = x[i];
    }
    BEGIN(n, slack);
    if (n > 0) {
        s->k->extremes(x, n, &low, &high);
        verdict(low == (double)least && high == (double)most, "extremes are wrong");
    }
    const bool found = s->k->find_bins(bin, x, -3, 8, 1e-6, 64, n);
    for (size_t i = 0; i < n; ++i) {
        const double at = ((double)x[i] + 3) * 8;
        const double edge = round(at);
        wrong += bin[i] != (int32_t)fmin(floor(at), 63) ? 1 : 0;
        near += fabs(at - edge) < 1e-6 && edge > 0 && edge < 64 ? 1 : 0;
    }
    verdict(wrong == 0, "find_bins is wrong");
    verdict(found == (near > 0), "find_bins is wrong about edges");
    rooms_intact();
}

/* One value that is not finite, at every place. */
static void finite_case(const subject *s, size_t n)
{
    real *x = reals(X_ROOM, n, 0);
    const real bad[] = {(real)NAN, (real)INFINITY, (real)-INFINITY};
    fill_tame(x, n, -1, 1);
    if (n) x[0] = REAL_MAX;
    for (size_t i = 0; i < n; ++i) {
        const real good = x[i];
        BEGIN(n, i);
        x[i] = bad[i % 3];
        verdict(!s->k->all_finite(x, n), "all_finite missed one");
        x[i] = good;
    }
    verdict(s->k->all_finite(x, n), "all_finite denies finite values");
}

static void columns_case(const subject *s, size_t m, size_t slack, kind what)
{
    const size_t nr = s->k->nr;
    real *a = reals(X_ROOM, m * nr, slack), *out = reals(OUT_ROOM, nr, slack);
    real want[MOST_NR], limited[MOST_NR * MOST_ROWS];
    fill(a, m * nr, what);

    kernel_is("col_sums", "m slack data");
    BEGIN(m, slack, what);
    for (size_t j = 0; j < nr; ++j) {
        real chain[4] = {0};
        for (size_t i = 0; i < m; ++i) chain[i % 4] = chain[i % 4] + a[i * nr + j];
        want[j] = (chain[0] + chain[1]) + (chain[2] + chain[3]);
        out[j] = (real)NAN; /* written, never read */
    }
    s->k->col_sums(out, a, m);
    same("out", out, want, nr);

    kernel_is("col_squares", "m slack data");
    BEGIN(m, slack, what);
    fill_tame(out, nr, 0, 9);
    memcpy(want, out, nr * sizeof(real));
    for (size_t j = 0; j < nr; ++j)
        for (size_t i = 0; i < m; ++i) want[j] = link(s, a[i * nr + j], a[i * nr + j], want[j]);
    s->k->col_squares(out, a, m);
    same("out", out, want, nr);

    kernel_is("col_limit", "m slack data");
    BEGIN(m, slack, what);
    for (size_t j = 0; j < nr; ++j)
        out[j] = j % 5 == 0 ? 4 : j % 5 == 1 ? (real)NAN : (real)(j * 2);
    for (size_t e = 0; e < m * nr; ++e) {
        const real norm = SQRT(out[e % nr]), limit = 2;
        volatile real factor = limit < norm ? limit / norm : 1; /* times 1, where denormals flush */
        limited[e] = a[e] * factor;
    }
    s->k->col_limit(a, out, 2, m);
    same("a", a, limited, m * nr);
    rooms_intact();
}

void NAME(check_reduce)(const subject *s)
{
    if (s->k->nr > MOST_NR) {
        failed("enlarge MOST_NR");
        return;
    }
    for (kind what = RANDOM; what < N_KINDS; ++what) {
        for (size_t slack = 0; slack <= sizeof(real); slack += sizeof(real)) {
            kernel_is("sum", "n slack data");
            for (size_t i = 0; i < N_LENGTHS; ++i) sum_case(s, lengths[i], slack, what);
            sum_case(s, LONG_SUM, slack, what);
            kernel_is("deviations", "n slack data");
            for (size_t i = 0; i < N_LENGTHS; ++i) deviations_case(s, lengths[i], slack, what);
            deviations_case(s, LONG_SUM, slack, what);
            for (size_t m = 0; m < MOST_ROWS; ++m) columns_case(s, m, slack, what);
        }
    }
    kernel_is("all_finite", "n place");
    for (size_t i = 0; i < N_LENGTHS; ++i) finite_case(s, lengths[i]);
    kernel_is("extremes, find_bins", "n slack");
    for (size_t slack = 0; slack <= sizeof(real); slack += sizeof(real)) {
        for (size_t i = 0; i < N_LENGTHS; ++i) bins_case(s, lengths[i], slack);
        bins_case(s, LONG_SUM, slack);
    }
}

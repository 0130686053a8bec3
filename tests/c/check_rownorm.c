/* check_rownorm.c - normalisation of rows across panels against its formulas, bit for bit.
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "check_real.h"

enum { X_ROOM, DY_ROOM, OUT_ROOM, PARTIAL_ROOM, GAMMA_ROOM, BETA_ROOM, PAD = 3 };

typedef struct {
    size_t m, n, stride; /* elements from panel to panel */
    bool centred, gamma, beta, in_place;
    kind what;
    size_t slack;
} rows_shape;

static size_t at(const subject *s, const rows_shape *c, size_t row, size_t col)
{
    const size_t nr = s->k->nr;
    return col / nr * c->stride + row * nr + col % nr;
}

/* Elements of a matrix of so many rows, without the gap behind its last panel. */
static size_t extent(const subject *s, const rows_shape *c, size_t rows)
{
    return (bp_ceil_div(c->n, s->k->nr) - 1) * c->stride + rows * s->k->nr;
}

/* Random rows; padding is finite, whatever the rest is, and gaps hold their value. */
static real *matrix(const subject *s, const rows_shape *c, size_t room)
{
    const size_t size = extent(s, c, c->m), nr = s->k->nr;
    real *x = reals(room, size, c->slack);
    fill(x, size, c->what);
    for (size_t e = 0; e < size; ++e) {
        if (e / c->stride * nr + e % c->stride % nr >= c->n) x[e] = (real)(1 + random_unit());
        if (e % c->stride >= c->m * nr) x[e] = GAP;
    }
    return x;
}

static bool gaps_intact(const subject *s, const rows_shape *c, const real *x, size_t rows)
{
    for (size_t e = 0; e < extent(s, c, rows); ++e)
        if (e % c->stride >= rows * s->k->nr && x[e] != GAP) return false;
    return true;
}

typedef struct {
    real mean, factor;
} moments;

static moments row_moments(const subject *s, const rows_shape *c, const real *x, size_t row,
                           real epsilon)
{
    real sum[LANES] = {0}, squares[LANES] = {0};
    const real n = (real)c->n;
    moments r = {0, 0};
    for (size_t j = 0; j < c->n; ++j) sum[j % LANES] = sum[j % LANES] + x[at(s, c, row, j)];
    if (c->centred) r.mean = fold_lanes(sum) / n;
    for (size_t j = 0; j < c->n; ++j) {
        const real d = x[at(s, c, row, j)] - r.mean;
        squares[j % LANES] = link(s, d, d, squares[j % LANES]);
    }
    r.factor = 1 / SQRT(fold_lanes(squares) / n + epsilon);
    return r;
}

static bp_row_norm arguments(const subject *s, const rows_shape *c, size_t gamma_stride)
{
    const size_t nr = s->k->nr, panels = bp_ceil_div(c->n, nr);
    real *gamma = reals(GAMMA_ROOM, (panels - 1) * gamma_stride + nr, c->slack);
    real *beta = reals(BETA_ROOM, panels * nr, c->slack);
    fill_tame(gamma, (panels - 1) * gamma_stride + nr, -2, 2);
    fill_tame(beta, panels * nr, -2, 2);
    return (bp_row_norm){
        c->gamma ? gamma : NULL, gamma_stride, c->beta ? beta : NULL, c->n, 1e-5, c->centred};
}

static real gamma_of(const subject *s, const bp_row_norm *a, size_t col)
{
    const real *gamma = a->gamma;
    return gamma ? gamma[col / s->k->nr * a->gamma_stride + col % s->k->nr] : 1;
}

static void rows_forward(const subject *s, const rows_shape *c)
{
    const bp_row_norm a = arguments(s, c, s->k->nr + PAD);
    real *x = matrix(s, c, X_ROOM), want[LONGEST * LONGEST], got[LONGEST * LONGEST];
    real *y = x;
    if (!c->in_place) {
        y = reals(OUT_ROOM, extent(s, c, c->m), c->slack);
        for (size_t e = 0; e < extent(s, c, c->m); ++e) y[e] = GAP;
    }
    for (size_t i = 0; i < c->m; ++i) {
        const moments r = row_moments(s, c, x, i, (real)a.epsilon);
        for (size_t j = 0; j < c->n; ++j) {
            const real t = (x[at(s, c, i, j)] - r.mean) * r.factor;
            want[i * c->n + j] =
                link(s, t, gamma_of(s, &a, j), a.beta ? ((const real *)a.beta)[j] : 0);
        }
    }
    kernel_is("norm_rows", "m n centred gamma beta in_place data");
    BEGIN(c->m, c->n, c->centred, c->gamma, c->beta, c->in_place, c->what);
    s->k->norm_rows(y, x, c->stride, c->stride, &a, c->m);
    for (size_t i = 0; i < c->m; ++i)
        for (size_t j = 0; j < c->n; ++j) got[i * c->n + j] = y[at(s, c, i, j)];
    same("y", got, want, c->m * c->n);
    verdict(gaps_intact(s, c, y, c->m), "a gap between panels was written");
    rooms_intact();
}

static void rows_backward(const subject *s, const rows_shape *c, bool wanted, bool learns)
{
    const size_t nr = s->k->nr;
    const bp_row_norm a = arguments(s, c, nr + PAD);
    const rows_shape two = {.m = 2, .n = c->n, .stride = 2 * nr + PAD};
    real *x = matrix(s, c, X_ROOM), *dy = matrix(s, c, DY_ROOM), *dx = dy;
    real *partial = reals(PARTIAL_ROOM, extent(s, &two, 2), c->slack);
    real want[LONGEST * LONGEST], got[LONGEST * LONGEST], sums[2][LONGEST] = {{0}};
    if (!c->in_place) dx = reals(OUT_ROOM, extent(s, c, c->m), c->slack);
    if (!c->in_place)
        for (size_t e = 0; e < extent(s, c, c->m); ++e) dx[e] = GAP;
    for (size_t e = 0; e < extent(s, &two, 2); ++e) partial[e] = GAP;
    for (size_t i = 0; i < c->m; ++i) {
        const moments r = row_moments(s, c, x, i, (real)a.epsilon);
        const real n = (real)c->n;
        real level[LANES] = {0}, slope[LANES] = {0};
        for (size_t j = 0; j < c->n; ++j) {
            const real d = dy[at(s, c, i, j)], t = x[at(s, c, i, j)] - r.mean;
            const real g = d * gamma_of(s, &a, j);
            level[j % LANES] = level[j % LANES] + g;
            slope[j % LANES] = link(s, g, t, slope[j % LANES]);
        }
        const real mean_g = c->centred ? fold_lanes(level) / n : 0;
        const real mean_gt = fold_lanes(slope) * r.factor / n;
        for (size_t j = 0; j < c->n; ++j) {
            const real d = dy[at(s, c, i, j)], t = (x[at(s, c, i, j)] - r.mean) * r.factor;
            const real rest = d * gamma_of(s, &a, j) - mean_g;
            want[i * c->n + j] = r.factor * link_minus(s, t, mean_gt, rest);
            sums[0][j] = link(s, d, t, sums[0][j]);
            sums[1][j] = sums[1][j] + d;
        }
    }
    kernel_is("norm_rows_back", "m n centred gamma dx partial in_place data");
    BEGIN(c->m, c->n, c->centred, c->gamma, wanted, learns, c->in_place, c->what);
    const bp_row_strides strides = {c->stride, two.stride, c->stride, c->stride};
    s->k->norm_rows_back(wanted ? dx : NULL, learns ? partial : NULL, dy, x, &strides, &a, c->m);
    for (size_t i = 0; i < c->m; ++i)
        for (size_t j = 0; j < c->n; ++j) got[i * c->n + j] = dx[at(s, c, i, j)];
    if (wanted) same("dx", got, want, c->m * c->n);
    verdict(gaps_intact(s, c, dx, c->m), "a gap between panels was written");
    for (size_t row = 0; learns && row < 2; ++row) {
        for (size_t j = 0; j < c->n; ++j) got[j] = partial[at(s, &two, row, j)];
        same(row ? "gradient of beta" : "gradient of gamma", got, sums[row], c->n);
    }
    verdict(gaps_intact(s, &two, partial, 2), "a gap of the partial was written");
    rooms_intact();
}

void NAME(check_rownorm)(const subject *s)
{
    const size_t vl = s->k->vl, nr = s->k->nr;
    const size_t rows[] = {1, 2, vl, vl + 1, 2 * vl + 3};
    for (kind what = RANDOM; what < N_KINDS; ++what) {
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; ++i) {
            for (size_t n = 1, at_ = 1; at_ < N_LENGTHS; n = lengths[++at_ % N_LENGTHS]) {
                for (int bits = 0; bits < 16; ++bits) {
                    const size_t pad = bits & 8 ? PAD : 0;
                    const rows_shape c = {.m = rows[i],
                                          .n = n,
                                          .stride = rows[i] * nr + pad,
                                          .centred = bits & 1,
                                          .gamma = bits & 2,
                                          .beta = (bits & 6) != 2,
                                          .in_place = bits & 4,
                                          .what = what,
                                          .slack = bits & 8 ? sizeof(real) : 0};
                    rows_forward(s, &c);
                    rows_backward(s, &c, true, bits != 3);
                    if (bits % 5 == 0) rows_backward(s, &c, false, true);
                }
            }
        }
    }
}

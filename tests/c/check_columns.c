/* check_columns.c - what moves, clears and masks columns of panels: exact, and nothing else touched.
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "check_real.h"

enum { DST_ROOM, SRC_ROOM, MORE_ROOM, MOST_RUNS = 3, PAD = 3 };

/* Elements of panels of so many rows and columns, the last without what follows it. */
static size_t extent(size_t nr, size_t rows, size_t cols, size_t stride)
{
    return rows && cols ? (bp_ceil_div(cols, nr) - 1) * stride + rows * nr : 0;
}

static size_t element(size_t nr, size_t row, size_t col, size_t stride)
{
    return col / nr * stride + row * nr + col % nr;
}

/* ---- runs ---- */

/* Runs side by side, filled up to NR or not; what spills past a row is at most VL - 1 elements. */
static void pack_case(const subject *s, const size_t *depths, size_t n_runs, const bp_walk *walk)
{
    const size_t nr = s->k->nr, spill = s->k->vl - 1, rows = walk->lines * walk->places;
    bp_run runs[MOST_RUNS];
    size_t width = 0, end = 0;
    for (size_t r = 0; r < n_runs; ++r) {
        runs[r] = (bp_run){(n_runs - r) * 7, bp_min(depths[r], nr - width)};
        width += runs[r].depth;
        end = bp_max(end, runs[r].at + runs[r].depth);
    }
    const size_t last =
        rows ? (walk->lines - 1) * walk->a_line + (walk->places - 1) * walk->a_step : 0;
    const size_t in = rows ? last + end + spill : 0,
                 out = rows ? (rows - 1) * nr + width + spill : 0;
    const size_t slack = width % 2 * sizeof(real);
    real *src = reals(SRC_ROOM, in, slack), *dst = reals(DST_ROOM, out, slack);
    bool ok = true;
    fill(src, in, SPECIAL);
    set_all(dst, out, GAP);
    BEGIN(n_runs, width, walk->lines, walk->places, walk->a_line, walk->a_step);
    s->k->pack_runs(dst, src, runs, n_runs, walk);
    for (size_t i = 0; i < rows; ++i) {
        const real *from = src + i / walk->places * walk->a_line + i % walk->places * walk->a_step;
        size_t e = i * nr;
        for (size_t r = 0; r < n_runs; ++r)
            for (size_t p = 0; p < runs[r].depth; ++p, ++e)
                ok = ok && same_bits(dst[e], from[runs[r].at + p]);
        for (e += spill; e < bp_min((i + 1) * nr, out); ++e) ok = ok && dst[e] == GAP;
    }
    verdict(ok, "a row differs from its runs, or more than VL - 1 elements past them was written");
    rooms_intact();
}

static void pack_cases(const subject *s)
{
    static const size_t depths[][MOST_RUNS] = {{0, 0, 0}, {1, 1, 1}, {3, 3, 3},
                                               {5, 0, 2}, {9, 6, 4}, {99, 0, 0}};
    static const bp_walk walks[] = {{1, 0, 4, 0, 9, 1},
                                    {1, 3, 0, 0, 9, 1},
                                    {1, 1, 1, 0, 0, 0},
                                    {1, 1, 7, 0, 0, 2},
                                    {1, 3, 4, 0, 11, 3}};
    kernel_is("pack_runs", "runs width lines places a_line a_step");
    for (size_t i = 0; i < sizeof depths / sizeof depths[0]; ++i)
        for (size_t n_runs = 0; n_runs <= MOST_RUNS; ++n_runs)
            for (size_t w = 0; w < sizeof walks / sizeof walks[0]; ++w)
                pack_case(s, depths[i], n_runs, &walks[w]);
}

/* ---- columns ---- */

static void take_case(const subject *s, size_t rows, size_t first, size_t step, size_t n)
{
    const size_t nr = s->k->nr, written = bp_round_up(n, s->k->vl), pad = n % 2 ? PAD : 0;
    const size_t stride = rows * nr + pad, slack = rows % 2 * sizeof(real);
    const size_t out = extent(nr, rows, n, stride);
    const size_t in = extent(nr, rows, n ? first + (n - 1) * step + 1 : 0, stride + 1);
    real *src = reals(SRC_ROOM, in, slack), *dst = reals(DST_ROOM, out, slack);
    bool ok = true;
    fill(src, in, SPECIAL);
    set_all(dst, out, GAP);
    BEGIN(rows, first, step, n);
    s->k->take_columns(dst, src, rows, first, step, n, stride, stride + 1);
    for (size_t e = 0; e < out; ++e) {
        const size_t row = e % stride / nr, col = e / stride * nr + e % stride % nr;
        real want = GAP;
        if (row < rows && col < n) want = src[element(nr, row, first + col * step, stride + 1)];
        if (row < rows && col >= n && col < written) want = 0;
        ok = ok && same_bits(dst[e], want);
    }
    verdict(ok, "not the columns, their padding not 0, or what is past them was written");
    rooms_intact();
}

static void put_case(const subject *s, size_t rows, size_t first, size_t step, size_t n)
{
    const size_t nr = s->k->nr, pad = n % 2 ? PAD : 0, stride = rows * nr + pad;
    const size_t slack = rows % 2 * sizeof(real);
    const size_t in = extent(nr, rows, n, stride);
    const size_t out = extent(nr, rows, n ? first + (n - 1) * step + 1 : 0, stride + 1);
    real *src = reals(SRC_ROOM, in, slack), *dst = reals(DST_ROOM, out, slack);
    bool ok = true;
    fill(src, in, SPECIAL);
    set_all(dst, out, GAP);
    BEGIN(rows, first, step, n);
    s->k->put_columns(dst, src, rows, first, step, n, stride + 1, stride);
    for (size_t i = 0; i < rows; ++i) {
        for (size_t j = 0; j < n; ++j) {
            real *at = dst + element(nr, i, first + j * step, stride + 1);
            ok = ok && same_bits(*at, src[element(nr, i, j, stride)]);
            *at = GAP;
        }
    }
    for (size_t e = 0; e < out; ++e) ok = ok && dst[e] == GAP;
    verdict(ok, "not the columns, or others were written");
    rooms_intact();
}

static void column_cases(const subject *s)
{
    const size_t vl = s->k->vl, nr = s->k->nr;
    const size_t firsts[] = {0, 1, vl, nr - 1, nr, 2 * nr + 3}, steps[] = {1, 2, 3, nr, nr + 1};
    for (size_t rows = 0; rows < 4; ++rows) {
        for (size_t f = 0; f < sizeof firsts / sizeof firsts[0]; ++f) {
            for (size_t t = 0; t < sizeof steps / sizeof steps[0]; ++t) {
                for (size_t n = 0; n <= 2 * nr + 1; n += n < nr || n >= 2 * nr - 2 ? 1 : vl) {
                    kernel_is("take_columns", "rows first step n");
                    take_case(s, rows, firsts[f], steps[t], n);
                    kernel_is("put_columns", "rows first step n");
                    put_case(s, rows, firsts[f], steps[t], n);
                }
            }
        }
    }
}

/* ---- vectors that hold n columns ---- */

static void clear_case(const subject *s, size_t m, size_t n)
{
    const size_t nr = s->k->nr, written = bp_round_up(n, s->k->vl);
    real *x = reals(DST_ROOM, m * nr, n % 2 * sizeof(real));
    bool ok = true;
    fill(x, m * nr, SPECIAL);
    for (size_t e = 0; e < m * nr; ++e)
        if (e % nr >= written) x[e] = GAP;
    kernel_is("clear_rows", "m n");
    BEGIN(m, n);
    s->k->clear_rows(x, m, n);
    for (size_t e = 0; e < m * nr; ++e) ok = ok && same_bits(x[e], e % nr < written ? 0 : GAP);
    verdict(ok, "not zero, or a vector past n was written");
    rooms_intact();
}

static void relu_case(const subject *s, kind what, size_t m, size_t n, bool in_place)
{
    const size_t nr = s->k->nr, written = bp_round_up(n, s->k->vl), slack = n % 2 * sizeof(real);
    real *dy = reals(SRC_ROOM, m * nr, slack), *y = reals(MORE_ROOM, m * nr, slack), *dz = dy;
    real from[LONGEST * LONGEST];
    bool ok = true;
    fill(dy, m * nr, what);
    fill(y, m * nr, what);
    for (size_t e = 0; e < m * nr; ++e)
        if (e % nr >= written) dy[e] = GAP, y[e] = (real)NAN;
    memcpy(from, dy, m * nr * sizeof(real));
    if (!in_place) dz = reals(DST_ROOM, m * nr, slack);
    if (!in_place) set_all(dz, m * nr, GAP);
    kernel_is("relu_grad_rows", "data m n in_place");
    BEGIN(what, m, n, in_place);
    s->k->relu_grad_rows(dz, dy, y, m, n);
    for (size_t e = 0; e < m * nr; ++e) {
        const real want = e % nr >= written ? GAP : y[e] > 0 ? from[e] : 0;
        if (e % nr < n || e % nr >= written) ok = ok && same_bits(seen(dz[e]), seen(want));
    }
    verdict(ok, "not dy where y > 0 and else 0, or a vector past n was written");
    rooms_intact();
}

void NAME(check_columns)(const subject *s)
{
    pack_cases(s);
    column_cases(s);
    for (size_t m = 0; m < 6; ++m) {
        for (size_t n = 0; n <= s->k->nr; ++n) {
            clear_case(s, m, n);
            for (kind what = RANDOM; what < N_KINDS; ++what) {
                relu_case(s, what, m, n, false);
                relu_case(s, what, m, n, true);
            }
        }
    }
}

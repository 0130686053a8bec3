/* check_gemm.c - products on panels and with row-major matrices against triple loops, bit for bit.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * An element is one ascending chain whatever m and n are, so one table of expected values serves
 * every tile shape. What must not be read holds NaN: lanes past k, gaps between panels, and c when
 * the chain starts elsewhere. Vectors wholly past n must keep their bits.
 */
#include "check_real.h"

enum { MOST_ROWS = 40, MOST_NR = 32, MOST_K = 2 * MOST_NR + 4, PAD = 5 };
enum { MOST_FEW = 13, MOST_OUTER = 5 };
enum { C_ROOM, A_ROOM, B_ROOM, BIAS_ROOM };

static real a[MOST_ROWS * MOST_K], b[MOST_K * MOST_NR], bias[MOST_NR];
static real c[MOST_ROWS * MOST_NR], want[MOST_ROWS * MOST_NR];

/* Depths worth their time when not all are run: around 0, 8, NR and 2 NR. */
static bool is_corner(size_t k, size_t nr)
{
    return k < 3 || k % nr < 2 || k % nr == nr - 1 || k == 2 * nr + 3 || k == 9;
}

/* c0[rows][NR]: what c held. Only lanes of vectors that hold a wanted column may have changed. */
static void compare(const subject *s, const real *got, const real *c0, size_t rows, size_t n,
                    bool relu)
{
    const size_t nr = s->k->nr, written = bp_round_up(n, s->k->vl);
    for (size_t i = 0; i < rows; ++i) {
        for (size_t j = 0; j < nr; ++j) {
            const size_t e = i * nr + j;
            real expected = j < n ? want[e] : c0[e];
            if (j < n && relu && 0 > expected) expected = 0; /* NaN and -0 stay */
            const bool same = relu && j < n ? same_bits(seen(got[e]), seen(expected))
                                            : same_bits(got[e], expected);
            if ((j < n || j >= written) && !same) {
                failed("c[%zu][%zu]: %a, not %a", i, j, (double)got[e], (double)expected);
                return;
            }
        }
    }
    passed();
}

/* a as panels of m rows with `stride` between them, in its room. */
static real *place_panels(size_t nr, size_t m, size_t k, size_t stride)
{
    const size_t panels = bp_ceil_div(k, nr), size = panels ? (panels - 1) * stride + m * nr : 0;
    real *to = reals(A_ROOM, size, 0);
    set_all(to, size, (real)NAN);
    for (size_t i = 0; i < m; ++i)
        for (size_t p = 0; p < k; ++p) to[p / nr * stride + i * nr + p % nr] = a[i * MOST_K + p];
    return to;
}

/* Some memory to ask for, or none: it must not matter. */
static const bp_ahead *any_ahead(void)
{
    static const bp_ahead list[] = {
        {want, sizeof want, true}, {want, BP_ALIGN, true}, {a, sizeof a, false}, {NULL, 0, false}};
    const size_t draw = random_bits() % 4;
    return draw == 3 ? NULL : &list[draw];
}

static void rows_case(const subject *s, kind what, size_t k, bp_start start)
{
    const size_t nr = s->k->nr, most = 2 * s->k->mr + 1;
    static real before[MOST_ROWS * MOST_NR];
    fill(a, sizeof a / sizeof a[0], what);
    fill(b, k * nr, what);
    fill(bias, nr, what);
    if (start == BP_FROM_C)
        fill(before, most * nr, what);
    else
        set_all(before, most * nr, (real)NAN);
    for (size_t i = 0; i < most; ++i) {
        for (size_t j = 0; j < nr; ++j) {
            real acc = start == BP_FROM_C      ? before[i * nr + j]
                       : start == BP_FROM_BIAS ? bias[j]
                                               : 0;
            for (size_t p = 0; p < k; ++p) acc = link(s, a[i * MOST_K + p], b[p * nr + j], acc);
            want[i * nr + j] = acc;
        }
    }
    const real *b_in = reals_copy(B_ROOM, b, k * nr, 0);
    const real *bias_in = reals_copy(BIAS_ROOM, bias, nr, 0);
    for (size_t m = 0; m <= most; ++m) {
        const size_t stride = m * nr + (k % 2 ? PAD : 0);
        const real *a_in = place_panels(nr, m, k, stride);
        for (size_t n = 0; n <= nr; ++n) {
            for (int relu = 0; relu < 2; ++relu) {
                BEGIN(what, m, k, n, start, (size_t)relu);
                real *out = reals_copy(C_ROOM, before, m * nr, n % 2 * sizeof(real));
                s->k->gemm_rows(out, a_in, b_in, start == BP_FROM_BIAS ? bias_in : NULL, m, k, n,
                                stride, start, relu, any_ahead());
                compare(s, out, before, m, n, relu);
                rooms_intact();
            }
        }
    }
}

static void block_case(const subject *s, kind what, size_t m, bp_start start)
{
    const size_t nr = s->k->nr;
    fill(a, m * nr, what);
    fill(b, m * nr, what);
    if (start == BP_FROM_C)
        fill(c, nr * nr, what);
    else
        set_all(c, nr * nr, (real)NAN);
    for (size_t i = 0; i < nr; ++i) {
        for (size_t j = 0; j < nr; ++j) {
            real acc = start == BP_FROM_C ? c[i * nr + j] : 0;
            for (size_t p = 0; p < m; ++p) acc = link(s, a[p * nr + i], b[p * nr + j], acc);
            want[i * nr + j] = acc;
        }
    }
    const real *a_in = reals_copy(A_ROOM, a, m * nr, 0), *b_in = reals_copy(B_ROOM, b, m * nr, 0);
    for (size_t rows = 0; rows <= nr; ++rows) {
        for (size_t n = 0; n <= nr; ++n) {
            BEGIN(what, m, rows, n, start);
            real *out = reals_copy(C_ROOM, c, rows * nr, n % 2 * sizeof(real));
            s->k->gemm_block(out, a_in, b_in, m, rows, n, start, any_ahead());
            compare(s, out, c, rows, n, false);
            rooms_intact();
        }
    }
}

/* A few rows against row-major w, with eight rows of w at a time: k around 8, 16 and 24. */
static void few_case(const subject *s, kind what, size_t k, size_t n, bool with_bias)
{
    static real w[MOST_K * LONGEST], start[LONGEST], expected[MOST_FEW * LONGEST];
    const size_t nr = s->k->nr, panels = bp_ceil_div(n, nr), slack = n % 2 * sizeof(real);
    const size_t most = k % 8 < 2 ? 2 * s->k->few + 1 : s->k->few;
    fill(a, most * MOST_K, what);
    fill(w, k * n, what);
    fill(start, n, what);
    for (size_t i = 0; i < most; ++i) {
        for (size_t j = 0; j < n; ++j) {
            real acc = with_bias ? start[j] : 0;
            for (size_t p = 0; p < k; ++p) acc = link(s, a[i * MOST_K + p], w[p * n + j], acc);
            expected[i * LONGEST + j] = acc;
        }
    }
    const real *w_in = reals_copy(B_ROOM, w, k * n, slack);
    const real *bias_in = reals_copy(BIAS_ROOM, start, n, slack);
    for (size_t m = 0; m <= most; ++m) {
        const size_t stride = m * nr + (k % 2 ? PAD : 0);
        const size_t size = panels && m ? (panels - 1) * stride + m * nr : 0;
        const real *x = place_panels(nr, m, k, stride);
        real *y = reals(C_ROOM, size, slack);
        bool ok = true;
        BEGIN(what, m, k, n, with_bias);
        set_all(y, size, (real)NAN);
        s->k->gemm_few(y, x, w_in, with_bias ? bias_in : NULL, m, k, n, stride, stride);
        for (size_t i = 0; i < m; ++i)
            for (size_t j = 0; j < n; ++j)
                ok = ok &&
                     same_bits(y[j / nr * stride + i * nr + j % nr], expected[i * LONGEST + j]);
        for (size_t j = 0; m > 0 && j + 1 < panels; ++j) /* gaps between panels */
            for (size_t e = m * nr; e < stride; ++e)
                ok = ok && y[j * stride + e] != y[j * stride + e];
        verdict(ok, "y differs from the chains, or a gap was written");
        rooms_intact();
    }
}

/* The gradient of a panel of x's columns, row-major. */
static void outer_case(const subject *s, kind what, size_t m, size_t n, bp_start start)
{
    static real dz[MOST_OUTER * LONGEST], before[MOST_NR * LONGEST], expected[MOST_NR * LONGEST];
    const size_t nr = s->k->nr, panels = bp_ceil_div(n, nr), stride = m * nr + (m % 2 ? PAD : 0);
    fill(a, m * nr, what);
    fill(dz, m * n, what);
    fill(before, nr * n, what);
    if (start == BP_FROM_ZERO) set_all(before, nr * n, (real)NAN);
    for (size_t i = 0; i < nr; ++i) {
        for (size_t j = 0; j < n; ++j) {
            real acc = start == BP_FROM_C ? before[i * n + j] : 0;
            for (size_t p = 0; p < m; ++p) acc = link(s, a[p * nr + i], dz[p * n + j], acc);
            expected[i * n + j] = acc;
        }
    }
    real *panels_in = reals(B_ROOM, panels && m ? (panels - 1) * stride + m * nr : 0, 0);
    set_all(panels_in, panels && m ? (panels - 1) * stride + m * nr : 0, (real)NAN);
    for (size_t p = 0; p < m; ++p)
        for (size_t j = 0; j < n; ++j) panels_in[j / nr * stride + p * nr + j % nr] = dz[p * n + j];
    const real *x = reals_copy(A_ROOM, a, m * nr, 0);
    for (size_t rows = 0; rows <= nr; ++rows) {
        BEGIN(what, m, rows, n, start);
        real *g = reals_copy(C_ROOM, before, rows * n, rows % 2 * sizeof(real));
        s->k->gemm_outer(g, x, panels_in, m, rows, n, stride, start);
        same("g", g, expected, rows * n);
        rooms_intact();
    }
}

void NAME(check_gemm)(const subject *s)
{
    const size_t nr = s->k->nr;
    if (nr > MOST_NR || 2 * s->k->mr + 1 > MOST_ROWS || 2 * s->k->few + 1 > MOST_FEW) {
        kernel_is("gemm", "nr mr few");
        BEGIN(nr, s->k->mr, s->k->few);
        failed("enlarge MOST_NR, MOST_ROWS and MOST_FEW");
        return;
    }
    for (kind what = RANDOM; what < N_KINDS; ++what) {
        for (size_t k = 0; k <= 2 * nr + 3; ++k) {
            if (what != RANDOM && !is_corner(k, nr)) continue;
            kernel_is("gemm_rows", "data m k n start relu");
            for (bp_start start = BP_FROM_ZERO; start <= BP_FROM_C; ++start)
                rows_case(s, what, k, start);
            if (!is_corner(k, nr)) continue;
            kernel_is("gemm_block", "data m rows n start");
            block_case(s, what, k, BP_FROM_ZERO);
            block_case(s, what, k, BP_FROM_C);
        }
        kernel_is("gemm_few", "data m k n bias");
        for (size_t k = 0; k <= 25; ++k)
            for (size_t i = 0; i < N_LENGTHS; ++i)
                for (int with_bias = 0; with_bias < 2; ++with_bias)
                    few_case(s, what, k, lengths[i], with_bias);
        few_case(s, what, MOST_K - 1, LONGEST, true);
        kernel_is("gemm_outer", "data m rows n start");
        for (size_t m = 0; m <= MOST_OUTER; ++m)
            for (size_t i = 0; i < N_LENGTHS; ++i) {
                outer_case(s, what, m, lengths[i], BP_FROM_ZERO);
                outer_case(s, what, m, lengths[i], BP_FROM_C);
            }
    }
}

/* check_conv.c - products over windows against plain chains, bit for bit.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * An element is one ascending chain whatever m and n are, so one table of expected values serves
 * every tile shape. What must not be read holds NaN: places of the image that no window sees, and c
 * when the chain starts elsewhere. All of c but the vectors that hold a wanted column keeps its bits.
 */
#include "check_real.h"

enum { MOST_ROWS = 40, MOST_NR = 32, MOST_VECTORS = 4, MOST_K = 24, MOST_RUNS = 9, PAD = 5 };
enum { MOST_AT = 40, MOST_STEP = 64, MOST_IMAGE = MOST_ROWS * MOST_STEP + MOST_AT + MOST_NR };
enum { MOST_C = MOST_VECTORS * (MOST_ROWS + 1) * (MOST_NR + PAD) };
enum { C_ROOM, A_ROOM, B_ROOM, BIAS_ROOM };

static real values[MOST_IMAGE], image[MOST_IMAGE]; /* all of it; what windows see of it */
static real b[MOST_K * MOST_NR], bias[MOST_NR], before[MOST_C], want[MOST_ROWS * MOST_NR];

static void draw(kind what, bp_start start)
{
    fill(values, MOST_IMAGE, what);
    set_all(image, MOST_IMAGE, (real)NAN);
    fill(b, MOST_K * MOST_NR, what);
    fill(bias, MOST_NR, what);
    if (start == BP_FROM_C)
        fill(before, MOST_C, what);
    else
        set_all(before, MOST_C, (real)NAN);
}

static void show(size_t at, size_t n) { memcpy(image + at, values + at, n * sizeof(real)); }

/* Where an element of c stands. */
static size_t place_of(const subject *s, const bp_steps *steps, size_t row, size_t col)
{
    return row * steps->c_step + col / s->k->vl * steps->c_across + col % s->k->vl;
}

/* c as it was; it ends with the last vector of its last row that may be written. */
static real *place_c(const subject *s, const bp_steps *steps, size_t m, size_t n)
{
    const size_t last = bp_round_up(n, s->k->vl);
    const size_t size = m && n ? place_of(s, steps, m - 1, last - 1) + 1 : 0;
    return reals_copy(C_ROOM, before, size, n % 2 * sizeof(real));
}

static void compare(const subject *s, real *c, const bp_steps *steps, size_t m, size_t n, bool relu)
{
    const size_t across = bp_round_up(n, s->k->vl);
    const size_t size = m && n ? place_of(s, steps, m - 1, across - 1) + 1 : 0;
    for (size_t i = 0; i < m; ++i) {
        for (size_t j = 0; j < across; ++j) {
            const size_t e = place_of(s, steps, i, j);
            real got = c[e], expected = want[i * s->k->nr + j];
            if (relu && 0 > expected) expected = 0; /* NaN and -0 stay */
            if (relu) got = seen(got), expected = seen(expected);
            if (j < n && !same_bits(got, expected)) {
                failed("c[%zu][%zu]: %a, not %a", i, j, (double)got, (double)expected);
                return;
            }
            c[e] = before[e];
        }
    }
    verdict(memcmp(c, before, size * sizeof(real)) == 0, "c was written past its columns");
    rooms_intact();
}

/* ---- rows of windows ---- */

typedef struct {
    size_t runs, depth; /* of the longest */
    size_t step;        /* from one row's windows to the next */
    bool lines;         /* vectors of a row of c stand in different lines */
} windows;

static const windows sights[] = {{0, 0, 3, false}, {1, 1, 1, false},
                                 {1, 19, 3, true}, {2, 3, 40, true},
                                 {5, 4, 2, false}, {MOST_RUNS, 2, MOST_STEP, true}};
enum { N_SIGHTS = sizeof sights / sizeof sights[0] };

/* Runs in any order, which may overlap or be empty; returns where the farthest ends. */
static size_t draw_runs(bp_run *runs, const windows *w, bool deep, size_t nr)
{
    size_t end = 0;
    for (size_t r = 0; r < w->runs; ++r) {
        const size_t least = w->runs == 1 ? w->depth : 0;
        const size_t depth = least + random_bits() % (w->depth - least + 1);
        runs[r] = (bp_run){random_bits() % MOST_AT, deep ? 1 : depth};
        end = bp_max(end, runs[r].at + (deep ? nr : depth));
    }
    return end;
}

static void rows_case(const subject *s, kind what, const windows *w, bp_start start, bool deep)
{
    const size_t nr = s->k->nr, most = 2 * s->k->mr + 1, c_step = w->lines ? nr + PAD : nr;
    const bp_steps steps = {w->step, c_step, w->lines ? most * c_step + PAD : s->k->vl};
    bp_run runs[MOST_RUNS];
    draw(what, start);
    const size_t end = draw_runs(runs, w, deep, nr);
    size_t depth = 0; /* of all */
    for (size_t i = 0; i < most; ++i) {
        for (size_t j = 0; j < nr; ++j) {
            real acc = start == BP_FROM_C      ? before[place_of(s, &steps, i, j)]
                       : start == BP_FROM_BIAS ? bias[j]
                                               : 0;
            depth = 0;
            for (size_t r = 0; r < w->runs; ++r)
                for (size_t p = 0; p < runs[r].depth; ++p, ++depth)
                    acc = link(s, values[i * w->step + runs[r].at + (deep ? j : p)],
                               b[depth * nr + j], acc);
            want[i * nr + j] = acc;
        }
        for (size_t r = 0; r < w->runs; ++r)
            show(i * w->step + runs[r].at, deep ? nr : runs[r].depth);
    }
    const real *b_in = reals_copy(B_ROOM, b, depth * nr, 0);
    const real *bias_in = start == BP_FROM_BIAS ? reals_copy(BIAS_ROOM, bias, nr, 0) : NULL;
    for (size_t m = 0; m <= most; ++m) {
        const size_t extent = m && end ? (m - 1) * w->step + end : 0;
        const real *a_in = reals_copy(A_ROOM, image, extent, m % 2 * sizeof(real));
        for (size_t n = 0; n <= nr; ++n) {
            const bool relu = random_bits() % 2;
            real *c = place_c(s, &steps, m, n);
            BEGIN(what, w->runs, w->depth, w->step, m, n, start, relu);
            (deep ? s->k->depth_rows : s->k->conv_rows)(c, a_in, b_in, bias_in, runs, w->runs,
                                                        &steps, m, n, start, relu);
            compare(s, c, &steps, m, n, relu);
        }
    }
}

/* ---- sums over positions ---- */

static const bp_walk walks[] = {{1, 1, 1, 0, 0, 0},   {0, 2, 2, 9, 9, 9},   {2, 0, 3, 9, 9, 9},
                                {1, 3, 0, 9, 9, 9},   {1, 1, 9, 0, 0, 3},   {1, 2, 6, 0, 1, 2},
                                {3, 1, 2, 41, 0, 32}, {2, 3, 4, 100, 30, 5}};
enum { N_WALKS = sizeof walks / sizeof walks[0] };

static size_t position(const bp_walk *w, size_t index)
{
    return index / (w->lines * w->places) * w->a_sample + index / w->places % w->lines * w->a_line +
           index % w->places * w->a_step;
}

static void block_case(const subject *s, kind what, const bp_walk *w, bp_start start, bool deep)
{
    const size_t nr = s->k->nr, most = deep ? MOST_RUNS : 2 * s->k->mr + 1;
    const size_t positions = w->samples * w->lines * w->places;
    const bp_steps steps = {0, nr, s->k->vl};
    bp_run runs[MOST_RUNS];
    draw(what, start);
    draw_runs(runs, &sights[N_SIGHTS - 1], true, nr);
    for (size_t i = 0; i < most; ++i) {
        const size_t at = deep ? runs[i].at : i;
        for (size_t j = 0; j < nr; ++j) {
            real acc = start == BP_FROM_C ? before[place_of(s, &steps, i, j)] : 0;
            for (size_t p = 0; p < positions; ++p)
                acc = link(s, values[position(w, p) + at + (deep ? j : 0)], b[p * nr + j], acc);
            want[i * nr + j] = acc;
        }
        for (size_t p = 0; p < positions; ++p) show(position(w, p) + at, deep ? nr : 1);
    }
    const real *b_in = reals_copy(B_ROOM, b, positions * nr, 0);
    for (size_t rows = 0, end = 0; rows <= most; ++rows) {
        if (rows > 0) end = bp_max(end, deep ? runs[rows - 1].at + nr : rows);
        const size_t extent = end && positions ? position(w, positions - 1) + end : 0;
        const real *a_in = reals_copy(A_ROOM, image, extent, rows % 2 * sizeof(real));
        for (size_t n = 0; n <= nr; ++n) {
            real *c = place_c(s, &steps, rows, n);
            BEGIN(what, w->samples, w->lines, w->places, rows, n, start);
            if (deep)
                s->k->depth_block(c, a_in, b_in, runs, rows, w, n, start);
            else
                s->k->conv_block(c, a_in, b_in, w, rows, n, start);
            compare(s, c, &steps, rows, n, false);
        }
    }
}

void NAME(check_conv)(const subject *s)
{
    const size_t nr = s->k->nr, mr = s->k->mr;
    if (nr > MOST_NR || 2 * mr + 1 > MOST_ROWS || nr / s->k->vl > MOST_VECTORS) {
        kernel_is("conv", "nr mr");
        BEGIN(nr, mr);
        failed("enlarge MOST_NR, MOST_ROWS and MOST_VECTORS");
        return;
    }
    for (kind what = RANDOM; what < N_KINDS; ++what) {
        for (int deep = 0; deep < 2; ++deep) {
            kernel_is(deep ? "depth_rows" : "conv_rows", "data runs depth step m n start relu");
            for (size_t i = 0; i < N_SIGHTS; ++i)
                for (bp_start start = BP_FROM_ZERO; start <= BP_FROM_C; ++start)
                    rows_case(s, what, &sights[i], start, deep);
            kernel_is(deep ? "depth_block" : "conv_block",
                      "data samples lines places rows n start");
            for (size_t i = 0; i < N_WALKS; ++i) {
                block_case(s, what, &walks[i], BP_FROM_ZERO, deep);
                block_case(s, what, &walks[i], BP_FROM_C, deep);
            }
        }
    }
}

/* digest_kernels.c - every kernel on the same matrices and vectors, whatever the row's panels.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Compiled for both dtypes. Data are drawn as plain rows and packed for the row under test; results
 * are unpacked, and digested in the order of the matrix. Kinds of data: check_real.h. A denormal that
 * a kernel merely selects (relu of an input) counts as the zero that arithmetic would make of it.
 */
#include "digest_real.h"

#include <string.h>

static real a[MOST * MOST], b[MOST * MOST], c[MOST * MOST], d[MOST * MOST], bias[MOST + MOST_NR];
static real panels[3][PANELS];

/* ---- products ---- */

static const size_t shapes[][3] = {{1, 1, 1},    {2, 0, 5},    {3, 17, 4},   {13, 33, 21},
                                   {17, 64, 16}, {40, 79, 37}, {79, 30, 79}, {64, 16, 64}};
enum { N_SHAPES = sizeof shapes / sizeof shapes[0] };

static void forward(const bp_kernels *k, size_t m, size_t depth, size_t n, bp_start start,
                    bool relu)
{
    const size_t a_stride = m * k->nr, b_stride = depth * k->nr;
    k->pack(panels[0], a, m, depth, depth, a_stride);
    k->pack(panels[1], b, depth, n, n, b_stride);
    k->pack(panels[2], c, m, n, n, a_stride);
    for (size_t j = 0; j * k->nr < n; ++j)
        k->gemm_rows(panels[2] + j * a_stride, panels[0], panels[1] + j * b_stride,
                     start == BP_FROM_BIAS ? bias + j * k->nr : NULL, m, depth,
                     bp_min(k->nr, n - j * k->nr), a_stride, start, relu, NULL);
    k->unpack(d, panels[2], m, n, n, a_stride);
    results(d, m * n);
}

/* d[rows][n] = a[m][rows]^T b[m][n], by blocks of NR x NR */
static void gradient(const bp_kernels *k, size_t rows, size_t m, size_t n, bp_start start)
{
    const size_t nr = k->nr, stride = m * nr;
    k->pack(panels[0], a, m, rows, rows, stride);
    k->pack(panels[1], b, m, n, n, stride);
    for (size_t i = 0; i < rows; i += nr) {
        for (size_t j = 0; j < n; j += nr) {
            const size_t high = bp_min(nr, rows - i), across = bp_min(nr, n - j);
            k->pack(panels[2], c + i * n + j, high, across, n, nr * nr);
            k->gemm_block(panels[2], panels[0] + i / nr * stride, panels[1] + j / nr * stride, m,
                          high, across, start, NULL);
            k->unpack(d + i * n + j, panels[2], high, across, n, nr * nr);
        }
    }
    results(d, rows * n);
}

/* d[m][n] = a[m][depth] b, with b as it is */
static void few(const bp_kernels *k, size_t m, size_t depth, size_t n, const real *from)
{
    const size_t stride = m * k->nr;
    k->pack(panels[0], a, m, depth, depth, stride);
    k->pack(panels[2], c, m, n, n, stride);
    k->gemm_few(panels[2], panels[0], b, from, m, depth, n, stride, stride);
    k->unpack(d, panels[2], m, n, n, stride);
    results(d, m * n);
}

/* d[rows][n] = a[m][rows]^T b[m][n], by rows of d */
static void outer(const bp_kernels *k, size_t rows, size_t m, size_t n, bp_start start)
{
    const size_t nr = k->nr, stride = m * nr;
    k->pack(panels[0], a, m, rows, rows, stride);
    k->pack(panels[1], b, m, n, n, stride);
    memcpy(d, c, rows * n * sizeof(real));
    for (size_t i = 0; i < rows; i += nr)
        k->gemm_outer(d + i * n, panels[0] + i / nr * stride, panels[1], m, bp_min(nr, rows - i), n,
                      stride, start);
    results(d, rows * n);
}

static void fill_all(kind what)
{
    fill(a, sizeof a / sizeof a[0], what);
    fill(b, sizeof b / sizeof b[0], what);
    fill(c, sizeof c / sizeof c[0], what);
    fill(bias, sizeof bias / sizeof bias[0], what);
}

static void products(const bp_kernels *k)
{
    NAMED("gemm_rows", "") FOR_KINDS(what) for (size_t s = 0; s < N_SHAPES; ++s)
    {
        fill_all(what);
        for (bp_start start = BP_FROM_ZERO; start <= BP_FROM_C; ++start)
            for (int relu = 0; relu < 2; ++relu)
                forward(k, shapes[s][0], shapes[s][1], shapes[s][2], start, relu);
    }
    NAMED("gemm_block", "") FOR_KINDS(what) for (size_t s = 0; s < N_SHAPES; ++s)
    {
        fill_all(what);
        gradient(k, shapes[s][0], shapes[s][1], shapes[s][2], BP_FROM_ZERO);
        gradient(k, shapes[s][0], shapes[s][1], shapes[s][2], BP_FROM_C);
    }
    NAMED("gemm_few", "") FOR_KINDS(what) for (size_t s = 0; s < N_SHAPES; ++s)
    {
        fill_all(what);
        few(k, shapes[s][0], shapes[s][1], shapes[s][2], NULL);
        few(k, shapes[s][0], shapes[s][1], shapes[s][2], bias);
    }
    NAMED("gemm_outer", "") FOR_KINDS(what) for (size_t s = 0; s < N_SHAPES; ++s)
    {
        fill_all(what);
        outer(k, shapes[s][0], shapes[s][1], shapes[s][2], BP_FROM_ZERO);
        outer(k, shapes[s][0], shapes[s][1], shapes[s][2], BP_FROM_C);
    }
    NAMED("transpose", "") FOR_KINDS(what)
    {
        const size_t nr = k->nr, side = MOST_NR;
        fill_all(what);
        for (size_t i = 0; i < side; i += nr) {
            k->transpose(panels[0], a + i * side, nr, side, side);
            k->unpack(d + i, panels[0], side, nr, side, side * nr);
        }
        results(d, side * side);
    }
    NAMED("transpose_block", "") FOR_KINDS(what)
    {
        const size_t nr = k->nr, side = MOST_NR; /* a multiple of every row's NR */
        fill_all(what);
        for (size_t i = 0; i < side; i += nr) {
            for (size_t j = 0; j < side; j += nr) {
                k->pack(panels[0], a + i * side + j, nr, nr, side, nr * nr);
                k->transpose_block(panels[1], panels[0], nr, nr);
                k->unpack(d + j * side + i, panels[1], nr, nr, side, nr * nr);
            }
        }
        results(d, side * side);
    }
}

/* ---- maps ---- */

static void maps(const bp_kernels *k)
{
    for (size_t act = 0; act < BP_N_ACTIVATIONS; ++act) {
        NAMED("act.", bp_activation_name(act)) FOR_KINDS(what) FOR_SIZES(n)
        {
            fill(a, n, what);
            k->act[act](d, a, n);
            results(d, n);
        }
        NAMED("grad.", bp_activation_name(act)) FOR_KINDS(what) FOR_SIZES(n)
        {
            fill(a, n, what);
            fill(b, n, what);
            k->grad[act](d, a, b, n);
            results(d, n);
        }
    }
    NAMED("softmax", "") FOR_KINDS(what) FOR_SIZES(n)
    {
        fill(a, n, what);
        k->softmax(d, a, n);
        results(d, n);
    }
    NAMED("softmax_grad", "") FOR_KINDS(what) FOR_SIZES(n)
    {
        fill(a, n, what);
        fill(b, n, what);
        k->softmax_grad(d, a, b, n);
        results(d, n);
    }
}

/* One call on x = a and y = b, of which x is digested. */
#define MAP(name, call)                                                 \
    NAMED(#name, "") FOR_KINDS(what) FOR_SIZES(n)                       \
    {                                                                   \
        real *const x = a, *const y = b;                                \
        double doubles[MOST];                                           \
        fill(x, MOST, what);                                            \
        fill(y, MOST, what);                                            \
        for (size_t i = 0; i < MOST; ++i) doubles[i] = random_normal(); \
        (void)y;                                                        \
        (void)doubles;                                                  \
        k->name call;                                                   \
        results(x, n);                                                  \
    }

static void updates(const bp_kernels *k)
{
    static const bp_optim_args args = {.rate = 0.0123,
                                       .correction = 3.17,
                                       .beta_1 = 0.9,
                                       .beta_2 = 0.999,
                                       .epsilon = 1e-8,
                                       .decay = 0.9993,
                                       .eta_minus = 0.5,
                                       .eta_plus = 1.2,
                                       .step_min = 1e-3,
                                       .step_max = 0.5};
    for (size_t rule = 0; rule < BP_N_OPTIMIZERS; ++rule) {
        NAMED("optim.", bp_rule_name(rule)) FOR_KINDS(what) FOR_SIZES(n)
        {
            fill_all(what);
            if (what != SPECIAL)
                fill_tame(d, 2 * n, 0, 1); /* a sum of squares is not negative */
            else
                fill(d, 2 * n, what);
            k->optim[rule](a, b, bp_rule_slots(rule) == 1 ? d : c, d, &args, 2, n, n);
            results(a, 2 * n);
            results(c, 2 * n);
            results(d, 2 * n);
        }
    }
    MAP(add_penalty, (x, y, 0.01, 0.2, n))
    MAP(clip, (x, 1.7, n))
    MAP(scale, (x, 0.3, n))
    MAP(scale_columns, (x, y, 1, n))
    MAP(add, (x, y, n))
    MAP(sum_of, (x, x, y, n))
    MAP(distance, (x, x, y, n))
    MAP(average, (x, y, 0.3, n))
    MAP(distance_grad, (x, x, x, y, n))
    MAP(non_negative, (x, n))
    MAP(fill, (x, 0.1, n))
    MAP(convert, (x, doubles, n))
}

/* ---- losses, metrics and sums ---- */

static void losses(const bp_kernels *k)
{
    for (size_t loss = 0; loss < BP_N_LOSSES; ++loss) {
        NAMED("loss.", bp_loss_name(loss)) FOR_KINDS(what) for (size_t n = 1; n <= WIDE; n += 7)
        {
            double values[FEW], scales[FEW];
            size_t labels[FEW];
            for (int with = 0; with <= (int)bp_loss_takes_labels(loss); ++with) {
                const bp_loss_args args = {.targets = with ? NULL : b,
                                           .labels = labels,
                                           .scales = scales,
                                           .parameter = 0.3,
                                           .ld = WIDE};
                fill_all(what);
                for (size_t i = 0; i < FEW; ++i) {
                    labels[i] = (size_t)random_bits() % n;
                    scales[i] = 0.01 * (double)(i + 1);
                }
                k->loss[loss](values, d, a, &args, FEW, n);
                for (size_t i = 0; i < FEW; ++i) digest(values[i]);
                for (size_t i = 0; i < FEW; ++i) results(d + i * WIDE, n);
            }
        }
    }
    NAMED("argmax, matches, row_errors, add_residuals", "") FOR_KINDS(what) FOR_SIZES(n)
    {
        double squared, absolute, totals[MOST] = {0};
        fill(a, n, what);
        fill(b, n, what);
        digest((double)k->argmax(a, n));
        digest((double)k->matches(a, b, 0.25, n));
        k->row_errors(a, b, n, &squared, &absolute);
        digest(squared);
        digest(absolute);
        k->add_residuals(totals, a, b, 0.7, n);
        for (size_t i = 0; i < n; ++i) digest(totals[i]);
    }
}

static void sums(const bp_kernels *k)
{
    NAMED("sum, sum_squares, sum_abs, all_finite", "") FOR_KINDS(what) FOR_SIZES(n)
    {
        fill(a, n * n, what);
        digest(k->sum(a, n * n));
        digest(k->sum_squares(a, n * n));
        digest(k->sum_abs(a, n * n));
        digest(k->deviations(a, 0.375, n * n));
        digest(k->all_finite(a, n * n));
    }
    NAMED("extremes, find_bins", "") FOR_SIZES(n)
    {
        int32_t bin[MOST * MOST];
        double low = 0, high = 0;
        fill_tame(a, n * n, -3, 5);
        if (n > 0) k->extremes(a, n * n, &low, &high);
        digest(low);
        digest(high);
        digest(k->find_bins(bin, a, -3, 8, 1e-6, 64, n * n));
        for (size_t i = 0; i < n * n; ++i) digest(bin[i]);
    }
    NAMED("col_sums, col_squares, col_limit", "") FOR_KINDS(what) FOR_SIZES(m)
    {
        const size_t nr = k->nr, cols = MOST_NR;
        fill(a, m * cols, what);
        fill_tame(b, cols, 0, 9);
        for (size_t j = 0; j < cols; j += nr) {
            k->pack(panels[0], a + j, m, nr, cols, m * nr);
            k->col_sums(bias + j, panels[0], m);
            k->col_squares(b + j, panels[0], m);
            k->col_limit(panels[0], b + j, 2, m);
            k->unpack(d + j, panels[0], m, nr, cols, m * nr);
        }
        results(bias, cols);
        results(b, cols);
        results(d, m * cols);
    }
}

/* ---- random numbers and the caller's arrays ---- */

static void randoms(const bp_kernels *k)
{
    const bp_rng_key key = {.seed = 12345, .stream = 6, .step = UINT64_C(7) << 31};
    NAMED("mask_rows", "")
    {
        enum { COLS = 2 * MOST_NR };
        static uint8_t mask[FEW * MOST_NR];
        for (size_t col = 0; col < COLS; col += k->nr) {
            k->mask_rows(mask, &key, 3, col, FEW, 0.3);
            for (size_t e = 0; e < FEW * k->nr; ++e)
                d[e / k->nr * COLS + col + e % k->nr] = mask[e];
        }
        results(d, FEW * COLS);
    }
    NAMED("noise_rows", "")
    {
        for (size_t col = 0; col < 2 * MOST_NR; col += k->nr) {
            fill_tame(a, FEW * k->nr, 0, 0);
            k->noise_rows(panels[0], a, &key, 3, col, FEW, 0.3);
            for (size_t e = 0; e < FEW * k->nr; ++e)
                d[e / k->nr * 2 * MOST_NR + col + e % k->nr] = panels[0][e];
        }
        results(d, 2 * (size_t)FEW * MOST_NR);
    }
    NAMED("mask_apply", "") FOR_KINDS(what) FOR_SIZES(n)
    {
        uint8_t mask[MOST];
        fill(a, n, what);
        for (size_t i = 0; i < n; ++i) mask[i] = random_bits() % 2;
        k->mask_apply(d, a, mask, 1 / 0.7, n);
        results(d, n);
    }
#if CHECK_F64
    double *draws = d;
    NAMED("uniform", "") FOR_SIZES(n)
    {
        k->uniform(draws, &key, n, n);
        results(draws, n);
    }
    NAMED("normal", "") FOR_SIZES(n)
    {
        k->normal(draws, &key, 2 * n, n);
        results(draws, n);
    }
    NAMED("cosine", "") for (int i = -500; i <= 500; ++i) digest(k->cosine(i * 0.0987));
#endif
}

/* Any bytes are numbers of most types; floats and doubles are drawn like other data. */
static void gathers(const bp_kernels *k)
{
    enum { ROWS = 11, COLS = 37, BYTES = ROWS * COLS * 8 };
    static _Alignas(8) unsigned char raw[BYTES];
    const int64_t order[ROWS] = {3, 0, 10, 10, 7, 1, 2, 9, 4, 6, 5};
    for (size_t source = 0; source < BP_N_SOURCES; ++source) {
        NAMED("gather.", bp_source_name(source)) for (int centred = 0; centred < 2; ++centred)
        {
            const size_t item = item_size(source);
            const bp_gather_args args = {.data = (const char *)raw,
                                         .row_stride = (ptrdiff_t)(COLS * item),
                                         .col_stride = (ptrdiff_t)item,
                                         .rows = order,
                                         .mean = centred ? a : NULL,
                                         .scale = centred ? b : NULL};
            for (size_t i = 0; i < BYTES; ++i)
                raw[i] =
                    source == BP_SOURCE_bool ? random_bits() % 2 : (unsigned char)random_bits();
            for (size_t i = 0; source <= BP_SOURCE_float64 && i < BYTES / item; ++i) {
                const double x = random_normal();
                const float narrow = (float)x;
                memcpy(raw + i * item, item == 4 ? (const void *)&narrow : &x, item);
            }
            fill_tame(a, COLS, -3, 3);
            fill_tame(b, COLS, 0.1, 3);
            k->gather[source](panels[0], &args, ROWS, COLS, ROWS * k->nr);
            k->unpack(d, panels[0], ROWS, COLS, COLS, ROWS * k->nr);
            results(d, ROWS * COLS);
        }
    }
}

void NAME(digest_kernels)(const bp_kernels *k)
{
    products(k);
    maps(k);
    updates(k);
    losses(k);
    sums(k);
    randoms(k);
    gathers(k);
}

/* ---- the two exceptions ---- */

/* (1 + eps)(1 - eps) LEAST = (1 - eps^2) LEAST is below the least normal number, but rounds to it.
 * Whether such a result is flushed differs: x86 looks at it after rounding, Arm before. And a NaN
 * made of numbers is negative on x86, positive on Arm. */
void NAME(print_exceptions)(const bp_kernels *k)
{
    const int half = CHECK_F64 ? -511 : -63;
    const real more = (real)ldexp(1 + EPS, half);
    const double less = ldexp(1 - EPS, half);
    const real factor = (real)less;
    real x[3] = {more, (real)INFINITY, (real)NAN}, y[MOST_NR];
    k->scale(x, less, 1);
    printf(DTYPE " tiny product %a\n", (double)x[0]);
    k->gemm_few(y, &more, &factor, NULL, 1, 1, 1, k->nr, k->nr);
    printf(DTYPE " tiny multiply-add %a\n", (double)y[0]);
    k->scale(x + 1, 0, 2);
    printf(DTYPE " new NaN %c\n", x[1] == x[1] ? '?' : signbit(x[1]) ? '-' : '+');
    printf(DTYPE " old NaN %c\n", x[2] == x[2] ? '?' : signbit(x[2]) ? '-' : '+');
}

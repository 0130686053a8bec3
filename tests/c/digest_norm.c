/* digest_norm.c - normalisation of columns and rows, on the same matrices whatever the row's panels.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Data and results as in digest_kernels.c.
 */
#include "digest_real.h"

static const size_t shapes[][3] = {/* rows, columns, rows of a shard */
                                   {1, 1, 8},    {3, 17, 8},   {8, 33, 8},   {13, 5, 8},
                                   {67, 31, 16}, {79, 64, 72}, {72, 16, 24}, {35, 79, 8}};
enum { N_SHAPES = sizeof shapes / sizeof shapes[0] };

/* Plain rows; x, dy and results as panels. Vectors are whole panels of columns. */
static real x[MOST * MOST], dy[MOST * MOST], out[MOST * MOST], vectors[4][MOST + MOST_NR];
static real x_panels[PANELS], dy_panels[PANELS], out_panels[PANELS], stats[PANELS];

typedef struct {
    const bp_kernels *k;
    size_t m, n, shard, stride;
} matrix;

static matrix drawn(const bp_kernels *k, const size_t *shape, kind what)
{
    const matrix a = {k, shape[0], shape[1], shape[2], shape[0] * k->nr};
    fill(x, MOST * MOST, what);
    fill(dy, MOST * MOST, what);
    for (size_t v = 0; v < 4; ++v) fill_tame(vectors[v], MOST + MOST_NR, 0.1, 2);
    k->pack(x_panels, x, a.m, a.n, a.n, a.stride);
    k->pack(dy_panels, dy, a.m, a.n, a.n, a.stride);
    return a;
}

static void matrix_results(const matrix *a, const real *panels, size_t rows, size_t stride)
{
    a->k->unpack(out, panels, rows, a->n, a->n, stride);
    results(out, rows * a->n);
}

#define FOR_SHAPES(a)                        \
    FOR_KINDS(what)                          \
    for (size_t s_ = 0; s_ < N_SHAPES; ++s_) \
        for (matrix a = drawn(k, shapes[s_], what), *once_ = &a; once_; once_ = NULL)
#define FOR_PANELS(a, j) for (size_t j = 0; j * k->nr < (a).n; ++j)

static void columns(const bp_kernels *k)
{
    NAMED("col_stats, merge_stats, widen", "") FOR_SHAPES(a)
    {
        const size_t rows = 2 * bp_ceil_div(a.m, a.shard), stride = rows * k->nr;
        double mean[2 * (MOST + MOST_NR)] = {0}, *m2 = mean + MOST + MOST_NR, wide_mean[MOST_NR];
        FOR_PANELS(a, j)
        {
            real *const at = stats + j * stride;
            k->col_stats(at, x_panels + j * a.stride, a.m, a.shard);
            k->merge_stats(mean + j * k->nr, m2 + j * k->nr, at, a.m, a.shard);
            k->widen(wide_mean, at, k->nr);
            for (size_t l = 0; l < k->nr && j * k->nr + l < a.n; ++l) digest(wide_mean[l]);
        }
        for (size_t j = 0; j < a.n; ++j) digest(mean[j]);
        for (size_t j = 0; j < a.n; ++j) digest(m2[j]);
        matrix_results(&a, stats, rows, stride);
    }
    NAMED("col_slopes, add_rows", "") FOR_SHAPES(a)
    {
        const size_t rows = 2 * bp_ceil_div(a.m, a.shard), stride = rows * k->nr;
        double totals[2][MOST + MOST_NR];
        FOR_PANELS(a, j)
        {
            double both[2 * MOST_NR];
            k->col_slopes(stats + j * stride, dy_panels + j * a.stride, x_panels + j * a.stride,
                          vectors[0] + j * k->nr, vectors[1] + j * k->nr, a.m, a.shard);
            k->add_rows(both, stats + j * stride, rows / 2, 2 * k->nr);
            for (size_t l = 0; l < k->nr; ++l) {
                totals[0][j * k->nr + l] = both[l];
                totals[1][j * k->nr + l] = both[k->nr + l];
            }
        }
        for (size_t i = 0; i < 2; ++i)
            for (size_t j = 0; j < a.n; ++j) digest(totals[i][j]);
        matrix_results(&a, stats, rows, stride);
    }
    NAMED("norm_columns", "") FOR_SHAPES(a) for (int present = 0; present < 4; ++present)
    {
        FOR_PANELS(a, j)
        k->norm_columns(out_panels + j * a.stride, x_panels + j * a.stride,
                        present & 1 ? vectors[0] + j * k->nr : NULL, vectors[1] + j * k->nr,
                        present & 2 ? vectors[2] + j * k->nr : NULL, a.m);
        matrix_results(&a, out_panels, a.m, a.stride);
    }
    NAMED("norm_columns_back", "") FOR_SHAPES(a)
    {
        FOR_PANELS(a, j)
        k->norm_columns_back(out_panels + j * a.stride, dy_panels + j * a.stride,
                             x_panels + j * a.stride, vectors[0] + j * k->nr,
                             vectors[1] + j * k->nr, vectors[2] + j * k->nr, vectors[3] + j * k->nr,
                             a.m);
        matrix_results(&a, out_panels, a.m, a.stride);
    }
}

static void rows_of(const bp_kernels *k)
{
    for (int centred = 0; centred < 2; ++centred) {
        NAMED("norm_rows", centred ? ".centred" : "") FOR_SHAPES(a)
        {
            const bp_row_norm args = {vectors[0], k->nr, vectors[1], a.n, 1e-5, centred};
            k->norm_rows(out_panels, x_panels, a.stride, a.stride, &args, a.m);
            matrix_results(&a, out_panels, a.m, a.stride);
        }
        NAMED("norm_rows_back", centred ? ".centred" : "") FOR_SHAPES(a)
        {
            const bp_row_norm args = {vectors[0], k->nr, vectors[1], a.n, 1e-5, centred};
            const bp_row_strides strides = {a.stride, 2 * k->nr, a.stride, a.stride};
            k->norm_rows_back(out_panels, stats, dy_panels, x_panels, &strides, &args, a.m);
            matrix_results(&a, out_panels, a.m, a.stride);
            matrix_results(&a, stats, 2, 2 * k->nr);
        }
    }
}

void NAME(digest_norm)(const bp_kernels *k)
{
    columns(k);
    rows_of(k);
}

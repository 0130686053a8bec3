/* summary.c - what an array looks like: moments, extremes, histogram.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Blocks of so many elements are widened to double and stay in L1 while they are read twice: sum and
 * extremes, then squared deviations from the block's own mean, never a difference of squares. Blocks are
 * merged in order (Chan, Golub & LeVeque 1979). Within a block element i belongs to chain i % 8, and
 * chains are folded by halves: the same bits on every machine.
 */
#include "prim.h"

#include <math.h>
#include <string.h>

enum { BLOCK = 1024, CHAINS = 8 };

static double fold(double chain[CHAINS])
{
    for (size_t half = CHAINS / 2; half > 0; half /= 2)
        for (size_t c = 0; c < half; ++c) chain[c] += chain[c + half];
    return chain[0];
}

BP_INLINE double lesser(double a, double b) { return a < b ? a : b; }
BP_INLINE double greater(double a, double b) { return a > b ? a : b; }

static void merge(bp_moments *all, const bp_moments *block)
{
    const double n = (double)(all->n + block->n), d = block->mean - all->mean;
    if (all->n == 0) {
        *all = *block;
        return;
    }
    all->m2 += block->m2 + d * d * ((double)all->n * (double)block->n / n);
    all->mean += d * ((double)block->n / n);
    all->n += block->n;
    all->min = lesser(all->min, block->min);
    all->max = greater(all->max, block->max);
}

/* x[n], 0 < n <= BLOCK */
static bp_moments block_moments(const double *x, size_t n)
{
    double sum[CHAINS] = {0}, square[CHAINS] = {0}, low[CHAINS], high[CHAINS];
    bp_moments m = {.n = n};
    size_t i;
    for (i = 0; i + CHAINS <= n; i += CHAINS)
        for (size_t c = 0; c < CHAINS; ++c) sum[c] += x[i + c];
    for (size_t c = 0; i < n; ++c, ++i) sum[c] += x[i];
    m.mean = fold(sum) / (double)n;
    for (size_t c = 0; c < CHAINS; ++c) low[c] = high[c] = x[0];
    for (i = 0; i + CHAINS <= n; i += CHAINS)
        for (size_t c = 0; c < CHAINS; ++c) {
            const double d = x[i + c] - m.mean;
            square[c] += d * d;
            low[c] = lesser(x[i + c], low[c]);
            high[c] = greater(x[i + c], high[c]);
        }
    for (size_t c = 0; i < n; ++c, ++i) {
        square[c] += (x[i] - m.mean) * (x[i] - m.mean);
        low[c] = lesser(x[i], low[c]);
        high[c] = greater(x[i], high[c]);
    }
    m.m2 = fold(square);
    m.min = low[0];
    m.max = high[0];
    for (size_t c = 1; c < CHAINS; ++c) {
        m.min = lesser(low[c], m.min);
        m.max = greater(high[c], m.max);
    }
    return m;
}

bp_moments bp_moments_of(const bp_kernels *k, const void *x, size_t n)
{
    double block[BLOCK];
    bp_moments all = {0};
    for (size_t start = 0; start < n; start += BLOCK) {
        const size_t count = bp_min(BLOCK, n - start);
        k->widen(block, bp_cat(x, start, k->size), count);
        const bp_moments m = block_moments(block, count);
        merge(&all, &m);
    }
    return all;
}

double bp_squared_distance(const bp_kernels *k, const void *x, const void *y, size_t n)
{
    double a[BLOCK], b[BLOCK], total = 0;
    for (size_t start = 0; start < n; start += BLOCK) {
        const size_t count = bp_min(BLOCK, n - start);
        double square[CHAINS] = {0};
        size_t i;
        k->widen(a, bp_cat(x, start, k->size), count);
        k->widen(b, bp_cat(y, start, k->size), count);
        for (i = 0; i + CHAINS <= count; i += CHAINS)
            for (size_t c = 0; c < CHAINS; ++c)
                square[c] += (a[i + c] - b[i + c]) * (a[i + c] - b[i + c]);
        for (size_t c = 0; i < count; ++c, ++i) square[c] += (a[i] - b[i]) * (a[i] - b[i]);
        total += fold(square);
    }
    return total;
}

/* The quotient may be one bin off by rounding: the edges decide, as in NumPy's histogram. */
void bp_histogram(const bp_kernels *k, int64_t *counts, const double *edges, size_t bins,
                  const void *x, size_t n)
{
    const double low = edges[0], scale = (double)bins / (edges[bins] - low);
    double block[BLOCK];
    int32_t guess[BLOCK];
    memset(counts, 0, bins * sizeof *counts);
    for (size_t start = 0; start < n; start += BLOCK) {
        const size_t count = bp_min(BLOCK, n - start);
        k->widen(block, bp_cat(x, start, k->size), count);
        for (size_t i = 0; i < count; ++i) guess[i] = (int32_t)((block[i] - low) * scale);
        for (size_t i = 0; i < count; ++i) {
            size_t bin = bp_min((size_t)guess[i], bins - 1);
            bin -= block[i] < edges[bin];
            bin += (block[i] >= edges[bin + 1]) & (bin + 1 < bins);
            ++counts[bin];
        }
    }
}

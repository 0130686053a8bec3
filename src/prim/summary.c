/* summary.c - what an array looks like: moments, extremes, histogram.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Blocks of so many elements are widened to double and stay in L1 while they are read twice: their sum,
 * then squared deviations from the block's own mean, never a difference of squares. Each sum has the
 * kernels' fixed shape; blocks are merged in order (Chan, Golub & LeVeque 1979).
 */
#include "prim.h"

#include <math.h>
#include <string.h>

enum { BLOCK = 1024 };

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
    all->min = block->min < all->min ? block->min : all->min;
    all->max = block->max > all->max ? block->max : all->max;
}

bp_moments bp_moments_of(const bp_kernels *k, const bp_kernels *k64, const void *x, size_t n)
{
    double wide[BLOCK];
    bp_moments all = {0};
    for (size_t start = 0; start < n; start += BLOCK) {
        const void *at = bp_cat(x, start, k->size);
        bp_moments block = {.n = bp_min(BLOCK, n - start)};
        k->widen(wide, at, block.n);
        block.mean = k64->sum(wide, block.n) / (double)block.n;
        block.m2 = k64->deviations(wide, block.mean, block.n);
        k->extremes(at, block.n, &block.min, &block.max);
        merge(&all, &block);
    }
    return all;
}

double bp_squared_distance(const bp_kernels *k, const bp_kernels *k64, const void *x, const void *y,
                           size_t n)
{
    double a[BLOCK], b[BLOCK], squared, absolute, total = 0;
    for (size_t start = 0; start < n; start += BLOCK) {
        const size_t count = bp_min(BLOCK, n - start);
        k->widen(a, bp_cat(x, start, k->size), count);
        k->widen(b, bp_cat(y, start, k->size), count);
        k64->row_errors(a, b, count, &squared, &absolute);
        total += squared;
    }
    return total;
}

/* The edges decide, as in NumPy's histogram: a quotient is one bin off at most, and only near an edge. */
static void settle_bins(const bp_kernels *k, int32_t *bin, const double *edges, size_t bins,
                        const void *x, size_t n)
{
    double wide[BLOCK];
    k->widen(wide, x, n);
    for (size_t i = 0; i < n; ++i) {
        size_t b = (size_t)bin[i];
        if (wide[i] < edges[b])
            --b;
        else if (b + 1 < bins && wide[i] >= edges[b + 1])
            ++b;
        bin[i] = (int32_t)b;
    }
}

/* Quotients and edges are rounded some four times, by 2^-53 of what they are made of. */
void bp_histogram(const bp_kernels *k, int64_t *counts, const double *edges, size_t bins,
                  const void *x, size_t n)
{
    const double low = edges[0], high = edges[bins], scale = (double)bins / (high - low);
    const double margin = 0x1p-50 * ((double)bins + (fabs(low) + fabs(high)) * scale);
    int32_t bin[BLOCK];
    memset(counts, 0, bins * sizeof *counts);
    for (size_t start = 0; start < n; start += BLOCK) {
        const size_t count = bp_min(BLOCK, n - start);
        const void *at = bp_cat(x, start, k->size);
        if (k->find_bins(bin, at, low, scale, margin, bins, count))
            settle_bins(k, bin, edges, bins, at, count);
        for (size_t i = 0; i < count; ++i) ++counts[bin[i]];
    }
}

/* reduce.c - sums over long arrays: fixed shards, each of the kernels' fixed shape, added in order.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Threads share shards, never elements, so the sum has the same bits on any number of threads.
 */
#include "prim.h"

size_t bp_shard_count(size_t n) { return bp_ceil_div(n, BP_SHARD); }

void bp_shard_squares(const bp_kernels *k, double *shards, const void *x, size_t n, size_t first,
                      size_t last)
{
    for (size_t s = first; s < last; ++s) {
        const size_t start = s * BP_SHARD;
        shards[s] = k->sum_squares(bp_cat(x, start, k->size), bp_min(BP_SHARD, n - start));
    }
}

double bp_shard_total(const double *shards, size_t n)
{
    double total = 0;
    for (size_t s = 0; s < bp_shard_count(n); ++s) total += shards[s];
    return total;
}

double bp_sum_sharded(const bp_kernels *k, bp_sum_fn *sum, const void *x, size_t n)
{
    double total = 0;
    for (size_t start = 0; start < n; start += BP_SHARD)
        total += sum(bp_cat(x, start, k->size), bp_min(BP_SHARD, n - start));
    return total;
}

/* norm.tmpl.h - normalisation of columns over the rows of a batch (BatchNorm), panel by panel.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * A batch is cut into shards of rows, whose means and sums of squared deviations M2 are merged later; a
 * shard into blocks of BP_BLOCK_ROWS rows, which are in L1 when they are read again, for M2 about their
 * mean. Blocks are merged in order (Chan, Golub & LeVeque 1979):
 *
 *      d = mean_b - mean     mean += d n_b / (n + n_b)     M2 += M2_b + d^2 n n_b / (n + n_b)
 *
 * Sums over a block's rows are four chains, as in reduce.tmpl.h; columns are the vector lanes.
 * Parameters: the vocabulary, BP_NV, BP_NR, and reduce.tmpl.h.
 */
enum { BP_BLOCK_ROWS = 64 };

typedef struct {
    vec mean, m2;
} col_moments;

BP_INLINE col_moments block_moments(const real *x, size_t m)
{
    const vec mean = v_div(column_sum(x, m), v_set1((real)m));
    vec acc[BP_COL_CHAINS];
    size_t i = 0;
    for (size_t c = 0; c < BP_COL_CHAINS; ++c) acc[c] = v_zero();
    for (; i + BP_COL_CHAINS <= m; i += BP_COL_CHAINS)
        for (size_t c = 0; c < BP_COL_CHAINS; ++c)
            acc[c] = plus_square(acc[c], v_sub(v_load(x + (i + c) * BP_NR), mean));
    for (size_t c = 0; i < m; ++c, ++i)
        acc[c] = plus_square(acc[c], v_sub(v_load(x + i * BP_NR), mean));
    return (col_moments){mean, fold_chains(acc)};
}

BP_INLINE col_moments shard_moments(const real *x, size_t m)
{
    col_moments all = block_moments(x, bp_min(BP_BLOCK_ROWS, m));
    for (size_t done = BP_BLOCK_ROWS; done < m; done += BP_BLOCK_ROWS) {
        const size_t n = bp_min(BP_BLOCK_ROWS, m - done);
        const col_moments block = block_moments(x + done * BP_NR, n);
        const double share = (double)n / (double)(done + n);
        const vec d = v_sub(block.mean, all.mean);
        all.mean = v_fma(d, v_set1((real)share), all.mean);
        all.m2 = v_fma(v_mul(d, d), v_set1((real)(share * (double)done)), v_add(all.m2, block.m2));
    }
    return all;
}

/* Shards of 8 rows, those of a batch of vectors, stay in registers. */
enum { BP_USUAL_SHARD = 8 };

static void col_stats(void *stats_, const void *x_, size_t m, size_t shard)
{
    real *stats = stats_;
    const real *x = x_;
    for (size_t done = 0; done < m; done += shard, stats += 2 * (size_t)BP_NR) {
        const size_t n = bp_min(shard, m - done);
        for (size_t j = 0; j < BP_NR; j += BP_VL) {
            const real *at = x + done * BP_NR + j;
            const col_moments c =
                n == BP_USUAL_SHARD ? block_moments(at, BP_USUAL_SHARD) : shard_moments(at, n);
            v_store(stats + j, c.mean);
            v_store(stats + BP_NR + j, c.m2);
        }
    }
}

BP_INLINE void block_slopes(vec *slope, vec *total, const real *dy, const real *x, vec mean,
                            size_t m)
{
    vec acc[BP_COL_CHAINS], sum[BP_COL_CHAINS];
    size_t i = 0;
    for (size_t c = 0; c < BP_COL_CHAINS; ++c) acc[c] = sum[c] = v_zero();
    for (; i + BP_COL_CHAINS <= m; i += BP_COL_CHAINS) {
        for (size_t c = 0; c < BP_COL_CHAINS; ++c) {
            const vec d = v_load(dy + (i + c) * BP_NR);
            acc[c] = v_fma(d, v_sub(v_load(x + (i + c) * BP_NR), mean), acc[c]);
            sum[c] = v_add(sum[c], d);
        }
    }
    for (size_t c = 0; i < m; ++c, ++i) {
        const vec d = v_load(dy + i * BP_NR);
        acc[c] = v_fma(d, v_sub(v_load(x + i * BP_NR), mean), acc[c]);
        sum[c] = v_add(sum[c], d);
    }
    *slope = fold_chains(acc);
    *total = fold_chains(sum);
}

static void col_slopes(void *sums_, const void *dy_, const void *x_, const void *mean_,
                       const void *factor_, size_t m, size_t shard)
{
    real *sums = sums_;
    const real *dy = dy_, *x = x_, *mean = mean_, *factor = factor_;
    for (size_t done = 0; done < m; done += shard, sums += 2 * (size_t)BP_NR) {
        const size_t last = bp_min(m, done + shard);
        for (size_t j = 0; j < BP_NR; j += BP_VL) {
            const vec center = v_load(mean + j);
            vec slope = v_zero(), total = v_zero();
            if (last - done == BP_USUAL_SHARD) {
                block_slopes(&slope, &total, dy + done * BP_NR + j, x + done * BP_NR + j, center,
                             BP_USUAL_SHARD);
            } else {
                for (size_t i = done; i < last; i += BP_BLOCK_ROWS) {
                    vec s, t;
                    block_slopes(&s, &t, dy + i * BP_NR + j, x + i * BP_NR + j, center,
                                 bp_min(BP_BLOCK_ROWS, last - i));
                    slope = v_add(slope, s);
                    total = v_add(total, t);
                }
            }
            v_store(sums + j, v_mul(slope, v_load(factor + j)));
            v_store(sums + BP_NR + j, total);
        }
    }
}

/* Columns whose sums in double are made together, in registers. */
enum { BP_MERGED = BP_NR < 16 ? BP_NR : 16 };

static void add_rows(double *out, const void *a_, size_t m, size_t n)
{
    const real *a = a_;
    for (size_t j = 0; j < n; j += BP_MERGED) {
        double sum[BP_MERGED] = {0};
        for (size_t i = 0; i < m; ++i)
            for (size_t l = 0; l < BP_MERGED; ++l) sum[l] += (double)a[i * n + j + l];
        for (size_t l = 0; l < BP_MERGED; ++l) out[j + l] = sum[l];
    }
}

/* All shards at once: the mean is that of the shards' means, and M2 the sum of what is within shards,
 * M2_s, and between them, n_s (mean_s - mean)^2. All shards but the last are of the same length. */
static void merge_stats(double *mean, double *m2, const void *stats_, size_t m, size_t shard)
{
    const real *stats = stats_;
    const size_t shards = bp_ceil_div(m, shard), before = shards - 1;
    const real *last = stats + before * 2 * BP_NR;
    const double each = (double)shard, rest = (double)(m - before * shard);
    double sums[2 * BP_NR]; /* of means, of M2 */
    add_rows(sums, stats, before, 2 * BP_NR);
    for (size_t j = 0; j < BP_NR; j += BP_MERGED) {
        double center[BP_MERGED], between[BP_MERGED] = {0};
        for (size_t l = 0; l < BP_MERGED; ++l)
            center[l] = (each * sums[j + l] + rest * (double)last[j + l]) / (double)m;
        for (size_t s = 0; s < before; ++s) {
            for (size_t l = 0; l < BP_MERGED; ++l) {
                const double d = (double)stats[s * 2 * BP_NR + j + l] - center[l];
                between[l] += d * d;
            }
        }
        for (size_t l = 0; l < BP_MERGED; ++l) {
            const double d = (double)last[j + l] - center[l];
            const double within = sums[BP_NR + j + l] + (double)last[BP_NR + j + l];
            mean[j + l] = center[l];
            m2[j + l] = within + (each * between[l] + rest * (d * d));
        }
    }
}

BP_INLINE vec load_or_zero(const real *p, size_t j) { return p ? v_load(p + j) : v_zero(); }

static void norm_columns(void *y_, const void *x_, const void *center_, const void *scale_,
                         const void *shift_, size_t m)
{
    real *y = y_;
    const real *x = x_, *center = center_, *scale = scale_, *shift = shift_;
    vec c[BP_NV], s[BP_NV], b[BP_NV];
    for (size_t v = 0; v < BP_NV; ++v) {
        c[v] = load_or_zero(center, v * BP_VL);
        s[v] = v_load(scale + v * BP_VL);
        b[v] = load_or_zero(shift, v * BP_VL);
    }
    for (size_t i = 0; i < m; ++i, x += BP_NR, y += BP_NR)
        for (size_t v = 0; v < BP_NV; ++v)
            v_store(y + v * BP_VL, v_fma(v_sub(v_load(x + v * BP_VL), c[v]), s[v], b[v]));
}

static void norm_columns_back(void *dx_, const void *dy_, const void *x_, const void *center_,
                              const void *slope_, const void *level_, const void *scale_, size_t m)
{
    real *dx = dx_;
    const real *dy = dy_, *x = x_;
    const real *center = center_, *slope = slope_, *level = level_, *scale = scale_;
    vec c[BP_NV], k[BP_NV], l[BP_NV], s[BP_NV];
    for (size_t v = 0; v < BP_NV; ++v) {
        c[v] = v_load(center + v * BP_VL);
        k[v] = v_load(slope + v * BP_VL);
        l[v] = v_load(level + v * BP_VL);
        s[v] = v_load(scale + v * BP_VL);
    }
    for (size_t i = 0; i < m; ++i, dx += BP_NR, dy += BP_NR, x += BP_NR) {
        for (size_t v = 0; v < BP_NV; ++v) {
            const vec d = v_sub(v_load(dy + v * BP_VL), l[v]);
            const vec t = v_sub(v_load(x + v * BP_VL), c[v]);
            v_store(dx + v * BP_VL, v_mul(s[v], v_fnma(t, k[v], d)));
        }
    }
}

/* reduce.tmpl.h - sums of a fixed shape: the same bits for every vector width.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Element i belongs to virtual lane i % 16; a lane adds its elements in order; lanes are folded by
 * halves (l and l + 8, then 4, 2, 1). Column sums use four interleaved chains of rows instead,
 * folded as (0 + 1) + (2 + 3): columns are the lanes there. Parameters: the vocabulary.
 */
enum { BP_LANES = 16, BP_LANE_VECS = BP_LANES / BP_VL, BP_COL_CHAINS = 4 };

BP_INLINE vec load_part(const real *p, size_t n) { return n >= BP_VL ? v_load(p) : v_load_n(p, n); }

BP_INLINE real fold(vec acc[BP_LANE_VECS])
{
    real lane[BP_LANES];
    for (size_t v = 0; v < BP_LANE_VECS; ++v) v_store(lane + v * BP_VL, acc[v]);
    for (size_t half = BP_LANES / 2; half > 0; half /= 2)
        for (size_t l = 0; l < half; ++l) lane[l] += lane[l + half];
    return lane[0];
}

/* BP_REDUCE(name, update): acc = update(acc, x) over x[n]; absent elements count as +0. */
#define BP_REDUCE(name, update)                                      \
    static double name(const void *x_, size_t n)                     \
    {                                                                \
        const real *x = x_;                                          \
        vec acc[BP_LANE_VECS];                                       \
        size_t i = 0;                                                \
        for (size_t v = 0; v < BP_LANE_VECS; ++v) acc[v] = v_zero(); \
        for (; i + BP_LANES <= n; i += BP_LANES)                     \
            for (size_t v = 0; v < BP_LANE_VECS; ++v)                \
                acc[v] = update(acc[v], v_load(x + i + v * BP_VL));  \
        for (size_t v = 0; i < n; ++v, i += BP_VL)                   \
            acc[v] = update(acc[v], load_part(x + i, n - i));        \
        return (double)fold(acc);                                    \
    }

BP_INLINE vec plus(vec acc, vec x) { return v_add(acc, x); }
BP_INLINE vec plus_square(vec acc, vec x) { return v_fma(x, x, acc); }
BP_INLINE vec plus_abs(vec acc, vec x) { return v_add(acc, v_abs(x)); }

BP_REDUCE(sum, plus)
BP_REDUCE(sum_squares, plus_square)
BP_REDUCE(sum_abs, plus_abs)
#undef BP_REDUCE

/* As those above; absent elements count as the mean. */
static double deviations(const void *x_, double mean, size_t n)
{
    const real *x = x_;
    const vec middle = v_set1((real)mean);
    vec acc[BP_LANE_VECS];
    size_t i = 0;
    for (size_t v = 0; v < BP_LANE_VECS; ++v) acc[v] = v_zero();
    for (; i + BP_LANES <= n; i += BP_LANES)
        for (size_t v = 0; v < BP_LANE_VECS; ++v)
            acc[v] = plus_square(acc[v], v_sub(v_load(x + i + v * BP_VL), middle));
    for (size_t v = 0; i < n; ++v, i += BP_VL) {
        real part[BP_VL];
        for (size_t l = 0; l < BP_VL; ++l) part[l] = i + l < n ? x[i + l] : (real)mean;
        acc[v] = plus_square(acc[v], v_sub(v_load(part), middle));
    }
    return (double)fold(acc);
}

/* Adding 0 makes one zero of the two. */
static void extremes(const void *x_, size_t n, double *low, double *high)
{
    const real *x = x_;
    vec least = v_set1(x[0]), most = least;
    real lows[BP_VL], highs[BP_VL];
    size_t i = 0;
    for (; i + BP_VL <= n; i += BP_VL) {
        least = v_min(v_load(x + i), least);
        most = v_max(v_load(x + i), most);
    }
    v_store(lows, least);
    v_store(highs, most);
    real lowest = x[0], highest = x[0];
    for (size_t l = 0; l < BP_VL; ++l) {
        lowest = lows[l] < lowest ? lows[l] : lowest;
        highest = highs[l] > highest ? highs[l] : highest;
    }
    for (; i < n; ++i) {
        lowest = x[i] < lowest ? x[i] : lowest;
        highest = x[i] > highest ? x[i] : highest;
    }
    *low = (double)lowest + 0.0;
    *high = (double)highest + 0.0;
}

static bool find_bins(int32_t *bin, const void *x_, double low, double scale, double margin,
                      size_t bins, size_t n)
{
    const real *x = x_;
    const int32_t most = (int32_t)bins - 1;
    const double last = (double)bins - 0.5; /* beyond it, and below 0.5, no other bin is near */
    int near = 0;
    for (size_t i = 0; i < n; ++i) {
        const double at = ((double)x[i] - low) * scale;
        const int32_t below = (int32_t)at;
        const double over = at - (double)below;
        bin[i] = below < most ? below : most;
        near |= ((over < margin) | (over > 1 - margin)) & (at > 0.5) & (at < last);
    }
    return near != 0;
}

static bool all_finite(const void *x_, size_t n)
{
    const real *x = x_;
    vmask bad = v_isnan(v_zero());
    for (size_t i = 0; i < n; i += BP_VL) {
        const vec v = load_part(x + i, n - i);
        bad = m_or(bad, v_isnan(v_sub(v, v))); /* inf - inf and NaN - NaN are NaN */
    }
    return !m_any(bad);
}

BP_INLINE vec fold_chains(const vec acc[BP_COL_CHAINS])
{
    return v_add(v_add(acc[0], acc[1]), v_add(acc[2], acc[3]));
}

/* One vector of columns of a[m][NR]. */
BP_INLINE vec column_sum(const real *a, size_t m)
{
    vec acc[BP_COL_CHAINS];
    size_t i = 0;
    for (size_t c = 0; c < BP_COL_CHAINS; ++c) acc[c] = v_zero();
    for (; i + BP_COL_CHAINS <= m; i += BP_COL_CHAINS)
        for (size_t c = 0; c < BP_COL_CHAINS; ++c)
            acc[c] = v_add(acc[c], v_load(a + (i + c) * BP_NR));
    for (size_t c = 0; i < m; ++c, ++i) acc[c] = v_add(acc[c], v_load(a + i * BP_NR));
    return fold_chains(acc);
}

static void col_sums(void *out_, const void *a_, size_t m)
{
    real *out = out_;
    const real *a = a_;
    for (size_t j = 0; j < BP_NR; j += BP_VL) v_store(out + j, column_sum(a + j, m));
}

static void col_squares(void *out_, const void *a_, size_t m)
{
    real *out = out_;
    const real *a = a_;
    for (size_t j = 0; j < BP_NR; j += BP_VL) {
        vec acc = v_load(out + j);
        for (size_t i = 0; i < m; ++i) {
            const vec x = v_load(a + i * BP_NR + j);
            acc = v_fma(x, x, acc);
        }
        v_store(out + j, acc);
    }
}

/* Columns whose norm exceeds the limit are scaled to it; the others keep their bits. */
static void col_limit(void *a_, const void *squares_, double limit, size_t m)
{
    real *a = a_;
    const real *squares = squares_;
    const vec most = v_set1((real)limit), one = v_set1((real)1);
    for (size_t j = 0; j < BP_NR; j += BP_VL) {
        const vec norm = v_sqrt(v_load(squares + j));
        const vec factor = v_select(v_lt(most, norm), v_div(most, norm), one);
        for (size_t i = 0; i < m; ++i)
            v_store(a + i * BP_NR + j, v_mul(v_load(a + i * BP_NR + j), factor));
    }
}

static size_t argmax(const void *x_, size_t n)
{
    const real *x = x_;
    size_t best = 0;
    for (size_t i = 1; i < n && x[best] == x[best]; ++i)
        if (!(x[i] <= x[best])) best = i;
    return best;
}

static void row_errors(const void *y_, const void *t_, size_t n, double *squared, double *absolute)
{
    const real *y = y_, *t = t_;
    vec sq[BP_LANE_VECS], ab[BP_LANE_VECS];
    for (size_t v = 0; v < BP_LANE_VECS; ++v) sq[v] = ab[v] = v_zero();
    for (size_t i = 0, v = 0; i < n; i += BP_VL, v = (v + 1) % BP_LANE_VECS) {
        const vec d = v_sub(load_part(y + i, n - i), load_part(t + i, n - i));
        sq[v] = plus_square(sq[v], d);
        ab[v] = plus_abs(ab[v], d);
    }
    *squared = (double)fold(sq);
    *absolute = (double)fold(ab);
}

/* How many of n outputs lie on the same side of their threshold as their targets of one half. */
static size_t matches(const void *y_, const void *t_, double threshold, size_t n)
{
    const real *y = y_, *t = t_, half = (real)0.5, limit = (real)threshold;
    size_t count = 0;
    for (size_t i = 0; i < n; ++i) count += (y[i] > limit) == (t[i] > half);
    return count;
}

/* total[j] += weight (y[j] - t[j])^2, in double: the residuals of each output. */
static void add_residuals(double *total, const void *y_, const void *t_, double weight, size_t n)
{
    const real *y = y_, *t = t_;
    for (size_t j = 0; j < n; ++j) {
        const double d = (double)y[j] - (double)t[j];
        total[j] += weight * (d * d);
    }
}

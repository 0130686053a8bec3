/* rownorm.tmpl.h - normalisation of rows over their columns (LayerNorm, RMSNorm), across panels.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * BP_VL rows are normalised together. Sums of each have the 16 virtual lanes of reduce.tmpl.h, first as
 * vectors along the row; then what is left, a vector a row, is transposed, so that folding, division
 * and root work on all rows at once. A last group of fewer rows repeats its last one.
 *
 *      panel 0    panel 1    ...        lanes 0 .. VL - 1 of      transposed, then added
 *      row 0  ->  row 0  ->  ...  =     row 0                     by halves: sums of rows
 *      row 1  ->  row 1  ->  ...  =     row 1                     0 1 2 .. VL - 1
 *
 * Parameters: the vocabulary, BP_NV, BP_NR, and reduce.tmpl.h.
 */

/* A span is a whole round of the 16 lanes, or a panel where that is wider; BP_TEAM rows of as many
 * accumulators as hide the latency of an addition advance together. */
enum {
    BP_SPAN = (int)BP_NR > (int)BP_LANES ? BP_NR : BP_LANES,
    BP_SPAN_VECS = BP_SPAN / BP_VL,
    BP_ACCUMULATORS = 8,
    BP_TEAM = BP_ACCUMULATORS > BP_LANE_VECS ? BP_ACCUMULATORS / BP_LANE_VECS : 1,
    BP_HALF_TEAM = BP_TEAM > 1 ? BP_TEAM / 2 : 1 /* with two sums a row */
};

/* What is known of each row of a group. */
typedef struct {
    real mean[BP_VL], factor[BP_VL];
} row_moments;

/* Lanes l of each row's vector and l + VL / 2, then VL / 4, ...: sums[r] from part[r][VL]. */
BP_INLINE vec fold_rows(const real part[BP_VL * BP_VL])
{
    real lane[BP_VL * BP_VL];
    vec acc[BP_VL];
    v_transpose(lane, BP_VL, part, BP_VL);
    for (size_t l = 0; l < BP_VL; ++l) acc[l] = v_load(lane + l * BP_VL);
    for (size_t half = BP_VL / 2; half > 0; half /= 2)
        for (size_t l = 0; l < half; ++l) acc[l] = v_add(acc[l], acc[l + half]);
    return acc[0];
}

/* The first steps of folding, which are between vectors. */
BP_INLINE vec fold_vectors(vec acc[BP_LANE_VECS])
{
    for (size_t half = BP_LANE_VECS / 2; half > 0; half /= 2)
        for (size_t v = 0; v < half; ++v) acc[v] = v_add(acc[v], acc[v + half]);
    return acc[0];
}

/* Elements i .. of a row from a span on: `at` is the row in the span's first panel. */
BP_INLINE size_t span_offset(size_t v, size_t stride)
{
    return v / BP_NV * stride + v % BP_NV * BP_VL;
}

/* Deviations where the row ends inside the vector: absent ones are zero. */
BP_INLINE vec deviation(const real *x, vec mean, size_t left)
{
    static const real index[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    _Static_assert(BP_VL <= 16, "index is too short");
    if (left >= BP_VL) return v_sub(v_load(x), mean);
    const vmask inside = v_lt(v_load(index), v_set1((real)left));
    return v_select(inside, v_sub(v_load_n(x, left), mean), v_zero());
}

BP_INLINE void add_span(vec acc[BP_TEAM][BP_LANE_VECS], const real *const at[BP_TEAM],
                        const vec mean[BP_TEAM], size_t stride, size_t left, bool squares)
{
    _Pragma("GCC unroll 16") for (size_t v = 0; v < BP_SPAN_VECS; ++v)
    {
        if (left <= v * BP_VL) break;
        for (size_t i = 0; i < BP_TEAM; ++i) {
            vec *const sum = &acc[i][v % BP_LANE_VECS];
            const vec d = deviation(at[i] + span_offset(v, stride), mean[i], left - v * BP_VL);
            *sum = squares ? plus_square(*sum, d) : plus(*sum, d);
        }
    }
}

/* Of each of `count` rows: its sum, or that of the squares of its deviations from mean[r]. */
BP_INLINE vec row_sums(const real *x, size_t stride, size_t count, size_t n, const real *mean,
                       bool squares)
{
    real part[BP_VL * BP_VL] = {0};
    for (size_t r = 0; r < count; r += BP_TEAM) {
        vec acc[BP_TEAM][BP_LANE_VECS], about[BP_TEAM];
        const real *at[BP_TEAM];
        for (size_t i = 0; i < BP_TEAM; ++i) {
            const size_t row = bp_min(r + i, count - 1);
            at[i] = x + row * BP_NR;
            about[i] = mean ? v_set1(mean[row]) : v_zero();
            for (size_t v = 0; v < BP_LANE_VECS; ++v) acc[i][v] = v_zero();
        }
        size_t left = n;
        for (; left >= BP_SPAN; left -= BP_SPAN) {
            add_span(acc, at, about, stride, BP_SPAN, squares);
            for (size_t i = 0; i < BP_TEAM; ++i) at[i] += BP_SPAN / BP_NR * stride;
        }
        if (left > 0) add_span(acc, at, about, stride, left, squares);
        for (size_t i = 0; i < BP_TEAM; ++i) v_store(part + (r + i) * BP_VL, fold_vectors(acc[i]));
    }
    return fold_rows(part);
}

BP_INLINE row_moments group_moments(const real *x, size_t stride, size_t count,
                                    const bp_row_norm *a, bool centred)
{
    const vec n = v_set1((real)a->n), epsilon = v_set1((real)a->epsilon);
    row_moments r;
    const vec mean = centred ? v_div(row_sums(x, stride, count, a->n, NULL, false), n) : v_zero();
    v_store(r.mean, mean);
    const vec variance = v_div(row_sums(x, stride, count, a->n, centred ? r.mean : NULL, true), n);
    v_store(r.factor, v_div(v_set1(1), v_sqrt(v_add(variance, epsilon))));
    return r;
}

BP_INLINE vec gamma_at(const bp_row_norm *a, size_t panel, size_t v)
{
    const real *gamma = a->gamma;
    return gamma ? v_load(gamma + panel * a->gamma_stride + v * BP_VL) : v_set1(1);
}

BP_INLINE void norm_group(real *y, const real *x, size_t y_stride, size_t x_stride,
                          const bp_row_norm *a, size_t count, bool centred)
{
    const row_moments r = group_moments(x, x_stride, count, a, centred);
    for (size_t p = 0; p * BP_NR < a->n; ++p, x += x_stride, y += y_stride) {
        vec g[BP_NV], b[BP_NV];
        for (size_t v = 0; v < BP_NV; ++v) {
            g[v] = gamma_at(a, p, v);
            b[v] = load_or_zero(a->beta, p * BP_NR + v * BP_VL);
        }
        for (size_t i = 0; i < count; ++i) {
            const vec mean = v_set1(r.mean[i]), factor = v_set1(r.factor[i]);
            for (size_t v = 0; v < BP_NV; ++v) {
                const vec d = v_sub(v_load(x + i * BP_NR + v * BP_VL), mean);
                v_store(y + i * BP_NR + v * BP_VL, v_fma(v_mul(d, factor), g[v], b[v]));
            }
        }
    }
}

static void norm_rows(void *y_, const void *x_, size_t y_stride, size_t x_stride,
                      const bp_row_norm *a, size_t m)
{
    real *y = y_;
    const real *x = x_;
    for (size_t i = 0; i < m; i += BP_VL, y += BP_VL * BP_NR, x += BP_VL * BP_NR) {
        const size_t count = bp_min(BP_VL, m - i);
        if (a->centred)
            norm_group(y, x, y_stride, x_stride, a, count, true);
        else
            norm_group(y, x, y_stride, x_stride, a, count, false);
    }
}

/* ---- backward: with g = dy gamma, t = (x - mean) factor
 *      dx = factor (g - mean of g - t mean of g t)        without centring: mean of g absent
 * A partial of columns goes on from group to group; rows ascend in one chain. ---- */

typedef struct {
    real level[BP_VL], slope[BP_VL]; /* of each row: mean of g, mean of g t */
} row_slopes;

/* The sums of g and of g (x - mean) of some rows, over one span. Absent elements of dy are 0. */
BP_INLINE void add_span_back(vec level[BP_HALF_TEAM][BP_LANE_VECS],
                             vec slope[BP_HALF_TEAM][BP_LANE_VECS],
                             const real *const dy[BP_HALF_TEAM], const real *const x[BP_HALF_TEAM],
                             const vec mean[BP_HALF_TEAM], const bp_row_norm *a, size_t panel,
                             size_t dy_stride, size_t x_stride, size_t left)
{
    _Pragma("GCC unroll 16") for (size_t v = 0; v < BP_SPAN_VECS; ++v)
    {
        if (left <= v * BP_VL) break;
        const vec gamma = gamma_at(a, panel + v / BP_NV, v % BP_NV);
        for (size_t i = 0; i < BP_HALF_TEAM; ++i) {
            const size_t lane = v % BP_LANE_VECS;
            const vec d = load_part(dy[i] + span_offset(v, dy_stride), left - v * BP_VL);
            const vec g = v_mul(d, gamma);
            const vec t = v_sub(v_load(x[i] + span_offset(v, x_stride)), mean[i]);
            level[i][lane] = v_add(level[i][lane], g);
            slope[i][lane] = v_fma(g, t, slope[i][lane]);
        }
    }
}

BP_INLINE row_slopes group_slopes(const real *dy, const real *x, size_t dy_stride, size_t x_stride,
                                  size_t count, const bp_row_norm *a, const row_moments *r,
                                  bool centred)
{
    real levels[BP_VL * BP_VL] = {0}, slopes[BP_VL * BP_VL] = {0};
    for (size_t first = 0; first < count; first += BP_HALF_TEAM) {
        vec level[BP_HALF_TEAM][BP_LANE_VECS], slope[BP_HALF_TEAM][BP_LANE_VECS];
        vec mean[BP_HALF_TEAM];
        const real *dy_at[BP_HALF_TEAM], *x_at[BP_HALF_TEAM];
        for (size_t i = 0; i < BP_HALF_TEAM; ++i) {
            const size_t row = bp_min(first + i, count - 1);
            dy_at[i] = dy + row * BP_NR;
            x_at[i] = x + row * BP_NR;
            mean[i] = v_set1(r->mean[row]);
            for (size_t v = 0; v < BP_LANE_VECS; ++v) level[i][v] = slope[i][v] = v_zero();
        }
        size_t left = a->n, panel = 0;
        for (; left >= BP_SPAN; left -= BP_SPAN, panel += BP_SPAN / BP_NR) {
            add_span_back(level, slope, dy_at, x_at, mean, a, panel, dy_stride, x_stride, BP_SPAN);
            for (size_t i = 0; i < BP_HALF_TEAM; ++i) {
                dy_at[i] += BP_SPAN / BP_NR * dy_stride;
                x_at[i] += BP_SPAN / BP_NR * x_stride;
            }
        }
        if (left > 0)
            add_span_back(level, slope, dy_at, x_at, mean, a, panel, dy_stride, x_stride, left);
        for (size_t i = 0; i < BP_HALF_TEAM; ++i) {
            v_store(levels + (first + i) * BP_VL, fold_vectors(level[i]));
            v_store(slopes + (first + i) * BP_VL, fold_vectors(slope[i]));
        }
    }
    row_slopes s;
    const vec n = v_set1((real)a->n);
    v_store(s.level, centred ? v_div(fold_rows(levels), n) : v_zero());
    v_store(s.slope, v_div(v_mul(fold_rows(slopes), v_load(r->factor)), n));
    return s;
}

/* Where the matrices of norm_rows_back stand, at the group's first row. */
typedef struct {
    real *dx, *partial; /* or NULL */
    const real *dy, *x;
    const bp_row_strides *stride;
} back_group;

BP_INLINE void norm_group_back(back_group at, const bp_row_norm *a, size_t count, bool first,
                               bool centred)
{
    const row_moments r = group_moments(at.x, at.stride->x, count, a, centred);
    row_slopes s;
    if (at.dx) s = group_slopes(at.dy, at.x, at.stride->dy, at.stride->x, count, a, &r, centred);
    for (size_t p = 0; p * BP_NR < a->n; ++p) {
        vec g[BP_NV], scale[BP_NV], shift[BP_NV];
        for (size_t v = 0; v < BP_NV; ++v) {
            const bool on = at.partial && !first;
            g[v] = gamma_at(a, p, v);
            scale[v] = on ? v_load(at.partial + v * BP_VL) : v_zero();
            shift[v] = on ? v_load(at.partial + BP_NR + v * BP_VL) : v_zero();
        }
        for (size_t i = 0; i < count; ++i) {
            const vec mean = v_set1(r.mean[i]), factor = v_set1(r.factor[i]);
            for (size_t v = 0; v < BP_NV; ++v) {
                const size_t e = i * BP_NR + v * BP_VL;
                const vec d = v_load(at.dy + e);
                const vec t = v_mul(v_sub(v_load(at.x + e), mean), factor);
                scale[v] = v_fma(d, t, scale[v]);
                shift[v] = v_add(shift[v], d);
                if (!at.dx) continue;
                const vec rest = v_sub(v_mul(d, g[v]), v_set1(s.level[i]));
                v_store(at.dx + e, v_mul(factor, v_fnma(t, v_set1(s.slope[i]), rest)));
            }
        }
        for (size_t v = 0; at.partial && v < BP_NV; ++v) {
            v_store(at.partial + v * BP_VL, scale[v]);
            v_store(at.partial + BP_NR + v * BP_VL, shift[v]);
        }
        at.dy += at.stride->dy;
        at.x += at.stride->x;
        if (at.dx) at.dx += at.stride->dx;
        if (at.partial) at.partial += at.stride->partial;
    }
}

static void norm_rows_back(void *dx_, void *partial, const void *dy_, const void *x_,
                           const bp_row_strides *stride, const bp_row_norm *a, size_t m)
{
    for (size_t i = 0; i < m; i += BP_VL) {
        const size_t count = bp_min(BP_VL, m - i);
        const back_group at = {dx_ ? (real *)dx_ + i * BP_NR : NULL, partial,
                               (const real *)dy_ + i * BP_NR, (const real *)x_ + i * BP_NR, stride};
        if (a->centred)
            norm_group_back(at, a, count, i == 0, true);
        else
            norm_group_back(at, a, count, i == 0, false);
    }
}

/* conv.tmpl.h - products over windows: the tiles of gemm.tmpl.h, whose left factor stands in an image.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Parameters: the vocabulary, BP_NV, BP_MR, and BP_HEIGHTS and BP_WIDTHS of gemm.tmpl.h.
 *
 * What a window sees of an image is runs of elements: a panel's channels at one tap, or a whole line
 * of taps where channels follow one another. They stand at the same places before every position of
 * a tile, so they are read where they are, and no matrix of windows is made:
 *
 *      position 0, 1, 2 of a tile, a_step apart           k: the runs' elements, in order
 *      |    |    |
 *      v    v    v
 *      ..[run 0 ]..[run 1 ]..[run 2 ]..                   line y
 *      ..[run 3 ]..[run 4 ]..[run 5 ]..                   line y + 1
 *
 * Chains ascend over the runs (conv_rows) or over positions (conv_block). Depthwise products have a
 * channel in each lane, where the others have it in turn.
 */
#if !defined(BP_HEIGHTS) || !defined(BP_WIDTHS)
#error "conv.tmpl.h comes after gemm.tmpl.h"
#endif
#define BP_UNROLL _Pragma("GCC unroll 32")

/* Rows are addressed from every third one: a base and one, two steps each, which the machine's
 * addresses hold. A pointer for each row would not fit the registers. */
enum { BP_BASES = (BP_MR + 2) / 3 };

BP_INLINE void run_bases(const real *base[BP_BASES], const real *a, size_t step, int mr)
{
    BP_UNROLL for (int i = 0; i < mr; i += 3) base[i / 3] = a + (size_t)i * step;
}

BP_INLINE void window_start(vec acc[BP_MR][BP_NV], const real *c, const real *bias, bp_start start,
                            bp_steps steps, int mr, int nv)
{
    BP_UNROLL for (int i = 0; i < mr; ++i)
    {
        BP_UNROLL for (int v = 0; v < nv; ++v)
        {
            acc[i][v] = start == BP_FROM_C
                            ? v_load(c + (size_t)i * steps.c_step + (size_t)v * steps.c_across)
                        : start == BP_FROM_BIAS ? v_load(bias + v * BP_VL)
                                                : v_zero();
        }
    }
}

BP_INLINE void window_end(real *c, vec acc[BP_MR][BP_NV], bool relu, bp_steps steps, int mr, int nv)
{
    BP_UNROLL for (int i = 0; i < mr; ++i)
    {
        BP_UNROLL for (int v = 0; v < nv; ++v)
        {
            const vec r = relu ? v_max(v_zero(), acc[i][v]) : acc[i][v]; /* NaN stays NaN */
            v_store(c + (size_t)i * steps.c_step + (size_t)v * steps.c_across, r);
        }
    }
}

typedef struct {
    const real *b, *bias;
    const bp_run *runs;
    size_t n_runs;
    const bp_steps *steps;
    bp_start start;
    bool relu;
} window_args;

BP_INLINE void window_tile(real *c, const real *a, const window_args *w, int mr, int nv)
{
    vec acc[BP_MR][BP_NV];
    const bp_steps steps = *w->steps;
    const size_t step = steps.a_step;
    const real *b = w->b;
    window_start(acc, c, w->bias, w->start, steps, mr, nv);
    for (size_t r = 0; r < w->n_runs; ++r) {
        const real *base[BP_BASES];
        run_bases(base, a + w->runs[r].at, step, mr);
        for (size_t p = 0; p < w->runs[r].depth; ++p, b += BP_NR) {
            vec bv[BP_NV];
            BP_UNROLL for (int v = 0; v < nv; ++v) bv[v] = v_load(b + v * BP_VL);
            BP_UNROLL for (int i = 0; i < mr; ++i)
            {
                const vec ai = v_set1(base[i / 3][(size_t)(i % 3) * step + p]);
                BP_UNROLL for (int v = 0; v < nv; ++v) acc[i][v] = v_fma(ai, bv[v], acc[i][v]);
            }
        }
    }
    window_end(c, acc, w->relu, steps, mr, nv);
}

/* The same with a channel in each lane: a run is one vector row of the panel. */
BP_INLINE void depth_tile(real *c, const real *a, const window_args *w, int mr, int nv)
{
    vec acc[BP_MR][BP_NV];
    const bp_steps steps = *w->steps;
    const size_t step = steps.a_step;
    const real *b = w->b;
    window_start(acc, c, w->bias, w->start, steps, mr, nv);
    for (size_t r = 0; r < w->n_runs; ++r, b += BP_NR) {
        const real *base[BP_BASES];
        run_bases(base, a + w->runs[r].at, step, mr);
        BP_UNROLL for (int v = 0; v < nv; ++v)
        {
            const vec bv = v_load(b + v * BP_VL);
            BP_UNROLL for (int i = 0; i < mr; ++i)
            {
                const real *x = base[i / 3] + (size_t)(i % 3) * step;
                acc[i][v] = v_fma(v_load(x + v * BP_VL), bv, acc[i][v]);
            }
        }
    }
    window_end(c, acc, w->relu, steps, mr, nv);
}

/* Gradients: c(i) for mr consecutive elements of a run. */
BP_INLINE void walk_tile(real *c, const real *a, const real *b, const bp_walk *walk, bp_start start,
                         int mr, int nv)
{
    vec acc[BP_MR][BP_NV];
    tile_start(acc, c, c, start, mr, nv);
    for (size_t s = 0; s < walk->samples; ++s) {
        for (size_t l = 0; l < walk->lines; ++l) {
            const real *x = a + s * walk->a_sample + l * walk->a_line;
            _Pragma("GCC unroll 4") for (size_t p = walk->places; p > 0; --p)
            {
                tile_fma(acc, x, 1, b, mr, nv);
                x += walk->a_step;
                b += BP_NR;
            }
        }
    }
    tile_end(c, acc, false, mr, nv);
}

typedef void window_fn(real *c, const real *a, const window_args *w);
typedef void walk_fn(real *c, const real *a, const real *b, const bp_walk *walk, bp_start start);

#define BP_TILE(mr, nv)                                                                      \
    static void window_##mr##x##nv(real *c, const real *a, const window_args *w)             \
    {                                                                                        \
        window_tile(c, a, w, mr, nv);                                                        \
    }                                                                                        \
    static void depth_##mr##x##nv(real *c, const real *a, const window_args *w)              \
    {                                                                                        \
        depth_tile(c, a, w, mr, nv);                                                         \
    }                                                                                        \
    static void walk_##mr##x##nv(real *c, const real *a, const real *b, const bp_walk *walk, \
                                 bp_start start)                                             \
    {                                                                                        \
        walk_tile(c, a, b, walk, start, mr, nv);                                             \
    }
#define BP_DEFINE(nv) BP_HEIGHTS(BP_TILE, nv)
BP_WIDTHS(BP_DEFINE)
#undef BP_DEFINE

#define BP_WINDOW_NAME(mr, nv) window_##mr##x##nv,
#define BP_DEPTH_NAME(mr, nv) depth_##mr##x##nv,
#define BP_WALK_NAME(mr, nv) walk_##mr##x##nv,
#define BP_WINDOW_LINE(nv) {BP_HEIGHTS(BP_WINDOW_NAME, nv)},
#define BP_DEPTH_LINE(nv) {BP_HEIGHTS(BP_DEPTH_NAME, nv)},
#define BP_WALK_LINE(nv) {BP_HEIGHTS(BP_WALK_NAME, nv)},
static window_fn *const window_tiles[BP_NV][BP_MR] = {BP_WIDTHS(BP_WINDOW_LINE)};
static window_fn *const depth_tiles[BP_NV][BP_MR] = {BP_WIDTHS(BP_DEPTH_LINE)};
static walk_fn *const walk_tiles[BP_NV][BP_MR] = {BP_WIDTHS(BP_WALK_LINE)};

/* The fewest tiles, as equal as they can be. */
BP_INLINE void cut_rows(window_fn *const *tiles, real *c, const real *a, const window_args *w,
                        size_t m)
{
    for (size_t left = bp_ceil_div(m, BP_MR); left > 0; --left) {
        const size_t height = bp_ceil_div(m, left);
        tiles[height - 1](c, a, w);
        c += height * w->steps->c_step;
        a += height * w->steps->a_step;
        m -= height;
    }
}

static void conv_rows(void *c, const void *a, const void *b, const void *bias, const bp_run *runs,
                      size_t n_runs, const bp_steps *steps, size_t m, size_t n, bp_start start,
                      bool relu)
{
    const window_args w = {b, bias, runs, n_runs, steps, start, relu};
    if (n > 0) cut_rows(window_tiles[bp_ceil_div(n, BP_VL) - 1], c, a, &w, m);
}

static void depth_rows(void *c, const void *a, const void *b, const void *bias, const bp_run *runs,
                       size_t n_runs, const bp_steps *steps, size_t m, size_t n, bp_start start,
                       bool relu)
{
    const window_args w = {b, bias, runs, n_runs, steps, start, relu};
    if (n > 0) cut_rows(depth_tiles[bp_ceil_div(n, BP_VL) - 1], c, a, &w, m);
}

static void conv_block(void *c_, const void *a_, const void *b, const bp_walk *walk, size_t rows,
                       size_t n, bp_start start)
{
    real *c = c_;
    const real *a = a_;
    if (n == 0) return;
    walk_fn *const *tiles = walk_tiles[bp_ceil_div(n, BP_VL) - 1];
    for (size_t left = bp_ceil_div(rows, BP_MR); left > 0; --left) {
        const size_t height = bp_ceil_div(rows, left);
        tiles[height - 1](c, a, b, walk, start);
        c += height * BP_NR;
        a += height;
        rows -= height;
    }
}

/* Taps are taken by fours, whose chains of one vector hide each other's latency. */
enum { BP_TAPS = 4 };

BP_INLINE void taps_tile(real *c, const real *a, const real *b, const bp_run *runs,
                         const bp_walk *walk, bp_start start, int taps)
{
    vec acc[BP_TAPS];
    BP_UNROLL for (int t = 0; t < taps; ++t) acc[t] =
        start == BP_FROM_C ? v_load(c + t * BP_NR) : v_zero();
    for (size_t s = 0; s < walk->samples; ++s) {
        for (size_t l = 0; l < walk->lines; ++l) {
            const real *x[BP_TAPS];
            BP_UNROLL for (int t = 0; t < taps; ++t) x[t] =
                a + runs[t].at + s * walk->a_sample + l * walk->a_line;
            for (size_t p = 0, at = 0; p < walk->places; ++p, at += walk->a_step, b += BP_NR) {
                const vec bv = v_load(b);
                BP_UNROLL for (int t = 0; t < taps; ++t) acc[t] =
                    v_fma(v_load(x[t] + at), bv, acc[t]);
            }
        }
    }
    BP_UNROLL for (int t = 0; t < taps; ++t) v_store(c + t * BP_NR, acc[t]);
}

static void depth_block(void *c_, const void *a, const void *b, const bp_run *runs, size_t n_runs,
                        const bp_walk *walk, size_t n, bp_start start)
{
    real *c = c_;
    for (; n_runs >= BP_TAPS; n_runs -= BP_TAPS, runs += BP_TAPS, c += BP_TAPS * BP_NR)
        for (size_t j = 0; j < n; j += BP_VL)
            taps_tile(c + j, (const real *)a + j, (const real *)b + j, runs, walk, start, BP_TAPS);
    for (; n_runs > 0; --n_runs, ++runs, c += BP_NR)
        for (size_t j = 0; j < n; j += BP_VL)
            taps_tile(c + j, (const real *)a + j, (const real *)b + j, runs, walk, start, 1);
}

/* Runs are copied by whole vectors: what spills past one is overwritten by the next, or by the next
 * row's first. */
static void pack_runs(void *dst_, const void *src_, const bp_run *runs, size_t n_runs,
                      const bp_walk *walk)
{
    real *dst = dst_;
    for (size_t l = 0; l < walk->lines; ++l) {
        for (size_t p = 0; p < walk->places; ++p, dst += BP_NR) {
            const real *src = (const real *)src_ + l * walk->a_line + p * walk->a_step;
            real *to = dst;
            for (size_t r = 0; r < n_runs; to += runs[r].depth, ++r)
                for (size_t e = 0; e < runs[r].depth; e += BP_VL)
                    v_store(to + e, v_load(src + runs[r].at + e));
        }
    }
}

/* Up to one vector of a row of panels, from column col on; lanes past n are zero. */
BP_INLINE vec columns_at(const real *src, size_t stride, size_t col, size_t step, size_t n)
{
    const real *x = src + col / BP_NR * stride + col % BP_NR;
    real lane[BP_VL];
    if (step == 1 && col % BP_NR + n <= BP_NR) return n == BP_VL ? v_load(x) : v_load_n(x, n);
    for (size_t l = 0; l < BP_VL; ++l, col += step)
        lane[l] = l < n ? src[col / BP_NR * stride + col % BP_NR] : 0;
    return v_load(lane);
}

static void take_columns(void *dst_, const void *src_, size_t rows, size_t first, size_t step,
                         size_t n, size_t dst_stride, size_t src_stride)
{
    real *dst = dst_;
    const real *src = src_;
    for (size_t j = 0; j < n; j += BP_VL) {
        real *to = dst + j / BP_NR * dst_stride + j % BP_NR;
        const size_t part = bp_min(BP_VL, n - j);
        for (size_t i = 0; i < rows; ++i)
            v_store(to + i * BP_NR,
                    columns_at(src + i * BP_NR, src_stride, first + j * step, step, part));
    }
}

static void put_columns(void *dst_, const void *src_, size_t rows, size_t first, size_t step,
                        size_t n, size_t dst_stride, size_t src_stride)
{
    real *dst = dst_;
    const real *src = src_;
    for (size_t j = 0, col = first; j < n; ++j, col += step) {
        real *to = dst + col / BP_NR * dst_stride + col % BP_NR;
        const real *from = src + j / BP_NR * src_stride + j % BP_NR;
        for (size_t i = 0; i < rows; ++i) to[i * BP_NR] = from[i * BP_NR];
    }
}

static void clear_rows(void *x_, size_t m, size_t n)
{
    real *x = x_;
    for (size_t j = 0; j < n; j += BP_VL) /* down the vectors: no call of memset for each row */
        for (size_t i = 0; i < m; ++i) v_store(x + i * BP_NR + j, v_zero());
}

static void relu_grad_rows(void *dz_, const void *dy_, const void *y_, size_t m, size_t n)
{
    real *dz = dz_;
    const real *dy = dy_, *y = y_;
    for (size_t i = 0; i < m; ++i)
        for (size_t j = i * BP_NR; j < i * BP_NR + n; j += BP_VL)
            v_store(dz + j, relu_slope(v_load(dy + j), v_load(y + j)));
}

#undef BP_TILE
#undef BP_WINDOW_NAME
#undef BP_DEPTH_NAME
#undef BP_WALK_NAME
#undef BP_WINDOW_LINE
#undef BP_DEPTH_LINE
#undef BP_WALK_LINE
#undef BP_HEIGHTS
#undef BP_WIDTHS
#undef BP_UNROLL

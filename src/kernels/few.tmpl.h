/* few.tmpl.h - products with row-major matrices, for batches too small to pay for packing.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Parameters: the vocabulary of simd_<isa>.h, BP_NV vectors a panel row. The chains are those of
 * gemm.tmpl.h.
 *
 * gemm_few: up to BP_FEW_ROWS rows of y are cut into groups of columns, which stay in registers while p
 * runs over k, so that w is read once for all of them:
 *
 *                  w[p]  [ v0 | v1 | ... ][ v0 | ...
 *      x(0,p)   y +=         one group        the next
 *      x(1,p)   y +=
 *
 * A matrix of one group is walked from top to bottom. In a wider one a block of BP_FEW_DEPTH rows of
 * w meets all groups before the next block: memory is then read in long runs, which the CPU's
 * prefetchers follow, and y, in L1, is loaded and stored once in eight rows. 784 x 512 floats in L3
 * of a Sapphire Rapids core, one row of x: 36 us with groups of one vector, 24 with groups from top
 * to bottom, 19 so.
 *
 * gemm_outer: the weight gradient of a few rows is written where it belongs, row after row.
 */
enum {
    BP_FEW_ROWS = BP_VL == 1 ? 2 : 6, /* rows of a group, at most */
    BP_GROUP_VECS = 8,                /* enough chains to hide the latency of an FMA */
    BP_FEW_DEPTH = BP_NR < 8 ? BP_NR : 8,
    BP_OUTER = 4 /* rows of a weight gradient at a time */
};
#define BP_UNROLL _Pragma("GCC unroll 8")

/* Vector v of a row of panels. */
BP_INLINE size_t vec_at(size_t stride, int v)
{
    return (size_t)(v / BP_NV) * stride + (size_t)(v % BP_NV * BP_VL);
}

/* One p: acc(i) += x[i * NR] * w. The last vector has `lanes` of BP_VL where it is partial. */
BP_INLINE void few_fma(vec acc[BP_FEW_ROWS][BP_GROUP_VECS], const real *x, const real *w,
                       size_t lanes, int mr, int nv, bool partial)
{
    vec xi[BP_FEW_ROWS];
    BP_UNROLL for (int i = 0; i < mr; ++i) xi[i] = v_set1(x[i * BP_NR]);
    BP_UNROLL for (int v = 0; v < nv; ++v)
    {
        const real *wv = w + v * BP_VL;
        const vec b = partial && v + 1 == nv ? v_load_n(wv, lanes) : v_load(wv);
        BP_UNROLL for (int i = 0; i < mr; ++i) acc[i][v] = v_fma(xi[i], b, acc[i][v]);
    }
}

BP_INLINE void few_tile(real *y, const real *x, const real *w, const real *bias, size_t k,
                        size_t ldw, size_t lanes, size_t y_stride, size_t x_stride, bp_start start,
                        int mr, int nv, bool partial)
{
    vec acc[BP_FEW_ROWS][BP_GROUP_VECS];
    BP_UNROLL for (int i = 0; i < mr; ++i)
    {
        BP_UNROLL for (int v = 0; v < nv; ++v)
        {
            acc[i][v] = start == BP_FROM_C       ? v_load(y + i * BP_NR + vec_at(y_stride, v))
                        : start == BP_FROM_ZERO  ? v_zero()
                        : partial && v + 1 == nv ? v_load_n(bias + v * BP_VL, lanes)
                                                 : v_load(bias + v * BP_VL);
        }
    }
    for (; k > BP_NR; k -= BP_NR, x += x_stride)
        for (size_t p = 0; p < BP_NR; ++p, w += ldw) few_fma(acc, x + p, w, lanes, mr, nv, partial);
    for (size_t p = 0; p < k; ++p, w += ldw) few_fma(acc, x + p, w, lanes, mr, nv, partial);
    BP_UNROLL for (int i = 0; i < mr; ++i)
    {
        BP_UNROLL for (int v = 0; v < nv; ++v)
            v_store(y + i * BP_NR + vec_at(y_stride, v), acc[i][v]);
    }
}

typedef void few_fn(real *y, const real *x, const real *w, const real *bias, size_t k, size_t ldw,
                    size_t lanes, size_t y_stride, size_t x_stride, bp_start start);

#define BP_FEW_TILE(kind, mr, nv)                                                                 \
    static void few_##kind##_##mr##x##nv(real *y, const real *x, const real *w, const real *bias, \
                                         size_t k, size_t ldw, size_t lanes, size_t y_stride,     \
                                         size_t x_stride, bp_start start)                         \
    {                                                                                             \
        few_tile(y, x, w, bias, k, ldw, lanes, y_stride, x_stride, start, mr, nv, BP_##kind);     \
    }
#define BP_full false
#define BP_part true

/* X(kind, rows, vectors): what the registers hold. One row has groups of every width, so that narrow
 * layers are one group; more rows have powers of two, which never straddle a panel otherwise. */
#define BP_ONE_ROW(X, kind) \
    X(kind, 1, 1)           \
    X(kind, 1, 2)           \
    X(kind, 1, 3) X(kind, 1, 4) X(kind, 1, 5) X(kind, 1, 6) X(kind, 1, 7) X(kind, 1, 8)
#define BP_TO_2(X, mr) X(part, mr, 1) X(full, mr, 1) X(full, mr, 2)
#define BP_TO_4(X, mr) BP_TO_2(X, mr) X(full, mr, 4)
#define BP_TO_8(X, mr) BP_TO_4(X, mr) X(full, mr, 8)
#if BP_VL == 1
#define BP_MORE_ROWS(X) BP_TO_4(X, 2)
#elif defined(__AVX512F__) || defined(__aarch64__)
#define BP_MORE_ROWS(X) BP_TO_8(X, 2) BP_TO_8(X, 3) BP_TO_4(X, 4) BP_TO_4(X, 5) BP_TO_4(X, 6)
#else
#define BP_MORE_ROWS(X) BP_TO_4(X, 2) BP_TO_4(X, 3) BP_TO_2(X, 4) BP_TO_2(X, 5) BP_TO_2(X, 6)
#endif
#define BP_FEW_TILES(X) BP_ONE_ROW(X, full) BP_ONE_ROW(X, part) BP_MORE_ROWS(X)
BP_FEW_TILES(BP_FEW_TILE)

#define BP_FEW_NAME(kind, mr, nv) [BP_##kind][mr][nv] = few_##kind##_##mr##x##nv,
static few_fn *const few_tiles[2][BP_FEW_ROWS + 1][BP_GROUP_VECS + 1] = {BP_FEW_TILES(BP_FEW_NAME)};

/* Up to BP_FEW_ROWS rows through `k` rows of w, a group of columns after the other. */
static void few_rows(real *y, const real *x, const real *w, const real *bias, size_t m, size_t k,
                     size_t n, size_t ldw, size_t y_stride, size_t x_stride, bp_start start)
{
    for (size_t j = 0, cols; j < n; j += cols) {
        size_t nv = bp_min(bp_ceil_div(n - j, BP_VL), BP_GROUP_VECS);
        bool partial = n - j < nv * BP_VL;
        while (!few_tiles[partial][m][nv]) {
            --nv;
            partial = false;
        }
        cols = bp_min(nv * BP_VL, n - j);
        few_tiles[partial][m][nv](y + j / BP_NR * y_stride + j % BP_NR, x, w + j,
                                  bias ? bias + j : NULL, k, ldw, cols % BP_VL, y_stride, x_stride,
                                  start);
    }
}

static void gemm_few(void *y_, const void *x_, const void *w_, const void *bias, size_t m, size_t k,
                     size_t n, size_t y_stride, size_t x_stride)
{
    const size_t block = n <= BP_GROUP_VECS * BP_VL ? k : BP_FEW_DEPTH;
    const real *x = x_, *w = w_;
    real *y = y_;
    for (size_t left = bp_ceil_div(m, BP_FEW_ROWS); left > 0; --left) {
        const size_t height = bp_ceil_div(m, left);
        bp_start start = bias ? BP_FROM_BIAS : BP_FROM_ZERO;
        size_t p = 0;
        do { /* once also when k is 0: y = bias */
            const size_t rows = bp_min(block, k - p);
            few_rows(y, x + p / BP_NR * x_stride + p % BP_NR, w + p * n, bias, height, rows, n, n,
                     y_stride, x_stride, start);
            start = BP_FROM_C;
            p += rows;
        } while (p < k);
        y += height * BP_NR;
        x += height * BP_NR;
        m -= height;
    }
}

/* g(mr rows, one panel of columns) += x(p, i) dz[p][NR], p ascending. */
BP_INLINE void outer_tile(real *g, const real *x, const real *dz, size_t m, size_t ldg, size_t n,
                          bp_start start, int mr, bool partial)
{
    vec acc[BP_OUTER][BP_NV];
    BP_UNROLL for (int i = 0; i < mr; ++i)
    {
        BP_UNROLL for (int v = 0; v < BP_NV; ++v)
        {
            const size_t at = (size_t)v * BP_VL;
            const real *from = g + (size_t)i * ldg + at;
            acc[i][v] = start == BP_FROM_ZERO         ? v_zero()
                        : !partial || at + BP_VL <= n ? v_load(from)
                        : at < n                      ? v_load_n(from, n - at)
                                                      : v_zero();
        }
    }
    for (size_t p = 0; p < m; ++p) {
        vec b[BP_NV];
        BP_UNROLL for (int v = 0; v < BP_NV; ++v) b[v] = v_load(dz + p * BP_NR + v * BP_VL);
        BP_UNROLL for (int i = 0; i < mr; ++i)
        {
            const vec xi = v_set1(x[p * BP_NR + (size_t)i]);
            BP_UNROLL for (int v = 0; v < BP_NV; ++v) acc[i][v] = v_fma(xi, b[v], acc[i][v]);
        }
    }
    BP_UNROLL for (int i = 0; i < mr; ++i)
    {
        BP_UNROLL for (int v = 0; v < BP_NV; ++v)
        {
            const size_t at = (size_t)v * BP_VL;
            real *to = g + (size_t)i * ldg + at;
            if (!partial || at + BP_VL <= n)
                v_store(to, acc[i][v]);
            else if (at < n)
                v_store_n(to, acc[i][v], n - at);
        }
    }
}

static void outer_panel(real *g, const real *x, const real *dz, size_t m, size_t ldg, size_t n,
                        bp_start start, size_t rows)
{
    if (n == BP_NR && rows == BP_OUTER)
        outer_tile(g, x, dz, m, ldg, n, start, BP_OUTER, false);
    else
        for (size_t i = 0; i < rows; ++i)
            outer_tile(g + i * ldg, x + i, dz, m, ldg, n, start, 1, true);
}

static void gemm_outer(void *g_, const void *x_, const void *dz_, size_t m, size_t rows, size_t n,
                       size_t stride, bp_start start)
{
    real *g = g_;
    const real *x = x_, *dz = dz_;
    for (size_t i = 0, height; i < rows; i += height) {
        height = bp_min(BP_OUTER, rows - i);
        for (size_t j = 0; j < n; j += BP_NR)
            outer_panel(g + i * n + j, x + i, dz + j / BP_NR * stride, m, n, bp_min(BP_NR, n - j),
                        start, height);
    }
}

/* A block at the edge of a matrix, by way of a whole one. */
static void transpose_edge(real *dst, const real *src, size_t rows, size_t cols, size_t lds)
{
    real from[BP_VL * BP_VL] = {0}, to[BP_VL * BP_VL];
    for (size_t i = 0; i < rows; ++i) memcpy(from + i * BP_VL, src + i * lds, cols * sizeof(real));
    v_transpose(to, BP_VL, from, BP_VL);
    for (size_t j = 0; j < cols; ++j) v_store(dst + j * BP_NR, v_load(to + j * BP_VL));
}

static void transpose(void *dst_, const void *src_, size_t rows, size_t cols, size_t lds)
{
    real *dst = dst_;
    const real *src = src_;
    for (size_t j = 0; j < cols; j += BP_VL) {
        for (size_t i = 0; i < rows; i += BP_VL) {
            real *to = dst + j * BP_NR + i;
            const real *from = src + i * lds + j;
            if (i + BP_VL <= rows && j + BP_VL <= cols)
                v_transpose(to, BP_NR, from, lds);
            else
                transpose_edge(to, from, bp_min(BP_VL, rows - i), bp_min(BP_VL, cols - j), lds);
        }
    }
}

#undef BP_UNROLL
#undef BP_FEW_TILE
#undef BP_full
#undef BP_part
#undef BP_ONE_ROW
#undef BP_TO_2
#undef BP_TO_4
#undef BP_TO_8
#undef BP_MORE_ROWS
#undef BP_FEW_TILES
#undef BP_FEW_NAME

/* gemm.tmpl.h - matrix products on panels: every output element one ascending chain of FMAs.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Parameters: the vocabulary of simd_<isa>.h, BP_NV vectors a panel row, BP_MR rows a tile.
 *
 * A tile of up to BP_MR x BP_NV vectors of c stays in registers while p runs over k:
 *
 *                    b[p] (BP_NV vectors)
 *      a(0,p)   [ c00  c01 ]     for each p: load b[p]; for each row i broadcast a(i,p);
 *      a(1,p)   [ c10  c11 ]                 c(i) = fma(a(i,p), b[p], c(i))
 *      ...         ...
 *
 * a(i, p) stands at a[i * NR + p] inside one panel when rows are samples (gemm_rows), and at
 * a[p * NR + i] when columns are (gemm_block, the weight gradient): both read panels in place.
 * Tiles are instantiated for every height and width by constant propagation; each loop over the
 * accumulators must unroll, or they live in memory and the tile runs at a third of its speed.
 */
#define BP_UNROLL _Pragma("GCC unroll 32")

BP_INLINE void tile_start(vec acc[BP_MR][BP_NV], const real *c, const real *bias, bp_start start,
                          int mr, int nv)
{
    BP_UNROLL for (int i = 0; i < mr; ++i)
    {
        BP_UNROLL for (int v = 0; v < nv; ++v)
        {
            acc[i][v] = start == BP_FROM_C      ? v_load(c + i * BP_NR + v * BP_VL)
                        : start == BP_FROM_BIAS ? v_load(bias + v * BP_VL)
                                                : v_zero();
        }
    }
}

/* One p: acc(i) += a[i * step] * b. */
BP_INLINE void tile_fma(vec acc[BP_MR][BP_NV], const real *a, size_t step, const real *b, int mr,
                        int nv)
{
    vec bv[BP_NV];
    BP_UNROLL for (int v = 0; v < nv; ++v) bv[v] = v_load(b + v * BP_VL);
    BP_UNROLL for (int i = 0; i < mr; ++i)
    {
        const vec ai = v_set1(a[(size_t)i * step]);
        BP_UNROLL for (int v = 0; v < nv; ++v) acc[i][v] = v_fma(ai, bv[v], acc[i][v]);
    }
}

BP_INLINE void tile_end(real *c, vec acc[BP_MR][BP_NV], bool relu, int mr, int nv)
{
    BP_UNROLL for (int i = 0; i < mr; ++i)
    {
        BP_UNROLL for (int v = 0; v < nv; ++v)
        {
            const vec r = relu ? v_max(v_zero(), acc[i][v]) : acc[i][v]; /* NaN stays NaN */
            v_store(c + i * BP_NR + v * BP_VL, r);
        }
    }
}

/* What is touched after a product comes to the caches while it runs: some lines after each group of p,
 * as many as the core can have under way. */
enum { BP_GROUP = 4, BP_SOON_LINES = (BP_VL * sizeof(real) + 15) / 16 };
typedef struct {
    const bp_ahead *list; /* ends with no bytes */
    const char *at, *end; /* in its first */
} bp_soon;

BP_INLINE bool soon_start(bp_soon *soon, const bp_ahead *list)
{
    *soon = (bp_soon){list, list->at, (const char *)list->at + list->bytes};
    return list->bytes > 0;
}

/* Not __builtin_prefetch, which asks to write only where the compiler targets a CPU that can. Others
 * take it for a no-op. */
BP_INLINE void prefetch_write(const char *line)
{
#if defined(__x86_64__)
    __asm__ volatile("prefetchw %0" : : "m"(*line));
#else
    __builtin_prefetch(line, 1, 2);
#endif
}

BP_INLINE void soon_round(bp_soon *soon)
{
    BP_UNROLL for (size_t l = 0; l < BP_SOON_LINES; ++l)
    {
        const char *line = soon->at + l * BP_ALIGN;
        if (soon->list->write)
            prefetch_write(line);
        else
            __builtin_prefetch(line, 0, 2);
    }
    soon->at += BP_SOON_LINES * BP_ALIGN;
    if (soon->at >= soon->end && soon->list->bytes > 0) soon_start(soon, soon->list + 1);
}

BP_INLINE void rows_tile(real *c, const real *a, const real *b, const real *bias, size_t k,
                         size_t a_stride, bp_start start, bool relu, bp_soon *soon, int mr, int nv)
{
    vec acc[BP_MR][BP_NV];
    tile_start(acc, c, bias, start, mr, nv);
    if (2 * mr > BP_MR && nv == BP_NV && soon) {
        for (; k >= BP_NR && soon->list->bytes > 0; k -= BP_NR) {
            for (size_t p = 0; p < BP_NR; p += BP_GROUP) {
                BP_UNROLL for (size_t q = 0; q < BP_GROUP; ++q)
                    tile_fma(acc, a + p + q, BP_NR, b + (p + q) * BP_NR, mr, nv);
                soon_round(soon);
            }
            a += a_stride;
            b += BP_NR * BP_NR;
        }
    }
    for (; k >= BP_NR; k -= BP_NR, a += a_stride, b += BP_NR * BP_NR) {
        _Pragma("GCC unroll 4") for (size_t p = 0; p < BP_NR; ++p)
            tile_fma(acc, a + p, BP_NR, b + p * BP_NR, mr, nv);
    }
    for (size_t p = 0; p < k; ++p) tile_fma(acc, a + p, BP_NR, b + p * BP_NR, mr, nv);
    tile_end(c, acc, relu, mr, nv);
}

/* A whole block of c is cut into tiles of these two heights. */
enum {
    BP_BLOCK_TILES = (BP_NR + BP_MR - 1) / BP_MR,
    BP_HIGH = (BP_NR + BP_BLOCK_TILES - 1) / BP_BLOCK_TILES,
    BP_LOW = BP_NR / BP_BLOCK_TILES
};

BP_INLINE void block_tile(real *c, const real *a, const real *b, size_t m, bp_start start,
                          bp_soon *soon, int mr, int nv)
{
    vec acc[BP_MR][BP_NV];
    size_t p = 0;
    tile_start(acc, c, c, start, mr, nv);
    if (nv == BP_NV && (mr == BP_HIGH || mr == BP_LOW) && soon) {
        for (; p + BP_GROUP <= m && soon->list->bytes > 0; p += BP_GROUP) {
            BP_UNROLL for (size_t q = 0; q < BP_GROUP; ++q)
                tile_fma(acc, a + (p + q) * BP_NR, 1, b + (p + q) * BP_NR, mr, nv);
            soon_round(soon);
        }
    }
    _Pragma("GCC unroll 4") for (; p < m; ++p)
        tile_fma(acc, a + p * BP_NR, 1, b + p * BP_NR, mr, nv);
    tile_end(c, acc, false, mr, nv);
}

typedef void rows_fn(real *c, const real *a, const real *b, const real *bias, size_t k,
                     size_t a_stride, bp_start start, bool relu, bp_soon *soon);
typedef void block_fn(real *c, const real *a, const real *b, size_t m, bp_start start,
                      bp_soon *soon);

#define BP_TILE(mr, nv)                                                                            \
    static void rows_##mr##x##nv(real *c, const real *a, const real *b, const real *bias,          \
                                 size_t k, size_t a_stride, bp_start start, bool relu,             \
                                 bp_soon *soon)                                                    \
    {                                                                                              \
        rows_tile(c, a, b, bias, k, a_stride, start, relu, soon, mr, nv);                          \
    }                                                                                              \
    static void block_##mr##x##nv(real *c, const real *a, const real *b, size_t m, bp_start start, \
                                  bp_soon *soon)                                                   \
    {                                                                                              \
        block_tile(c, a, b, m, start, soon, mr, nv);                                               \
    }

#if BP_VL == 1
#define BP_HEIGHTS(X, nv) X(1, nv) X(2, nv)
#elif defined(__AVX512F__)
#define BP_HEIGHTS(X, nv) \
    X(1, nv)              \
    X(2, nv)              \
    X(3, nv) X(4, nv) X(5, nv) X(6, nv) X(7, nv) X(8, nv) X(9, nv) X(10, nv) X(11, nv) X(12, nv)
#elif defined(__aarch64__)
#define BP_HEIGHTS(X, nv) X(1, nv) X(2, nv) X(3, nv) X(4, nv) X(5, nv) X(6, nv) X(7, nv) X(8, nv)
#else
#define BP_HEIGHTS(X, nv) X(1, nv) X(2, nv) X(3, nv) X(4, nv) X(5, nv) X(6, nv)
#endif
#if BP_VL == 1
#define BP_WIDTHS(X) X(1) X(2) X(3) X(4)
#else
#define BP_WIDTHS(X) X(1) X(2)
#endif

#define BP_DEFINE(nv) BP_HEIGHTS(BP_TILE, nv)
BP_WIDTHS(BP_DEFINE)
#undef BP_DEFINE

#define BP_ROWS_NAME(mr, nv) rows_##mr##x##nv,
#define BP_BLOCK_NAME(mr, nv) block_##mr##x##nv,
#define BP_ROWS_LINE(nv) {BP_HEIGHTS(BP_ROWS_NAME, nv)},
#define BP_BLOCK_LINE(nv) {BP_HEIGHTS(BP_BLOCK_NAME, nv)},
static rows_fn *const rows_tiles[BP_NV][BP_MR] = {BP_WIDTHS(BP_ROWS_LINE)};
static block_fn *const block_tiles[BP_NV][BP_MR] = {BP_WIDTHS(BP_BLOCK_LINE)};

/* A layer of few outputs fills its vectors with rows instead of columns: a is transposed in L1, some
 * groups of BP_VL rows at a time, each of which has a chain under way. Transposing costs as much as half
 * the lanes; one group alone waits for its chain, and pays for fewer outputs. */
enum { BP_TURN_GROUPS = 4, BP_TURN_ROWS = BP_TURN_GROUPS * BP_VL };

BP_INLINE void turned_rows(real *c, const real *a, const real *b, const real *bias, size_t k,
                           size_t n, size_t a_stride, bp_start start, bool relu, int groups)
{
    _Alignas(BP_ALIGN) real at[BP_NR * BP_TURN_ROWS], ct[BP_VL * BP_TURN_ROWS];
    for (int g = 0; g < groups; ++g) {
        if (start == BP_FROM_C)
            v_transpose(ct + g * BP_VL, BP_TURN_ROWS, c + g * BP_VL * BP_NR, BP_NR);
        for (size_t j = 0; start != BP_FROM_C && j < BP_VL; ++j)
            v_store(ct + j * BP_TURN_ROWS + g * BP_VL,
                    start == BP_FROM_BIAS && j < n ? v_set1(bias[j]) : v_zero());
    }
    for (size_t p0 = 0; p0 < k; p0 += BP_NR, a += a_stride, b += BP_NR * BP_NR) {
        const size_t depth = bp_min(BP_NR, k - p0);
        for (size_t p = 0; p < depth; p += BP_VL) {
            for (int g = 0; g < groups; ++g)
                v_transpose(at + p * BP_TURN_ROWS + g * BP_VL, BP_TURN_ROWS,
                            a + g * BP_VL * BP_NR + p, BP_NR);
        }
        for (size_t j = 0; j < n; ++j) {
            vec acc[BP_TURN_GROUPS];
            real *cj = ct + j * BP_TURN_ROWS;
            BP_UNROLL for (int g = 0; g < groups; ++g) acc[g] = v_load(cj + g * BP_VL);
            for (size_t p = 0; p < depth; ++p) {
                const vec w = v_set1(b[p * BP_NR + j]);
                BP_UNROLL for (int g = 0; g < groups; ++g) acc[g] =
                    v_fma(v_load(at + p * BP_TURN_ROWS + g * BP_VL), w, acc[g]);
            }
            BP_UNROLL for (int g = 0; g < groups; ++g)
                v_store(cj + g * BP_VL, relu && p0 + BP_NR >= k ? v_max(v_zero(), acc[g]) : acc[g]);
        }
    }
    for (int g = 0; g < groups; ++g)
        v_transpose(c + g * BP_VL * BP_NR, BP_NR, ct + g * BP_VL, BP_TURN_ROWS);
}

/* As many rows as fill groups, where that pays; returns how many. */
static size_t gemm_rows_turned(real *c, const real *a, const real *b, const real *bias, size_t m,
                               size_t k, size_t n, size_t a_stride, bp_start start, bool relu)
{
    size_t done = 0;
#define BP_TURN(groups)                                                                       \
    for (; done + (groups) * BP_VL <= m; done += (groups) * BP_VL)                            \
        turned_rows(c + done * BP_NR, a + done * BP_NR, b, bias, k, n, a_stride, start, relu, \
                    groups);
    BP_TURN(BP_TURN_GROUPS)
    BP_TURN(2)
    if (4 * n < BP_VL && k >= 2 * BP_VL) BP_TURN(1)
#undef BP_TURN
    return done;
}

/* m rows are cut into the fewest tiles, as equal as they can be: 8 rows are 4 + 4, not 6 + 2. */
static void gemm_rows(void *c_, const void *a_, const void *b, const void *bias, size_t m, size_t k,
                      size_t n, size_t a_stride, bp_start start, bool relu, const bp_ahead *ahead)
{
    real *c = c_;
    const real *a = a_;
    if (n == 0) return;
    if (2 * n < BP_VL && k >= BP_VL) {
        const size_t turned = gemm_rows_turned(c, a, b, bias, m, k, n, a_stride, start, relu);
        c += turned * BP_NR;
        a += turned * BP_NR;
        m -= turned;
    }
    bp_soon soon;
    const bool waits = ahead && soon_start(&soon, ahead);
    rows_fn *const *tiles = rows_tiles[bp_ceil_div(n, BP_VL) - 1];
    for (size_t left = bp_ceil_div(m, BP_MR); left > 0; --left) {
        const size_t height = bp_ceil_div(m, left);
        tiles[height - 1](c, a, b, bias, k, a_stride, start, relu, waits ? &soon : NULL);
        c += height * BP_NR;
        a += height * BP_NR;
        m -= height;
    }
}

static void block_of_tiles(real *c, const real *a, const real *b, size_t m, size_t rows, size_t n,
                           bp_start start, const bp_ahead *ahead)
{
    bp_soon soon;
    const bool waits = ahead && soon_start(&soon, ahead);
    block_fn *const *tiles = block_tiles[bp_ceil_div(n, BP_VL) - 1];
    for (size_t left = bp_ceil_div(rows, BP_MR); left > 0; --left) {
        const size_t height = bp_ceil_div(rows, left);
        tiles[height - 1](c, a, b, m, start, waits ? &soon : NULL);
        c += height * BP_NR;
        a += height;
        rows -= height;
    }
}

static void transpose_block(void *dst_, const void *src_, size_t rows, size_t cols)
{
    real *dst = dst_;
    const real *src = src_;
    for (size_t i = 0; i < rows; i += BP_VL) {
        for (size_t j = 0; j < cols; j += BP_VL)
            v_transpose(dst + j * BP_NR + i, BP_NR, src + i * BP_NR + j, BP_NR);
    }
}

/* A narrow block, of a layer of few outputs, fills its vectors the other way round. */
enum { BP_TURN_COST = 256 }; /* of transposing, in vector multiply-adds */

BP_INLINE bool block_turns(size_t m, size_t rows, size_t n)
{
    const size_t as_is = rows * bp_ceil_div(n, BP_VL), turned = n * bp_ceil_div(rows, BP_VL);
    return rows % BP_VL == 0 && turned < as_is && (as_is - turned) * m >= BP_TURN_COST;
}

static void gemm_block(void *c, const void *a, const void *b, size_t m, size_t rows, size_t n,
                       bp_start start, const bp_ahead *ahead)
{
    if (n == 0 || rows == 0) return;
    if (!block_turns(m, rows, n)) {
        block_of_tiles(c, a, b, m, rows, n, start, ahead);
        return;
    }
    _Alignas(BP_ALIGN) real turned[BP_NR * BP_NR];
    if (start == BP_FROM_C)
        transpose_block(turned, c, rows, n);
    else /* what is transposed beside the n rows */
        memset(turned + n * BP_NR, 0, (bp_round_up(n, BP_VL) - n) * BP_NR * sizeof(real));
    block_of_tiles(turned, b, a, m, n, rows, start, ahead);
    transpose_block(c, turned, n, rows);
}

BP_INLINE void copy_row(real *to, const real *from)
{
    for (size_t v = 0; v < BP_NV; ++v) v_store(to + v * BP_VL, v_load(from + v * BP_VL));
}

BP_INLINE void pack_rows(real *dst, const real *src, size_t rows, size_t cols, size_t lds,
                         size_t stride)
{
    for (; cols >= BP_NR; cols -= BP_NR, src += BP_NR, dst += stride)
        for (size_t i = 0; i < rows; ++i) copy_row(dst + i * BP_NR, src + i * lds);
    for (size_t i = 0; cols > 0 && i < rows; ++i) {
        memcpy(dst + i * BP_NR, src + i * lds, cols * sizeof(real));
        memset(dst + i * BP_NR + cols, 0, (BP_NR - cols) * sizeof(real));
    }
}

BP_INLINE void unpack_rows(real *dst, const real *src, size_t rows, size_t cols, size_t ldd,
                           size_t stride)
{
    for (; cols >= BP_NR; cols -= BP_NR, dst += BP_NR, src += stride)
        for (size_t i = 0; i < rows; ++i) copy_row(dst + i * ldd, src + i * BP_NR);
    for (size_t i = 0; cols > 0 && i < rows; ++i)
        memcpy(dst + i * ldd, src + i * BP_NR, cols * sizeof(real));
}

/* Some rows through all panels before the next ones: down a whole panel at once, every row would be
 * another page (2048 x 2048 floats: 13 ms, and 3.3 in blocks). */
enum { BP_PACK_ROWS = 32 };

/* Row-major [rows][cols] into panels; the padding lanes of the last panel become zero. */
static void pack(void *dst_, const void *src_, size_t rows, size_t cols, size_t lds, size_t stride)
{
    real *dst = dst_;
    const real *src = src_;
    for (size_t i = 0; i < rows; i += BP_PACK_ROWS)
        pack_rows(dst + i * BP_NR, src + i * lds, bp_min(BP_PACK_ROWS, rows - i), cols, lds,
                  stride);
}

static void unpack(void *dst_, const void *src_, size_t rows, size_t cols, size_t ldd,
                   size_t stride)
{
    real *dst = dst_;
    const real *src = src_;
    for (size_t i = 0; i < rows; i += BP_PACK_ROWS)
        unpack_rows(dst + i * ldd, src + i * BP_NR, bp_min(BP_PACK_ROWS, rows - i), cols, ldd,
                    stride);
}

#undef BP_TILE
#undef BP_ROWS_NAME
#undef BP_BLOCK_NAME
#undef BP_ROWS_LINE
#undef BP_BLOCK_LINE
#undef BP_UNROLL

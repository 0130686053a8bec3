/* gemv.tmpl.h - one row times a row-major matrix: the chains of gemm.tmpl.h without packing.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Parameters: the vocabulary of simd_<isa>.h.
 *
 * y is cut into groups of up to BP_GEMV_VECS vectors, which stay in registers while p runs over k:
 *
 *                  w[p]  [ v0 | v1 | ... | v7 ][ v0 | ...
 *      x[p]   y +=         one group            the next
 *
 * Eight chains hide most of an FMA's latency. A matrix of one group is walked from top to bottom.
 * In a wider one a block of BP_GEMV_ROWS rows meets all groups before the next block: memory is then
 * read in long runs, which the CPU's prefetchers follow, and y, in L1, is loaded and stored once in
 * eight rows. 784 x 512 floats in L3 of a Sapphire Rapids core: 36 us with groups of one vector,
 * 24 with groups from top to bottom, 19 so.
 */
enum { BP_GEMV_VECS = 8, BP_GEMV_ROWS = 8 };
#define BP_UNROLL _Pragma("GCC unroll 8")

/* Vector v of nv; the last one has `lanes` of BP_VL where it is partial. */
BP_INLINE vec group_load(const real *p, int v, int nv, bool partial, size_t lanes)
{
    return partial && v + 1 == nv ? v_load_n(p + v * BP_VL, lanes) : v_load(p + v * BP_VL);
}

BP_INLINE void group_store(real *p, vec a, int v, int nv, bool partial, size_t lanes)
{
    if (partial && v + 1 == nv)
        v_store_n(p + v * BP_VL, a, lanes);
    else
        v_store(p + v * BP_VL, a);
}

/* y = from (zero when NULL) + x[k] w[k][ldw]; from may be y. */
BP_INLINE void gemv_group(real *y, const real *from, const real *x, const real *w, size_t k,
                          size_t ldw, size_t lanes, int nv, bool partial)
{
    vec acc[BP_GEMV_VECS];
    BP_UNROLL for (int v = 0; v < nv; ++v) acc[v] =
        from ? group_load(from, v, nv, partial, lanes) : v_zero();
    for (size_t p = 0; p < k; ++p, w += ldw) {
        const vec xp = v_set1(x[p]);
        BP_UNROLL for (int v = 0; v < nv; ++v) acc[v] =
            v_fma(xp, group_load(w, v, nv, partial, lanes), acc[v]);
    }
    BP_UNROLL for (int v = 0; v < nv; ++v) group_store(y, acc[v], v, nv, partial, lanes);
}

typedef void gemv_fn(real *y, const real *from, const real *x, const real *w, size_t k, size_t ldw,
                     size_t lanes);

#define BP_GROUP(nv)                                                                              \
    static void gemv_full_##nv(real *y, const real *from, const real *x, const real *w, size_t k, \
                               size_t ldw, size_t lanes)                                          \
    {                                                                                             \
        gemv_group(y, from, x, w, k, ldw, lanes, nv, false);                                      \
    }                                                                                             \
    static void gemv_part_##nv(real *y, const real *from, const real *x, const real *w, size_t k, \
                               size_t ldw, size_t lanes)                                          \
    {                                                                                             \
        gemv_group(y, from, x, w, k, ldw, lanes, nv, true);                                       \
    }
#define BP_GROUPS(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8)
BP_GROUPS(BP_GROUP)
#define BP_FULL(nv) gemv_full_##nv,
#define BP_PART(nv) gemv_part_##nv,
static gemv_fn *const gemv_groups[2][BP_GEMV_VECS] = {{BP_GROUPS(BP_FULL)}, {BP_GROUPS(BP_PART)}};

static void gemv(void *y_, const void *x_, const void *w_, const void *bias, size_t k, size_t n)
{
    const size_t width = BP_GEMV_VECS * BP_VL, block = n <= width ? k : BP_GEMV_ROWS;
    const real *x = x_, *w = w_, *from = bias;
    real *y = y_;
    size_t p = 0;
    do { /* once also when k is 0: y = bias */
        const size_t rows = bp_min(block, k - p);
        for (size_t j = 0; j < n; j += width) {
            const size_t cols = bp_min(width, n - j), lanes = cols % BP_VL;
            gemv_groups[lanes > 0][bp_ceil_div(cols, BP_VL) - 1](
                y + j, from ? from + j : NULL, x + p, w + p * n + j, rows, n, lanes);
        }
        from = y;
        p += rows;
    } while (p < k);
}

#undef BP_UNROLL
#undef BP_GROUP
#undef BP_GROUPS
#undef BP_FULL
#undef BP_PART

/* sparse.tmpl.h - products whose left factor is the gradient of a max pooling: mostly zeros.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Each position lists its columns that are not zero, ascending. What the other factor has there are a
 * few whole vectors, which stay in registers through the list of a position:
 *
 *      list_entries     lines of positions from a line of windows
 *      sparse_rows      c[position] += value * w[column]     c in registers
 *      sparse_block     g[column] += value * x[position]     x in registers
 *
 * Zeros are no terms of the sums. The chains ascend over positions, and columns inside them.
 */
#define BP_UNROLL _Pragma("GCC unroll 32")

static void list_entries(const bp_sparse *list, const void *dy_, const uint8_t *from,
                         const bp_pool *p, size_t line, size_t first, size_t n)
{
    const real *dy = dy_;
    real *values = list->values;
    size_t place[BP_POOL_NONE + 1]; /* of the winner in the band; a place past it for none */
    for (size_t l = 0, i = 0; l < p->window_y; ++l)
        for (size_t e = 0; e < p->window_x; ++e) place[i++] = l * p->width + e;
    for (size_t e = 0; e < p->out_width; ++e, dy += BP_NR, from += BP_NR) {
        const size_t x = pool_at(p, line, e).x;
        place[BP_POOL_NONE] = p->window_y * p->width - x;
        for (size_t o = 0; o < n; ++o) {
            uint32_t *count = list->counts + x + place[from[o]];
            const size_t at = (size_t)(count - list->counts) * list->room + *count;
            list->columns[at] = (uint32_t)(first + o);
            values[at] = dy[o];
            *count += dy[o] != 0 && from[o] != BP_POOL_NONE;
        }
    }
}

enum { BP_SPARSE_VECS = 12 }; /* accumulators, beside a value and a vector of w, of 16 registers */

/* The entries of some places in turn. */
typedef struct {
    const uint32_t *counts, *columns;
    const real *values;
    size_t places, room;
} sparse_line;

BP_INLINE void rows_of_vectors(real *c, const real *w, const uint32_t *columns, const real *values,
                               size_t count, const size_t *at, size_t row, int n)
{
    vec acc[BP_SPARSE_VECS];
    BP_UNROLL for (int i = 0; i < n; ++i) acc[i] = v_load(c + at[i]);
    for (size_t e = 0; e < count; ++e) {
        const real *b = w + columns[e] * row;
        const vec value = v_set1(values[e]);
        BP_UNROLL for (int i = 0; i < n; ++i) acc[i] = v_fma(value, v_load(b + i * BP_VL), acc[i]);
    }
    BP_UNROLL for (int i = 0; i < n; ++i) v_store(c + at[i], acc[i]);
}

BP_INLINE void block_of_vectors(real *g, const real *x, sparse_line s, const size_t *at,
                                size_t step, size_t row, int n)
{
    for (size_t p = 0; p < s.places; ++p, x += step, s.columns += s.room, s.values += s.room) {
        vec seen[BP_SPARSE_VECS];
        if (s.counts[p] == 0) continue;
        BP_UNROLL for (int i = 0; i < n; ++i) seen[i] = v_load(x + at[i]);
        for (size_t e = 0; e < s.counts[p]; ++e) {
            real *to = g + s.columns[e] * row;
            const vec value = v_set1(s.values[e]);
            BP_UNROLL for (int i = 0; i < n; ++i)
                v_store(to + i * BP_VL, v_fma(value, seen[i], v_load(to + i * BP_VL)));
        }
    }
}

typedef void sparse_rows_fn(real *c, const real *w, const uint32_t *columns, const real *values,
                            size_t count, const size_t *at, size_t row);
typedef void sparse_block_fn(real *g, const real *x, sparse_line s, const size_t *at, size_t step,
                             size_t row);

#define BP_VECTORS(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12)
#define BP_SPARSE(n)                                                                            \
    static void sparse_rows_##n(real *c, const real *w, const uint32_t *columns,                \
                                const real *values, size_t count, const size_t *at, size_t row) \
    {                                                                                           \
        rows_of_vectors(c, w, columns, values, count, at, row, n);                              \
    }                                                                                           \
    static void sparse_block_##n(real *g, const real *x, sparse_line s, const size_t *at,       \
                                 size_t step, size_t row)                                       \
    {                                                                                           \
        block_of_vectors(g, x, s, at, step, row, n);                                            \
    }
BP_VECTORS(BP_SPARSE)
#define BP_ROWS_NAME(n) sparse_rows_##n,
#define BP_BLOCK_NAME(n) sparse_block_##n,
static sparse_rows_fn *const sparse_rows_of[BP_SPARSE_VECS] = {BP_VECTORS(BP_ROWS_NAME)};
static sparse_block_fn *const sparse_block_of[BP_SPARSE_VECS] = {BP_VECTORS(BP_BLOCK_NAME)};

BP_INLINE sparse_line line_of(const bp_sparse *list, size_t place, size_t places)
{
    return (sparse_line){list->counts + place, list->columns + place * list->room,
                         (const real *)list->values + place * list->room, places, list->room};
}

/* Vectors are cut into the fewest groups, as equal as they can be: at each position in turn, since
 * those of its neighbours overlap. */
static void sparse_rows(void *c_, const void *w_, const bp_sparse *list, size_t place,
                        size_t places, const size_t *at, size_t n, size_t step)
{
    const sparse_line s = line_of(list, place, places);
    real *c = c_;
    for (size_t p = 0; p < places; ++p, c += step) {
        const real *w = w_;
        const size_t *to = at;
        if (s.counts[p] == 0) continue;
        for (size_t left = bp_ceil_div(n, BP_SPARSE_VECS), rest = n; left > 0; --left) {
            const size_t m = bp_ceil_div(rest, left);
            sparse_rows_of[m - 1](c, w, s.columns + p * s.room, s.values + p * s.room, s.counts[p],
                                  to, n * BP_VL);
            w += m * BP_VL;
            to += m;
            rest -= m;
        }
    }
}

static void sparse_block(void *g_, const void *x, const bp_sparse *list, size_t place,
                         size_t places, const size_t *at, size_t n, size_t step)
{
    const sparse_line s = line_of(list, place, places);
    const size_t row = n * BP_VL;
    real *g = g_;
    for (size_t left = bp_ceil_div(n, BP_SPARSE_VECS); left > 0; --left) {
        const size_t m = bp_ceil_div(n, left);
        sparse_block_of[m - 1](g, x, s, at, step, row);
        g += m * BP_VL;
        at += m;
        n -= m;
    }
}

#undef BP_VECTORS
#undef BP_SPARSE
#undef BP_ROWS_NAME
#undef BP_BLOCK_NAME
#undef BP_UNROLL

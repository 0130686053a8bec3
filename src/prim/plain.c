/* plain.c - products with row-major weights, which are read where they stand.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * One batch between two returns to Python does not pay for packing whole matrices. A few rows meet W
 * as it is. More rows meet it in parts of panels, made in cache and thrown away; dx = dz W^T always
 * does, transposed on the way. The chains are those of gemm.c: which way was taken cannot show.
 */
#include "prim.h"

/* Bytes of a part of a panel: the k block of gemm.c in 16 floats, or a third of L1 where rows are so
 * few that making it is most of the work. Measured on a Sapphire Rapids core: 2048 x 2048 with one row
 * x1.3 by the larger part, 512 x 512 with 16 rows x1.17 by the smaller. */
enum { BP_PART_BYTES = 51200, BP_SMALL_PART_BYTES = 16384, BP_SMALL_PART_ROWS = 32 };
/* Rows up to which W is read where it stands, once for a group of them, also when it takes three
 * groups: x1.7 on 64-128-10 and x1.15 on 100-256-256-1 with 7 to 12 rows, x0.96 on 784-512-256-10 with
 * 16. Beyond them panels win. */
enum { BP_IN_PLACE_ROWS = 16 };
/* Rows up to which a gradient in row order is faster than one in blocks: x1.5 with 8 rows of 512 to
 * 2048 columns, x1.14 with 64, x1.05 with 128. Beyond them dz leaves L2. */
enum { BP_PLAIN_GRADIENT_ROWS = 64 };

static size_t depth_of(const bp_kernels *k, size_t rows)
{
    const bool small = rows > k->few && rows <= BP_SMALL_PART_ROWS;
    const size_t bytes = small ? BP_SMALL_PART_BYTES : BP_PART_BYTES;
    return bytes / (k->nr * k->size) / k->nr * k->nr;
}

/* Rows of one block: what of `a` stays in L2 while a k block of all panels passes. */
static size_t block_of(const bp_kernels *k, size_t rows, size_t depth, size_t l2)
{
    const size_t fit = bp_max(l2 / 2 / (depth * k->size), k->mr);
    const size_t blocks = bp_max(bp_ceil_div(rows, fit), 1); /* a thread may have no rows */
    return bp_round_up(bp_ceil_div(rows, blocks), k->mr);
}

/* What one panel of b is made of: columns j * NR.. of W, or rows of it. */
typedef struct {
    const void *w;
    size_t ldw;
    bool transposed;
} source;

static void make_panel(const bp_kernels *k, void *room, const source *b, size_t j, size_t p,
                       size_t depth, size_t width)
{
    const size_t first = j * k->nr;
    if (b->transposed)
        k->transpose(room, bp_cat(b->w, first * b->ldw + p, k->size), width, depth, b->ldw);
    else
        k->pack(room, bp_cat(b->w, p * b->ldw + first, k->size), depth, width, b->ldw, 0);
}

enum { BP_ROW_BYTES = 256 }; /* at least NR elements */

/* c[rows][n] = bias + a[rows][k_total] b */
static void product(const bp_kernels *k, bp_panels c, bp_panels a, const source *b,
                    const void *bias, size_t k_total, size_t n, size_t row0, size_t rows, bool relu,
                    size_t l2)
{
    _Alignas(BP_ALIGN) char room[BP_PART_BYTES], start[BP_ROW_BYTES];
    const size_t k_block = depth_of(k, rows), row_block = block_of(k, rows, k_block, l2);
    for (size_t r = row0; r < row0 + rows; r += row_block) {
        const size_t m = bp_min(row_block, row0 + rows - r);
        for (size_t p = 0; p < k_total; p += k_block) {
            const size_t depth = bp_min(k_block, k_total - p);
            const bp_start from = p ? BP_FROM_C : bias ? BP_FROM_BIAS : BP_FROM_ZERO;
            for (size_t j = 0; j < bp_panel_count(k, n); ++j) {
                const size_t width = bp_panel_width(k, n, j);
                make_panel(k, room, b, j, p, depth, width);
                if (from == BP_FROM_BIAS)
                    k->pack(start, bp_cat(bias, j * k->nr, k->size), 1, width, width, 0);
                k->gemm_rows(bp_panel(k, c, j, r), bp_panel(k, a, p / k->nr, r), room, start, m,
                             depth, width, a.stride, from, relu && p + depth == k_total, NULL);
            }
        }
    }
}

void bp_plain_forward(const bp_kernels *k, bp_panels y, bp_panels x, const bp_weights *w,
                      size_t row0, size_t rows, bool relu)
{
    const source b = {.w = w->plain, .ldw = w->out};
    if (rows > BP_IN_PLACE_ROWS) {
        product(k, y, x, &b, w->plain_bias, w->in, w->out, row0, rows, relu, w->l2);
        return;
    }
    k->gemm_few(bp_panel(k, y, 0, row0), bp_panel(k, x, 0, row0), w->plain, w->plain_bias, rows,
                w->in, w->out, y.stride, x.stride);
    if (relu) bp_activate(k, BP_ACT_relu, y, y, w->out, row0, rows, NULL);
}

void bp_plain_backward(const bp_kernels *k, bp_panels dx, bp_panels dy, const bp_weights *w,
                       size_t row0, size_t rows)
{
    const source b = {.w = w->plain, .ldw = w->out, .transposed = true};
    product(k, dx, dy, &b, NULL, w->out, w->in, row0, rows, false, w->l2);
}

bool bp_plain_gradient_pays(size_t batch) { return batch <= BP_PLAIN_GRADIENT_ROWS; }

void bp_plain_gradient(const bp_kernels *k, void *g, bp_panels x, bp_panels dz, size_t batch,
                       size_t in, size_t out, bool add, size_t first, size_t last)
{
    for (size_t i = first; i < last; ++i)
        k->gemm_outer(bp_at(g, i * k->nr * out, k->size), bp_panel(k, x, i, 0), dz.data, batch,
                      bp_panel_width(k, in, i), out, dz.stride, add ? BP_FROM_C : BP_FROM_ZERO);
}

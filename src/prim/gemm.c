/* gemm.c - matrix products over panels: blocking for the caches, and packing of weights.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * y = x W for a range of rows. Loops, outermost first, with what each keeps in cache:
 *
 *   1  row blocks      of x        three quarters of L2
 *   2  k blocks        of x and W  k in steps of w->k_block
 *   3  panels of W     NR columns  [k_block][NR], 25 to 50 KB       L1, L2
 *   4  tiles of rows   MR rows     inside gemm_rows
 *   5  p ascending     registers   inside the tile
 *
 * Blocks over k store and reload the exact partial sum, so blocking cannot show in the bits.
 */
#include "prim.h"

#include <unistd.h>

/* Deep enough that reading and writing c between blocks costs little, and a panel fits in L1; but
 * Zen 5's L1 takes 64 bytes a cycle from L2, all that two multiply-adds a cycle on a panel ask for. */
size_t bp_k_block(void) { return bp_cpu_reads_l2_fast() ? 2048 : 400; }

size_t bp_l2_bytes(void)
{
    enum { LEAST = 256 * 1024, USUAL = 512 * 1024, MOST = 2048 * 1024 };
    long bytes = 0;
#if defined(_SC_LEVEL2_CACHE_SIZE)
    bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);
#endif
    return bytes > 0 ? bp_max(LEAST, bp_min((size_t)bytes, MOST)) : USUAL;
}

size_t bp_panel_count(const bp_kernels *k, size_t cols) { return bp_ceil_div(cols, k->nr); }

/* A stride that is a multiple of 2048 bytes maps all panels to the same sets of L1. */
size_t bp_panel_stride(const bp_kernels *k, size_t rows)
{
    const size_t line = BP_ALIGN / k->size, stride = bp_round_up(rows * k->nr, line);
    return stride * k->size % 2048 == 0 ? stride + line : stride;
}

size_t bp_weights_size(const bp_kernels *k, size_t in, size_t out)
{
    return bp_round_up(in, k->nr) * bp_round_up(out, k->nr);
}

size_t bp_block_rows(const bp_kernels *k, const bp_weights *w, size_t i)
{
    return bp_min(k->nr, w->in - i * k->nr);
}

void *bp_block(const bp_kernels *k, const bp_weights *w, size_t i, size_t j)
{
    const size_t in_padded = bp_round_up(w->in, k->nr);
    return bp_at(w->w, (j * in_padded + i * k->nr) * k->nr, k->size);
}

void *bp_block_of_transpose(const bp_kernels *k, const bp_weights *w, size_t i, size_t j)
{
    const size_t out_padded = bp_round_up(w->out, k->nr);
    return w->wt ? bp_at(w->wt, (i * out_padded + j * k->nr) * k->nr, k->size) : NULL;
}

void bp_block_transposed(const bp_kernels *k, const bp_weights *w, size_t i, size_t j)
{
    void *to = bp_block_of_transpose(k, w, i, j);
    if (!to) return;
    k->transpose_block(to, bp_block(k, w, i, j), bp_block_rows(k, w, i),
                       bp_panel_width(k, w->out, j));
}

void bp_kernel_pack(const bp_kernels *k, const bp_weights *w, const void *kernel)
{
    const size_t in_padded = bp_round_up(w->in, k->nr);
    k->pack(w->w, kernel, w->in, w->out, w->out, in_padded * k->nr);
    for (size_t j = 0; j < bp_panel_count(k, w->out); ++j) {
        void *tail = bp_at(bp_block(k, w, 0, j), w->in * k->nr, k->size);
        k->fill(tail, 0, (in_padded - w->in) * k->nr);
        for (size_t i = 0; i < bp_panel_count(k, w->in); ++i) bp_block_transposed(k, w, i, j);
    }
}

void bp_kernel_unpack(const bp_kernels *k, const bp_weights *w, void *kernel)
{
    k->unpack(kernel, w->w, w->in, w->out, w->out, bp_round_up(w->in, k->nr) * k->nr);
}

/* c[rows][n] = start + a[rows][k_total] b, where b is n columns in panels of [k_padded][NR]; of these
 * some. */
static void product(const bp_kernels *k, bp_panels c, bp_panels a, const void *b, const void *bias,
                    bp_start start, size_t k_total, size_t k_padded, size_t n, size_t row0,
                    size_t rows, bp_range panels, bool relu, const bp_weights *w)
{
    const size_t all = bp_panel_count(k, n), end = bp_min(panels.last, all);
    const size_t soon = bp_min(panels.soon, all);
    const size_t l2 = w->l2;
    const size_t k_block = w->k_block / k->nr * k->nr;
    const size_t fit = bp_max(l2 / 4 * 3 / (bp_min(k_block, k_total) * k->size), k->mr);
    const size_t blocks = bp_max(bp_ceil_div(rows, fit), 1);
    const size_t row_block = bp_round_up(bp_max(rows / blocks, 1), k->mr);
    for (size_t r = row0; r < row0 + rows; r += row_block) {
        const size_t m = bp_min(row_block, row0 + rows - r);
        for (size_t p = 0; p < k_total; p += k_block) {
            const size_t depth = bp_min(k_block, k_total - p);
            const bool last = p + depth == k_total;
            for (size_t j = panels.first; j < end; ++j) {
                const bool more = w->far && r == row0 && j + 1 < soon;
                const bp_ahead ahead[] = {{bp_cat(b, ((j + 1) * k_padded + p) * k->nr, k->size),
                                           more ? depth * k->nr * k->size : 0, false},
                                          {NULL, 0, false}};
                k->gemm_rows(bp_panel(k, c, j, r), bp_panel(k, a, p / k->nr, r),
                             bp_cat(b, (j * k_padded + p) * k->nr, k->size),
                             bias ? bp_cat(bias, j * k->nr, k->size) : NULL, m, depth,
                             bp_panel_width(k, n, j), a.stride, p ? BP_FROM_C : start, relu && last,
                             more ? ahead : NULL);
            }
        }
    }
}

void bp_gemm_forward(const bp_kernels *k, bp_panels y, bp_panels x, const bp_weights *w,
                     size_t row0, size_t rows, bp_range panels, bool relu)
{
    if (w->plain) {
        bp_plain_forward(k, y, x, w, row0, rows, relu);
        return;
    }
    product(k, y, x, w->w, w->bias, w->bias ? BP_FROM_BIAS : BP_FROM_ZERO, w->in,
            bp_round_up(w->in, k->nr), w->out, row0, rows, panels, relu, w);
}

void bp_gemm_backward(const bp_kernels *k, bp_panels dx, bp_panels dy, const bp_weights *w,
                      size_t row0, size_t rows, bp_range panels, bool add)
{
    if (w->plain) { /* chains of layers alone, where nothing is added up */
        bp_plain_backward(k, dx, dy, w, row0, rows);
        return;
    }
    product(k, dx, dy, w->wt, NULL, add ? BP_FROM_C : BP_FROM_ZERO, w->out,
            bp_round_up(w->out, k->nr), w->in, row0, rows, panels, false, w);
}

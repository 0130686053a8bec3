/* elementwise.c - maps over a range of rows of panels, and single rows as arrays.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Rows of one panel are contiguous, so a map runs over rows * NR elements at once, padding lanes
 * included. Softmax works on rows: each is opened as one array.
 */
#include "prim.h"

#include <string.h>

const void *bp_row_read(const bp_kernels *k, bp_panels m, size_t cols, size_t row, void *scratch)
{
    if (cols <= k->nr) return bp_panel(k, m, 0, row);
    k->unpack(scratch, bp_panel(k, m, 0, row), 1, cols, cols, m.stride);
    return scratch;
}

void *bp_row_open(const bp_kernels *k, bp_panels m, size_t cols, size_t row, void *scratch)
{
    return cols <= k->nr ? bp_panel(k, m, 0, row) : scratch;
}

void bp_row_close(const bp_kernels *k, bp_panels m, size_t cols, size_t row, const void *scratch)
{
    if (cols > k->nr) k->pack(bp_panel(k, m, 0, row), scratch, 1, cols, cols, m.stride);
}

static void softmax_rows(const bp_kernels *k, bp_panels y, bp_panels z, size_t cols, size_t row0,
                         size_t rows, void *scratch)
{
    for (size_t r = row0; r < row0 + rows; ++r) {
        const void *from = bp_row_read(k, z, cols, r, scratch);
        k->softmax(bp_row_open(k, y, cols, r, scratch), from, cols);
        bp_row_close(k, y, cols, r, scratch);
    }
}

static void softmax_rows_grad(const bp_kernels *k, bp_panels dz, bp_panels dy, bp_panels y,
                              size_t cols, size_t row0, size_t rows, void *scratch)
{
    void *other = bp_at(scratch, bp_round_up(cols, k->nr), k->size);
    for (size_t r = row0; r < row0 + rows; ++r) {
        const void *slope = bp_row_read(k, dy, cols, r, scratch);
        const void *value = bp_row_read(k, y, cols, r, other);
        k->softmax_grad(bp_row_open(k, dz, cols, r, scratch), slope, value, cols);
        bp_row_close(k, dz, cols, r, scratch);
    }
}

void bp_activate(const bp_kernels *k, size_t activation, bp_panels y, bp_panels z, size_t cols,
                 size_t row0, size_t rows, void *scratch)
{
    if (activation == BP_ACT_softmax) {
        softmax_rows(k, y, z, cols, row0, rows, scratch);
        return;
    }
    for (size_t j = 0; j < bp_panel_count(k, cols); ++j)
        k->act[activation](bp_panel(k, y, j, row0), bp_panel(k, z, j, row0), rows * k->nr);
}

void bp_derive(const bp_kernels *k, size_t activation, bp_panels dz, bp_panels dy, bp_panels saved,
               size_t cols, size_t row0, size_t rows, void *scratch)
{
    if (activation == BP_ACT_softmax) {
        softmax_rows_grad(k, dz, dy, saved, cols, row0, rows, scratch);
        return;
    }
    for (size_t j = 0; j < bp_panel_count(k, cols); ++j)
        k->grad[activation](bp_panel(k, dz, j, row0), bp_panel(k, dy, j, row0),
                            bp_panel(k, saved, j, row0), rows * k->nr);
}

void bp_copy_row(const bp_kernels *k, bp_panels y, size_t y_row, size_t y_col, bp_panels x,
                 size_t x_row, size_t x_col, size_t n)
{
    while (n > 0) {
        const size_t to = y_col % k->nr, from = x_col % k->nr;
        const size_t run = bp_min(n, k->nr - bp_max(to, from));
        memcpy(bp_at(bp_panel(k, y, y_col / k->nr, y_row), to, k->size),
               bp_cat(bp_panel(k, x, x_col / k->nr, x_row), from, k->size), run * k->size);
        y_col += run;
        x_col += run;
        n -= run;
    }
}

void bp_copy_columns(const bp_kernels *k, bp_panels y, size_t y_col, bp_panels x, size_t x_col,
                     size_t cols, size_t row0, size_t rows)
{
    while (cols > 0) { /* lanes that are neighbours in one panel of both */
        const size_t to = y_col % k->nr, from = x_col % k->nr;
        const size_t run = bp_min(cols, k->nr - bp_max(to, from));
        char *at = bp_at(bp_panel(k, y, y_col / k->nr, row0), to, k->size);
        const char *of = bp_at(bp_panel(k, x, x_col / k->nr, row0), from, k->size);
        const size_t step = k->nr * k->size;
        if (run == k->nr)
            memcpy(at, of, rows * step);
        else
            for (size_t r = 0; r < rows; ++r) memcpy(at + r * step, of + r * step, run * k->size);
        y_col += run;
        x_col += run;
        cols -= run;
    }
}

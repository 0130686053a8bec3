/* sparse.c - compressed rows of the caller (CSR): are their columns what they should be?
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Columns that ascend need one look each. Rows whose do not are looked through once more, with the last
 * row that had each column.
 */
#include "net.h"

static size_t column_at(const bpfast_array *x, int64_t i)
{
    return x->wide ? (size_t)((const int64_t *)x->columns)[i]
                   : (size_t)((const int32_t *)x->columns)[i];
}

/* Negative columns wrap round to large ones. */
static bool ascends(const bpfast_array *x, size_t row, bool *inside)
{
    bool up = true;
    *inside = true;
    for (int64_t i = x->starts[row]; i < x->starts[row + 1]; ++i) {
        *inside = *inside && column_at(x, i) < x->cols;
        up = up && (i == x->starts[row] || column_at(x, i - 1) < column_at(x, i));
    }
    return up;
}

/* seen[column]: 1 + the last row that has it */
static bool repeats(const bpfast_array *x, size_t row, size_t *seen)
{
    for (int64_t i = x->starts[row]; i < x->starts[row + 1]; ++i) {
        size_t *const last = &seen[column_at(x, i)];
        if (*last == row + 1) return true;
        *last = row + 1;
    }
    return false;
}

bpfast_status bpfast_find_bad_columns(const bpfast_array *x, size_t rows, size_t *bad,
                                      bpfast_message *message)
{
    size_t *seen = NULL;
    *bad = rows;
    for (size_t row = 0; row < rows && *bad == rows; ++row) {
        bool inside;
        const bool up = ascends(x, row, &inside);
        if (!inside) *bad = row;
        if (up || !inside) continue;
        if (!seen) {
            bp_layout layout = {0};
            void *memory;
            bp_layout_add(&layout, x->cols, sizeof *seen);
            BP_TRY(bp_arena_try(&memory, &layout, "a look at the columns", message));
            seen = memory;
        }
        if (repeats(x, row, seen)) *bad = row;
    }
    bp_arena_free(seen);
    return BPFAST_OK;
}

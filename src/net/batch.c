/* batch.c - rows of the caller's arrays become the batch's panels; row numbers become scores.
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "net.h"

#include <string.h>

void bp_gather(const bp_kernels *k, const bpfast_array *array, const int64_t *rows, size_t first,
               size_t count, bp_panels to, const void *mean, const void *scale)
{
    const bp_gather_args args = {.data = array->data,
                                 .row_stride = array->row_stride,
                                 .col_stride = array->col_stride,
                                 .rows = rows,
                                 .first = first,
                                 .mean = mean,
                                 .scale = scale,
                                 .starts = array->starts,
                                 .columns = array->columns,
                                 .wide = array->wide};
    k->gather[array->source](to.data, &args, count, array->cols, to.stride);
}

void bp_gather_inputs(const bpfast_net *net, const bpfast_array *x, const int64_t *rows,
                      size_t first, bp_panels to, size_t row0, size_t count)
{
    const bp_kernels *k = net->k;
    const void *mean = bp_net_mean(net), *scale = bp_net_scale(net);
    if (bp_positions(net->input) == 1) {
        const bp_panels at = {bp_panel(k, to, 0, row0), to.stride};
        bp_gather(k, x, rows, first, count, at, mean, scale);
        return;
    }
    for (size_t r = 0; r < count; ++r) { /* panels of one row, one after the other: a plain row */
        const bp_panels at = {bp_at(to.data, (row0 + r) * to.stride, k->size), k->nr};
        bp_gather(k, x, rows ? rows + r : NULL, first + r, 1, at, mean, scale);
    }
}

bool bp_inputs_finite(const bpfast_net *net, bp_panels x, size_t row0, size_t rows)
{
    const bp_kernels *k = net->k;
    if (bp_positions(net->input) == 1) return bp_panels_finite(k, x, net->inputs, row0, rows);
    for (size_t r = row0; r < row0 + rows; ++r)
        if (!k->all_finite(bp_at(x.data, r * x.stride, k->size), net->inputs)) return false;
    return true;
}

bool bp_panels_finite(const bp_kernels *k, bp_panels m, size_t cols, size_t row0, size_t rows)
{
    for (size_t j = 0; j < bp_panel_count(k, cols); ++j) {
        const size_t width = bp_panel_width(k, cols, j);
        if (width == k->nr) {
            if (!k->all_finite(bp_panel(k, m, j, row0), rows * k->nr)) return false;
            continue;
        }
        for (size_t r = row0; r < row0 + rows; ++r) /* padding lanes do not count */
            if (!k->all_finite(bp_panel(k, m, j, r), width)) return false;
    }
    return true;
}

/* Blocks of rows and columns, converted as training would convert them. */
enum { BP_SCAN_ROWS = 32, BP_SCAN_COLS = 64, BP_SCAN_BYTES = 16384 };

static bool block_finite(const bp_kernels *k, const bpfast_array *x, size_t first, size_t rows)
{
    _Alignas(BP_ALIGN) char room[BP_SCAN_ROWS * BP_SCAN_COLS * sizeof(double)];
    const bp_panels m = {room, rows * k->nr};
    for (size_t c = 0; c < x->cols; c += BP_SCAN_COLS) {
        bpfast_array part = *x;
        part.cols = bp_min(BP_SCAN_COLS, x->cols - c);
        part.data = (const char *)x->data + (ptrdiff_t)c * x->col_stride;
        bp_gather(k, &part, NULL, first, rows, m, NULL, NULL);
        if (!k->all_finite(room, bp_panel_count(k, part.cols) * m.stride)) return false;
    }
    return true;
}

/* Whether doubles become finite floats: their bits without the sign, as integers, do not exceed those
 * of FLT_MAX. */
static bool fit_float(const double *x, size_t n)
{
    const int64_t limit = INT64_C(0x47EFFFFFE0000000);
    int64_t over = 0;
    for (size_t i = 0; i < n; ++i) {
        int64_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        over |= limit - (bits & INT64_MAX);
    }
    return over >= 0;
}

/* How many rows are surely finite, from the first on: floats and doubles are read as they stand, some
 * BP_SCAN_BYTES at a time, without a copy. */
static size_t finite_rows(const bpfast_array *x, size_t rows, size_t itemsize)
{
    const bool wide = x->source == BP_SOURCE_float64;
    const size_t size = wide ? sizeof(double) : sizeof(float), bytes = x->cols * size;
    const bool aligned = ((uintptr_t)x->data | (uintptr_t)x->row_stride) % size == 0;
    if ((!wide && x->source != BP_SOURCE_float32) || !aligned) return 0;
    if (x->col_stride != (ptrdiff_t)size) return 0;
    const bp_kernels *k = bp_kernels_get(bp_isa_default(), size);
    const bool dense = x->row_stride == (ptrdiff_t)bytes;
    const size_t step = dense ? bp_max(BP_SCAN_BYTES / bp_max(bytes, 1), 1) : 1;
    for (size_t first = 0; first < rows; first += step) {
        const void *from = (const char *)x->data + (ptrdiff_t)first * x->row_stride;
        const size_t n = bp_min(step, rows - first) * x->cols;
        if (!(itemsize < size ? fit_float(from, n) : k->all_finite(from, n))) return first;
    }
    return rows;
}

/* The first row from `first` on that is not finite, by blocks; `rows` if none. */
static size_t scan_blocks(const bpfast_array *x, size_t first, size_t rows, size_t itemsize)
{
    const bp_kernels *k = bp_kernels_get(bp_isa_default(), itemsize);
    for (; first < rows; first += BP_SCAN_ROWS) {
        const size_t count = bp_min(BP_SCAN_ROWS, rows - first);
        if (block_finite(k, x, first, count)) continue;
        for (size_t r = first; r < first + count; ++r)
            if (!block_finite(k, x, r, 1)) return r;
    }
    return rows;
}

/* Only conversion depends on the mode: whether a double past FLT_MAX rounds to it or to infinity. */
size_t bpfast_find_bad_row(const bpfast_array *x, size_t rows, size_t itemsize)
{
    const size_t first = finite_rows(x, rows, itemsize);
    if (first == rows) return rows;
    const bp_fpmode mode = bp_fpmode_enter();
    const size_t bad = scan_blocks(x, first, rows, itemsize);
    bp_fpmode_leave(mode);
    return bad;
}

size_t bpfast_find_bad_label(const int64_t *labels, size_t rows, size_t classes)
{
    for (size_t first = 0; first < rows; first += BP_SCAN_ROWS) {
        const size_t last = bp_min(first + BP_SCAN_ROWS, rows);
        bool bad = false;
        for (size_t r = first; r < last; ++r) bad |= (uint64_t)labels[r] >= classes;
        for (size_t r = first; bad && r < last; ++r)
            if ((uint64_t)labels[r] >= classes) return r;
    }
    return rows;
}

double bp_weight_sum(const bpfast_data *data, const int64_t *rows, size_t first, size_t count)
{
    double total = 0;
    if (!data->weights) return (double)count;
    for (size_t i = 0; i < count; ++i) total += data->weights[rows ? (size_t)rows[i] : first + i];
    return total;
}

void bp_scores_add(bpfast_scores *scores, const bp_row_stats *stats, const bp_targets *targets,
                   size_t rows)
{
    for (size_t r = 0; r < rows; ++r) {
        const double w = targets->weights ? targets->weights[bp_target_row(targets, r)] : 1.0;
        scores->weight_sum += w;
        scores->loss_sum += w * stats[r].loss;
        scores->correct += w * stats[r].correct;
        scores->squared += w * stats[r].squared;
        scores->absolute += w * stats[r].absolute;
    }
}

void bpfast_permutation(int64_t *out, size_t n, uint64_t seed, uint32_t stream, uint64_t step)
{
    bp_permutation(out, n, seed, stream, step);
}

double bpfast_cos(double x)
{
    const bp_fpmode mode = bp_fpmode_enter();
    const double y = bp_kernels_get(bp_isa_default(), sizeof(double))->cosine(x);
    bp_fpmode_leave(mode);
    return y;
}

void bpfast_fill_random(void *out, size_t n, size_t itemsize, int kind, double a, double b,
                        uint64_t seed, uint32_t stream)
{
    const size_t isa = bp_isa_default();
    const bp_fpmode mode = bp_fpmode_enter();
    bp_fill_random(bp_kernels_get(isa, itemsize), bp_kernels_get(isa, sizeof(double)), out, n,
                   kind == 1, a, b, seed, BP_STREAM_INIT + stream);
    bp_fpmode_leave(mode);
}

/* The longer side's columns are made orthonormal; a wide matrix is drawn as its transpose. */
bool bpfast_fill_orthogonal(void *out, size_t rows, size_t cols, size_t itemsize, double gain,
                            uint64_t seed, uint32_t stream)
{
    const size_t isa = bp_isa_default(), tall = bp_max(rows, cols), narrow = bp_min(rows, cols);
    const bp_kernels *k = bp_kernels_get(isa, itemsize), *k64 = bp_kernels_get(isa, sizeof(double));
    bp_layout layout = {0};
    bp_layout_add(&layout, tall * narrow, sizeof(double));
    double *a = layout.overflow ? NULL : bp_arena_new(layout.size);
    if (!a) return false;
    const bp_fpmode mode = bp_fpmode_enter();
    bp_fill_random(k64, k64, a, tall * narrow, true, 0, 1, seed, BP_STREAM_INIT + stream);
    bp_orthogonal(a, tall, narrow, gain);
    for (size_t i = 0; i < rows; ++i)
        for (size_t j = 0; j < cols; ++j) {
            const double value = rows >= cols ? a[i * narrow + j] : a[j * narrow + i];
            k->convert(bp_at(out, i * cols + j, itemsize), &value, 1);
        }
    bp_fpmode_leave(mode);
    bp_arena_free(a);
    return true;
}

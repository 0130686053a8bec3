/* check_gather.c - rows of every element type and layout into panels, against one element at a time.
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "check_real.h"

enum { DST_ROOM, SRC_ROOM, MEAN_ROOM, SCALE_ROOM, ROWS_ROOM };
enum { SOURCE_ROWS = 9, MOST_COLS = 80, HALVES = 1 << 16 };

/* IEEE 754 binary16 by its definition. */
static float half_by_definition(uint16_t bits)
{
    const int exponent = bits >> 10 & 31, fraction = bits & 1023;
    const float sign = bits & 0x8000 ? -1.0f : 1.0f;
    if (exponent == 31) return fraction ? NAN : sign * INFINITY;
    if (exponent == 0) return sign * ldexpf((float)fraction, -24);
    return sign * ldexpf((float)(1024 + fraction), exponent - 25);
}

/* What the element at `from` must become; centred in double where float32 cannot hold its type. */
#define ELEMENT(source, ctype, mid, value)                                 \
    case BP_SOURCE_##source: {                                             \
        ctype raw;                                                         \
        memcpy(&raw, from, sizeof raw);                                    \
        if (!mean) return (real)(value);                                   \
        return (real)(((mid)(value) - (mid)mean[col]) * (mid)factor[col]); \
    }

static real element(size_t source, const char *from, const real *mean, const real *factor,
                    size_t col)
{
    switch (source) {
        ELEMENT(float32, float, real, raw)
        ELEMENT(float64, double, double, raw)
        ELEMENT(float16, uint16_t, real, half_by_definition(raw))
        ELEMENT(uint8, uint8_t, real, raw)
        ELEMENT(int8, int8_t, real, raw)
        ELEMENT(bool, uint8_t, real, raw)
        ELEMENT(uint16, uint16_t, real, raw)
        ELEMENT(int16, int16_t, real, raw)
        ELEMENT(uint32, uint32_t, double, raw)
        ELEMENT(int32, int32_t, double, raw)
        ELEMENT(uint64, uint64_t, double, raw)
        ELEMENT(int64, int64_t, double, raw)
    }
    failed("element type %zu has no reference", source);
    return 0;
}

static void fill_source(char *at, size_t bytes, size_t source)
{
    const size_t item = item_size(source);
    for (size_t i = 0; i < bytes; ++i)
        at[i] = (char)(source == BP_SOURCE_bool ? random_bits() % 2 : random_bits());
    for (size_t i = 0; i + item <= bytes && source <= BP_SOURCE_float64; i += item) {
        const double x = random_bits() % 3 ? random_normal() : (double)special_value(i / item);
        const float narrow = (float)x;
        memcpy(at + i, item == 4 ? (const void *)&narrow : &x, item);
    }
}

typedef struct {
    ptrdiff_t row, col; /* strides in bytes */
    size_t span, start; /* bytes of the array; where (0, 0) stands */
} layout;

enum { DENSE, PADDED_ROWS, UNALIGNED, COLUMNS_FIRST, ROWS_BACK, COLS_BACK, N_SOURCE_LAYOUTS };

static layout make_layout(int which, size_t item, size_t rows, size_t cols)
{
    const ptrdiff_t size = (ptrdiff_t)item, line = size * (ptrdiff_t)cols;
    layout l = {line, size, rows * cols * item, 0};
    if (which == PADDED_ROWS) l.row = line + 3 * size;
    if (which == UNALIGNED) {
        l.col = 2 * size + 1;
        l.row = (ptrdiff_t)cols * l.col + 1;
    }
    if (which == COLUMNS_FIRST) {
        l.row = size;
        l.col = size * (ptrdiff_t)rows;
    }
    if (which == ROWS_BACK) l.row = -l.row;
    if (which == COLS_BACK) l.col = -l.col;
    const size_t down = (rows - 1) * (size_t)(l.row < 0 ? -l.row : l.row);
    const size_t across = cols ? (cols - 1) * (size_t)(l.col < 0 ? -l.col : l.col) : 0;
    l.start = (l.row < 0 ? down : 0) + (l.col < 0 ? across : 0);
    l.span = down + across + item;
    return l;
}

static void gather_case(const subject *s, size_t source, int which, size_t m, size_t n,
                        bool indexed, bool centred)
{
    const size_t nr = s->k->nr, stride = m * nr + (n % 2 ? 5 : 0) + !m;
    const size_t size = n ? (bp_ceil_div(n, nr) - 1) * stride + m * nr : 0;
    const layout l = make_layout(which, item_size(source), SOURCE_ROWS, n);
    char *raw = place(SRC_ROOM, l.span, 0);
    real *dst = reals(DST_ROOM, size, 0);
    real *mean = reals(MEAN_ROOM, n, 0), *factor = reals(SCALE_ROOM, n, 0);
    int64_t *rows = place(ROWS_ROOM, m * sizeof(int64_t), 0);
    bool ok = true;
    fill_source(raw, l.span, source);
    fill_tame(mean, n, -3, 3);
    fill_tame(factor, n, 0.1, 3);
    for (size_t i = 0; i < m; ++i) rows[i] = (int64_t)(random_bits() % SOURCE_ROWS);
    set_all(dst, size, GAP);
    const bp_gather_args args = {.data = raw + l.start,
                                 .row_stride = l.row,
                                 .col_stride = l.col,
                                 .rows = indexed ? rows : NULL,
                                 .first = 1,
                                 .mean = centred ? mean : NULL,
                                 .scale = centred ? factor : NULL};
    BEGIN(source, (size_t)which, m, n, indexed, centred);
    s->k->gather[source](dst, &args, m, n, stride);
    for (size_t e = 0; e < size; ++e) {
        const size_t i = e % stride / nr, j = e / stride * nr + e % stride % nr;
        real want = GAP;
        if (e % stride < m * nr) {
            const ptrdiff_t row = indexed ? (ptrdiff_t)rows[i] : (ptrdiff_t)i + 1;
            const char *from = args.data + row * l.row + (ptrdiff_t)j * l.col;
            want = j < n ? element(source, from, args.mean, args.scale, j) : 0;
        }
        ok = ok && same_bits(dst[e], want);
    }
    verdict(ok, "a value, its padding or a gap is wrong");
    rooms_intact();
}

static void every_half(const subject *s)
{
    uint16_t *bits = place(SRC_ROOM, HALVES * sizeof *bits, 0);
    real *dst = reals(DST_ROOM, HALVES, 0);
    const size_t cols = s->k->nr; /* one panel, so dst is row-major */
    const bp_gather_args args = {
        .data = (const char *)bits, .row_stride = (ptrdiff_t)(2 * cols), .col_stride = 2};
    kernel_is("gather", "every binary16");
    for (size_t i = 0; i < HALVES; ++i) bits[i] = (uint16_t)i;
    s->k->gather[BP_SOURCE_float16](dst, &args, HALVES / cols, cols, HALVES);
    for (size_t i = 0; i < HALVES; ++i) {
        BEGIN(i);
        const real want = half_by_definition((uint16_t)i);
        same("half", dst + i, &want, 1);
    }
    rooms_intact();
}

void NAME(check_gather)(const subject *s)
{
    const size_t nr = s->k->nr;
    const size_t widths[] = {0, 1, 3, nr - 1, nr, nr + 1, 2 * nr - 1, 2 * nr, 2 * nr + 1};
    const size_t heights[] = {0, 1, 7};
    kernel_is("gather", "source layout m n rows mean");
    for (size_t source = 0; source < BP_N_SOURCES; ++source)
        for (int which = 0; which < N_SOURCE_LAYOUTS; ++which)
            for (size_t h = 0; h < sizeof heights / sizeof heights[0]; ++h)
                for (size_t w = 0; w < sizeof widths / sizeof widths[0]; ++w)
                    for (int options = 0; options < 4; ++options)
                        gather_case(s, source, which, heights[h], widths[w], options & 1,
                                    options & 2);
    every_half(s);
}

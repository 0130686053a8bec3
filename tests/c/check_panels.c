/* check_panels.c - pack, unpack and transpositions: exact copies, and nothing else touched.
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "check_real.h"

enum { DST_ROOM, SRC_ROOM, BACK_ROOM, PAD = 3 };

/* Elements of `panels` panels of `rows` rows, the last without its padding. */
static size_t panels_size(size_t nr, size_t rows, size_t cols, size_t stride)
{
    return cols ? (bp_ceil_div(cols, nr) - 1) * stride + rows * nr : 0;
}

static size_t rows_size(size_t rows, size_t cols, size_t ld)
{
    return rows && cols ? (rows - 1) * ld + cols : 0;
}

static void round_trip(const subject *s, size_t rows, size_t cols, size_t ld, size_t stride)
{
    const size_t nr = s->k->nr, in = rows_size(rows, cols, ld);
    const size_t packed = panels_size(nr, rows, cols, stride);
    real *src = reals(SRC_ROOM, in, 0), *dst = reals(DST_ROOM, packed, 0);
    real *back = reals(BACK_ROOM, in, 0);
    bool ok = true;
    fill(src, in, SPECIAL);
    set_all(dst, packed, GAP);
    set_all(back, in, GAP);

    kernel_is("pack", "rows cols lds stride");
    BEGIN(rows, cols, ld, stride);
    s->k->pack(dst, src, rows, cols, ld, stride);
    for (size_t e = 0; e < packed; ++e) {
        const size_t row = e % stride / nr, col = e / stride * nr + e % stride % nr;
        const real want = e % stride >= rows * nr ? GAP : col < cols ? src[row * ld + col] : 0;
        ok = ok && same_bits(dst[e], want);
    }
    verdict(ok, "a panel differs from its rows, its padding from 0, or a gap was written");

    kernel_is("unpack", "rows cols ldd stride");
    BEGIN(rows, cols, ld, stride);
    s->k->unpack(back, dst, rows, cols, ld, stride);
    for (size_t e = 0; e < in; ++e) ok = ok && same_bits(back[e], e % ld < cols ? src[e] : GAP);
    verdict(ok, "rows differ from what was packed, or a gap was written");
    rooms_intact();
}

static void transpose(const subject *s, size_t rows, size_t cols, size_t slack)
{
    const size_t nr = s->k->nr;
    real *src = reals(SRC_ROOM, nr * nr, slack), *dst = reals(DST_ROOM, nr * nr, slack);
    bool ok = true;
    for (size_t e = 0; e < nr * nr; ++e) src[e] = (real)(e + 1);
    src[0] = (real)-0.0;
    src[1] = (real)NAN;
    kernel_is("transpose_block", "rows cols slack");
    BEGIN(rows, cols, slack);
    s->k->transpose_block(dst, src, rows, cols);
    for (size_t i = 0; i < cols; ++i)
        for (size_t j = 0; j < rows; ++j) ok = ok && same_bits(dst[i * nr + j], src[j * nr + i]);
    verdict(ok, "not the transpose");
    rooms_intact();
}

/* A panel of the transpose of plain rows; vectors wholly past `rows` keep what they held. */
static void transpose_rows(const subject *s, size_t rows, size_t cols, size_t ld)
{
    const size_t nr = s->k->nr, written = bp_round_up(rows, s->k->vl);
    const size_t slack = (rows + cols) % 2 * sizeof(real);
    real *src = reals(SRC_ROOM, rows_size(rows, cols, ld), slack);
    real *dst = reals(DST_ROOM, cols * nr, slack);
    bool ok = true;
    fill(src, rows_size(rows, cols, ld), SPECIAL);
    set_all(dst, cols * nr, GAP);
    kernel_is("transpose", "rows cols lds");
    BEGIN(rows, cols, ld);
    s->k->transpose(dst, src, rows, cols, ld);
    for (size_t j = 0; j < cols; ++j) {
        for (size_t i = 0; i < nr; ++i) {
            const real want = i < rows ? src[i * ld + j] : i < written ? 0 : GAP;
            ok = ok && same_bits(dst[j * nr + i], want);
        }
    }
    verdict(ok, "not the transpose, its padding not 0, or a vector past it was written");
    rooms_intact();
}

void NAME(check_panels)(const subject *s)
{
    const size_t nr = s->k->nr;
    for (size_t rows = 0; rows < 5; ++rows) {
        for (size_t cols = 0; cols <= 2 * nr + 1; ++cols) {
            for (size_t pad = 0; pad <= PAD; pad += PAD)
                round_trip(s, rows, cols, cols + pad + !cols, rows * nr + pad + !rows);
        }
    }
    for (size_t rows = 0; rows <= nr; ++rows) {
        for (size_t cols = 0; cols <= nr; ++cols)
            transpose(s, rows, cols, (rows + cols) % 2 * sizeof(real));
        for (size_t cols = 0; cols <= 2 * nr + 1; ++cols) {
            transpose_rows(s, rows, cols, cols + !cols);
            transpose_rows(s, rows, cols, cols + PAD);
        }
    }
}

/* check_sparse.c - max pooling that keeps places, and products with its gradient, bit for bit.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Pooling is compared with loops over windows, products with plain chains over the entries of lists.
 * Windows here do not overlap; some reach outside the image.
 */
#include "check_real.h"

enum { MOST_PLACES = 64, MOST_NR = 32, MOST = MOST_PLACES * MOST_NR, MOST_AT = 30 };
enum { Y_ROOM, FROM_ROOM, X_ROOM, OTHER_ROOM, DX_ROOM };

/* Height, width; window; stride; top, bottom, left, right outside. */
static const size_t shapes[][10] = {{4, 6, 2, 2, 2, 2, 0, 0, 0, 0},
                                    {5, 7, 2, 2, 2, 2, 1, 0, 0, 1},
                                    {7, 7, 2, 3, 3, 3, 0, 0, 1, 1},
                                    {1, 9, 1, 4, 1, 4, 0, 0, 3, 0},
                                    {6, 5, 3, 1, 3, 2, 2, 1, 0, 0}};
enum { N_SHAPES = sizeof shapes / sizeof shapes[0] };

static real x[MOST], other[MOST], dy[MOST], y[MOST], taken[MOST], dx[MOST];
static uint8_t from[MOST];

static bp_pool pool_of(const size_t *v)
{
    return (bp_pool){v[0],
                     v[1],
                     (v[0] + v[6] + v[7] - v[2]) / v[4] + 1,
                     (v[1] + v[8] + v[9] - v[3]) / v[5] + 1,
                     v[2],
                     v[3],
                     v[4],
                     v[5],
                     v[6],
                     v[8]};
}

/* First position along an axis that window i sees; how many. */
static size_t first_seen(size_t i, size_t stride, size_t outside)
{
    return i * stride > outside ? i * stride - outside : 0;
}

static size_t count_seen(size_t i, size_t stride, size_t outside, size_t window, size_t size)
{
    return bp_min(i * stride + window - outside, size) - first_seen(i, stride, outside);
}

/* One window, one channel. */
static void window(const bp_pool *p, size_t nr, size_t i, size_t j, size_t lane)
{
    const size_t y0 = first_seen(i, p->stride_y, p->top), x0 = first_seen(j, p->stride_x, p->left);
    const size_t high = count_seen(i, p->stride_y, p->top, p->window_y, p->height);
    const size_t across = count_seen(j, p->stride_x, p->left, p->window_x, p->width);
    const size_t start = (y0 * p->width + x0) * nr + lane, out = (i * p->out_width + j) * nr + lane;
    size_t best = start, place = 0;
    for (size_t l = 0; l < high; ++l) {
        for (size_t e = 0; e < across; ++e) {
            const size_t at = start + (l * p->width + e) * nr;
            if (!(x[at] > x[best]) && (x[at] == x[at] || x[best] != x[best])) continue;
            best = at;
            place = l * p->window_x + e;
        }
    }
    const bool none = x[best] != x[best];
    y[out] = x[best];
    from[out] = none ? BP_POOL_NONE : (uint8_t)place;
    taken[out] = other[none ? start : best];
    if (!none) dx[best] = dy[out];
}

static void same_lanes(const subject *s, const char *what, const real *got, const real *want,
                       size_t rows, size_t n)
{
    for (size_t e = 0; e < rows * s->k->nr; ++e) {
        if (e % s->k->nr >= n || same_bits(seen(got[e]), seen(want[e]))) continue;
        failed("%s, element %zu: %a, not %a", what, e, (double)got[e], (double)want[e]);
        return;
    }
    passed();
    rooms_intact();
}

static void list_case(const subject *s, const bp_pool *p, size_t line, size_t n)
{
    const size_t nr = s->k->nr, places = p->window_y * p->width, room = n + 3, first = 3;
    const size_t out = line * p->out_width * nr, y0 = first_seen(line, p->stride_y, p->top);
    static uint32_t counts[MOST_PLACES + 1], columns[(MOST_PLACES + 1) * (MOST_NR + 3)];
    static real values[(MOST_PLACES + 1) * (MOST_NR + 3)];
    const bp_sparse list = {counts, columns, values, room};
    memset(counts, 0, sizeof counts);
    s->k->list_entries(&list, dy + out, from + out, p, line, first, n);
    for (size_t place = 0; place < places; ++place) {
        const size_t high = count_seen(line, p->stride_y, p->top, p->window_y, p->height);
        size_t found = 0;
        for (size_t lane = 0; lane < n && place / p->width < high; ++lane) {
            const real value = dx[(y0 * p->width + place) * nr + lane];
            if (!(value != 0)) continue;
            const size_t at = place * room + found++;
            verdict(columns[at] == first + lane && same_bits(values[at], value), "an entry");
        }
        verdict(counts[place] == found, "the number of entries of a place");
    }
}

static void pool_case(const subject *s, kind what, size_t shape)
{
    const bp_pool p = pool_of(shapes[shape]);
    const size_t nr = s->k->nr, in = p.height * p.width, out = p.out_height * p.out_width;
    fill(x, in * nr, what);
    fill(other, in * nr, what);
    fill(dy, out * nr, what);
    set_all(dx, in * nr, 0);
    for (size_t i = 0; i < out; ++i)
        for (size_t lane = 0; lane < nr; ++lane)
            window(&p, nr, i / p.out_width, i % p.out_width, lane);
    for (size_t n = 0; n <= nr; ++n) {
        const size_t slack = n % 2 * sizeof(real);
        const real *x_in = reals_copy(X_ROOM, x, in * nr, slack);
        real *y_out = place(Y_ROOM, out * nr * sizeof(real), slack);
        uint8_t *places = place(FROM_ROOM, out * nr, n % 2);
        kernel_is("max_pool_at, max_pool_take", "data shape n");
        BEGIN(what, shape, n);
        s->k->max_pool_at(y_out, places, x_in, &p, n);
        same_lanes(s, "y", y_out, y, out, n);
        for (size_t e = 0; e < out * nr; ++e)
            if (e % nr < n) verdict(places[e] == from[e], "the place of the largest");
        s->k->max_pool_take(y_out, places, reals_copy(OTHER_ROOM, other, in * nr, slack), &p, n);
        same_lanes(s, "what was taken", y_out, taken, out, n);
        kernel_is("max_pool_spread, list_entries", "data shape n");
        BEGIN(what, shape, n);
        for (size_t line = 0; line < p.out_height; ++line) {
            const size_t y0 = first_seen(line, p.stride_y, p.top);
            const size_t high = count_seen(line, p.stride_y, p.top, p.window_y, p.height);
            const size_t at = line * p.out_width * nr;
            real *lines = place(DX_ROOM, p.window_y * p.width * nr * sizeof(real), slack);
            s->k->max_pool_spread(lines, dy + at, from + at, &p, line, n);
            same_lanes(s, "dx", lines, dx + y0 * p.width * nr, high * p.width, n);
            list_case(s, &p, line, n);
        }
    }
}

/* ---- products ---- */

enum { PLACES = 5, ROOM = 6, COLUMNS = 7, MOST_VECS = 26, STEP = 3 * MOST_NR };
static real values[PLACES * ROOM], rows[COLUMNS * MOST_VECS * MOST_NR];
static real image[PLACES * STEP + MOST_VECS * MOST_AT + MOST_NR];

static void product_case(const subject *s, kind what, size_t n)
{
    const size_t vl = s->k->vl, row = n * vl, size = sizeof image / sizeof image[0];
    uint32_t counts[PLACES], columns[PLACES * ROOM];
    size_t at[MOST_VECS];
    static real want[sizeof image / sizeof image[0]], want_g[sizeof rows / sizeof rows[0]];
    fill(values, PLACES * ROOM, what);
    fill(rows, COLUMNS * row, what);
    fill(image, size, what);
    for (size_t i = 0; i < n; ++i) at[i] = i * MOST_AT; /* apart inside one position */
    for (size_t p = 0; p < PLACES; ++p) counts[p] = (uint32_t)((p + n) % (ROOM + 1));
    for (size_t e = 0; e < PLACES * ROOM; ++e) columns[e] = (uint32_t)(e % ROOM + e / ROOM % 2);
    memcpy(want, image, sizeof image);
    memcpy(want_g, rows, sizeof rows);
    const bp_sparse list = {counts, columns, values, ROOM};
    for (size_t p = 1; p < PLACES; ++p) {
        for (size_t e = p * ROOM; e < p * ROOM + counts[p]; ++e) {
            for (size_t i = 0; i < row; ++i) {
                real *c = want + (p - 1) * STEP + at[i / vl] + i % vl;
                real *g = want_g + columns[e] * row + i;
                *c = link(s, values[e], rows[columns[e] * row + i], *c);
                *g = link(s, values[e], image[(p - 1) * STEP + at[i / vl] + i % vl], *g);
            }
        }
    }
    real *c = reals_copy(X_ROOM, image, size, n % 2 * sizeof(real));
    real *g = reals_copy(Y_ROOM, rows, COLUMNS * row, n % 2 * sizeof(real));
    kernel_is("sparse_rows", "data vectors");
    BEGIN(what, n);
    s->k->sparse_rows(c, rows, &list, 1, PLACES - 1, at, n, STEP);
    for (size_t i = 0; i < size; ++i) verdict(same_bits(seen(c[i]), seen(want[i])), "an element");
    rooms_intact();
    kernel_is("sparse_block", "data vectors");
    BEGIN(what, n);
    s->k->sparse_block(g, image, &list, 1, PLACES - 1, at, n, STEP);
    for (size_t i = 0; i < COLUMNS * row; ++i)
        verdict(same_bits(seen(g[i]), seen(want_g[i])), "an element");
    rooms_intact();
}

void NAME(check_sparse)(const subject *s)
{
    if (s->k->nr > MOST_NR) {
        kernel_is("sparse", "nr");
        BEGIN(s->k->nr);
        failed("enlarge MOST_NR");
        return;
    }
    for (kind what = RANDOM; what < N_KINDS; ++what) {
        for (size_t shape = 0; shape < N_SHAPES; ++shape) pool_case(s, what, shape);
        for (size_t n = 0; n <= MOST_VECS; ++n) product_case(s, what, n);
    }
}

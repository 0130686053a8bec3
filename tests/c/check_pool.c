/* check_pool.c - pooling against plain loops over windows, bit for bit.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * The loops remember where the first of the largest is; the kernels find it again by comparison.
 * Vectors wholly past n hold NaN where they are read, and must keep their bits where c is written.
 */
#include "check_real.h"

enum { MOST_NR = 32, MOST_PLACES = 48 };
enum { X_ROOM, Y_ROOM, DY_ROOM, DX_ROOM };

static real x[MOST_PLACES * MOST_NR], dy[MOST_PLACES * MOST_NR], before[MOST_PLACES * MOST_NR];
static real largest[MOST_PLACES * MOST_NR], mean[MOST_PLACES * MOST_NR];
static real largest_dx[MOST_PLACES * MOST_NR], mean_dx[MOST_PLACES * MOST_NR];

/* height and width; window; stride; outside at the top, bottom, left, right */
static const size_t shapes[][10] = {
    {1, 1, 1, 1, 1, 1, 0, 0, 0, 0}, {4, 4, 2, 2, 2, 2, 0, 0, 0, 0}, /* all seen once */
    {5, 7, 2, 2, 2, 2, 0, 0, 0, 0},                                 /* an edge unseen */
    {4, 6, 2, 2, 1, 1, 0, 0, 0, 0}, {5, 5, 3, 3, 2, 2, 1, 1, 1, 1}, /* windows overlap */
    {6, 3, 3, 2, 1, 2, 0, 0, 0, 0}, {3, 3, 3, 3, 1, 1, 2, 2, 2, 2},
    {3, 3, 2, 2, 2, 2, 1, 1, 1, 1}, {5, 6, 2, 3, 2, 3, 1, 0, 2, 1}, /* once, with an outside */
    {7, 5, 2, 2, 3, 3, 0, 0, 0, 0}, {3, 9, 1, 1, 2, 3, 0, 0, 0, 0}, /* gaps between windows */
    {4, 5, 4, 5, 4, 5, 0, 0, 0, 0}, {1, 9, 1, 3, 1, 2, 0, 0, 1, 1},
    {2, 3, 3, 2, 1, 1, 0, 0, 0, 0}, /* no window fits */
};
enum { N_SHAPES = sizeof shapes / sizeof shapes[0] };

static size_t places(size_t size, size_t outside, size_t window, size_t stride)
{
    return size + outside < window ? 0 : (size + outside - window) / stride + 1;
}

static bp_pool pool_of(const size_t *v)
{
    return (bp_pool){.height = v[0],
                     .width = v[1],
                     .out_height = places(v[0], v[6] + v[7], v[2], v[4]),
                     .out_width = places(v[1], v[8] + v[9], v[3], v[5]),
                     .window_y = v[2],
                     .window_x = v[3],
                     .stride_y = v[4],
                     .stride_x = v[5],
                     .top = v[6],
                     .left = v[8]};
}

/* One window, one channel: all four results. Every position outside is passed over. */
static void window(const bp_pool *p, size_t nr, size_t out_y, size_t out_x, size_t lane)
{
    const size_t out = (out_y * p->out_width + out_x) * nr + lane;
    real total = 0, count = 0;
    size_t seen_at[MOST_PLACES], n = 0, best = 0;
    for (size_t i = 0; i < p->window_y; ++i) {
        for (size_t j = 0; j < p->window_x; ++j) {
            const size_t down = out_y * p->stride_y + i, across = out_x * p->stride_x + j;
            if (down < p->top || down - p->top >= p->height) continue;
            if (across < p->left || across - p->left >= p->width) continue;
            seen_at[n++] = ((down - p->top) * p->width + across - p->left) * nr + lane;
        }
    }
    for (size_t i = 0; i < n; ++i) {
        const real at = x[seen_at[i]], most = x[seen_at[best]];
        if (at > most || (at != at && most == most)) best = i;
        total = total + at;
        count = count + 1;
    }
    largest[out] = x[seen_at[best]];
    mean[out] = total / count;
    const real share = dy[out] / count;
    for (size_t i = 0; i < n; ++i) mean_dx[seen_at[i]] = mean_dx[seen_at[i]] + share;
    if (largest[out] == largest[out])
        largest_dx[seen_at[best]] = largest_dx[seen_at[best]] + dy[out];
}

/* What vectors wholly past n hold is not used: NaN. */
static real *place_input(const subject *s, size_t room, const real *from, size_t m, size_t n)
{
    const size_t nr = s->k->nr, read = bp_round_up(n, s->k->vl);
    real *to = reals_copy(room, from, m * nr, n % 2 * sizeof(real));
    for (size_t e = 0; e < m * nr; ++e)
        if (e % nr >= read) to[e] = (real)NAN;
    return to;
}

static void compare(const subject *s, const char *what, const real *got, const real *want, size_t m,
                    size_t n)
{
    const size_t nr = s->k->nr, written = bp_round_up(n, s->k->vl);
    for (size_t e = 0; e < m * nr; ++e) {
        const size_t lane = e % nr;
        if (lane < n ? same_bits(seen(got[e]), seen(want[e]))
                     : lane < written || same_bits(got[e], before[e]))
            continue;
        failed("%s of position %zu, lane %zu: %a, not %a", what, e / nr, lane, (double)got[e],
               (double)(lane < n ? want[e] : before[e]));
        return;
    }
    passed();
    rooms_intact();
}

static void pool_case(const subject *s, kind what, size_t shape, bool add)
{
    const bp_pool p = pool_of(shapes[shape]);
    const size_t nr = s->k->nr, in = p.height * p.width, out = p.out_height * p.out_width;
    fill(x, in * nr, what);
    fill(dy, out * nr, what);
    fill(before, MOST_PLACES * MOST_NR, what);
    for (size_t e = 0; e < in * nr; ++e) largest_dx[e] = mean_dx[e] = add ? before[e] : 0;
    for (size_t i = 0; i < out; ++i)
        for (size_t lane = 0; lane < nr; ++lane)
            window(&p, nr, i / p.out_width, i % p.out_width, lane);
    for (size_t n = 0; n <= nr; ++n) {
        const size_t slack = n % 2 * sizeof(real);
        const real *x_in = place_input(s, X_ROOM, x, in, n);
        const real *dy_in = place_input(s, DY_ROOM, dy, out, n);
        kernel_is("max_pool", "data shape n");
        BEGIN(what, shape, n);
        real *y = reals_copy(Y_ROOM, before, out * nr, slack);
        s->k->max_pool(y, x_in, &p, n);
        compare(s, "y", y, largest, out, n);
        kernel_is("mean_pool", "data shape n");
        BEGIN(what, shape, n);
        y = reals_copy(Y_ROOM, before, out * nr, slack);
        s->k->mean_pool(y, x_in, &p, n);
        compare(s, "y", y, mean, out, n);
        kernel_is("max_pool_grad", "data shape n add");
        BEGIN(what, shape, n, add);
        real *dx = reals_copy(DX_ROOM, before, in * nr, slack);
        s->k->max_pool_grad(dx, dy_in, place_input(s, Y_ROOM, largest, out, n), x_in, &p, n, add);
        compare(s, "dx", dx, largest_dx, in, n);
        kernel_is("mean_pool_grad", "data shape n add");
        BEGIN(what, shape, n, add);
        dx = reals_copy(DX_ROOM, before, in * nr, slack);
        s->k->mean_pool_grad(dx, dy_in, &p, n, add);
        compare(s, "dx", dx, mean_dx, in, n);
    }
}

void NAME(check_pool)(const subject *s)
{
    if (s->k->nr > MOST_NR) {
        kernel_is("pool", "nr");
        BEGIN(s->k->nr);
        failed("enlarge MOST_NR");
        return;
    }
    for (kind what = RANDOM; what < N_KINDS; ++what) {
        for (size_t shape = 0; shape < N_SHAPES; ++shape) {
            pool_case(s, what, shape, false);
            pool_case(s, what, shape, true);
        }
    }
}

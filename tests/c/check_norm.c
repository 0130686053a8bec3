/* check_norm.c - normalisation of columns against its formulas in their fixed shapes, bit for bit.
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "check_real.h"

enum {
    X_ROOM,
    DY_ROOM,
    OUT_ROOM,
    GAMMA_ROOM,
    BETA_ROOM,
    DOUBLE_ROOM,
    MOST_NR = 64,
    MOST_ROWS = 260,
    BLOCK = 64,
    CHAINS = 4
};

static real fold_four(const real chain[CHAINS])
{
    return (chain[0] + chain[1]) + (chain[2] + chain[3]);
}

/* One column x[m], nr apart. */
static void block_moments(const subject *s, const real *x, size_t m, real *mean, real *m2)
{
    const size_t nr = s->k->nr;
    real sum[CHAINS] = {0}, squares[CHAINS] = {0};
    for (size_t i = 0; i < m; ++i) sum[i % CHAINS] = sum[i % CHAINS] + x[i * nr];
    *mean = fold_four(sum) / (real)m;
    for (size_t i = 0; i < m; ++i) {
        const real d = x[i * nr] - *mean;
        squares[i % CHAINS] = link(s, d, d, squares[i % CHAINS]);
    }
    *m2 = fold_four(squares);
}

static void shard_moments(const subject *s, const real *x, size_t m, real *mean, real *m2)
{
    block_moments(s, x, bp_min(BLOCK, m), mean, m2);
    for (size_t done = BLOCK; done < m; done += BLOCK) {
        const size_t n = bp_min(BLOCK, m - done);
        const double share = (double)n / (double)(done + n);
        real block_mean, block_m2;
        block_moments(s, x + done * s->k->nr, n, &block_mean, &block_m2);
        const real d = block_mean - *mean, both = *m2 + block_m2;
        *mean = link(s, d, (real)share, *mean);
        *m2 = link(s, d * d, (real)(share * (double)done), both);
    }
}

static void statistics_case(const subject *s, size_t m, size_t shard, size_t slack, kind what)
{
    const size_t nr = s->k->nr, shards = bp_ceil_div(m, shard);
    real *x = reals(X_ROOM, m * nr, slack), *stats = reals(OUT_ROOM, 2 * shards * nr, slack);
    real want[2 * MOST_NR];
    fill(x, m * nr, what);
    kernel_is("col_stats", "m shard slack data");
    BEGIN(m, shard, slack, what);
    s->k->col_stats(stats, x, m, shard);
    for (size_t i = 0; i < shards; ++i) {
        for (size_t j = 0; j < nr; ++j)
            shard_moments(s, x + i * shard * nr + j, bp_min(shard, m - i * shard), &want[j],
                          &want[nr + j]);
        same("stats", stats + 2 * i * nr, want, 2 * nr);
    }
    rooms_intact();

    kernel_is("merge_stats", "m shard slack data");
    BEGIN(m, shard, slack, what);
    double *both = place(DOUBLE_ROOM, 2 * nr * sizeof(double), 0);
    s->k->merge_stats(both, both + nr, stats, m, shard);
    bool ok = true;
    for (size_t j = 0; j < nr; ++j) {
        const double each = (double)shard, rest = (double)(m - (shards - 1) * shard);
        const real *last = stats + 2 * (shards - 1) * nr + j;
        double total = 0, within = 0, between = 0;
        for (size_t i = 0; i + 1 < shards; ++i) total += (double)stats[2 * i * nr + j];
        const double mean = (each * total + rest * (double)last[0]) / (double)m;
        for (size_t i = 0; i + 1 < shards; ++i) {
            const double d = (double)stats[2 * i * nr + j] - mean;
            within += (double)stats[(2 * i + 1) * nr + j];
            between += d * d;
        }
        const double d = (double)last[0] - mean;
        const double m2 = within + (double)last[nr] + (each * between + rest * (d * d));
        ok = ok && (both[j] == mean || mean != mean) && (both[nr + j] == m2 || m2 != m2);
    }
    verdict(ok, "not the merged moments");
    rooms_intact();
}

/* Against two passes in long double, far from zero: what one pass over squares would lose. Each shard's
 * mean is off by EPS of its size times a chain's length, M2 by the square of that, and by its own sums. */
static void far_case(const subject *s, size_t m, size_t shard, double offset)
{
    const size_t nr = s->k->nr;
    real *x = reals(X_ROOM, m * nr, 0), *stats = reals(OUT_ROOM, 2 * bp_ceil_div(m, shard) * nr, 0);
    double mean[MOST_NR], m2[MOST_NR];
    bool ok = true;
    BEGIN(m, shard, (size_t)offset);
    for (size_t e = 0; e < m * nr; ++e) x[e] = (real)(offset + random_normal());
    s->k->col_stats(stats, x, m, shard);
    s->k->merge_stats(mean, m2, stats, m, shard);
    for (size_t j = 0; j < nr; ++j) {
        wide exact = 0, squares = 0;
        for (size_t i = 0; i < m; ++i) exact += x[i * nr + j] / (wide)m;
        for (size_t i = 0; i < m; ++i) {
            const wide d = x[i * nr + j] - exact;
            squares += d * d;
        }
        const wide off = 20 * (wide)EPS * (1 + (wide)offset);
        ok = ok && fabsl(mean[j] - exact) <= off;
        ok = ok && fabsl(m2[j] - squares) <=
                       40 * (wide)EPS * squares + (wide)m * off * off + 2 * off * sqrtl(squares);
    }
    verdict(ok, "the mean or M2 is far from two passes in long double");
}

static void slopes_case(const subject *s, size_t m, size_t shard, size_t slack, kind what)
{
    const size_t nr = s->k->nr, shards = bp_ceil_div(m, shard);
    real *x = reals(X_ROOM, m * nr, slack), *dy = reals(DY_ROOM, m * nr, slack);
    real *mean = reals(GAMMA_ROOM, nr, slack), *factor = reals(BETA_ROOM, nr, slack);
    real *sums = reals(OUT_ROOM, 2 * shards * nr, slack);
    double *totals = place(DOUBLE_ROOM, 2 * nr * sizeof(double), 0), want[2 * MOST_NR] = {0};
    bool ok = true;
    fill(x, m * nr, what);
    fill(dy, m * nr, what);
    fill_tame(mean, nr, -1, 1);
    fill_tame(factor, nr, 0.1, 3);
    kernel_is("col_slopes", "m shard slack data");
    BEGIN(m, shard, slack, what);
    s->k->col_slopes(sums, dy, x, mean, factor, m, shard);
    for (size_t i = 0; i < shards; ++i) {
        real both[2 * MOST_NR];
        const size_t end = bp_min(m, (i + 1) * shard);
        for (size_t j = 0; j < nr; ++j) {
            real slope = 0, total = 0;
            for (size_t from = i * shard; from < end; from += BLOCK) {
                real a[CHAINS] = {0}, b[CHAINS] = {0};
                for (size_t r = from; r < bp_min(end, from + BLOCK); ++r) {
                    const size_t c = (r - from) % CHAINS;
                    a[c] = link(s, dy[r * nr + j], x[r * nr + j] - mean[j], a[c]);
                    b[c] = b[c] + dy[r * nr + j];
                }
                slope = slope + fold_four(a);
                total = total + fold_four(b);
            }
            both[j] = slope * factor[j];
            both[nr + j] = total;
        }
        same("sums", sums + 2 * i * nr, both, 2 * nr);
    }
    rooms_intact();

    kernel_is("add_rows, widen", "m shard slack data");
    BEGIN(m, shard, slack, what);
    s->k->add_rows(totals, sums, shards, 2 * nr);
    for (size_t i = 0; i < shards; ++i)
        for (size_t e = 0; e < 2 * nr; ++e) want[e] += (double)sums[2 * i * nr + e];
    for (size_t e = 0; e < 2 * nr; ++e) ok = ok && (totals[e] == want[e] || want[e] != want[e]);
    verdict(ok, "not the sums of rows in order");
    s->k->widen(totals, x, nr);
    for (size_t e = 0; e < nr; ++e) ok = ok && (totals[e] == (double)x[e] || x[e] != x[e]);
    verdict(ok, "widened to something else");
    rooms_intact();
}

static void columns_case(const subject *s, size_t m, int layout, int present, kind what)
{
    const size_t nr = s->k->nr, n = m * nr, slack = SLACK(layout);
    real vectors[4][MOST_NR], want[MOST_NR * MOST_ROWS];
    real *x = reals(X_ROOM, n, slack), *dy = reals(DY_ROOM, n, slack);
    const bool center = present & 1, shift = present & 2;
    fill(x, n, what);
    fill(dy, n, what);
    for (size_t v = 0; v < 4; ++v) fill_tame(vectors[v], nr, -2, 2);

    kernel_is("norm_columns_back", "m layout center,shift data");
    BEGIN(m, (size_t)layout, (size_t)present, what);
    for (size_t e = 0; e < n; ++e) {
        const size_t j = e % nr;
        const real d = dy[e] - vectors[2][j], t = x[e] - vectors[0][j];
        want[e] = vectors[3][j] * link_minus(s, t, vectors[1][j], d);
    }
    real *dx = IN_PLACE(layout) ? dy : reals(OUT_ROOM, n, slack);
    s->k->norm_columns_back(dx, dy, x, vectors[0], vectors[1], vectors[2], vectors[3], m);
    same("dx", dx, want, n);

    kernel_is("norm_columns", "m layout center,shift data");
    BEGIN(m, (size_t)layout, (size_t)present, what);
    for (size_t e = 0; e < n; ++e) {
        const size_t j = e % nr;
        const real t = x[e] - (center ? vectors[0][j] : 0);
        want[e] = link(s, t, vectors[3][j], shift ? vectors[1][j] : 0);
    }
    real *y = IN_PLACE(layout) ? x : reals(OUT_ROOM, n, slack);
    s->k->norm_columns(y, x, center ? vectors[0] : NULL, vectors[3], shift ? vectors[1] : NULL, m);
    same("y", y, want, n);
    rooms_intact();
}

void NAME(check_norm)(const subject *s)
{
    if (s->k->nr > MOST_NR) {
        failed("enlarge MOST_NR");
        return;
    }
    const size_t sizes[][2] = {{1, 8},     {3, 8},     {7, 8},     {8, 8},    {9, 8},
                               {16, 8},    {61, 8},    {5, 16},    {33, 16},  {63, 64},
                               {64, 64},   {65, 72},   {72, 72},   {73, 72},  {200, 72},
                               {255, 128}, {256, 128}, {257, 128}, {259, 400}};
    for (kind what = RANDOM; what < N_KINDS; ++what) {
        for (size_t slack = 0; slack <= sizeof(real); slack += sizeof(real)) {
            for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; ++i) {
                statistics_case(s, sizes[i][0], sizes[i][1], slack, what);
                slopes_case(s, sizes[i][0], sizes[i][1], slack, what);
            }
        }
        for (size_t m = 0; m < 10; ++m)
            for (int layout = 0; layout < LAYOUTS; ++layout)
                for (int present = 0; present < 4; ++present)
                    columns_case(s, m, layout, present, what);
    }
    kernel_is("col_stats, merge_stats", "m shard offset");
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; ++i)
        for (double offset = 0; offset <= 10000; offset = 100 * offset + 1)
            far_case(s, sizes[i][0], sizes[i][1], offset);
}

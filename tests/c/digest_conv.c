/* digest_conv.c - convolution and pooling of the same images, whatever the row's panels.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Data and results as in digest_kernels.c. A chain takes taps in their order and channels inside, so
 * that it is the same however channels are cut into panels.
 */
#include "digest_real.h"

typedef struct {
    size_t samples, height, width, channels, taps_y, taps_x, stride, out;
} image_shape;

static const image_shape shapes[] = {{1, 1, 1, 1, 1, 1, 1, 1},   {2, 5, 6, 17, 3, 2, 1, 37},
                                     {3, 4, 4, 33, 2, 2, 2, 5},  {1, 7, 8, 3, 3, 3, 2, 64},
                                     {2, 1, 29, 8, 1, 3, 1, 16}, {1, 2, 39, 5, 2, 1, 1, 33}};
enum { N_SHAPES = sizeof shapes / sizeof shapes[0], MOST_RUNS = 64 };

/* Plain rows: positions of images, rows of kernels. */
static real x[MOST * MOST], y[MOST * MOST], w[MOST * MOST], bias[MOST + MOST_NR];
static real x_panels[PANELS], y_panels[PANELS], w_panels[PANELS];

/* One convolution. Deep: each channel by itself, and as many filters as channels. */
typedef struct {
    const bp_kernels *k;
    image_shape v;
    bool deep;
    size_t out_height, out_width, in_rows, out_rows; /* rows: positions of all samples */
    size_t w_rows, x_panel, y_panel, w_panel;        /* elements from panel to panel */
    bp_run runs[MOST_RUNS];
    size_t n_runs;
} convolution;

static convolution drawn(const bp_kernels *k, const image_shape *shape, bool deep, kind what)
{
    convolution c = {.k = k, .v = *shape, .deep = deep};
    image_shape *v = &c.v;
    if (deep) v->out = v->channels;
    c.out_height = (v->height - v->taps_y) / v->stride + 1;
    c.out_width = (v->width - v->taps_x) / v->stride + 1;
    c.in_rows = v->samples * v->height * v->width;
    c.out_rows = v->samples * c.out_height * c.out_width;
    c.w_rows = v->taps_y * v->taps_x * (deep ? 1 : v->channels);
    c.x_panel = c.in_rows * k->nr;
    c.y_panel = c.out_rows * k->nr;
    c.w_panel = c.w_rows * k->nr;
    for (size_t i = 0; i < v->taps_y; ++i)
        for (size_t j = 0; j < v->taps_x; ++j)
            for (size_t first = 0; first < (deep ? 1 : v->channels); first += k->nr)
                c.runs[c.n_runs++] =
                    (bp_run){(i * v->width + j) * k->nr + first / k->nr * c.x_panel,
                             deep ? 1 : bp_min(k->nr, v->channels - first)};
    fill(x, MOST * MOST, what);
    fill(y, MOST * MOST, what);
    fill(w, MOST * MOST, what);
    fill(bias, MOST + MOST_NR, what);
    k->pack(x_panels, x, c.in_rows, v->channels, v->channels, c.x_panel);
    k->pack(y_panels, y, c.out_rows, v->out, v->out, c.y_panel);
    k->pack(w_panels, w, c.w_rows, v->out, v->out, c.w_panel);
    return c;
}

#define FOR_CONVOLUTIONS(c, deep)            \
    FOR_KINDS(what)                          \
    for (size_t s_ = 0; s_ < N_SHAPES; ++s_) \
        for (convolution c = drawn(k, &shapes[s_], deep, what), *once_ = &c; once_; once_ = NULL)
#define FOR_PANELS(j, n) for (size_t j = 0; j * k->nr < (n); ++j)

static void forward(const convolution *c, bp_start start, bool relu)
{
    const bp_kernels *k = c->k;
    const image_shape *v = &c->v;
    const bp_steps steps = {v->stride * k->nr, k->nr, k->vl};
    FOR_PANELS(j, v->out) for (size_t i = 0; i < v->samples * c->out_height; ++i)
    {
        const size_t line = i / c->out_height * v->height +
                            i % c->out_height * v->stride; /* of x, in all samples */
        const real *from = x_panels + line * v->width * k->nr + (c->deep ? j * c->x_panel : 0);
        (c->deep ? k->depth_rows : k->conv_rows)(
            y_panels + j * c->y_panel + i * c->out_width * k->nr, from, w_panels + j * c->w_panel,
            start == BP_FROM_BIAS ? bias + j * k->nr : NULL, c->runs, c->n_runs, &steps,
            c->out_width, bp_min(k->nr, v->out - j * k->nr), start, relu);
    }
    k->unpack(y, y_panels, c->out_rows, v->out, v->out, c->y_panel);
    results(y, c->out_rows * v->out);
}

/* The gradient of the kernel, from what w holds or from zero. */
static void gradient(const convolution *c, bp_start start)
{
    const bp_kernels *k = c->k;
    const image_shape *v = &c->v;
    const bp_walk walk = {v->samples,
                          c->out_height,
                          c->out_width,
                          v->height * v->width * k->nr,
                          v->stride * v->width * k->nr,
                          v->stride * k->nr};
    FOR_PANELS(j, v->out)
    {
        real *g = w_panels + j * c->w_panel;
        const real *dz = y_panels + j * c->y_panel;
        const size_t n = bp_min(k->nr, v->out - j * k->nr);
        if (c->deep)
            k->depth_block(g, x_panels + j * c->x_panel, dz, c->runs, c->n_runs, &walk, n, start);
        for (size_t r = 0; r < c->n_runs && !c->deep; g += c->runs[r++].depth * k->nr)
            k->conv_block(g, x_panels + c->runs[r].at, dz, &walk, c->runs[r].depth, n, start);
    }
    k->unpack(w, w_panels, c->w_rows, v->out, v->out, c->w_panel);
    results(w, c->w_rows * v->out);
}

static void products(const bp_kernels *k)
{
    for (int deep = 0; deep < 2; ++deep) {
        NAMED(deep ? "depth_rows" : "conv_rows", "")
        for (bp_start start = BP_FROM_ZERO; start <= BP_FROM_C; ++start)
            for (int relu = 0; relu < 2; ++relu) FOR_CONVOLUTIONS(c, deep) forward(&c, start, relu);
        NAMED(deep ? "depth_block" : "conv_block", "")
        for (bp_start start = BP_FROM_ZERO; start <= BP_FROM_C; start += BP_FROM_C - BP_FROM_ZERO)
            FOR_CONVOLUTIONS(c, deep) gradient(&c, start);
    }
}

/* ---- columns ---- */

static void columns(const bp_kernels *k)
{
    enum { ROWS = 5, COLS = 70, TAKEN = 21, FIRST = 2, STEP = 3 };
    const size_t stride = ROWS * k->nr;
    NAMED("pack_runs", "") FOR_KINDS(what) for (size_t step = 1; step < 4; ++step)
    {
        const bp_run runs[] = {{0, 2}, {20, 1}}; /* every NR holds them */
        const bp_walk walk = {.lines = 3, .places = 4, .a_line = 20, .a_step = step};
        fill(x, MOST, what);
        k->pack_runs(y_panels, x, runs, 2, &walk);
        for (size_t i = 0; i < walk.lines * walk.places; ++i) results(y_panels + i * k->nr, 3);
    }
    NAMED("take_columns, put_columns", "") FOR_KINDS(what)
    {
        fill(x, ROWS * COLS, what);
        fill(y, ROWS * COLS, what);
        k->pack(x_panels, x, ROWS, COLS, COLS, stride);
        k->pack(y_panels, y, ROWS, COLS, COLS, stride);
        k->take_columns(w_panels, x_panels, ROWS, FIRST, STEP, TAKEN, stride, stride);
        k->put_columns(y_panels, w_panels, ROWS, STEP, FIRST, TAKEN, stride, stride);
        k->unpack(w, w_panels, ROWS, TAKEN, TAKEN, stride);
        k->unpack(y, y_panels, ROWS, COLS, COLS, stride);
        results(w, ROWS * TAKEN);
        results(y, ROWS * COLS);
    }
    NAMED("relu_grad_rows, clear_rows", "") FOR_KINDS(what) FOR_SIZES(n)
    {
        fill(x, ROWS * n, what);
        fill(y, ROWS * n, what);
        k->pack(x_panels, x, ROWS, n, n, stride);
        k->pack(y_panels, y, ROWS, n, n, stride);
        FOR_PANELS(j, n)
        {
            real *const dz = w_panels + j * stride;
            const size_t part = bp_min(k->nr, n - j * k->nr);
            k->relu_grad_rows(dz, x_panels + j * stride, y_panels + j * stride, ROWS, part);
            k->clear_rows(dz + k->nr, 1, part);
        }
        k->unpack(w, w_panels, ROWS, n, n, stride);
        results(w, ROWS * n);
    }
}

/* ---- pooling ---- */

static const bp_pool pools[] = {{4, 6, 2, 3, 2, 2, 2, 2, 0, 0}, {5, 7, 3, 4, 3, 3, 2, 2, 1, 1},
                                {6, 5, 6, 5, 2, 2, 1, 1, 1, 1}, {4, 4, 1, 1, 4, 4, 4, 4, 0, 0},
                                {7, 7, 2, 3, 2, 1, 4, 3, 0, 0}, {1, 30, 1, 30, 1, 5, 1, 1, 0, 2}};
enum { N_POOLS = sizeof pools / sizeof pools[0] };

static void pooling(const bp_kernels *k)
{
    enum { CHANNELS = 37 };
    NAMED("max_pool, mean_pool and their gradients", "")
    FOR_KINDS(what) for (size_t i = 0; i < N_POOLS; ++i)
    {
        const bp_pool *p = &pools[i];
        const size_t in = p->height * p->width, out = p->out_height * p->out_width;
        const size_t in_panel = in * k->nr, out_panel = out * k->nr;
        fill(x, in * CHANNELS, what);
        for (int max = 0; max < 2; ++max) {
            k->pack(x_panels, x, in, CHANNELS, CHANNELS, in_panel);
            FOR_PANELS(j, CHANNELS)
            (max ? k->max_pool : k->mean_pool)(y_panels + j * out_panel, x_panels + j * in_panel, p,
                                               bp_min(k->nr, CHANNELS - j * k->nr));
            k->unpack(y, y_panels, out, CHANNELS, CHANNELS, out_panel);
            results(y, out * CHANNELS);
            for (int add = 0; add < 2; ++add) { /* dy = y */
                k->pack(w_panels, x, in, CHANNELS, CHANNELS, in_panel);
                FOR_PANELS(j, CHANNELS)
                {
                    const size_t n = bp_min(k->nr, CHANNELS - j * k->nr);
                    const real *of = y_panels + j * out_panel;
                    real *dx = w_panels + j * in_panel;
                    if (max)
                        k->max_pool_grad(dx, of, of, x_panels + j * in_panel, p, n, add);
                    else
                        k->mean_pool_grad(dx, of, p, n, add);
                }
                k->unpack(w, w_panels, in, CHANNELS, CHANNELS, in_panel);
                results(w, in * CHANNELS);
            }
        }
    }
}

/* ---- pooling with places, and products with its gradient ---- */

static void sparse(const bp_kernels *k)
{
    enum { CHANNELS = 3, PLACES = 9, COLUMNS = 3, STEP = 17, VECTORS = 16 };
    const bp_pool p = {4, 4, 2, 2, 2, 2, 2, 2, 0, 0};
    const size_t n = VECTORS / bp_min(VECTORS, k->vl), row = bp_max(VECTORS, k->vl);
    static uint8_t from[4 * MOST_NR];
    static uint32_t counts[PLACES], columns[PLACES * COLUMNS];
    static real values[PLACES * COLUMNS];
    const bp_sparse list = {counts, columns, values, COLUMNS};
    size_t at[VECTORS];
    for (size_t i = 0; i < n; ++i) at[i] = i * k->vl;
    NAMED("max_pool_at, max_pool_take, max_pool_spread", "") FOR_KINDS(what)
    {
        fill(x, 16 * CHANNELS, what);
        k->pack(x_panels, x, 16, CHANNELS, CHANNELS, 16 * k->nr);
        k->max_pool_at(y_panels, from, x_panels, &p, CHANNELS);
        for (size_t i = 0; i < 4; ++i) results(y_panels + i * k->nr, CHANNELS);
        for (size_t i = 0; i < 4; ++i)
            for (size_t c = 0; c < CHANNELS; ++c) digest(from[i * k->nr + c]);
        k->max_pool_take(w_panels, from, x_panels, &p, CHANNELS);
        for (size_t i = 0; i < 4; ++i) results(w_panels + i * k->nr, CHANNELS);
        k->max_pool_spread(w_panels, y_panels, from, &p, 0, CHANNELS);
        for (size_t i = 0; i < 8; ++i) results(w_panels + i * k->nr, CHANNELS);
    }
    NAMED("list_entries, sparse_rows, sparse_block", "") FOR_KINDS(what)
    {
        fill(x, 16 * CHANNELS, what);
        k->pack(x_panels, x, 16, CHANNELS, CHANNELS, 16 * k->nr);
        k->max_pool_at(y_panels, from, x_panels, &p, CHANNELS);
        memset(counts, 0, sizeof counts);
        k->list_entries(&list, y_panels, from, &p, 0, 0, CHANNELS);
        fill(y, PLACES * STEP + row, what);
        fill(w, COLUMNS * row, what);
        k->sparse_block(w, y, &list, 0, PLACES - 1, at, n, STEP);
        results(w, VECTORS);
        k->sparse_rows(y, w, &list, 0, PLACES - 1, at, n, STEP);
        results(y, PLACES * STEP - STEP);
    }
}

void NAME(digest_conv)(const bp_kernels *k)
{
    products(k);
    columns(k);
    pooling(k);
    sparse(k);
}

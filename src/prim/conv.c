/* conv.c - convolution as a product without its left factor: windows are read where they stand.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * A tile of the kernels is up to MR positions at equal distances: those of a line, or, where lines are
 * short, the same position of several samples. Loops of the forward product, outermost first:
 *
 *   1  bands       of lines         some hundred positions, whose outputs stay in L2
 *   2  k blocks    of runs          BP_DEPTH rows of the kernel: a panel of them in L1
 *   3  panels      of columns
 *   4  lines       inside the band
 *   5  tiles, runs, p ascending     inside conv_rows
 *
 * The gradient of the input goes the other way: a tile of dz times the kernel's transpose is added
 * to a line of dx, one tap after another. Positions of dz ascend outside, taps descend along the
 * line: so whatever the tiles are, an element of dx takes its positions of dz in ascending order, and
 * only products that exist are computed, at any stride and dilation.
 */
#include "conv.h"

enum { BP_DEPTH = 256, BP_BAND = 256 };

/* A line fills a tile badly where it is shorter than half of one. */
static bool across_samples(const bp_kernels *k, const bp_conv *c, size_t samples)
{
    return c->out_width < samples && c->out_width <= k->mr / 2;
}

static size_t channel_panels(const bp_kernels *k, const bp_conv *c)
{
    return bp_panel_count(k, c->channels);
}

size_t bp_conv_most_runs(const bp_conv *c, size_t planes)
{
    return bp_max(c->taps_y * c->taps_x * c->channels, bp_max(c->out, planes));
}

static const void *place_of(const bp_kernels *k, const bp_images *i, size_t sample, size_t line,
                            size_t place)
{
    return bp_cat(i->data, sample * i->image + line * i->line + place * i->place, k->size);
}

size_t bp_conv_runs(const bp_kernels *k, const bp_conv *c, const bp_images *x, bp_run *runs)
{
    const bool joined = x->panel == 0 && c->dilation_x == 1;
    const size_t step = x->panel ? k->nr : c->channels;
    size_t n = 0;
    for (size_t i = 0; i < c->taps_y; ++i) {
        const size_t line = i * c->dilation_y * x->line;
        if (joined) {
            runs[n++] = (bp_run){line, c->taps_x * c->channels};
            continue;
        }
        for (size_t j = 0; j < c->taps_x; ++j) {
            const size_t at = line + j * c->dilation_x * x->place;
            for (size_t first = 0; first < c->channels; first += step)
                runs[n++] = (bp_run){at + first / step * x->panel,
                                     c->deep ? 1 : bp_min(step, c->channels - first)};
        }
    }
    return n;
}

/* The runs of one panel's lanes at each tap. */
static size_t list_taps(const bp_conv *c, const bp_images *x, bp_run *runs)
{
    size_t n = 0;
    for (size_t i = 0; i < c->taps_y; ++i)
        for (size_t j = 0; j < c->taps_x; ++j)
            runs[n++] = (bp_run){i * c->dilation_y * x->line + j * c->dilation_x * x->place, 1};
    return n;
}

/* ---- forward ---- */

typedef struct {
    const bp_kernels *k;
    const bp_conv *c;
    const bp_images *y, *x;
    size_t samples;
    bp_steps steps;
} sweep;

/* Rows of tiles: a line of one sample, or a position of all. */
typedef struct {
    size_t sample, line, place, m;
} row_of_tiles;

static size_t rows_of_tiles(const sweep *s, bool across)
{
    return across ? s->c->out_height * s->c->out_width : s->samples * s->c->out_height;
}

static row_of_tiles row_at(const sweep *s, bool across, size_t index)
{
    const size_t per = across ? s->c->out_width : s->c->out_height;
    return across ? (row_of_tiles){0, index / per, index % per, s->samples}
                  : (row_of_tiles){index / per, index % per, 0, s->c->out_width};
}

void bp_conv_forward(const bp_kernels *k, const bp_conv *c, bp_images y, bp_images x, bp_panels w,
                     const void *bias, size_t samples, bool relu, bp_run *runs)
{
    const bool across = across_samples(k, c, samples);
    const sweep s = {
        k,  c,       &y,
        &x, samples, {across ? x.image : c->stride_x * x.place, across ? y.image : y.place, k->vl}};
    const size_t n_runs = c->deep ? list_taps(c, &x, runs) : bp_conv_runs(k, c, &x, runs);
    const size_t rows = rows_of_tiles(&s, across);
    const size_t band = bp_max(BP_BAND / (across ? samples : c->out_width), 1);
    for (size_t first = 0; first < rows; first += band) {
        for (size_t r = 0, depth, p = 0, last; r < n_runs; r = last, p += depth) {
            for (depth = 0, last = r; last < n_runs && depth < BP_DEPTH; ++last)
                depth += runs[last].depth;
            const bp_start start = r > 0 ? BP_FROM_C : bias ? BP_FROM_BIAS : BP_FROM_ZERO;
            for (size_t j = 0; j < bp_panel_count(k, c->out); ++j) {
                const void *b = bp_panel(k, w, j, p);
                const void *from = bias ? bp_cat(bias, j * k->nr, k->size) : NULL;
                for (size_t i = first; i < bp_min(first + band, rows); ++i) {
                    const row_of_tiles t = row_at(&s, across, i);
                    const void *a =
                        place_of(k, &x, t.sample, t.line * c->stride_y, t.place * c->stride_x);
                    void *out = bp_at(y.data,
                                      t.sample * y.image + t.line * y.line + t.place * y.place +
                                          j * y.panel,
                                      k->size);
                    (c->deep ? k->depth_rows : k->conv_rows)(
                        out, c->deep ? bp_cat(a, j * x.panel, k->size) : a, b, from, runs + r,
                        last - r, &s.steps, t.m, bp_panel_width(k, c->out, j), start,
                        relu && last == n_runs);
                }
            }
        }
    }
}

/* ---- gradient of the input ---- */

/* Taps of a column whose channels fit one vector share a tile: they add to different lines of dx. */
static size_t taps_together(const bp_kernels *k, const bp_conv *c)
{
    return c->channels <= k->vl ? bp_min(k->nr / k->vl, c->taps_y) : 1;
}

size_t bp_conv_turned_size(const bp_conv *c)
{
    return bp_ceil_div(c->channels, BP_MOST_NR) * BP_MOST_NR * c->taps_y * c->taps_x * c->out;
}

bp_turned bp_conv_turn(const bp_kernels *k, const bp_conv *c, bp_panels wt, void *room)
{
    const size_t panels = channel_panels(k, c), taps = taps_together(k, c);
    if (c->channels % k->nr == 0)
        return (bp_turned){wt.data, 1, wt.stride, c->taps_x * panels * wt.stride,
                           panels * wt.stride};
    const size_t one = c->out * k->nr, groups = bp_ceil_div(c->taps_y, taps);
    const bp_turned t = {room, taps, groups * c->taps_x * one, c->taps_x * one, one};
    for (size_t j = 0; j < panels; ++j) {
        for (size_t y = 0; y < c->taps_y; ++y) {
            for (size_t x = 0; x < c->taps_x; ++x) {
                const size_t at = j * t.panel + y / taps * t.group + x * t.tap;
                k->take_columns(bp_at(room, at + y % taps * k->vl, k->size), wt.data, c->out,
                                (y * c->taps_x + x) * c->channels + j * k->nr, 1,
                                bp_panel_width(k, c->channels, j), 0, wt.stride);
            }
        }
    }
    return t;
}

/* Of indices first, first + step, ... (count of them, counted from `outside` before an image), those
 * inside it: [*from, *to). */
static void inside(size_t first, size_t step, size_t count, size_t outside, size_t size,
                   size_t *from, size_t *to)
{
    *from = first < outside ? bp_ceil_div(outside - first, step) : 0;
    *to = first < outside + size ? bp_min(count, (outside + size - first - 1) / step + 1) : 0;
    *from = bp_min(*from, *to);
}

/* One line of dz, or one position of it in all samples, to one panel of dx at one group of taps. */
typedef struct {
    const bp_kernels *k;
    const bp_conv *c;
    const bp_images *dx, *dz;
    const bp_turned *turned;
    const bp_run *runs;
    size_t n_runs, samples, panel;
    bool across;
} spread;

static void spread_group(const spread *s, row_of_tiles t, size_t group)
{
    const bp_kernels *k = s->k;
    const bp_conv *c = s->c;
    const size_t first = group * s->turned->taps;
    size_t up, down; /* taps of the group whose lines are inside */
    inside(t.line * c->stride_y + first * c->dilation_y, c->dilation_y,
           bp_min(s->turned->taps, c->taps_y - first), c->top, c->height, &up, &down);
    if (up == down) return;
    const size_t line = t.line * c->stride_y + (first + up) * c->dilation_y - c->top;
    const size_t width = bp_panel_width(k, c->channels, s->panel);
    const size_t n = s->turned->taps > 1 ? (down - up) * k->vl : width;
    const bp_steps steps = {s->across ? s->dz->image : s->dz->place,
                            s->across ? s->dx->image : c->stride_x * s->dx->place,
                            s->turned->taps > 1 ? c->dilation_y * s->dx->line : k->vl};
    for (size_t x = c->taps_x; x-- > 0;) {
        size_t from, to;
        inside(t.place * c->stride_x + x * c->dilation_x, c->stride_x, s->across ? 1 : t.m, c->left,
               c->width, &from, &to);
        if (from == to) continue;
        const size_t place = (t.place + from) * c->stride_x + x * c->dilation_x - c->left;
        const void *b = bp_cat(s->turned->w,
                               s->panel * s->turned->panel + group * s->turned->group +
                                   x * s->turned->tap + up * k->vl,
                               k->size);
        const void *a = place_of(k, s->dz, t.sample, t.line, t.place + from);
        (c->deep ? k->depth_rows : k->conv_rows)(
            bp_at(s->dx->data,
                  t.sample * s->dx->image + line * s->dx->line + place * s->dx->place +
                      s->panel * s->dx->panel,
                  k->size),
            c->deep ? bp_cat(a, s->panel * s->dz->panel, k->size) : a, b, NULL, s->runs, s->n_runs,
            &steps, s->across ? s->samples : to - from, n, BP_FROM_C, false);
    }
}

void bp_conv_backward(const bp_kernels *k, const bp_conv *c, bp_images dx, bp_images dz,
                      bp_turned turned, size_t planes, size_t plane, size_t samples, bp_run *runs)
{
    const bool across = across_samples(k, c, samples);
    const sweep s = {.k = k, .c = c, .samples = samples};
    const size_t n_runs = c->deep ? planes : bp_panel_count(k, c->out);
    for (size_t j = 0; j < n_runs; ++j)
        runs[j] =
            c->deep ? (bp_run){j * plane, 1} : (bp_run){j * dz.panel, bp_panel_width(k, c->out, j)};
    for (size_t j = 0; j < channel_panels(k, c); ++j) {
        const spread one = {k, c, &dx, &dz, &turned, runs, n_runs, samples, j, across};
        for (size_t i = 0; i < rows_of_tiles(&s, across); ++i)
            for (size_t g = 0; g < bp_ceil_div(c->taps_y, turned.taps); ++g)
                spread_group(&one, row_at(&s, across, i), g);
    }
}

/* ---- gradient of the kernel ---- */

/* Runs of few elements are few chains, which cannot hide their latency: the windows of some lines are
 * copied side by side, and all rows of the kernel share a tile. */
enum { BP_SHORT_RUN = 6, BP_PACKED = 128 };

static bool packs(const bp_kernels *k, const bp_conv *c, const bp_images *x)
{
    return x->panel == 0 && c->dilation_x == 1 && c->taps_y > 1 &&
           c->taps_x * c->channels <= BP_SHORT_RUN && c->taps_y * c->taps_x * c->channels <= k->nr;
}

static size_t packed_lines(const bp_conv *c) { return bp_max(BP_PACKED / c->out_width, 1); }

size_t bp_conv_packed_size(const bp_conv *c)
{
    return (packed_lines(c) * c->out_width + 1) * BP_MOST_NR;
}

static void packed_gradient(const bp_kernels *k, const bp_conv *c, bp_panels g, bp_images x,
                            bp_images dz, size_t samples, bp_start start, void *packed,
                            const bp_run *runs, size_t n_runs)
{
    const size_t rows = c->taps_y * c->taps_x * c->channels;
    for (size_t s = 0; s < samples; ++s) {
        for (size_t l = 0; l < c->out_height; l += packed_lines(c)) {
            const bp_walk walk = {.lines = bp_min(packed_lines(c), c->out_height - l),
                                  .places = c->out_width,
                                  .a_line = c->stride_y * x.line,
                                  .a_step = c->stride_x * x.place};
            k->pack_runs(packed, place_of(k, &x, s, l * c->stride_y, 0), runs, n_runs, &walk);
            for (size_t j = 0; j < bp_panel_count(k, c->out); ++j)
                k->gemm_block(bp_panel(k, g, j, 0), packed,
                              bp_cat(place_of(k, &dz, s, l, 0), j * dz.panel, k->size),
                              walk.lines * walk.places, rows, bp_panel_width(k, c->out, j),
                              s + l ? BP_FROM_C : start, NULL);
        }
    }
}

void bp_conv_gradient(const bp_kernels *k, const bp_conv *c, bp_panels g, bp_images x, bp_images dz,
                      size_t samples, bp_start start, void *packed, bp_run *runs)
{
    const size_t n_runs = c->deep ? list_taps(c, &x, runs) : bp_conv_runs(k, c, &x, runs);
    const bp_walk walk = {samples, c->out_height,        c->out_width,
                          x.image, c->stride_y * x.line, c->stride_x * x.place};
    if (packs(k, c, &x)) {
        packed_gradient(k, c, g, x, dz, samples, start, packed, runs, n_runs);
        return;
    }
    for (size_t j = 0; j < bp_panel_count(k, c->out); ++j) {
        const void *b = bp_cat(dz.data, j * dz.panel, k->size);
        const size_t n = bp_panel_width(k, c->out, j);
        if (c->deep) {
            k->depth_block(bp_panel(k, g, j, 0), bp_cat(x.data, j * x.panel, k->size), b, runs,
                           n_runs, &walk, n, start);
            continue;
        }
        for (size_t r = 0, row = 0; r < n_runs; row += runs[r++].depth)
            k->conv_block(bp_panel(k, g, j, row), bp_cat(x.data, runs[r].at, k->size), b, &walk,
                          runs[r].depth, n, start);
    }
}

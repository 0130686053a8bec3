/* conv_pool.c - a convolution and the max pooling that alone reads it, in one step.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * What the convolution gives lives in scratch, some lines at a time. Kept are the largest of each window
 * (and their pre-activations, where the derivative takes those) and a byte that says where it was:
 *
 *   forward    lines of z -> f -> their windows' largest: y, place
 *   backward   dz = dy f'(y or z)    of the largest alone
 *              db                    of each shard, column sums of each line of dz, added in order
 *              dW, dx                as in conv.c, over dz where it is not zero
 *
 * A window gives at most one of its positions a gradient, so dz is lists of columns (sparse.tmpl.h) and
 * most of the products' terms are not there. Kernels that see but a few elements along a line take
 * dense lines: their vectors would be nearly empty.
 */
#include "conv.h"

#include <string.h>

enum { BP_LINES = 256 }; /* positions of z at a time, which stay in L1 */

/* Offsets in scratch, elements; the frame of x comes first. */
typedef struct {
    bp_pool pool;
    size_t lines; /* of windows, forward at a time */
    size_t y, z, row, dz, counts, columns, values, g, turned, frame, read_at, write_at, packed,
        runs, end;
} room;

static size_t words(size_t count) { return bp_round_up(count, 2 * BP_MOST_NR); }

/* Elements that hold so many size_t. */
static size_t sizes(size_t count) { return words(count * (sizeof(size_t) / sizeof(float))); }

static room room_of(const bp_node *node, const bp_conv_cut *t)
{
    const bp_conv *c = &t->c;
    const bp_pool p = bp_pool_of(node->pool);
    const size_t out = bp_round_up(c->out, BP_MOST_NR), in = bp_round_up(c->channels, BP_MOST_NR);
    const size_t most = bp_max(BP_LINES / (p.stride_y * p.width), 1), taps = c->taps_y * c->taps_x;
    room r = {.pool = p, .lines = t->together > 1 ? p.out_height : bp_min(most, p.out_height)};
    const size_t high = bp_min((r.lines - 1) * p.stride_y + p.window_y, p.height);
    const size_t band = t->together * high * p.width * out, places = p.window_y * p.width + 1;
    r.y = words(t->w);
    r.z = r.y + words(bp_max(band, p.window_y * p.width * out));
    r.row = r.z + (bp_activation_keeps_input(node->activation) ? words(band) : 0);
    r.dz = r.row + BP_SCRATCH_ROWS * words(out);
    r.counts = r.dz + words(p.out_width * out);
    r.columns = r.counts + words(places);
    r.values = r.columns + words(places * out);
    r.g = r.values + words(places * out);
    r.turned = r.g + words(c->out * taps * in);
    r.frame = r.turned + words(c->out * taps * in) + words(taps * in);
    r.read_at = r.frame + words(t->framed * t->framed_x * in);
    r.write_at = r.read_at + sizes(taps * in);
    r.packed = r.write_at + sizes(taps * in);
    r.runs = r.packed + words(bp_conv_packed_size(c));
    r.end = r.runs + sizes(2 * bp_conv_most_runs(c, 1));
    return r;
}

size_t bp_conv_pool_scratch(const bp_node *node)
{
    const bp_conv_cut t = bp_conv_cut_of(node);
    return room_of(node, &t).end;
}

/* ---- forward ---- */

/* Lines first .. last of windows, as a pool of the lines that they see; *line: the first of those. */
static bp_pool band_of(const bp_pool *p, size_t first, size_t last, size_t *line)
{
    const size_t before = first * p->stride_y;
    bp_pool band = *p;
    *line = before > p->top ? before - p->top : 0;
    band.top = before > p->top ? 0 : p->top - before;
    band.height = bp_min((last - 1) * p->stride_y + p->window_y - p->top, p->height) - *line;
    band.out_height = last - first;
    return band;
}

static void pool_band(const bp_conv_work *w, const bp_step *step, const bp_pool *band, bp_panels y,
                      bp_panels z, size_t sample, size_t to)
{
    const bp_kernels *k = w->k;
    const size_t from = sample * band->height * band->width;
    for (size_t j = 0; j < bp_panel_count(k, w->node->out); ++j) {
        const size_t n = bp_panel_width(k, w->node->out, j);
        const bp_panels out = w->pass->m[step->out];
        if (step->mask == BP_NONE) {
            k->max_pool(bp_panel(k, out, j, to), bp_panel(k, y, j, from), band, n);
            continue;
        }
        const bp_panels masks = w->pass->m[step->mask];
        uint8_t *places = bp_at(masks.data, j * masks.stride + to * k->nr, 1);
        k->max_pool_at(bp_panel(k, out, j, to), places, bp_panel(k, y, j, from), band, n);
        if (step->kept != BP_NONE)
            k->max_pool_take(bp_panel(k, w->pass->m[step->kept], j, to), places,
                             bp_panel(k, z, j, from), band, n);
    }
}

void bp_conv_pool_forward(const bp_step *step, const bp_pass *pass, size_t row0, size_t rows)
{
    bp_conv_work w = bp_conv_begin(step, pass);
    const bp_kernels *k = w.k;
    const bp_node *node = w.node;
    const bp_weights *weights = &pass->w[node->index];
    const room at = room_of(node, &w.t);
    const bool relu = node->activation == BP_ACT_relu;
    const bool maps = !relu && node->activation != BP_ACT_identity;
    const bp_panels kernel = {weights->w, bp_round_up(weights->in, k->nr) * k->nr};
    w.runs = bp_conv_room(&w, at.runs);
    bp_conv_clear_frame(&w);
    for (size_t r = row0, n; r < row0 + rows; r += n) {
        n = bp_min(w.t.together, row0 + rows - r);
        const bp_images x = bp_conv_open_images(&w, pass->m[step->in], r, n, 0);
        for (size_t first = 0; first < at.pool.out_height; first += at.lines) {
            size_t line;
            const size_t last = bp_min(first + at.lines, at.pool.out_height);
            const bp_pool band = band_of(&at.pool, first, last, &line);
            const bp_shape shape = {band.height, band.width, node->out};
            const size_t stride = n * bp_positions(shape) * k->nr;
            const bp_panels y = {bp_conv_room(&w, at.y), stride};
            const bp_panels z = {step->kept != BP_NONE ? bp_conv_room(&w, at.z) : y.data, stride};
            bp_conv part = w.t.c;
            bp_images seen = x;
            part.out_height = band.height;
            seen.data = bp_at(x.data, line * part.stride_y * x.line, k->size);
            bp_conv_forward(k, &part, bp_conv_images(&w, z, 0, shape), seen, kernel, weights->bias,
                            n, relu, w.runs);
            if (maps)
                bp_activate(k, node->activation, y, z, node->out, 0, n * bp_positions(shape),
                            bp_conv_room(&w, at.row));
            for (size_t s = 0; s < n; ++s)
                pool_band(&w, step, &band, y, z, s,
                          ((r + s) * at.pool.out_height + first) * at.pool.out_width);
        }
    }
}

/* ---- backward ---- */

/* What a product reads or writes at each position, as whole vectors. */
typedef struct {
    bp_images images;
    size_t *at; /* [n] from the position's first element */
    size_t n, n_runs;
} lanes;

static lanes lanes_of(const bp_conv_work *w, bp_images images, void *at)
{
    lanes l = {.images = images, .at = at};
    l.n_runs = bp_conv_runs(w->k, &w->t.c, &images, w->runs);
    for (size_t r = 0; r < l.n_runs; ++r)
        for (size_t e = 0; e < w->runs[r].depth; e += w->k->vl) l.at[l.n++] = w->runs[r].at + e;
    return l;
}

/* W^T, a row of whole vectors for each column of W. */
static void turn(const bp_conv_work *w, const room *r, const lanes *l)
{
    const bp_kernels *k = w->k;
    const bp_weights *all = &w->pass->w[w->node->index];
    const size_t width = l->n * k->vl, rows = w->node->in;
    const bp_panels wt = {all->wt, bp_round_up(all->out, k->nr) * k->nr};
    char *to = bp_conv_room(w, r->turned), *row = bp_at(to, w->node->out * width, k->size);
    memset(to, 0, w->node->out * width * k->size);
    for (size_t o = 0; o < w->node->out; ++o) {
        const char *from = row;
        k->unpack(row, bp_panel(k, wt, 0, o), 1, rows, rows, wt.stride);
        for (size_t i = 0; i < l->n_runs; ++i) {
            const size_t bytes = w->runs[i].depth * k->size;
            memcpy(to, from, bytes);
            from += bytes;
            to += bp_round_up(w->runs[i].depth, k->vl) * k->size;
        }
    }
}

/* A shard's sums, [columns][vectors], to its rows of `partial`. */
static void put_kernel(const bp_conv_work *w, const room *r, const lanes *l, bp_panels partial,
                       size_t row)
{
    const bp_kernels *k = w->k;
    const size_t width = l->n * k->vl;
    bp_conv_runs(k, &w->t.c, &l->images, w->runs);
    for (size_t j = 0; j < bp_panel_count(k, w->node->out); ++j) {
        const char *g = bp_conv_room(w, r->g + j * k->nr * width);
        for (size_t i = 0, p = row; i < l->n_runs; p += w->runs[i++].depth) {
            k->transpose(bp_panel(k, partial, j, p), g, bp_panel_width(k, w->node->out, j),
                         w->runs[i].depth, width);
            g += bp_round_up(w->runs[i].depth, k->vl) * k->size;
        }
    }
}

/* Images of dx without what is outside, or the frame with what they hold. */
static bp_images open_dx(const bp_conv_work *w, const room *r, bp_panels dx, size_t row, bool add)
{
    const bp_kernels *k = w->k;
    const bp_conv *c = &w->t.c;
    const bp_images to = bp_conv_images(w, dx, row, w->node->from[0]);
    const size_t line = w->t.framed_x * k->nr, image = w->t.framed * line;
    const bp_images frame = {bp_conv_room(w, r->frame), k->nr, line, image, image};
    const bool framed = bp_conv_framed(w);
    for (size_t j = 0; j < bp_panel_count(k, c->channels); ++j) {
        char *at = bp_at(frame.data, j * image, k->size),
             *of = bp_at(to.data, j * to.panel, k->size);
        const size_t n = bp_panel_width(k, c->channels, j);
        if (framed) memset(at, 0, image * k->size);
        if (!framed && !add) k->clear_rows(of, c->height * c->width, n);
        at += (c->top * line + c->left * k->nr) * k->size;
        for (size_t y = 0; framed && add && y < c->height; ++y)
            memcpy(at + y * line * k->size, of + y * to.line * k->size, to.line * k->size);
    }
    return framed ? frame : to;
}

static void close_dx(const bp_conv_work *w, bp_images from, bp_panels dx, size_t row)
{
    const bp_kernels *k = w->k;
    const bp_conv *c = &w->t.c;
    const bp_images to = bp_conv_images(w, dx, row, w->node->from[0]);
    for (size_t j = 0; bp_conv_framed(w) && j < bp_panel_count(k, c->channels); ++j) {
        const size_t inside = j * from.panel + c->top * from.line + c->left * k->nr;
        for (size_t y = 0; y < c->height; ++y)
            memcpy(bp_at(to.data, j * to.panel + y * to.line, k->size),
                   bp_at(from.data, inside + y * from.line, k->size), to.line * k->size);
    }
}

/* A line of windows on its way back. */
typedef struct {
    const bp_conv_work *w;
    const bp_step *step;
    room at;
    size_t row, line; /* of the batch, of windows */
    bp_panels dz;     /* [out_width] of the largest */
} window_line;

static const uint8_t *places_of(const window_line *l, size_t panel)
{
    const bp_panels masks = l->w->pass->m[l->step->mask];
    const size_t row = (l->row * l->at.pool.out_height + l->line) * l->at.pool.out_width;
    return bp_cat(masks.data, panel * masks.stride + row * l->w->k->nr, 1);
}

static bp_panels derive(const window_line *l)
{
    const bp_kernels *k = l->w->k;
    const bp_node *node = l->w->node;
    const bp_pool *p = &l->at.pool;
    const size_t row = (l->row * p->out_height + l->line) * p->out_width;
    const bp_panels dy = l->w->pass->m[l->step->in], kept = l->w->pass->m[l->step->kept];
    const bp_panels dz = {bp_conv_room(l->w, l->at.dz), p->out_width * k->nr};
    for (size_t j = 0; j < bp_panel_count(k, node->out); ++j) {
        if (node->activation == BP_ACT_relu)
            k->relu_grad_rows(bp_panel(k, dz, j, 0), bp_panel(k, dy, j, row),
                              bp_panel(k, kept, j, row), p->out_width,
                              bp_panel_width(k, node->out, j));
        else
            k->grad[node->activation](bp_panel(k, dz, j, 0), bp_panel(k, dy, j, row),
                                      bp_panel(k, kept, j, row), p->out_width * k->nr);
    }
    return dz;
}

static void bias_gradient(const window_line *l, bp_panels partial, size_t at, bool first)
{
    const bp_kernels *k = l->w->k;
    _Alignas(BP_ALIGN) char sums[BP_MOST_NR * sizeof(double)];
    for (size_t j = 0; j < bp_panel_count(k, l->w->node->out); ++j) {
        void *to = bp_panel(k, partial, j, at);
        k->col_sums(first ? to : sums, bp_panel(k, l->dz, j, 0), l->at.pool.out_width);
        if (!first) k->add(to, sums, k->nr);
    }
}

/* The lines of dz that the windows see, and the images there. */
static bp_images seen_at(const window_line *l, bp_images images, size_t line)
{
    const bp_conv *c = &l->w->t.c;
    images.data = bp_at(images.data, line * c->stride_y * images.line, l->w->k->size);
    return images;
}

static void dense_gradient(const window_line *l, bp_panels g, bp_images x, bool first)
{
    const bp_kernels *k = l->w->k;
    const bp_pool *p = &l->at.pool;
    bp_conv part = l->w->t.c;
    size_t line;
    part.out_height = band_of(p, l->line, l->line + 1, &line).height;
    const bp_shape shape = {p->window_y, p->width, part.out};
    const size_t stride = bp_positions(shape) * k->nr;
    const bp_panels dz = {bp_conv_room(l->w, l->at.y), stride};
    for (size_t j = 0; j < bp_panel_count(k, part.out); ++j)
        k->max_pool_spread(bp_panel(k, dz, j, 0), bp_panel(k, l->dz, j, 0), places_of(l, j), p,
                           l->line, bp_panel_width(k, part.out, j));
    bp_conv_gradient(k, &part, g, seen_at(l, x, line), bp_conv_images(l->w, dz, 0, shape), 1,
                     first ? BP_FROM_ZERO : BP_FROM_C, bp_conv_room(l->w, l->at.packed),
                     l->w->runs);
}

static void sparse_gradients(const window_line *l, const lanes *x, const lanes *dx)
{
    const bp_kernels *k = l->w->k;
    const bp_conv *c = &l->w->t.c;
    const bp_pool *p = &l->at.pool;
    const bp_sparse list = {bp_conv_room(l->w, l->at.counts), bp_conv_room(l->w, l->at.columns),
                            bp_conv_room(l->w, l->at.values), bp_round_up(c->out, BP_MOST_NR)};
    size_t first;
    const size_t lines = band_of(p, l->line, l->line + 1, &first).height;
    memset(list.counts, 0, (p->window_y * p->width + 1) * sizeof *list.counts);
    for (size_t j = 0; j < bp_panel_count(k, c->out); ++j)
        k->list_entries(&list, bp_panel(k, l->dz, j, 0), places_of(l, j), p, l->line, j * k->nr,
                        bp_panel_width(k, c->out, j));
    for (size_t i = 0; i < lines; ++i) {
        if (x)
            k->sparse_block(bp_conv_room(l->w, l->at.g), seen_at(l, x->images, first + i).data,
                            &list, i * p->width, p->width, x->at, x->n,
                            c->stride_x * x->images.place);
        if (dx)
            k->sparse_rows(seen_at(l, dx->images, first + i).data, bp_conv_room(l->w, l->at.turned),
                           &list, i * p->width, p->width, dx->at, dx->n,
                           c->stride_x * dx->images.place);
    }
}

/* The same for all rows of the table, though not all pack (prim/conv.c). */
static bool is_dense(const bp_conv_work *w)
{
    enum { SHORT_RUN = 6 };
    const bp_conv *c = &w->t.c;
    return w->plain && c->dilation_x == 1 && c->taps_x * c->channels <= SHORT_RUN;
}

void bp_conv_pool_backward(const bp_step *step, const bp_pass *pass, size_t row0, size_t rows)
{
    bp_conv_work w = bp_conv_begin(step, pass);
    const bp_kernels *k = w.k;
    const bp_node *node = w.node;
    const bp_place *place = &pass->at[node->index];
    const bool trains = place->partial != BP_NONE, wants = step->out != BP_NONE;
    const bool dense = is_dense(&w), add = step->flags & BP_ADD;
    window_line l = {.w = &w, .step = step, .at = room_of(node, &w.t)};
    lanes x = {0}, dx = {0};
    w.runs = bp_conv_room(&w, l.at.runs);
    bp_conv_clear_frame(&w);
    for (l.row = row0; l.row < row0 + rows; ++l.row) {
        const size_t shard = l.row / BP_SHARD_ROWS, at = shard * (node->in + 1);
        const bool starts = l.row % BP_SHARD_ROWS == 0;
        const bool ends = l.row + 1 == row0 + rows || (l.row + 1) % BP_SHARD_ROWS == 0;
        if (trains) {
            const bp_images seen = bp_conv_open_images(&w, pass->m[place->x[0]], l.row, 1, 0);
            if (l.row == row0) x = lanes_of(&w, seen, bp_conv_room(&w, l.at.read_at));
            x.images = seen;
        }
        if (trains && starts && !dense)
            memset(bp_conv_room(&w, l.at.g), 0, node->out * x.n * k->vl * k->size);
        if (wants) {
            const bp_images to = open_dx(&w, &l.at, pass->m[step->out], l.row, add);
            if (l.row == row0) {
                dx = lanes_of(&w, to, bp_conv_room(&w, l.at.write_at));
                turn(&w, &l.at, &dx);
            }
            dx.images = to;
        }
        for (l.line = 0; l.line < l.at.pool.out_height; ++l.line) {
            const bool first = starts && l.line == 0;
            l.dz = derive(&l);
            if (trains && node->use_bias)
                bias_gradient(&l, pass->m[place->partial], at + node->in, first);
            if (trains && dense) {
                const bp_panels all = pass->m[place->partial];
                dense_gradient(&l, (bp_panels){bp_panel(k, all, 0, at), all.stride}, x.images,
                               first);
            }
            if ((trains && !dense) || wants)
                sparse_gradients(&l, trains && !dense ? &x : NULL, wants ? &dx : NULL);
        }
        if (wants) close_dx(&w, dx.images, pass->m[step->out], l.row);
        if (trains && ends && !dense) put_kernel(&w, &l.at, &x, pass->m[place->partial], at);
    }
}

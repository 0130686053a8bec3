/* conv.c - y = f(windows of x times W + b), one position of y for each place of the window.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * W's row (ky * width + kx) * channels + c meets channel c at tap (ky, kx); positions outside the image
 * are zeros, and data like any other. A vector is an image of height 1.
 *
 *   forward    y                       one chain over W's rows, from b
 *   backward   dz = dy f'(y or z)
 *              dW                      of each shard, one chain over its rows' positions
 *              db                      of each shard, its rows' column sums (col_sums), added in order
 *              dx                      one chain over the positions of dz that saw the element and
 *                                      their columns, ascending, from zero or from what it holds
 *
 * Groups of channels have products of their own. Their columns are taken out of the panels and put
 * back, but for kernels that see a channel each (Sifre 2014), which work on whole panels; with several
 * outputs a channel, on one plane of outputs after another.
 */
#include "conv.h"

#include <string.h>

bp_conv_cut bp_conv_cut_of(const bp_node *node)
{
    const bp_window *v = &node->window;
    const bp_shape from = node->from[0], to = node->to;
    const bool deep = v->groups > 1 && v->groups == from.channels;
    bp_conv_cut t = {.parts = deep ? 1 : v->groups,
                     .planes = deep ? to.channels / from.channels : 1};
    t.c = (bp_conv){from.height, from.width,    from.channels / t.parts,
                    to.height,   to.width,      to.channels / (t.parts * t.planes),
                    v->height,   v->width,      v->stride_y,
                    v->stride_x, v->dilation_y, v->dilation_x,
                    v->top,      v->left,       deep};
    t.whole = t.parts == 1 && t.planes == 1;
    t.framed = from.height + v->top + v->bottom;
    t.framed_x = from.width + v->left + v->right;
    t.together = bp_max(1, bp_min(BP_SHARD_ROWS, BP_TOGETHER / bp_positions(to)));

    const size_t in = bp_round_up(t.c.channels, BP_MOST_NR), out = bp_round_up(t.c.out, BP_MOST_NR);
    const size_t taps = v->height * v->width, rows = deep ? taps : taps * t.c.channels;
    const size_t local = t.whole ? 0 : t.planes * out;
    t.w = t.frame + t.together * t.framed * t.framed_x * in + BP_MOST_NR;
    t.bias = t.w + rows * local;
    t.turned = t.bias + local;
    t.out = t.turned + (deep ? taps * t.planes * in : bp_conv_turned_size(&t.c));
    t.in = t.out + t.together * bp_positions(to) * local;
    t.g = t.in + (t.whole ? 0 : t.together * bp_positions(from) * in);
    t.packed = t.g + rows * local;
    t.row = t.packed + bp_conv_packed_size(&t.c);
    t.runs = t.row + 2 * bp_round_up(to.channels, BP_MOST_NR);
    t.end = t.runs + bp_conv_most_runs(&t.c, t.planes) * (sizeof(bp_run) / sizeof(float));
    return t;
}

void *bp_conv_room(const bp_conv_work *w, size_t offset)
{
    return bp_at(w->pass->scratch, offset, w->k->size);
}

bp_conv_work bp_conv_begin(const bp_step *step, const bp_pass *pass)
{
    const bp_node *node = step->node;
    bp_conv_work w = {.k = pass->k, .node = node, .pass = pass, .t = bp_conv_cut_of(node)};
    w.plain = step->flags & BP_PLAIN;
    w.in = bp_positions(node->from[0]);
    w.out = bp_positions(node->to);
    w.rows = node->in;
    w.runs = bp_conv_room(&w, w.t.runs);
    return w;
}

/* Columns of y that a plane of a part has. */
static size_t first_column(const bp_conv_work *w, size_t part, size_t plane)
{
    return part * w->t.c.out + plane;
}

static size_t local_panels(const bp_conv_work *w) { return bp_panel_count(w->k, w->t.c.out); }

/* ---- images ---- */

bp_images bp_conv_images(const bp_conv_work *w, bp_panels m, size_t row, bp_shape shape)
{
    const size_t nr = w->k->nr, positions = bp_positions(shape);
    return (bp_images){bp_panel(w->k, m, 0, row * positions), nr, shape.width * nr, positions * nr,
                       m.stride};
}

/* Local images of `rows` samples: positions follow one another, panels after all samples. */
static bp_images local_images(const bp_conv_work *w, size_t offset, bp_shape shape, size_t rows)
{
    const size_t stride = rows * bp_positions(shape) * w->k->nr;
    return bp_conv_images(w, (bp_panels){bp_conv_room(w, offset), stride}, 0, shape);
}

bool bp_conv_framed(const bp_conv_work *w)
{
    return w->t.parts > 1 || w->t.framed > w->t.c.height || w->t.framed_x > w->t.c.width;
}

void bp_conv_clear_frame(const bp_conv_work *w)
{
    const size_t depth = w->plain ? w->t.c.channels : bp_round_up(w->t.c.channels, w->k->nr);
    if (bp_conv_framed(w))
        memset(bp_conv_room(w, w->t.frame), 0,
               w->t.together * w->t.framed * w->t.framed_x * depth * w->k->size);
}

bp_images bp_conv_open_images(const bp_conv_work *w, bp_panels x, size_t row, size_t rows,
                              size_t part)
{
    const bp_kernels *k = w->k;
    const bp_conv *c = &w->t.c;
    const size_t place = w->plain ? c->channels : k->nr;
    bp_images from = bp_conv_images(w, x, row, w->node->from[0]);
    if (w->plain)
        from = (bp_images){bp_at(x.data, row * x.stride, k->size), place, c->width * place,
                           x.stride, 0};
    if (!bp_conv_framed(w)) return from;
    const size_t line = w->t.framed_x * place, image = w->t.framed * line;
    const bp_images to = {bp_conv_room(w, w->t.frame), place, line, image,
                          w->plain ? 0 : w->t.together * image};
    for (size_t r = 0; r < rows; ++r) {
        for (size_t y = 0; y < c->height; ++y) {
            void *at = bp_at(to.data, r * image + (c->top + y) * line + c->left * place, k->size);
            const void *of = bp_cat(from.data, r * from.image + y * from.line, k->size);
            if (w->plain)
                memcpy(at, of, from.line * k->size);
            else
                k->take_columns(at, of, c->width, part * c->channels, 1, c->channels, to.panel,
                                from.panel);
        }
    }
    return to;
}

/* Columns of a plane between a matrix of all and a local one of `rows` rows. */
static void take_plane(const bp_conv_work *w, bp_panels local, bp_panels all, size_t row,
                       size_t rows, size_t part, size_t plane)
{
    w->k->take_columns(local.data, bp_panel(w->k, all, 0, row), rows, first_column(w, part, plane),
                       w->t.planes, w->t.c.out, local.stride, all.stride);
}

static void put_plane(const bp_conv_work *w, bp_panels all, bp_panels local, size_t row,
                      size_t rows, size_t part, size_t plane)
{
    w->k->put_columns(bp_panel(w->k, all, 0, row), local.data, rows, first_column(w, part, plane),
                      w->t.planes, w->t.c.out, all.stride, local.stride);
}

/* ---- weights ---- */

static bp_panels kernel_panels(const bp_conv_work *w)
{
    const bp_weights *all = &w->pass->w[w->node->index];
    return (bp_panels){all->w, bp_round_up(all->in, w->k->nr) * w->k->nr};
}

/* A plane's local matrix of so many rows, of those at an offset of scratch. */
static bp_panels local_panel(const bp_conv_work *w, size_t offset, size_t rows, size_t plane)
{
    const size_t stride = rows * w->k->nr;
    return (bp_panels){bp_at(bp_conv_room(w, offset), plane * local_panels(w) * stride, w->k->size),
                       stride};
}

static void open_kernel(const bp_conv_work *w, size_t part)
{
    const void *bias = w->pass->w[w->node->index].bias;
    for (size_t p = 0; p < w->t.planes && !w->t.whole; ++p) {
        take_plane(w, local_panel(w, w->t.w, w->rows, p), kernel_panels(w), 0, w->rows, part, p);
        if (bias)
            w->k->take_columns(local_panel(w, w->t.bias, 1, p).data, bias, 1,
                               first_column(w, part, p), w->t.planes, w->t.c.out, w->k->nr,
                               w->k->nr);
    }
}

/* Kernels of single channels are not transposed: their planes are put side by side. */
static bp_turned turn_deep(const bp_conv_work *w)
{
    const bp_kernels *k = w->k;
    const bp_panels kernel = kernel_panels(w);
    const size_t planes = w->t.planes, row = planes * k->nr;
    if (w->t.whole) return (bp_turned){kernel.data, 1, kernel.stride, w->t.c.taps_x * k->nr, k->nr};
    for (size_t j = 0; j < local_panels(w); ++j)
        for (size_t tap = 0; tap < w->rows; ++tap)
            for (size_t p = 0; p < planes; ++p)
                k->take_columns(bp_at(bp_conv_room(w, w->t.turned),
                                      (j * w->rows + tap) * row + p * k->nr, k->size),
                                bp_panel(k, kernel, 0, tap), 1, j * row + p, planes,
                                bp_panel_width(k, w->t.c.out, j), 0, kernel.stride);
    return (bp_turned){bp_conv_room(w, w->t.turned), 1, w->rows * row, w->t.c.taps_x * row, row};
}

static bp_turned open_turned(const bp_conv_work *w, size_t part)
{
    const bp_weights *all = &w->pass->w[w->node->index];
    const size_t nr = w->k->nr;
    if (w->t.c.deep) return turn_deep(w);
    const bp_panels wt = {bp_at(all->wt, part * w->t.c.out * nr, w->k->size),
                          bp_round_up(all->out, nr) * nr};
    return bp_conv_turn(w->k, &w->t.c, wt, bp_conv_room(w, w->t.turned));
}

/* ---- steps ---- */

static void forward(const bp_step *step, const bp_pass *pass, size_t row0, size_t rows)
{
    const bp_conv_work w = bp_conv_begin(step, pass);
    const bp_kernels *k = w.k;
    const bp_node *node = w.node;
    const bool skip = step->flags & BP_SKIP_ACTIVATION || node->activation == BP_ACT_identity;
    const bool relu = !skip && node->activation == BP_ACT_relu;
    const bp_panels y = pass->m[step->out];
    const bp_panels z = step->kept != BP_NONE ? pass->m[step->kept] : y;
    const void *bias = pass->w[node->index].bias;
    bp_conv_clear_frame(&w);
    for (size_t part = 0; part < w.t.parts; ++part) {
        open_kernel(&w, part);
        for (size_t r = row0; r < row0 + rows; r += w.t.together) {
            const size_t n = bp_min(w.t.together, row0 + rows - r);
            const bp_images x = bp_conv_open_images(&w, pass->m[step->in], r, n, part);
            if (w.t.whole)
                bp_conv_forward(k, &w.t.c, bp_conv_images(&w, z, r, node->to), x, kernel_panels(&w),
                                bias, n, relu, w.runs);
            for (size_t p = 0; p < w.t.planes && !w.t.whole; ++p) {
                const bp_images out = local_images(&w, w.t.out, node->to, n);
                bp_conv_forward(k, &w.t.c, out, x, local_panel(&w, w.t.w, w.rows, p),
                                bias ? local_panel(&w, w.t.bias, 1, p).data : NULL, n, relu,
                                w.runs);
                put_plane(&w, z, (bp_panels){out.data, out.panel}, r * w.out, n * w.out, part, p);
            }
            if (!skip && !relu && part + 1 == w.t.parts)
                bp_activate(k, node->activation, y, z, node->out, r * w.out, n * w.out,
                            bp_conv_room(&w, w.t.row));
        }
    }
}

/* dz of some samples, and their part of the shard's gradient of the bias. */
static void derive(const bp_conv_work *w, const bp_step *step, size_t row, size_t rows)
{
    const bp_kernels *k = w->k;
    const bp_node *node = w->node;
    const bp_panels dy = w->pass->m[step->in];
    const bool skip = step->flags & BP_SKIP_ACTIVATION || node->activation == BP_ACT_identity;
    const bp_panels dz = skip ? dy : w->pass->m[step->dz];
    const size_t first = row * w->out, n = rows * w->out;
    if (!skip && node->activation == BP_ACT_relu) {
        for (size_t j = 0; j < bp_panel_count(k, node->out); ++j)
            k->relu_grad_rows(bp_panel(k, dz, j, first), bp_panel(k, dy, j, first),
                              bp_panel(k, w->pass->m[step->kept], j, first), n,
                              bp_panel_width(k, node->out, j));
    } else if (!skip) {
        bp_derive(k, node->activation, dz, dy, w->pass->m[step->kept], node->out, first, n,
                  bp_conv_room(w, w->t.row));
    }
}

static void bias_gradient(const bp_conv_work *w, bp_panels dz, bp_panels partial, size_t at,
                          size_t row, size_t rows, bool first)
{
    const bp_kernels *k = w->k;
    _Alignas(BP_ALIGN) char sums[BP_MOST_NR * sizeof(double)];
    for (size_t j = 0; j < bp_panel_count(k, w->node->out); ++j) {
        void *to = bp_panel(k, partial, j, at);
        for (size_t r = 0; r < rows; ++r) {
            const bool starts = first && r == 0;
            k->col_sums(starts ? to : sums, bp_panel(k, dz, j, (row + r) * w->out), w->out);
            if (!starts) k->add(to, sums, k->nr);
        }
    }
}

/* The gradient of a plane's kernel goes on through the samples of a shard. */
static void kernel_gradient(const bp_conv_work *w, bp_panels partial, size_t at, bp_images x,
                            bp_images dz, size_t rows, bool first, bool last, size_t part,
                            size_t plane)
{
    const bp_kernels *k = w->k;
    const bp_panels shard = {bp_panel(k, partial, 0, at), partial.stride};
    const bp_panels g = w->t.whole ? shard : local_panel(w, w->t.g, w->rows, plane);
    bp_conv_gradient(k, &w->t.c, g, x, dz, rows, first ? BP_FROM_ZERO : BP_FROM_C,
                     bp_conv_room(w, w->t.packed), w->runs);
    if (!w->t.whole && last) put_plane(w, shard, g, 0, w->rows, part, plane);
}

static void input_gradient(const bp_conv_work *w, const bp_step *step, bp_images dz,
                           bp_turned turned, size_t row, size_t rows, size_t part)
{
    const bp_kernels *k = w->k;
    const bp_conv *c = &w->t.c;
    const bp_panels dx = w->pass->m[step->out];
    const bool add = step->flags & BP_ADD, local = w->t.parts > 1;
    const size_t first = row * w->in, n = rows * w->in;
    const bp_images to = local ? local_images(w, w->t.in, w->node->from[0], rows)
                               : bp_conv_images(w, dx, row, w->node->from[0]);
    for (size_t j = 0; j < bp_panel_count(k, c->channels) && !add; ++j)
        k->clear_rows(bp_at(to.data, j * to.panel, k->size), n, bp_panel_width(k, c->channels, j));
    if (local && add)
        k->take_columns(to.data, bp_panel(k, dx, 0, first), n, part * c->channels, 1, c->channels,
                        to.panel, dx.stride);
    bp_conv_backward(k, c, to, dz, turned, w->t.planes, rows * w->out * k->nr * local_panels(w),
                     rows, w->runs);
    if (local)
        k->put_columns(bp_panel(k, dx, 0, first), to.data, n, part * c->channels, 1, c->channels,
                       dx.stride, to.panel);
}

static void backward(const bp_step *step, const bp_pass *pass, size_t row0, size_t rows)
{
    const bp_conv_work w = bp_conv_begin(step, pass);
    const bp_kernels *k = w.k;
    const bp_node *node = w.node;
    const bp_place *place = &pass->at[node->index];
    const bool skip = step->flags & BP_SKIP_ACTIVATION || node->activation == BP_ACT_identity;
    const bp_panels all = pass->m[skip ? step->in : step->dz];
    const bool trains = place->partial != BP_NONE, wants = step->out != BP_NONE;
    bp_conv_clear_frame(&w);
    for (size_t part = 0; part < w.t.parts; ++part) {
        const bp_turned turned = wants ? open_turned(&w, part) : (bp_turned){0};
        for (size_t r = row0, n; r < row0 + rows; r += n) {
            const size_t shard = r / BP_SHARD_ROWS, start = shard * BP_SHARD_ROWS;
            const size_t end = bp_min(start + BP_SHARD_ROWS, row0 + rows);
            const size_t at = shard * (node->in + 1);
            n = bp_min(w.t.together, end - r);
            if (part == 0) derive(&w, step, r, n);
            if (part == 0 && trains && node->use_bias)
                bias_gradient(&w, all, pass->m[place->partial], at + node->in, r, n, r == start);
            bp_images dz = bp_conv_images(&w, all, r, node->to);
            if (!w.t.whole) dz = local_images(&w, w.t.out, node->to, n);
            const size_t plane = n * w.out * k->nr * local_panels(&w);
            bp_images x = {0};
            if (trains) x = bp_conv_open_images(&w, pass->m[place->x[0]], r, n, part);
            for (size_t p = 0; p < w.t.planes; ++p) {
                bp_images one = dz;
                one.data = bp_at(dz.data, p * plane, k->size);
                if (!w.t.whole)
                    take_plane(&w, (bp_panels){one.data, one.panel}, all, r * w.out, n * w.out,
                               part, p);
                if (trains)
                    kernel_gradient(&w, pass->m[place->partial], at, x, one, n, r == start,
                                    r + n == end, part, p);
            }
            if (wants) input_gradient(&w, step, dz, turned, r, n, part);
        }
    }
}

static const char *shape(bp_node *node)
{
    enum { MOST = 1 << 20 }; /* channels: see bp_window_slide */
    const size_t channels = node->from[0].channels, groups = node->window.groups;
    if (!node->out || !groups) return "a convolution's filters and groups are at least 1";
    if (channels % groups || node->out % groups)
        return "groups divide a convolution's channels and filters";
    if (bp_max(channels, node->out) > MOST) return "a convolution has at most 2^20 channels";
    const char *error = bp_window_slide(node);
    if (error) return error;
    const double high = (double)(node->from[0].height + node->window.top + node->window.bottom);
    const double wide = (double)(node->from[0].width + node->window.left + node->window.right);
    const double taps = (double)node->window.height * (double)node->window.width;
    const double most = (double)bp_max(channels, node->out) + BP_MOST_NR;
    if ((high * wide + taps * most) * most > 0x1p44)
        return "a convolution's image or kernel cannot be addressed";
    node->to.channels = node->out;
    node->in = node->window.height * node->window.width * (channels / groups);
    node->use_kernel = true;
    return NULL;
}

static bp_needs needs(const bp_node *node)
{
    if (node->pool)
        return (bp_needs){.forward = bp_conv_pool_forward,
                          .backward = bp_conv_pool_backward,
                          .infer = bp_conv_pool_forward,
                          .partial = true,
                          .scratch = bp_conv_pool_scratch(node),
                          .adds = true,
                          .multiplies = true,
                          .reads_plain = true,
                          .keeps_input = bp_activation_keeps_input(node->activation),
                          .keeps_mask = true};
    return (bp_needs){.forward = forward,
                      .backward = backward,
                      .infer = forward,
                      .partial = true,
                      .scratch = bp_conv_cut_of(node).end,
                      .adds = true,
                      .derives = node->activation != BP_ACT_identity,
                      .multiplies = true,
                      .reads_plain = node->window.groups == 1,
                      .keeps_input = bp_activation_keeps_input(node->activation)};
}

const bp_op bp_op_conv = {"conv", shape, needs};

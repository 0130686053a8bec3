/* route.c - the way of a batch through the layers: steps, and the matrices between them.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * A value is the network's input or a layer's output. Forward steps run in layer order, backward ones in
 * the opposite one. A value that several layers take gets the sum of their gradients: the first to come
 * is kept where it is, also when that is the gradient of something else (a shortcut), and the next ones
 * are added in the order in which they come. A matrix is written over only when nobody waits for it.
 */
#include "net.h"

int bp_route_buffer(bp_plan *plan, const char *name, size_t layer, size_t rows, size_t cols,
                    size_t itemsize)
{
    plan->buffers[plan->n_buffers] =
        (bp_buffer){.name = name, .layer = layer, .rows = rows, .cols = cols, .itemsize = itemsize};
    return (int)plan->n_buffers++;
}

/* Rows of all the batch's positions. Sizes that overflow show when memory is laid out. */
static int matrix(bp_route *r, const char *name, size_t layer, bp_shape shape, size_t itemsize)
{
    size_t rows = SIZE_MAX;
    if (__builtin_mul_overflow(r->plan->batch, bp_positions(shape), &rows)) rows = SIZE_MAX;
    return bp_route_buffer(r->plan, name, layer, rows, shape.channels, itemsize);
}

static bp_step *add_step(bp_route *r, bp_rows_fn *run, const bp_node *node, const char *what,
                         int in, int out)
{
    bp_step *step = &r->plan->steps[r->plan->n_steps++];
    *step = (bp_step){.run = run,
                      .node = node,
                      .what = what,
                      .in = in,
                      .in2 = BP_NONE,
                      .out = out,
                      .dz = BP_NONE,
                      .kept = BP_NONE,
                      .mask = BP_NONE};
    return step;
}

/* Leaves the statistics of x, and of `kept`, for the next step. */
static void collect(bp_route *r, bp_rows_fn *run, const bp_node *node, int x, int kept)
{
    bp_step *step = add_step(r, run, node, "statistics", x, BP_NONE);
    step->kept = kept;
    step->split = BP_PANEL;
    step->flags = BP_COLLECTS;
}

static bool trains(const bpfast_net *net, const bp_node *node)
{
    return bp_trains_kernel(net, node) || bp_trains_bias(net, node);
}

/* ---- forward ---- */

/* The value as a layer can read it: the network's plain input goes to panels once. */
static int operand(bp_route *r, const bp_node *node, const bp_needs *needs, size_t which)
{
    const int held = r->value[node->inputs[which]];
    if (!r->plan->buffers[held].plain || needs->reads_plain) return held;
    if (r->spread == BP_NONE) {
        r->spread = matrix(r, "input in panels", node->index, r->net->input, r->net->k->size);
        bp_step *step = add_step(r, bp_move_spread, node, "spread", held, r->spread);
        step->shape = r->net->input;
    }
    return r->spread;
}

/* Whether the only layer that reads what the one before wrote may write over it. */
static bool writes_over(const bp_route *r, const bp_node *node, const bp_needs *needs)
{
    const size_t value = node->inputs[0];
    size_t readers = 0;
    if (!r->train || !needs->in_place || value == 0) return false;
    const bp_node *writer = &r->net->nodes[value - 1];
    for (size_t i = 0; i < r->net->n_nodes; ++i)
        for (size_t j = 0; j < r->net->nodes[i].n_inputs; ++j)
            readers += r->net->nodes[i].inputs[j] == value;
    return readers == 1 && writer->op->needs(writer).spares_output;
}

static void forward_node(bp_route *r, size_t i)
{
    bp_plan *plan = r->plan;
    const bp_node *node = &r->net->nodes[i];
    const bp_needs needs = node->op->needs(node);
    const size_t size = r->net->k->size;
    bp_rows_fn *run = r->train ? needs.forward : needs.infer;
    bp_place *at = &plan->at[i];
    *at = (bp_place){.x = {BP_NONE, BP_NONE},
                     .delta = BP_NONE,
                     .sums = BP_NONE,
                     .partial = BP_NONE,
                     .own = plan->own};
    plan->own += bp_round_up(needs.own, BP_ALIGN / sizeof(float));
    plan->scratch = bp_max(plan->scratch, needs.scratch);
    r->value[i + 1] = at->x[0] = at->y = r->value[node->inputs[0]];
    if (!run) return;
    for (size_t j = 0; j < node->n_inputs; ++j) at->x[j] = operand(r, node, &needs, j);
    const bool collects = r->train && needs.collect, skips = r->fused && i + 1 == r->net->n_nodes;
    if (r->train && needs.sums > 0)
        at->sums = bp_route_buffer(plan, "statistics", i, bp_shards(plan->batch) * needs.sums,
                                   node->to.channels, size);
    if (r->train && needs.partial && (needs.collect_back || trains(r->net, node)))
        at->partial = bp_route_buffer(plan, "gradients of shards", i,
                                      bp_shards(plan->batch) * (node->in + 1), node->out, size);
    if (collects) collect(r, needs.collect, node, at->x[0], BP_NONE);
    at->y =
        writes_over(r, node, &needs) ? at->x[0] : matrix(r, "output", i, bp_node_gives(node), size);
    r->value[i + 1] = at->y;
    bp_step *step = add_step(r, run, node, "forward", at->x[0], at->y);
    step->in2 = at->x[1];
    step->ready = r->train ? needs.ready : needs.ready_infer;
    step->split = needs.split;
    if (collects) step->flags |= BP_WAITS;
    if (skips) step->flags |= BP_SKIP_ACTIVATION;
    if (plan->buffers[at->x[0]].plain) step->flags |= BP_PLAIN;
    if (r->train && needs.keeps_input && !skips && r->wanted[i + 1])
        step->kept = matrix(r, "pre-activation", i, bp_node_gives(node), size);
    if (r->train && needs.keeps_mask) step->mask = matrix(r, "mask", i, bp_node_gives(node), 1);
    if (r->train && (needs.collect || needs.partial)) plan->unit = BP_SHARD_ROWS;
}

/* Gradients are wanted of what depends on a trained parameter: below the first one nothing is. */
static void find_wanted(bp_route *r)
{
    r->wanted[0] = r->to_input;
    for (size_t i = 0; i < r->net->n_nodes; ++i) {
        const bp_node *node = &r->net->nodes[i];
        r->wanted[i + 1] = trains(r->net, node);
        for (size_t j = 0; j < node->n_inputs; ++j) r->wanted[i + 1] |= r->wanted[node->inputs[j]];
    }
}

void bp_route_forward(bp_route *r)
{
    const bp_shape input = r->net->input;
    bp_plan *plan = r->plan;
    plan->unit = 1;
    plan->input = bp_positions(input) == 1 ? matrix(r, "input", 0, input, r->net->k->size)
                                           : bp_route_buffer(plan, "input", 0, plan->batch,
                                                             r->net->inputs, r->net->k->size);
    plan->buffers[plan->input].plain = bp_positions(input) > 1;
    r->spread = BP_NONE;
    r->value[0] = plan->input;
    find_wanted(r);
    for (size_t i = 0; i < r->net->n_nodes; ++i) forward_node(r, i);
    plan->n_forward = plan->n_steps;
    plan->output = r->value[r->net->n_nodes];
}

/* ---- backward ---- */

static int new_gradient(bp_route *r, size_t layer, bp_shape shape)
{
    return matrix(r, "gradient", layer, shape, r->net->k->size);
}

static void move(bp_route *r, bp_rows_fn *run, const bp_node *node, size_t value, int in, int out)
{
    bp_step *step = add_step(r, run, node, "backward", in, out);
    step->shape = bp_value_shape(r->net, value);
    step->split = BP_PANEL;
}

static bool is_free(const bp_route *r, int buffer)
{
    return r->holders[buffer] == 1 && !r->kept[buffer];
}

static void hold(bp_route *r, size_t value, int buffer)
{
    r->delta[value] = buffer;
    ++r->holders[buffer];
}

/* Makes the value's gradient one that may be written over. */
static void release(bp_route *r, const bp_node *node, size_t value)
{
    const int shared = r->delta[value];
    if (is_free(r, shared)) return;
    const int copy = new_gradient(r, node->index, bp_value_shape(r->net, value));
    move(r, bp_move_copy, node, value, shared, copy);
    --r->holders[shared];
    hold(r, value, copy);
}

/* The gradient dy passes to an input as it is. */
static void pass_on(bp_route *r, const bp_node *node, size_t value, int dy)
{
    if (r->delta[value] == BP_NONE) {
        hold(r, value, dy);
        return;
    }
    release(r, node, value);
    move(r, bp_move_add, node, value, dy, r->delta[value]);
}

/* One backward step: the gradient of input `which`, if it is wanted. */
static void backward_input(bp_route *r, const bp_node *node, const bp_needs *needs, size_t which,
                           const bp_step *model)
{
    const size_t value = node->inputs[which];
    const bool wanted = r->wanted[value], first = r->delta[value] == BP_NONE;
    int out = BP_NONE, extra = BP_NONE;
    unsigned flags = model->flags;
    if (wanted && first && needs->in_place_delta && is_free(r, model->in)) {
        out = model->in;
        hold(r, value, out);
    } else if (wanted && first) {
        out = new_gradient(r, node->index, node->from[which]);
        hold(r, value, out);
    } else if (wanted && needs->adds) {
        release(r, node, value);
        out = r->delta[value];
        flags |= BP_ADD;
    } else if (wanted) {
        release(r, node, value);
        out = extra = new_gradient(r, node->index, node->from[which]);
    }
    bp_step *step = &r->plan->steps[r->plan->n_steps++];
    *step = *model;
    step->out = out;
    step->which = which;
    step->flags = flags;
    if (extra != BP_NONE) move(r, bp_move_add, node, value, extra, r->delta[value]);
}

static void backward_node(bp_route *r, size_t i, const bp_step *forward)
{
    const bpfast_net *net = r->net;
    const bp_node *node = &net->nodes[i];
    const bp_needs needs = node->op->needs(node);
    const int dy = r->delta[i + 1];
    if (dy == BP_NONE || !r->wanted[i + 1]) return;
    if (!needs.backward || !forward) {
        for (size_t j = 0; j < node->n_inputs; ++j)
            if (r->wanted[node->inputs[j]]) pass_on(r, node, node->inputs[j], dy);
        --r->holders[dy];
        return;
    }
    bp_step model = *forward;
    model.run = needs.backward;
    model.ready = needs.ready_back;
    model.what = "backward";
    model.in = model.dz = dy;
    model.in2 = BP_NONE;
    model.kept = forward->kept != BP_NONE ? forward->kept : forward->out;
    model.flags = forward->flags & (BP_SKIP_ACTIVATION | BP_PLAIN);
    model.split = needs.split_back;
    if (needs.derives && !(model.flags & BP_SKIP_ACTIVATION) && !is_free(r, dy))
        model.dz = new_gradient(r, i, node->to);
    r->plan->at[i].delta = model.dz;
    if (needs.keeps_delta && trains(net, node)) r->kept[model.dz] = true;
    if (needs.collect_back) {
        collect(r, needs.collect_back, node, dy, model.kept);
        model.flags |= BP_WAITS;
    }
    for (size_t j = 0; j < node->n_inputs; ++j) {
        if (j > 0 && !r->wanted[node->inputs[j]]) continue;
        backward_input(r, node, &needs, j, &model);
        model.flags &= ~(unsigned)BP_WAITS;
        model.ready = NULL;
    }
    --r->holders[dy];
}

void bp_route_backward(bp_route *r)
{
    const size_t n = r->net->n_nodes;
    bp_plan *plan = r->plan;
    plan->delta = new_gradient(r, n - 1, r->net->nodes[n - 1].to);
    for (size_t v = 0; v <= n; ++v) r->delta[v] = BP_NONE;
    hold(r, n, plan->delta);
    for (size_t i = n; i-- > 0;) {
        const bp_step *forward = NULL;
        for (size_t s = 0; s < plan->n_forward; ++s)
            if (plan->steps[s].node->index == i && plan->steps[s].out == plan->at[i].y)
                forward = &plan->steps[s];
        backward_node(r, i, forward);
    }
    plan->input_delta = r->delta[0];
}

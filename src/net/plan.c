/* plan.c - layers and a batch size become buffers, steps and items of weight gradients.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Only here are order and fusion decided: route.c lays the steps forward and backward; then come the
 * gradient items, which touch all layers and are shared among threads by their cost. Steps between two
 * meetings of all threads are a segment, which each thread runs on its own rows; around a BatchNorm of
 * vectors on its own columns, so that nobody else has a part of their statistics. Buffers of an inference
 * plan overlap where their lifetimes do not.
 */
#include "net.h"

#include <string.h>

/* ---- segments and parts ---- */

/* Panels of what a step writes, or looks at. */
static size_t step_panels(const bp_plan *plan, const bp_kernels *k, const bp_step *step)
{
    return bp_panel_count(k, plan->buffers[step->out == BP_NONE ? step->in : step->out].cols);
}

/* Statistics of vectors: who has a panel of columns computes all of it, and waits for nobody. */
static bool wants_columns(const bp_step *step)
{
    return step->flags & (BP_COLLECTS | BP_WAITS) && bp_positions(step->node->to) == 1;
}

/* Whether step s goes on with the panels of the steps from `first` on. */
static bool same_panels(const bp_plan *plan, const bp_kernels *k, size_t first, size_t s)
{
    const bp_step *start = &plan->steps[first], *step = &plan->steps[s];
    const bool overwrites = start->split == BP_PANELS && step->out == start->in;
    if (s == plan->n_forward) return false;
    if (step->split == BP_PANELS && step->out == BP_NONE) return true; /* it does nothing */
    return start->split != BP_ROWS && step->split == BP_PANEL && !overwrites &&
           step_panels(plan, k, step) == step_panels(plan, k, start);
}

static bp_segment *open_segment(bp_plan *plan, size_t first, size_t panels)
{
    plan->segments[plan->n_segments] = (bp_segment){first, first, panels};
    return &plan->segments[plan->n_segments++];
}

/* The batch is gathered, and the loss computed, row by row. */
static void find_segments(bp_plan *plan, const bp_kernels *k)
{
    bp_segment *now = open_segment(plan, 0, 0);
    for (size_t s = 0, end;; s = end) {
        if (s == plan->n_forward && now->panels > 0) now = open_segment(plan, s, 0);
        if (s == plan->n_forward) plan->loss_segment = plan->n_segments - 1;
        if (s == plan->n_steps) return;
        bool columns = wants_columns(&plan->steps[s]);
        for (end = s + 1; end < plan->n_steps && same_panels(plan, k, s, end); ++end)
            columns |= wants_columns(&plan->steps[end]);
        plan->splits_columns |= columns;
        if (columns || now->panels > 0)
            now = open_segment(plan, s, columns ? step_panels(plan, k, &plan->steps[s]) : 0);
        for (; s < end; now->last = ++s)
            if (!columns && plan->steps[s].flags & BP_WAITS && s > now->first)
                now = open_segment(plan, s, 0);
    }
}

size_t bp_plan_part(const bp_plan *plan, size_t rows, size_t parts, size_t i)
{
    return bp_min(rows, plan->unit * bp_share(bp_ceil_div(rows, plan->unit), parts, i));
}

void bp_plan_ready(const bp_plan *plan, const bp_pass *pass, size_t segment)
{
    const size_t first = plan->segments[segment].first;
    const size_t last = segment == 0 ? plan->n_steps : bp_min(first + 1, plan->n_steps);
    for (size_t s = first; s < last; ++s) {
        const bp_step *step = &plan->steps[s];
        const bool waits = step->flags & BP_WAITS;
        if (step->ready && waits == (segment > 0)) step->ready(step, pass);
    }
}

/* ---- items ---- */

static void add_item(bp_plan *plan, const bpfast_net *net, bp_item item)
{
    const bp_kernels *k = net->k;
    const bp_node *node = &net->nodes[item.node];
    const size_t rows = bp_min(item.last * k->nr, node->in) - item.first * k->nr;
    const size_t width = bp_round_up(bp_panel_width(k, node->out, item.panel), k->vl);
    double steps = 16.0; /* the update, as multiply-adds of one number */
    for (const bp_node *use = node; use; use = use->next_use ? &net->nodes[use->next_use] : NULL)
        steps += plan->at[use->index].partial == BP_NONE ? 2.0 * (double)plan->batch
                                                         : (double)bp_shards(plan->batch);
    plan->items[plan->n_items] = item;
    plan->item_flops[plan->n_items + 1] =
        plan->item_flops[plan->n_items] + (double)(rows + item.bias) * (double)width * steps;
    ++plan->n_items;
}

/* One item a block, or a whole column of blocks where max-norm needs it. Blocks run in groups whose
 * panels of x fill half of L2 while panels panel .. panels of dz pass by. */
static void kernel_items(bp_plan *plan, const bpfast_net *net, const bp_node *node, size_t panel,
                         size_t panels)
{
    const bp_kernels *k = net->k;
    const size_t fit = bp_max(net->l2 / 2 / (k->nr * k->size) / plan->batch, 1);
    const size_t blocks = bp_panel_count(k, node->in);
    const size_t group = node->max_norm > 0 ? blocks : bp_min(fit, blocks);
    const size_t run = node->max_norm > 0 ? blocks : 1;
    const bool bias = bp_owns_bias(node);
    for (size_t start = 0; start < blocks; start += group)
        for (size_t j = panel; j < panels; ++j)
            for (size_t b = start; b < bp_min(start + group, blocks); b += run)
                add_item(plan, net, (bp_item){node->index, j, b, b + run, bias && b == 0});
}

static void node_items(bp_plan *plan, const bpfast_net *net, const bp_node *node, size_t stripe,
                       size_t stripes)
{
    const size_t n = bp_panel_count(net->k, node->out);
    const size_t panel = bp_share(n, stripes, stripe), panels = bp_share(n, stripes, stripe + 1);
    if (bp_owns_kernel(node) && bp_trains_kernel(net, node))
        kernel_items(plan, net, node, panel, panels);
    else if (bp_owns_bias(node) && bp_trains_bias(net, node))
        for (size_t j = panel; j < panels; ++j)
            add_item(plan, net, (bp_item){node->index, j, 0, 0, true});
}

/* Where threads split columns each updates those that it reads. */
static void plan_items(bp_plan *plan, const bpfast_net *net, size_t threads)
{
    const size_t stripes = plan->splits_columns ? threads : 1;
    plan->n_items = 0;
    for (size_t stripe = 0; stripe < stripes; ++stripe)
        for (size_t i = net->n_nodes; i-- > 0;)
            node_items(plan, net, &net->nodes[i], stripe, stripes);
}

static size_t count_items(const bpfast_net *net)
{
    size_t n = 0;
    for (size_t i = 0; i < net->n_nodes; ++i)
        n += bp_max(bp_panel_count(net->k, net->nodes[i].in), 1) *
             bp_panel_count(net->k, net->nodes[i].out);
    return n;
}

/* The first item whose middle lies past the thread's start: shares of equal cost. */
size_t bp_plan_share(const bp_plan *plan, size_t size, size_t id)
{
    const double start = plan->item_flops[plan->n_items] * (double)id / (double)size;
    size_t low = 0, high = plan->n_items;
    if (id == 0) return 0;
    if (id == size) return plan->n_items;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (0.5 * (plan->item_flops[middle] + plan->item_flops[middle + 1]) < start)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* ---- memory ---- */

/* Elements from a plain row to the next; the last is followed by room for a vector's overhang. */
static size_t plain_stride(const bp_kernels *k, const bp_buffer *buffer)
{
    return bp_round_up(buffer->cols, k->nr);
}

static size_t buffer_bytes(const bp_buffer *buffer, const bp_kernels *k, bp_layout *layout)
{
    size_t elements;
    bp_layout one = {0};
    if (buffer->rows > PTRDIFF_MAX / (k->nr * 16) || buffer->cols > PTRDIFF_MAX / (k->nr * 16)) {
        layout->overflow = true;
        return 0;
    }
    const size_t line = buffer->plain ? plain_stride(k, buffer) : bp_panel_stride(k, buffer->rows);
    const size_t lines = buffer->plain ? buffer->rows + 1 : bp_panel_count(k, buffer->cols);
    layout->overflow |= __builtin_mul_overflow(line, lines, &elements);
    if (layout->overflow) return 0;
    bp_layout_add(&one, elements, buffer->itemsize);
    layout->overflow |= one.overflow;
    return one.size;
}

/* Lifetimes: an inference buffer lives from the step that writes it to the last that reads it; all
 * others last. */
static void set_lifetimes(bp_plan *plan, bool train)
{
    for (size_t b = 0; b < plan->n_buffers; ++b) {
        plan->buffers[b].first = 0;
        plan->buffers[b].last = plan->n_steps;
    }
    if (train) return;
    for (size_t s = 0; s < plan->n_steps; ++s) {
        const bp_step *step = &plan->steps[s];
        plan->buffers[step->out].first = s;
        plan->buffers[step->in].last = s;
        if (step->in2 != BP_NONE) plan->buffers[step->in2].last = s;
    }
    plan->buffers[plan->output].last = plan->n_steps;
}

/* Each buffer at the lowest offset free of all placed ones that live at the same time, which in training
 * all do. */
static void place(bp_plan *plan, const bp_kernels *k, bool train, bp_layout *layout)
{
    for (size_t b = 0; b < plan->n_buffers; ++b) {
        bp_buffer *buffer = &plan->buffers[b];
        const size_t bytes = buffer_bytes(buffer, k, layout);
        buffer->offset = train ? layout->size : 0;
        for (size_t other = 0; !train && other < b; ++other) {
            const bp_buffer *o = &plan->buffers[other];
            const size_t end = o->offset + buffer_bytes(o, k, layout);
            const bool together = o->first <= buffer->last && buffer->first <= o->last;
            if (together && o->offset < buffer->offset + bytes && buffer->offset < end) {
                buffer->offset = end;
                other = (size_t)-1; /* start over: offsets only grow */
            }
        }
        if (bytes > PTRDIFF_MAX - buffer->offset) layout->overflow = true;
        if (layout->overflow) return;
        layout->size = bp_max(layout->size, buffer->offset + bytes);
        plan->row_bytes += bytes / plan->batch;
    }
}

static void lay_steps(bp_plan *plan, bp_route *route, size_t threads)
{
    const bpfast_net *net = route->net;
    const size_t n = net->n_nodes;
    plan->scratch = BP_SCRATCH_ROWS * bp_round_up(net->widest, net->k->nr);
    bp_route_forward(route);
    plan->targets =
        bp_route_buffer(plan, "targets", n - 1, plan->batch, net->outputs, net->k->size);
    if (route->train) bp_route_backward(route);
    find_segments(plan, net->k);
    if (route->train) plan_items(plan, net, threads);
}

bpfast_status bp_plan_new(bp_plan *plan, const bpfast_net *net, size_t batch, size_t threads,
                          bp_plan_kind kind, bool fused, bpfast_message *message)
{
    const bool train = kind != BP_PLAN_INFER;
    const size_t n = net->n_nodes, n_items = train ? count_items(net) : 0;
    const size_t most_buffers = BP_MOST_BUFFERS_A_NODE * n + BP_FIXED_BUFFERS;
    const size_t most_steps = BP_MOST_STEPS_A_NODE * n + 1;
    bp_layout layout = {0}, arena = {0};
    *plan = (bp_plan){.batch = batch, .delta = BP_NONE, .targets = BP_NONE, .input_delta = BP_NONE};
    const size_t buffers = bp_layout_add(&layout, most_buffers, sizeof(bp_buffer));
    const size_t steps = bp_layout_add(&layout, most_steps, sizeof(bp_step));
    const size_t segments = bp_layout_add(&layout, most_steps + 2, sizeof(bp_segment));
    const size_t at = bp_layout_add(&layout, n, sizeof(bp_place));
    const size_t items = bp_layout_add(&layout, n_items, sizeof(bp_item));
    const size_t flops = bp_layout_add(&layout, n_items + 1, sizeof(double));
    const size_t value = bp_layout_add(&layout, n + 1, sizeof(int));
    const size_t delta = bp_layout_add(&layout, n + 1, sizeof(int));
    const size_t wanted = bp_layout_add(&layout, n + 1, sizeof(bool));
    const size_t holders = bp_layout_add(&layout, most_buffers, sizeof(size_t));
    const size_t kept = bp_layout_add(&layout, most_buffers, sizeof(bool));
    BP_TRY(bp_arena_try(&plan->memory, &layout, "the plan", message));
    plan->buffers = bp_at(plan->memory, buffers, 1);
    plan->steps = bp_at(plan->memory, steps, 1);
    plan->segments = bp_at(plan->memory, segments, 1);
    plan->at = bp_at(plan->memory, at, 1);
    plan->items = bp_at(plan->memory, items, 1);
    plan->item_flops = bp_at(plan->memory, flops, 1);
    bp_route route = {.plan = plan,
                      .net = net,
                      .train = train,
                      .fused = fused,
                      .to_input = kind == BP_PLAN_TRAIN_INPUT,
                      .value = bp_at(plan->memory, value, 1),
                      .delta = bp_at(plan->memory, delta, 1),
                      .wanted = bp_at(plan->memory, wanted, 1),
                      .holders = bp_at(plan->memory, holders, 1),
                      .kept = bp_at(plan->memory, kept, 1)};
    lay_steps(plan, &route, threads);
    set_lifetimes(plan, train);
    place(plan, net->k, train, &arena);
    plan->bytes = arena.size;
    if (arena.overflow) {
        bp_plan_free(plan);
        return bp_fail(message, BPFAST_NO_MEMORY,
                       "a batch of %zu rows needs more bytes than can be addressed", batch);
    }
    return BPFAST_OK;
}

void bp_plan_free(bp_plan *plan)
{
    bp_arena_free(plan->memory);
    plan->memory = NULL;
}

void bp_plan_bind(const bp_plan *plan, const bp_kernels *k, void *arena, bp_panels *m)
{
    for (size_t b = 0; b < plan->n_buffers; ++b) {
        const bp_buffer *buffer = &plan->buffers[b];
        const size_t stride =
            buffer->plain ? plain_stride(k, buffer) : bp_panel_stride(k, buffer->rows);
        m[b] = (bp_panels){bp_at(arena, buffer->offset, 1), stride};
    }
}

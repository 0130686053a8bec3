/* plan.c - layers and a batch size become buffers, steps and items of weight gradients.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Only here are order and fusion decided. Forward steps run in layer order; backward steps in the
 * opposite one; then the gradient items, which touch all layers and are shared among threads by
 * their cost. Buffers of an inference plan overlap where their lifetimes do not.
 */
#include "net.h"

enum { BP_MOST_BUFFERS_A_LAYER = 4, BP_FIXED_BUFFERS = 4, BP_MOST_STEPS_A_LAYER = 2 };

static int add_buffer(bp_plan *plan, const char *name, size_t layer, size_t cols, size_t itemsize)
{
    plan->buffers[plan->n_buffers] =
        (bp_buffer){.name = name, .layer = layer, .cols = cols, .itemsize = itemsize};
    return (int)plan->n_buffers++;
}

static bp_step *add_step(bp_plan *plan, bp_rows_fn *run, const bp_node *node, const char *what,
                         int in, int out)
{
    bp_step *step = &plan->steps[plan->n_steps++];
    *step = (bp_step){.run = run,
                      .node = node,
                      .what = what,
                      .in = in,
                      .out = out,
                      .kept = BP_NONE,
                      .mask = BP_NONE};
    return step;
}

static void plan_forward(bp_plan *plan, const bpfast_net *net, bool train, bool fused)
{
    int current = plan->input;
    for (size_t i = 0; i < net->n_nodes; ++i) {
        bp_node *node = &net->nodes[i];
        const bp_needs needs = node->op->needs(node);
        bp_rows_fn *run = train ? needs.forward : needs.infer;
        if (!run) continue;
        const bool last = fused && i + 1 == net->n_nodes;
        const int out = add_buffer(plan, "output", i, node->out, net->k->size);
        bp_step *step = add_step(plan, run, node, "forward", current, out);
        if (last) step->flags |= BP_SKIP_ACTIVATION;
        if (train && needs.keeps_input && !last)
            step->kept = add_buffer(plan, "pre-activation", i, node->out, net->k->size);
        if (train && needs.keeps_mask) step->mask = add_buffer(plan, "mask", i, node->out, 1);
        if (train) node->x = current;
        current = out;
    }
    plan->n_forward = plan->n_steps;
    plan->output = current;
}

static void plan_backward(bp_plan *plan, const bpfast_net *net, bool to_input)
{
    int delta = plan->delta =
        add_buffer(plan, "gradient", net->n_nodes - 1, net->outputs, net->k->size);
    for (size_t s = plan->n_forward; s-- > 0;) {
        const bp_step *forward = &plan->steps[s];
        bp_node *node = &net->nodes[forward->node->index];
        const bp_needs needs = node->op->needs(node);
        const bool first = s == 0;
        int out = delta;
        if (!needs.in_place_delta)
            out = first && !to_input
                      ? BP_NONE
                      : add_buffer(plan, "gradient", node->index, node->in, net->k->size);
        bp_step *step = add_step(plan, needs.backward, node, "backward", delta, out);
        step->kept = forward->kept != BP_NONE ? forward->kept : forward->out;
        step->mask = forward->mask;
        step->flags = forward->flags;
        node->delta = delta;
        delta = out;
    }
    plan->input_delta = delta;
}

static void add_item(bp_plan *plan, const bpfast_net *net, bp_item item)
{
    const bp_kernels *k = net->k;
    const bp_node *node = &net->nodes[item.node];
    const size_t rows = bp_min(item.last * k->nr, node->in) - item.first * k->nr;
    const size_t width = bp_round_up(bp_panel_width(k, node->out, item.panel), k->vl);
    const double flops = (double)rows * (double)width * (2.0 * (double)plan->batch + 16.0);
    plan->items[plan->n_items] = item;
    plan->item_flops[plan->n_items + 1] = plan->item_flops[plan->n_items] + flops;
    ++plan->n_items;
}

/* One item a block, or a whole column of blocks where max-norm needs it. Blocks run in groups whose
 * panels of x fill half of L2 while all panels of dz pass by. */
static void plan_items(bp_plan *plan, const bpfast_net *net)
{
    const bp_kernels *k = net->k;
    const size_t fit = bp_max(net->l2 / 2 / (k->nr * k->size) / plan->batch, 1);
    plan->n_items = 0;
    for (size_t i = net->n_nodes; i-- > 0;) {
        const bp_node *node = &net->nodes[i];
        if (node->op != &bp_op_dense || !node->trainable) continue;
        const size_t blocks = bp_panel_count(k, node->in), panels = bp_panel_count(k, node->out);
        const size_t group = node->max_norm > 0 ? blocks : bp_min(fit, blocks);
        const size_t run = node->max_norm > 0 ? blocks : 1;
        for (size_t start = 0; start < blocks; start += group)
            for (size_t j = 0; j < panels; ++j)
                for (size_t b = start; b < bp_min(start + group, blocks); b += run)
                    add_item(plan, net,
                             (bp_item){.node = i, .panel = j, .first = b, .last = b + run});
    }
}

static size_t count_items(const bpfast_net *net)
{
    size_t n = 0;
    for (size_t i = 0; i < net->n_nodes; ++i)
        if (net->nodes[i].op == &bp_op_dense)
            n += bp_panel_count(net->k, net->nodes[i].in) *
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

static size_t buffer_bytes(const bp_buffer *buffer, const bp_plan *plan, const bp_kernels *k,
                           bp_layout *layout)
{
    size_t elements;
    const size_t stride = bp_panel_stride(k, plan->batch);
    if (plan->batch > PTRDIFF_MAX / (k->nr * 16) ||
        __builtin_mul_overflow(stride, bp_panel_count(k, buffer->cols), &elements)) {
        layout->overflow = true;
        return 0;
    }
    bp_layout one = {0};
    bp_layout_add(&one, elements, buffer->itemsize);
    layout->overflow |= one.overflow;
    return one.size;
}

/* Lifetimes: an inference buffer is written by one step and read by the next; all others last. */
static void set_lifetimes(bp_plan *plan, bool train)
{
    for (size_t b = 0; b < plan->n_buffers; ++b) {
        plan->buffers[b].first = 0;
        plan->buffers[b].last = plan->n_steps;
    }
    if (train) return;
    for (size_t s = 0; s < plan->n_steps; ++s) {
        plan->buffers[plan->steps[s].out].first = s;
        plan->buffers[plan->steps[s].in].last = s;
    }
}

/* Each buffer at the lowest offset free of all placed ones that live at the same time. */
static void place(bp_plan *plan, const bp_kernels *k, bp_layout *layout)
{
    for (size_t b = 0; b < plan->n_buffers; ++b) {
        bp_buffer *buffer = &plan->buffers[b];
        const size_t bytes = buffer_bytes(buffer, plan, k, layout);
        buffer->offset = 0;
        for (size_t other = 0; other < b; ++other) {
            const bp_buffer *o = &plan->buffers[other];
            const size_t end = o->offset + buffer_bytes(o, plan, k, layout);
            const bool together = o->first <= buffer->last && buffer->first <= o->last;
            if (together && o->offset < buffer->offset + bytes && buffer->offset < end) {
                buffer->offset = end;
                other = (size_t)-1; /* start over: offsets only grow */
            }
        }
        if (bytes > PTRDIFF_MAX - buffer->offset) layout->overflow = true;
        if (layout->overflow) return;
        layout->size = bp_max(layout->size, buffer->offset + bytes);
    }
}

bpfast_status bp_plan_new(bp_plan *plan, const bpfast_net *net, size_t batch, bp_plan_kind kind,
                          bool fused, bpfast_message *message)
{
    const bool train = kind != BP_PLAN_INFER;
    const size_t n_items = train ? count_items(net) : 0;
    bp_layout layout = {0}, arena = {0};
    *plan = (bp_plan){.batch = batch, .delta = BP_NONE, .targets = BP_NONE, .input_delta = BP_NONE};
    const size_t buffers = bp_layout_add(
        &layout, BP_MOST_BUFFERS_A_LAYER * net->n_nodes + BP_FIXED_BUFFERS, sizeof(bp_buffer));
    const size_t steps =
        bp_layout_add(&layout, BP_MOST_STEPS_A_LAYER * net->n_nodes, sizeof(bp_step));
    const size_t items = bp_layout_add(&layout, n_items, sizeof(bp_item));
    const size_t flops = bp_layout_add(&layout, n_items + 1, sizeof(double));
    BP_TRY(bp_arena_try(&plan->memory, &layout, "the plan", message));
    plan->buffers = bp_at(plan->memory, buffers, 1);
    plan->steps = bp_at(plan->memory, steps, 1);
    plan->items = bp_at(plan->memory, items, 1);
    plan->item_flops = bp_at(plan->memory, flops, 1);

    plan->input = add_buffer(plan, "input", 0, net->inputs, net->k->size);
    plan_forward(plan, net, train, fused);
    plan->targets = add_buffer(plan, "targets", net->n_nodes - 1, net->outputs, net->k->size);
    if (train) {
        plan_backward(plan, net, kind == BP_PLAN_TRAIN_INPUT);
        plan_items(plan, net);
    }
    set_lifetimes(plan, train);
    place(plan, net->k, &arena);
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
    for (size_t b = 0; b < plan->n_buffers; ++b)
        m[b] =
            (bp_panels){bp_at(arena, plan->buffers[b].offset, 1), bp_panel_stride(k, plan->batch)};
}

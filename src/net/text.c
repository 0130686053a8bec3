/* text.c - the plan as lines of text, for explain().
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "net.h"

#include <stdio.h>

/* "28x28x16", or "64" where there is one position. */
static const char *shape_text(bp_shape s, char text[48])
{
    if (bp_positions(s) == 1)
        snprintf(text, 48, "%zu", s.channels);
    else if (s.height == 1)
        snprintf(text, 48, "%zux%zu", s.width, s.channels);
    else
        snprintf(text, 48, "%zux%zux%zu", s.height, s.width, s.channels);
    return text;
}

/* What a step does to the gradient or the input beside its shapes, or "". */
static const char *note_text(const bp_step *step, const bp_needs *needs, bool backward)
{
    if (step->run == bp_move_spread) return "to panels";
    if (step->run == bp_move_copy) return "copied, since it is read again";
    if (step->run == bp_move_add) return "added up";
    if (step->run == needs->collect || step->run == needs->collect_back) return "statistics";
    if (backward && step->out == BP_NONE) return "no gradient to the input";
    return step->node->activation != BP_ACT_identity
               ? bpfast_activation_name(step->node->activation)
               : "";
}

/* How threads share the segment that starts with a step, or "". */
static const char *segment_text(const bp_plan *plan, size_t index)
{
    for (size_t s = 1; s < plan->n_segments; ++s) {
        const bp_segment *segment = &plan->segments[s];
        if (segment->first == index && segment->last > index)
            return segment->panels > 0 ? "  [all threads meet, then split columns]"
                                       : "  [all threads meet, then split rows]";
    }
    return "";
}

static void step_text(const bp_plan *plan, size_t index, char *text, size_t size)
{
    const bp_step *step = &plan->steps[index];
    const bp_node *node = step->node;
    const bp_needs needs = node->op->needs(node);
    const bool backward = index >= plan->n_forward;
    const bool moves =
        step->run == bp_move_spread || step->run == bp_move_copy || step->run == bp_move_add;
    const bp_shape here = moves ? step->shape : bp_node_gives(node);
    const bp_shape there = moves ? step->shape : node->from[step->which];
    const char *note = note_text(step, &needs, backward);
    const char *kind = step->run == bp_move_spread ? "input" : moves ? "gradient" : node->op->name;
    char a[48], b[48], way[112], pools[64] = "";
    if (node->pool && !moves)
        snprintf(pools, sizeof pools, "%swith the max pooling of layer %zu", *note ? ", " : "",
                 node->pool->index);
    shape_text(backward || moves ? here : there, a);
    shape_text(backward ? there : here, b);
    if (moves || step->out == BP_NONE)
        snprintf(way, sizeof way, "rows x %s", a);
    else
        snprintf(way, sizeof way, "rows x %s -> %s", a, b);
    snprintf(text, size, "%-8s  %-12s layer %-2zu  %s%s%s%s%s", backward ? "backward" : "forward",
             kind, node->index, way, *note || *pools ? "  " : "", note, pools,
             segment_text(plan, index));
}

static void update_text(const bpfast_net *net, const bp_plan *plan, size_t layer, char *text,
                        size_t size)
{
    const bp_node *node = &net->nodes[layer];
    const size_t in = bp_owns_kernel(node) ? node->in : 1;
    size_t items = 0, uses = 1;
    char more[40] = "";
    for (size_t i = 0; i < plan->n_items; ++i) items += plan->items[i].node == layer;
    for (const bp_node *use = node; use->next_use; use = &net->nodes[use->next_use]) ++uses;
    if (uses > 1 && bp_owns_kernel(node)) snprintf(more, sizeof more, "sum of %zu uses, ", uses);
    const bool sweep = net->has_optimizer && net->optimizer.clip_norm > 0;
    snprintf(text, size, "%-8s  %-12s layer %-2zu  %zu x %zu weights in %zu item%s, %s%s", "update",
             node->op->name, layer, in, node->out, items, items == 1 ? "" : "s", more,
             sweep ? "after the norm of all" : "updated while in cache");
}

static bool has_items(const bp_plan *plan, size_t layer)
{
    for (size_t i = 0; i < plan->n_items; ++i)
        if (plan->items[i].node == layer) return true;
    return false;
}

bpfast_status bpfast_net_plan_line(const bpfast_net *net, size_t batch_size, size_t index,
                                   char *text, size_t size, bpfast_message *message)
{
    bp_plan plan;
    BP_TRY(bp_plan_new(&plan, net, batch_size, 1, BP_PLAN_TRAIN, false, message));
    *text = 0;
    if (index == 0) {
        char shape[48];
        snprintf(text, size, "%-8s  %zu rows x %s inputs%s", "gather", batch_size,
                 shape_text(net->input, shape),
                 net->standardizes ? ", standardised on the way" : "");
    } else if (index <= plan.n_steps) {
        step_text(&plan, index - 1, text, size);
    } else {
        size_t left = index - plan.n_steps - 1;
        for (size_t i = net->n_nodes; i-- > 0 && *text == 0;)
            if (has_items(&plan, i) && left-- == 0) update_text(net, &plan, i, text, size);
    }
    bp_plan_free(&plan);
    return BPFAST_OK;
}

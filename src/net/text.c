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

static void step_text(const bp_plan *plan, size_t index, char *text, size_t size)
{
    const bp_step *step = &plan->steps[index];
    const bp_node *node = step->node;
    const bool backward = index >= plan->n_forward, own = step->run != bp_move_spread &&
                                                          step->run != bp_move_copy &&
                                                          step->run != bp_move_add;
    const bp_shape x = own ? node->from[step->which] : step->shape;
    const bp_shape y = own && step->out != BP_NONE ? bp_node_gives(node) : x;
    const bool product = own && node->op->needs(node).multiplies;
    const char *activation = product || node->activation != BP_ACT_identity
                                 ? bpfast_activation_name(node->activation)
                                 : "";
    const char *moved = step->run == bp_move_spread ? "to panels"
                        : step->run == bp_move_copy ? "copied, since it is read again"
                        : step->run == bp_move_add  ? "added up"
                                                    : activation;
    const char *meets = step->flags & BP_WAITS ? ", after all threads met" : "";
    const char *passes =
        backward && own && product && step->out == BP_NONE ? ", no gradient to the inputs" : "";
    char a[48], b[48], pools[64] = "";
    if (own && node->pool)
        snprintf(pools, sizeof pools, ", with the max pooling of layer %zu", node->pool->index);
    snprintf(text, size, "%-8s  %-12s layer %-2zu  rows x %s -> %s  %s%s%s%s",
             step->what[0] == 's' && own ? step->what
             : backward                  ? "backward"
                                         : "forward",
             own ? node->op->name : "gradient", node->index, shape_text(backward ? y : x, a),
             shape_text(backward ? x : y, b), moved, pools, meets, passes);
}

static void update_text(const bpfast_net *net, const bp_plan *plan, size_t layer, char *text,
                        size_t size)
{
    const bp_node *node = &net->nodes[layer];
    size_t items = 0, uses = 1;
    char more[40] = "";
    for (size_t i = 0; i < plan->n_items; ++i) items += plan->items[i].node == layer;
    for (const bp_node *use = node; use->next_use; use = &net->nodes[use->next_use]) ++uses;
    if (uses > 1 && bp_owns_kernel(node)) snprintf(more, sizeof more, "sum of %zu uses, ", uses);
    const bool sweep = net->has_optimizer && net->optimizer.clip_norm > 0;
    snprintf(
        text, size, "%-8s  %-12s layer %-2zu  %zu x %zu weights in %zu items of %zu x %zu, %s%s",
        "update", node->op->name, layer, bp_owns_kernel(node) ? node->in : 1, node->out, items,
        net->k->nr, net->k->nr, more,
        sweep ? "gradients stored, norm, then swept" : "each tile to the optimizer while in cache");
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
    BP_TRY(bp_plan_new(&plan, net, batch_size, BP_PLAN_TRAIN, false, message));
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

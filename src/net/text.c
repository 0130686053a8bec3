/* text.c - the plan as lines of text, for explain().
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "net.h"

#include <stdio.h>

static void step_text(const bpfast_net *net, const bp_plan *plan, size_t index, char *text,
                      size_t size)
{
    const bp_step *step = &plan->steps[index];
    const bp_node *node = step->node;
    const bool backward = index >= plan->n_forward;
    const char *activation =
        node->op == &bp_op_dense ? bpfast_activation_name(node->activation) : "";
    const char *passes = backward && step->out == BP_NONE ? ", no gradient to the inputs" : "";
    (void)net;
    snprintf(text, size, "%-8s  %-12s layer %-2zu  rows x %zu -> %zu  %s%s",
             backward ? "backward" : "forward", node->op->name, node->index,
             backward ? node->out : node->in, backward ? node->in : node->out, activation, passes);
}

static void update_text(const bpfast_net *net, const bp_plan *plan, size_t layer, char *text,
                        size_t size)
{
    const bp_node *node = &net->nodes[layer];
    size_t items = 0;
    for (size_t i = 0; i < plan->n_items; ++i) items += plan->items[i].node == layer;
    const bool sweep = net->has_optimizer && net->optimizer.clip_norm > 0;
    snprintf(text, size, "%-8s  %-12s layer %-2zu  %zu x %zu weights in %zu items of %zu x %zu, %s",
             "update", node->op->name, layer, node->in, node->out, items, net->k->nr, net->k->nr,
             sweep ? "gradients stored, norm, then swept"
                   : "each tile to the optimizer while in cache");
}

bpfast_status bpfast_net_plan_line(const bpfast_net *net, size_t batch_size, size_t index,
                                   char *text, size_t size, bpfast_message *message)
{
    bp_plan plan;
    BP_TRY(bp_plan_new(&plan, net, batch_size, BP_PLAN_TRAIN, false, message));
    *text = 0;
    if (index == 0) {
        snprintf(text, size, "%-8s  %zu rows x %zu inputs%s", "gather", batch_size, net->inputs,
                 net->standardizes ? ", standardised on the way" : "");
    } else if (index <= plan.n_steps) {
        step_text(net, &plan, index - 1, text, size);
    } else {
        size_t left = index - plan.n_steps - 1;
        for (size_t i = net->n_nodes; i-- > 0 && *text == 0;)
            if (net->nodes[i].op == &bp_op_dense && net->nodes[i].trainable && left-- == 0)
                update_text(net, &plan, i, text, size);
    }
    bp_plan_free(&plan);
    return BPFAST_OK;
}

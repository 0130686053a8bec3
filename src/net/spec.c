/* spec.c - from the caller's layers and objectives to checked, numbered ones.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * PARAM holds the parameters without gaps, layer by layer: kernel [in][out], then bias [out].
 * Each optimizer slot holds the same numbers in block order (prim.h), padded.
 */
#include "net.h"

#include <string.h>

static const bp_op *const ops[] = {
#define BP_OP(name) &bp_op_##name,
#include "ops/ops.inc"
#undef BP_OP
};

const char *bpfast_activation_name(size_t index) { return bp_activation_name(index); }
const char *bpfast_loss_name(size_t index) { return bp_loss_name(index); }
const char *bpfast_optimizer_rule_name(size_t index) { return bp_rule_name(index); }
const char *bpfast_source_name(size_t index) { return bp_source_name(index); }

static bpfast_status read_layer(bp_node *node, const bpfast_layer *layer, size_t index, size_t in,
                                bpfast_message *message)
{
    size_t op = 0;
    while (op < sizeof ops / sizeof ops[0] && strcmp(ops[op]->name, layer->kind) != 0) ++op;
    if (op == sizeof ops / sizeof ops[0])
        return bp_fail(message, BPFAST_BAD_ARGUMENT, "layer %zu: unknown kind \"%s\"", index,
                       layer->kind);
    *node = (bp_node){.op = ops[op],
                      .index = index,
                      .in = in,
                      .out = in,
                      .trainable = layer->trainable,
                      .rate = layer->rate,
                      .x = BP_NONE,
                      .delta = BP_NONE};
    if (ops[op] == &bp_op_standardize && index != 0)
        return bp_fail(message, BPFAST_BAD_ARGUMENT,
                       "layer %zu: standardize must be the first layer", index);
    if (ops[op] != &bp_op_dense) return BPFAST_OK;
    node->activation = bp_find_name(bp_activation_name, layer->activation);
    if (node->activation == BP_N_ACTIVATIONS)
        return bp_fail(message, BPFAST_BAD_ARGUMENT, "layer %zu: unknown activation \"%s\"", index,
                       layer->activation);
    node->out = layer->units;
    node->use_bias = layer->use_bias;
    node->l1 = layer->l1;
    node->l2 = layer->l2;
    node->bias_l1 = layer->bias_l1;
    node->bias_l2 = layer->bias_l2;
    node->max_norm = layer->max_norm;
    node->non_negative = layer->non_negative;
    return BPFAST_OK;
}

bpfast_status bp_spec_read(bpfast_net *net, const bpfast_layer *layers, size_t n_layers,
                           bpfast_message *message)
{
    size_t cols = net->widest = net->inputs;
    bool dense = false;
    for (size_t i = 0; i < n_layers; ++i) {
        bp_node *node = &net->nodes[i];
        BP_TRY(read_layer(node, &layers[i], i, cols, message));
        if (node->out == 0)
            return bp_fail(message, BPFAST_BAD_ARGUMENT, "layer %zu: units must be at least 1", i);
        cols = node->out;
        net->widest = bp_max(net->widest, cols);
        if (node->op == &bp_op_standardize) net->standardizes = true;
        if (node->op != &bp_op_dense) continue;
        dense = true;
        node->param = net->n_parameters;
        node->state = net->n_state;
        const size_t in = node->in + net->k->nr, out = node->out + net->k->nr;
        size_t padded;
        if (__builtin_mul_overflow(in, out + 1, &padded) ||
            __builtin_mul_overflow(padded, 8 * net->k->size, &padded) || padded > PTRDIFF_MAX / 64)
            return bp_fail(message, BPFAST_NO_MEMORY,
                           "layer %zu: %zu x %zu weights cannot be addressed", i, node->in,
                           node->out);
        net->n_parameters += node->in * node->out + (node->use_bias ? node->out : 0);
        net->n_state += bp_weights_size(net->k, node->in, node->out);
        if (node->use_bias) net->n_state += bp_round_up(node->out, net->k->nr);
    }
    if (!dense)
        return bp_fail(message, BPFAST_BAD_ARGUMENT, "a network needs at least one dense layer");
    net->n_nodes = n_layers;
    net->outputs = cols;
    net->n_buffers = net->standardizes ? 2 * net->inputs : 0;
    return BPFAST_OK;
}

/* The loss on the last layer: which activation it replaces, and how accuracy is judged. */
bpfast_status bp_objective_read(bp_objective *out, const bpfast_net *net,
                                const bpfast_objective *in, bpfast_message *message)
{
    const bp_node *last = &net->nodes[net->n_nodes - 1];
    const size_t activation = last->op == &bp_op_dense ? last->activation : BP_ACT_identity;
    const size_t loss = bp_find_name(bp_loss_name, in->loss);
    if (loss == BP_N_LOSSES)
        return bp_fail(message, BPFAST_BAD_ARGUMENT, "unknown loss \"%s\"", in->loss);
    const size_t fused = bp_loss_fused_activation(loss);
    if (in->labels && !bp_loss_takes_labels(loss))
        return bp_fail(message, BPFAST_BAD_ARGUMENT, "loss \"%s\" takes no class labels", in->loss);
    if (fused != BP_ACT_identity && activation != fused && activation != BP_ACT_identity)
        return bp_fail(
            message, BPFAST_BAD_ARGUMENT,
            "loss \"%s\" works on the output before %s: the last layer's activation must be "
            "\"identity\" or \"%s\", not \"%s\"",
            in->loss, bp_activation_name(fused), bp_activation_name(fused),
            bp_activation_name(activation));
    const bool binary = fused == BP_ACT_sigmoid;
    *out = (bp_objective){.loss = loss,
                          .parameter = in->parameter,
                          .activation = activation == fused ? fused : BP_ACT_identity,
                          .labels = in->labels,
                          .want_correct = in->accuracy,
                          .want_errors = in->errors,
                          .by_threshold = binary || net->outputs == 1,
                          .threshold = binary ? 0.0 : 0.5};
    return BPFAST_OK;
}

/* Multiply-adds count two: forward, gradient of x, gradient of W. */
double bp_net_flops(const bpfast_net *net)
{
    double flops = 0;
    for (size_t i = 0; i < net->n_nodes; ++i)
        if (net->nodes[i].op == &bp_op_dense)
            flops += 6.0 * (double)net->nodes[i].in * (double)net->nodes[i].out;
    return flops;
}

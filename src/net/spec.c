/* spec.c - from the caller's layers and objectives to checked, numbered ones.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * PARAM holds the parameters without gaps, layer by layer: kernel [in][out], then bias [out]; shared
 * ones where they appear first. Each optimizer slot holds the same numbers in block order (prim.h),
 * padded.
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

bp_shape bp_value_shape(const bpfast_net *net, size_t value)
{
    return value == 0 ? net->input : net->nodes[value - 1].to;
}

static bp_node node_of(const bpfast_layer *layer, const bp_op *op, size_t index)
{
    return (bp_node){.op = op,
                     .index = index,
                     .inputs = {layer->inputs[0], layer->inputs[1]},
                     .n_inputs = layer->n_inputs,
                     .rate = layer->rate,
                     .epsilon = layer->epsilon,
                     .momentum = layer->momentum,
                     .first = layer->first,
                     .count = layer->count,
                     .window = {.height = layer->window[0],
                                .width = layer->window[1],
                                .stride_y = layer->stride[0],
                                .stride_x = layer->stride[1],
                                .dilation_y = layer->dilation[0],
                                .dilation_x = layer->dilation[1],
                                .top = layer->outside_y[0],
                                .bottom = layer->outside_y[1],
                                .left = layer->outside_x[0],
                                .right = layer->outside_x[1],
                                .groups = layer->groups},
                     .trainable = layer->trainable,
                     .out = layer->units,
                     .use_kernel = layer->use_kernel,
                     .use_bias = layer->use_bias,
                     .owner = index,
                     .l1 = layer->l1,
                     .l2 = layer->l2,
                     .bias_l1 = layer->bias_l1,
                     .bias_l2 = layer->bias_l2,
                     .max_norm = layer->max_norm,
                     .lr_scale = layer->lr_scale > 0 ? layer->lr_scale : 1.0,
                     .non_negative = layer->non_negative};
}

static bpfast_status read_layer(bpfast_net *net, const bpfast_layer *layer, size_t index,
                                bpfast_message *message)
{
    bp_node *node = &net->nodes[index];
    size_t op = 0;
    while (op < sizeof ops / sizeof ops[0] && strcmp(ops[op]->name, layer->kind) != 0) ++op;
    if (op == sizeof ops / sizeof ops[0])
        return bp_fail(message, BPFAST_BAD_ARGUMENT, "layer %zu: unknown kind \"%s\"", index,
                       layer->kind);
    *node = node_of(layer, ops[op], index);
    if (node->n_inputs == 0 || node->n_inputs > BP_MOST_INPUTS)
        return bp_fail(message, BPFAST_BAD_ARGUMENT, "layer %zu: %zu inputs, not 1 or 2", index,
                       node->n_inputs);
    for (size_t i = 0; i < node->n_inputs; ++i) {
        if (node->inputs[i] > index)
            return bp_fail(message, BPFAST_BAD_ARGUMENT, "layer %zu: its input %zu comes later",
                           index, node->inputs[i]);
        node->from[i] = bp_value_shape(net, node->inputs[i]);
    }
    node->activation = BP_ACT_identity;
    if (layer->activation) node->activation = bp_find_name(bp_activation_name, layer->activation);
    if (node->activation == BP_N_ACTIVATIONS)
        return bp_fail(message, BPFAST_BAD_ARGUMENT, "layer %zu: unknown activation \"%s\"", index,
                       layer->activation);
    const bpfast_shape given = layer->shape;
    node->to =
        given.channels > 0 ? (bp_shape){given.height, given.width, given.channels} : node->from[0];
    const char *error = node->op->shape ? node->op->shape(node) : NULL;
    if (error) return bp_fail(message, BPFAST_BAD_ARGUMENT, "layer %zu: %s", index, error);
    return BPFAST_OK;
}

/* The layer that a node takes its parameters from, which then has one use more. */
static bpfast_status join(bpfast_net *net, bp_node *node, const bpfast_layer *layer,
                          bpfast_message *message)
{
    if (layer->shares > node->index)
        return bp_fail(message, BPFAST_BAD_ARGUMENT, "layer %zu: shares with a later layer",
                       node->index);
    const bp_node *with = &net->nodes[layer->shares - 1];
    bp_node *owner = &net->nodes[with->owner], *last = owner;
    const size_t in = layer->tied ? owner->out : owner->in;
    const size_t out = layer->tied ? owner->in : owner->out;
    if (node->op != owner->op || with->tied || node->in != in || node->out != out)
        return bp_fail(message, BPFAST_BAD_ARGUMENT,
                       "layer %zu: a kernel of %zu x %zu cannot be that of layer %zu, %zu x %zu",
                       node->index, node->in, node->out, owner->index, in, out);
    while (last->next_use) last = &net->nodes[last->next_use];
    last->next_use = node->index;
    node->owner = owner->index;
    node->tied = layer->tied;
    net->ties |= layer->tied;
    node->param = owner->param;
    node->state = owner->state;
    node->buffer = owner->buffer;
    if (!node->tied) {
        node->bias_param = owner->bias_param;
        node->bias_state = owner->bias_state;
    }
    return BPFAST_OK;
}

static bpfast_status number_parameters(bpfast_net *net, bp_node *node, const bpfast_layer *layer,
                                       bpfast_message *message)
{
    const size_t in = node->in + net->k->nr, out = node->out + net->k->nr;
    size_t padded;
    if (layer->shares) BP_TRY(join(net, node, layer, message));
    if (__builtin_mul_overflow(in, out + 1, &padded) ||
        __builtin_mul_overflow(padded, 8 * net->k->size, &padded) || padded > PTRDIFF_MAX / 64)
        return bp_fail(message, BPFAST_NO_MEMORY,
                       "layer %zu: %zu x %zu weights cannot be addressed", node->index, node->in,
                       node->out);
    if (bp_owns_kernel(node)) {
        node->param = net->n_parameters;
        node->state = net->n_state;
        net->n_parameters += node->in * node->out;
        net->n_state += bp_weights_size(net->k, node->in, node->out);
    }
    if (bp_owns_bias(node)) {
        node->bias_param = net->n_parameters;
        node->bias_state = net->n_state;
        net->n_parameters += node->out;
        net->n_state += bp_round_up(node->out, net->k->nr);
    }
    if (node->owner == node->index) {
        node->buffer = net->n_buffers;
        net->n_buffers += node->n_buffers;
    }
    return BPFAST_OK;
}

/* Products and what lies between them, one after the other, on vectors: all that small rows need. */
static bool continues_chain(const bp_node *node)
{
    const bool plain = node->op == &bp_op_dense || !node->op->needs(node).infer;
    return plain && node->n_inputs == 1 && node->inputs[0] == node->index &&
           node->owner == node->index && bp_positions(node->to) == 1;
}

static size_t readers(const bpfast_net *net, size_t n_layers, size_t value)
{
    size_t n = value == n_layers; /* the loss */
    for (size_t i = 0; i < n_layers; ++i)
        for (size_t j = 0; j < net->nodes[i].n_inputs; ++j) n += net->nodes[i].inputs[j] == value;
    return n;
}

/* Max pooling that alone reads a convolution is done by it, where each position is in one window at
 * most: so what it does for the gradient is the same, and a byte tells the window's largest. */
static void join_pools(bpfast_net *net, size_t n_layers)
{
    for (size_t i = 1; i < n_layers; ++i) {
        bp_node *pool = &net->nodes[i];
        if (pool->op != &bp_op_maxpool || pool->inputs[0] == 0) continue;
        const bp_window *v = &pool->window;
        bp_node *conv = &net->nodes[pool->inputs[0] - 1];
        if (conv->op != &bp_op_conv || conv->window.groups > 1 ||
            conv->activation == BP_ACT_softmax || v->height > v->stride_y ||
            v->width > v->stride_x || v->height * v->width > BP_POOL_NONE ||
            readers(net, n_layers, pool->inputs[0]) > 1)
            continue;
        conv->pool = pool;
        pool->pooled = true;
    }
}

bpfast_status bp_spec_read(bpfast_net *net, const bpfast_layer *layers, size_t n_layers,
                           bpfast_message *message)
{
    bp_shape last = net->input;
    net->widest = last.channels;
    net->chain = bp_positions(last) == 1;
    for (size_t i = 0; i < n_layers; ++i) {
        bp_node *node = &net->nodes[i];
        BP_TRY(read_layer(net, &layers[i], i, message));
        BP_TRY(number_parameters(net, node, &layers[i], message));
        last = node->to;
        net->widest = bp_max(net->widest, last.channels);
        net->chain &= continues_chain(node);
        if (node->op == &bp_op_standardize) net->standardizes = true;
    }
    if (net->n_parameters == 0)
        return bp_fail(message, BPFAST_BAD_ARGUMENT, "a network needs parameters to train");
    if (bp_positions(last) != 1)
        return bp_fail(message, BPFAST_BAD_ARGUMENT,
                       "the last layer must give a vector: flatten it");
    join_pools(net, n_layers);
    net->n_nodes = n_layers;
    net->outputs = last.channels;
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
                          .each = in->each,
                          .activation = activation == fused ? fused : BP_ACT_identity,
                          .labels = in->labels,
                          .want_correct = in->accuracy,
                          .want_errors = in->errors,
                          .by_threshold = binary || net->outputs == 1,
                          .threshold = binary ? 0.0 : 0.5};
    return BPFAST_OK;
}

double bp_node_flops(const bp_node *node)
{
    const double kernel =
        node->op->needs(node).multiplies ? (double)node->in * (double)node->out : 0;
    return 2.0 * kernel * (double)bp_positions(node->to);
}

double bp_net_flops(const bpfast_net *net)
{
    double flops = 0;
    for (size_t i = 0; i < net->n_nodes; ++i) flops += 3.0 * bp_node_flops(&net->nodes[i]);
    return flops;
}

/* weights.c - the parameters of all layers as products read them: in blocks, shared and transposed.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Optimizer slots have the same order: one more place where "weights" may stand.
 */
#include "net.h"

#include <string.h>

static void *kernel_at(const bpfast_net *net, const void *params, const bp_node *node)
{
    return (char *)(uintptr_t)params + node->param * net->k->size;
}

static void *bias_at(const bpfast_net *net, const void *params, const bp_node *node)
{
    return (char *)(uintptr_t)params + node->bias_param * net->k->size;
}

bool bp_owns_kernel(const bp_node *node) { return node->use_kernel && node->owner == node->index; }

bool bp_owns_bias(const bp_node *node)
{
    return node->use_bias && (node->tied || node->owner == node->index);
}

bp_weights bp_weights_at(const bpfast_net *net, const bp_node *node, void *panels, void *transposed)
{
    const size_t size = net->k->size;
    void *const w = bp_at(panels, node->state, size);
    void *const wt = transposed ? bp_at(transposed, node->state, size) : NULL;
    return (bp_weights){.in = node->in,
                        .out = node->out,
                        .l2 = net->l2,
                        .k_block = net->k_block,
                        .w = !node->use_kernel ? NULL
                             : node->tied      ? wt
                                               : w,
                        .wt = !node->use_kernel ? NULL
                              : node->tied      ? w
                                                : wt,
                        .bias = node->use_bias ? bp_at(panels, node->bias_state, size) : NULL};
}

void bp_weights_read_one(const bpfast_net *net, const bp_node *node, const bp_weights *w,
                         const void *params)
{
    const bp_kernels *k = net->k;
    if (w->plain) return;
    if (bp_owns_kernel(node)) bp_kernel_pack(k, w, kernel_at(net, params, node));
    if (bp_owns_bias(node))
        k->pack(w->bias, bias_at(net, params, node), 1, node->out, node->out, k->nr);
}

void bp_weights_read(const bpfast_net *net, const bp_weights *w, const void *params)
{
    for (size_t i = 0; i < net->n_nodes; ++i)
        bp_weights_read_one(net, &net->nodes[i], &w[i], params);
}

void bp_weights_write_one(const bpfast_net *net, const bp_node *node, const bp_weights *w,
                          void *params)
{
    const bp_kernels *k = net->k;
    if (bp_owns_kernel(node)) bp_kernel_unpack(k, w, kernel_at(net, params, node));
    if (bp_owns_bias(node))
        k->unpack(bias_at(net, params, node), w->bias, 1, node->out, node->out, k->nr);
}

void bp_weights_write(const bpfast_net *net, const bp_weights *w, void *params)
{
    for (size_t i = 0; i < net->n_nodes; ++i)
        bp_weights_write_one(net, &net->nodes[i], &w[i], params);
}

/* ---- what the caller sees ---- */

bool bpfast_net_tensor(const bpfast_net *net, size_t index, bpfast_tensor *out)
{
    for (size_t i = 0; i < net->n_nodes; ++i) {
        const bp_node *node = &net->nodes[i];
        if (bp_owns_kernel(node) && index-- == 0) {
            *out = (bpfast_tensor){i, node->param, node->in, node->out, false};
            return true;
        }
        if (bp_owns_bias(node) && index-- == 0) {
            *out = (bpfast_tensor){i, node->bias_param, 1, node->out, true};
            return true;
        }
    }
    return false;
}

bool bpfast_net_buffer(const bpfast_net *net, size_t index, bpfast_buffer *out)
{
    for (size_t i = 0; i < net->n_nodes; ++i) {
        const bp_node *node = &net->nodes[i];
        const size_t half = node->n_buffers / 2;
        if (half == 0 || node->owner != i) continue;
        if (index < 2) {
            *out = (bpfast_buffer){i, node->buffer + index * half, half, index};
            return true;
        }
        index -= 2;
    }
    return false;
}

bool bp_trains_kernel(const bpfast_net *net, const bp_node *node)
{
    return node->use_kernel && net->nodes[node->owner].trainable;
}

bool bp_trains_bias(const bpfast_net *net, const bp_node *node)
{
    return node->use_bias && (node->tied ? node->trainable : net->nodes[node->owner].trainable);
}

void bpfast_net_set_trainable(bpfast_net *net, size_t layer, bool trainable)
{
    bp_node *node = &net->nodes[layer];
    const size_t size = net->k->size;
    node->trainable = trainable;
    if (trainable) return;
    if (bp_owns_kernel(node))
        memset(kernel_at(net, net->gradients, node), 0, node->in * node->out * size);
    if (bp_owns_bias(node)) memset(bias_at(net, net->gradients, node), 0, node->out * size);
}

void bpfast_net_set_lr_scale(bpfast_net *net, size_t layer, double scale)
{
    net->nodes[layer].lr_scale = scale;
}

double bpfast_penalty(const bpfast_net *net)
{
    const bp_kernels *k = net->k;
    double total = 0;
    const bp_fpmode mode = bp_fpmode_enter();
    for (size_t i = 0; i < net->n_nodes; ++i) {
        const bp_node *node = &net->nodes[i];
        const size_t n = node->in * node->out;
        const void *kernel = kernel_at(net, net->parameters, node);
        const void *bias = bias_at(net, net->parameters, node);
        if (bp_owns_kernel(node) && node->l1 > 0)
            total += node->l1 * bp_sum_sharded(k, k->sum_abs, kernel, n);
        if (bp_owns_kernel(node) && node->l2 > 0)
            total += 0.5 * node->l2 * bp_sum_sharded(k, k->sum_squares, kernel, n);
        if (!bp_owns_bias(node)) continue;
        if (node->bias_l1 > 0)
            total += node->bias_l1 * bp_sum_sharded(k, k->sum_abs, bias, node->out);
        if (node->bias_l2 > 0)
            total += 0.5 * node->bias_l2 * bp_sum_sharded(k, k->sum_squares, bias, node->out);
    }
    bp_fpmode_leave(mode);
    return total;
}

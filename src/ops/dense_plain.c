/* dense_plain.c - y = f(x W + b) with row-major parameters and gradients: single batches, few rows.
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "op.h"

bp_weights bp_dense_plain(const bp_kernels *k, const bp_node *node, const void *params, size_t l2)
{
    const void *kernel = bp_cat(params, node->param, k->size);
    return (bp_weights){.in = node->in,
                        .out = node->out,
                        .l2 = l2,
                        .plain = kernel,
                        .plain_bias =
                            node->use_bias ? bp_cat(params, node->bias_param, k->size) : NULL};
}

void bp_dense_plain_rows(const bp_kernels *k, const bp_node *node, const bp_weights *w, bp_panels y,
                         bp_panels x, size_t rows, void *scratch)
{
    const bool relu = node->activation == BP_ACT_relu;
    bp_plain_forward(k, y, x, w, 0, rows, relu);
    if (!relu && node->activation != BP_ACT_identity)
        bp_activate(k, node->activation, y, y, node->out, 0, rows, scratch);
}

/* Column sums of dz in panels first .. last, added to the bias's gradient or in its place. */
static void bias_gradient(const bp_kernels *k, const bp_node *node, const void *bias, void *grad,
                          bp_panels dz, size_t batch, bool add, size_t first, size_t last)
{
    enum { BYTES = 256 }; /* at least NR elements */
    _Alignas(BP_ALIGN) char g[BYTES], before[BYTES];
    const bool penalised = node->bias_l1 > 0 || node->bias_l2 > 0;
    for (size_t j = first; j < last; ++j) {
        void *to = bp_at(grad, j * k->nr, k->size);
        const size_t width = bp_panel_width(k, node->out, j);
        k->col_sums(g, bp_panel(k, dz, j, 0), batch);
        if (add) {
            k->pack(before, to, 1, width, width, 0);
            k->add(g, before, width);
        }
        k->unpack(to, g, 1, width, width, 0);
        if (penalised && !add)
            k->add_penalty(to, bp_cat(bias, j * k->nr, k->size), node->bias_l1, node->bias_l2,
                           width);
    }
}

void bp_dense_plain_gradient(const bp_pass *pass, const bp_node *node, const bp_weights *w,
                             void *grad, size_t batch, bool add, size_t size, size_t id)
{
    const bp_kernels *k = pass->k;
    const size_t panels = bp_panel_count(k, node->in), out_panels = bp_panel_count(k, node->out);
    const size_t first = bp_share(panels, size, id), last = bp_share(panels, size, id + 1);
    const size_t begin = bp_min(first * k->nr, node->in) * node->out;
    const size_t end = bp_min(last * k->nr, node->in) * node->out;
    void *kernel = bp_at(grad, node->param, k->size);
    const bp_panels dz = pass->m[pass->at[node->index].delta];
    bp_plain_gradient(k, kernel, pass->m[pass->at[node->index].x[0]], dz, batch, node->in,
                      node->out, add, first, last);
    if (!add && (node->l1 > 0 || node->l2 > 0))
        k->add_penalty(bp_at(kernel, begin, k->size), bp_cat(w->plain, begin, k->size), node->l1,
                       node->l2, end - begin);
    if (node->use_bias)
        bias_gradient(k, node, w->plain_bias, bp_at(grad, node->bias_param, k->size), dz, batch,
                      add, bp_share(out_panels, size, id), bp_share(out_panels, size, id + 1));
}

/* dense.c - y = f(x W + b): forward and backward; gradient.c has the gradient of W.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 *   forward    z = x W + b             rows, any range         one chain over inputs from b
 *              y = f(z)                the same rows, in cache
 *   backward   dz = dy f'(y or z)      rows
 *              dx = dz W^T             rows                    one chain over outputs, from 0 or dx
 *
 * Rumelhart, Hinton & Williams 1986, equations 1 to 9.
 */
#include "op.h"

enum { BP_CHUNK_TILES = 8 };

static void forward(const bp_step *step, const bp_pass *pass, size_t row0, size_t rows)
{
    const bp_kernels *k = pass->k;
    const bp_node *node = step->node;
    const bool skip = step->flags & BP_SKIP_ACTIVATION || node->activation == BP_ACT_identity;
    const bool relu = !skip && node->activation == BP_ACT_relu;
    const int kept = step->kept != BP_NONE ? step->kept : step->out;
    const size_t chunk = skip || relu ? rows : BP_CHUNK_TILES * k->mr;
    for (size_t r = 0; r < rows; r += chunk) {
        const size_t m = bp_min(chunk, rows - r);
        const bool direct = skip || relu;
        bp_gemm_forward(k, pass->m[direct ? step->out : kept], pass->m[step->in],
                        &pass->w[node->index], row0 + r, m, pass->panels, relu);
        if (!direct)
            bp_activate(k, node->activation, bp_pass_matrix(pass, step->out),
                        bp_pass_matrix(pass, kept), bp_pass_cols(pass, node->out), row0 + r, m,
                        pass->scratch);
    }
}

static void backward(const bp_step *step, const bp_pass *pass, size_t row0, size_t rows)
{
    const bp_kernels *k = pass->k;
    const bp_node *node = step->node;
    const bp_panels dz = pass->m[step->dz];
    if (!(step->flags & BP_SKIP_ACTIVATION) && node->activation != BP_ACT_identity)
        bp_derive(k, node->activation, dz, pass->m[step->in], pass->m[step->kept], node->out, row0,
                  rows, pass->scratch);
    if (step->out != BP_NONE)
        bp_gemm_backward(k, pass->m[step->out], dz, &pass->w[node->index], row0, rows, pass->panels,
                         step->flags & BP_ADD);
}

static const char *shape(bp_node *node)
{
    if (bp_positions(node->from[0]) != 1) return "dense takes vectors: flatten its input";
    if (node->out == 0) return "units must be at least 1";
    node->in = node->from[0].channels;
    node->to = (bp_shape){1, 1, node->out};
    node->use_kernel = true;
    return NULL;
}

static bp_needs needs(const bp_node *node)
{
    const bool derives = node->activation != BP_ACT_identity;
    return (bp_needs){.forward = forward,
                      .backward = backward,
                      .infer = forward,
                      .split = node->activation == BP_ACT_softmax ? BP_ROWS : BP_PANELS,
                      .split_back = derives ? BP_ROWS : BP_PANELS,
                      .adds = true,
                      .derives = derives,
                      .keeps_delta = true,
                      .multiplies = true,
                      .keeps_input = bp_activation_keeps_input(node->activation)};
}

const bp_op bp_op_dense = {"dense", shape, needs};

/* conv.h - what the steps of a convolution share: how its product is cut, and its images.
 * SPDX-License-Identifier: BSD-3-Clause
 */
#ifndef BP_OPS_CONV_H
#define BP_OPS_CONV_H

#include "prim/conv.h"
#include "window.h"

/* Images that go through backward together: as many as make some positions, which stay in L1. */
enum { BP_TOGETHER = 128 };

/* How a node's product is cut: `parts` groups after another, `planes` of one kernel beside another. */
typedef struct {
    bp_conv c; /* of one part and plane */
    size_t parts, planes, together;
    bool whole;              /* one of each: matrices are used where they are */
    size_t framed, framed_x; /* lines, positions of a line, outside included */
    /* Offsets in scratch, elements. */
    size_t frame, w, bias, turned, out, in, g, packed, row, runs, end;
} bp_conv_cut;

bp_conv_cut bp_conv_cut_of(const bp_node *node);

/* One call of a step: what its products read and write. */
typedef struct {
    const bp_kernels *k;
    const bp_node *node;
    const bp_pass *pass;
    bp_conv_cut t;
    bool plain;
    size_t in, out; /* positions of a row of x, of y */
    size_t rows;    /* of the kernel of one plane */
    bp_run *runs;
} bp_conv_work;

bp_conv_work bp_conv_begin(const bp_step *step, const bp_pass *pass);
void *bp_conv_room(const bp_conv_work *w, size_t offset); /* in scratch */

bp_images bp_conv_images(const bp_conv_work *w, bp_panels m, size_t row, bp_shape shape);
bool bp_conv_framed(const bp_conv_work *w); /* something is outside, or columns are taken out */
/* Zeros where the images' outside will be; their insides come and go. */
void bp_conv_clear_frame(const bp_conv_work *w);
/* Images of x with what is outside: where they are, or copied into the frame. */
bp_images bp_conv_open_images(const bp_conv_work *w, bp_panels x, size_t row, size_t rows,
                              size_t part);

/* conv_pool.c: with the max pooling of node->pool */
bp_rows_fn bp_conv_pool_forward, bp_conv_pool_backward;
size_t bp_conv_pool_scratch(const bp_node *node);

#endif

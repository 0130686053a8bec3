/* window.h - what convolution and pooling share: how many places a window has.
 * SPDX-License-Identifier: BSD-3-Clause
 */
#ifndef BP_WINDOW_H
#define BP_WINDOW_H

#include "op.h"

/* Along one axis; 0 where the window is larger than the image and what is outside. */
BP_INLINE size_t bp_window_places(size_t size, size_t before, size_t after, size_t taps,
                                  size_t dilation, size_t stride)
{
    const size_t seen = (taps - 1) * dilation + 1, whole = size + before + after;
    return whole < seen ? 0 : (whole - seen) / stride + 1;
}

/* Sets the node's positions; its channels stay. Returns NULL, or what is wrong. */
BP_INLINE const char *bp_window_slide(bp_node *node)
{
    enum { MOST = 1 << 24 }; /* positions along an axis: no product of a few of them overflows */
    const bp_window *v = &node->window;
    const bp_shape from = node->from[0];
    const size_t most =
        bp_max(bp_max(bp_max(v->height, v->width), bp_max(v->dilation_y, v->dilation_x)),
               bp_max(bp_max(v->top, v->bottom), bp_max(v->left, v->right)));
    if (!v->height || !v->width || !v->stride_y || !v->stride_x || !v->dilation_y || !v->dilation_x)
        return "a window's size, strides and dilation are at least 1";
    if (bp_max(most, bp_max(from.height, from.width)) > MOST)
        return "an image and its windows have at most 2^24 positions along an axis";
    node->to.height =
        bp_window_places(from.height, v->top, v->bottom, v->height, v->dilation_y, v->stride_y);
    node->to.width =
        bp_window_places(from.width, v->left, v->right, v->width, v->dilation_x, v->stride_x);
    return bp_positions(node->to) ? NULL : "a window is larger than its input";
}

/* Of pooling: every window holds a position of the image. */
BP_INLINE const char *bp_pool_shape(bp_node *node)
{
    const bp_window *v = &node->window;
    if (v->dilation_y != 1 || v->dilation_x != 1) return "pooling has no dilation";
    if (bp_max(v->top, v->bottom) >= v->height || bp_max(v->left, v->right) >= v->width)
        return "a pooling window lies outside its input";
    return bp_window_slide(node);
}

BP_INLINE bp_pool bp_pool_of(const bp_node *node)
{
    const bp_window *v = &node->window;
    return (bp_pool){node->from[0].height,
                     node->from[0].width,
                     node->to.height,
                     node->to.width,
                     v->height,
                     v->width,
                     v->stride_y,
                     v->stride_x,
                     v->top,
                     v->left};
}

#endif

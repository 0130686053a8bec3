/* conv.h - convolution of images: blocking around the kernels' tiles.
 * SPDX-License-Identifier: BSD-3-Clause
 */
#ifndef BP_CONV_H
#define BP_CONV_H

#include "prim.h"

/* Where the images of several samples stand; all distances in elements. */
typedef struct {
    void *data;
    size_t place, line, image; /* from one position, line, sample to the next */
    size_t panel; /* from one panel of channels to the next; 0: channels are contiguous */
} bp_images;

/* Windows and what they slide over. What they read holds the positions outside, as zeros; what
 * bp_conv_backward writes does not. */
typedef struct {
    size_t height, width, channels; /* of the image without its outside */
    size_t out_height, out_width, out;
    size_t taps_y, taps_x, stride_y, stride_x, dilation_y, dilation_x;
    size_t top, left; /* positions outside, before the first */
    bool deep;        /* each channel by itself: the kernel has a row a tap */
} bp_conv;

size_t bp_conv_most_runs(const bp_conv *c, size_t planes); /* of any function below */

/* What a window sees of x, in the order of the kernel's rows. Taps of a line whose channels follow one
 * another are one run. Returns their number. */
size_t bp_conv_runs(const bp_kernels *k, const bp_conv *c, const bp_images *x, bp_run *runs);

/* y = windows of x times the kernel, panels [rows][NR] of w `stride` apart, from the bias or zero. */
void bp_conv_forward(const bp_kernels *k, const bp_conv *c, bp_images y, bp_images x, bp_panels w,
                     const void *bias, size_t samples, bool relu, bp_run *runs);

/* The kernel transposed: [columns][NR] of each tap, elements between the panels of channels, groups of
 * taps and taps. A group is `taps` taps in a column, side by side, whose channels fit one vector. */
typedef struct {
    const void *w;
    size_t taps;
    size_t panel, group, tap;
} bp_turned;
size_t bp_conv_turned_size(const bp_conv *c); /* elements of room, at most */
/* From panels of W^T: they are the result where tap by tap fills whole panels; else it is in `room`. */
bp_turned bp_conv_turn(const bp_kernels *k, const bp_conv *c, bp_panels wt, void *room);

/* dx += dz W^T at all taps: an element is one chain over the positions of dz that saw it and their
 * columns, ascending, from what it holds. Deep kernels have `planes` columns for each channel, with a
 * dz each, `plane` elements apart, and W itself turned as [tap][planes][NR]. */
void bp_conv_backward(const bp_kernels *k, const bp_conv *c, bp_images dx, bp_images dz,
                      bp_turned turned, size_t planes, size_t plane, size_t samples, bp_run *runs);

/* g[rows of the kernel][out] = start + sum over samples and positions of x dz, one chain each. dz's
 * lines and samples follow one another without gaps. */
size_t bp_conv_packed_size(const bp_conv *c); /* elements of room, at most */
void bp_conv_gradient(const bp_kernels *k, const bp_conv *c, bp_panels g, bp_images x, bp_images dz,
                      size_t samples, bp_start start, void *packed, bp_run *runs);

#endif

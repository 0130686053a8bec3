/* op.h - floor 3: what a layer is to the planner, and what its steps see when they run.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * A layer kind is one row of ops.inc and one file. Its `needs` says, from the node alone, which
 * matrices it keeps and which functions run in which phase; the planner does the rest.
 */
#ifndef BP_OP_H
#define BP_OP_H

#include "common.h"
#include "prim/prim.h"

typedef struct bp_node bp_node;
typedef struct bp_step bp_step;
typedef struct bp_pass bp_pass;

/* One step on rows row0 .. row0 + rows of the batch. In a matrix with several positions a row, those
 * are its rows row0 * positions .. (row0 + rows) * positions. A step that threads may split by columns
 * writes the pass's panels alone. */
typedef void bp_rows_fn(const bp_step *step, const bp_pass *pass, size_t row0, size_t rows);
/* What each thread computes once, into `own` of its pass, before a step runs on any of its rows. */
typedef void bp_ready_fn(const bp_step *step, const bp_pass *pass);

/* What one panel that a step writes is made of, where threads may split columns instead of rows. */
typedef enum {
    BP_ROWS,   /* they may not */
    BP_PANEL,  /* the same panel of what it reads */
    BP_PANELS, /* all panels */
} bp_split;

/* Sums over the batch are made of shards of so many rows, added in order: threads take whole shards. */
enum { BP_SHARD_ROWS = 8 };
BP_INLINE size_t bp_shards(size_t batch) { return bp_ceil_div(batch, BP_SHARD_ROWS); }

typedef struct {
    bp_rows_fn
        *forward; /* training; NULL: no step (its work is done elsewhere, or there is none) */
    bp_rows_fn *backward; /* once for each input; NULL: the gradient passes as it is */
    bp_rows_fn *infer;    /* NULL: does nothing at inference */
    bp_ready_fn *ready, *ready_back, *ready_infer; /* before those, or NULL */
    /* Steps that leave statistics of their shards in the matrix `sums`, before all threads meet and
     * `ready` (`ready_back`) runs; NULL: nobody waits. */
    bp_rows_fn *collect, *collect_back;
    bp_split split, split_back; /* of forward, and of backward; collect's is BP_PANEL */
    size_t sums;                /* rows that a shard has in `sums`, of y_cols columns */
    bool partial;        /* backward leaves its shards' gradients of the parameters in `partial` */
    size_t own;          /* elements of each thread that `ready` leaves for its step */
    size_t scratch;      /* elements of each thread that a step needs while it runs */
    bool in_place;       /* forward may write y over x, which backward does not read */
    bool spares_output;  /* nor does backward read y: the next layer may write over it */
    bool in_place_delta; /* backward may write dx over dy */
    bool adds;           /* backward knows BP_ADD */
    bool derives;        /* backward writes dz, unless the loss has the pre-activation */
    bool keeps_delta;    /* the gradient of its kernel is x^T dz, made after backward */
    bool multiplies;     /* by its kernel, and by the transpose */
    bool reads_plain;    /* takes a plain input */
    bool keeps_input;    /* a matrix like the output beside it: the pre-activation */
    bool keeps_mask;     /* bytes in the shape of the output */
} bp_needs;

typedef struct {
    const char *name;
    /* Sets `to`, and in, out, n_buffers where it has some, from the node's inputs and arguments; before,
     * `to` is the first input's shape (or the one that was given) and `out` the units. Returns NULL, or
     * what is wrong. NULL: the output has the input's shape, and there are no parameters. */
    const char *(*shape)(bp_node *node);
    bp_needs (*needs)(const bp_node *node);
} bp_op;

/* Of one row: its matrix has height * width rows ("positions") and `channels` columns. */
typedef struct {
    size_t height, width, channels;
} bp_shape;
BP_INLINE size_t bp_positions(bp_shape s) { return s.height * s.width; }

/* A window that slides over positions: of convolution and pooling. Outside is zero (of max: absent). */
typedef struct {
    size_t height, width, stride_y, stride_x, dilation_y, dilation_x;
    size_t top, bottom, left, right; /* positions outside */
    size_t groups;                   /* of channels; those of depthwise convolution have one each */
} bp_window;

enum { BP_MOST_INPUTS = 2 };

/* One layer with its sizes, as compiled. Everything is fixed before the first step. */
struct bp_node {
    const bp_op *op;
    size_t index; /* among the layers; its random streams */
    size_t
        inputs[BP_MOST_INPUTS]; /* values: 0 is the network's input, i + 1 the output of node i */
    size_t n_inputs;
    bp_shape from[BP_MOST_INPUTS], to;
    size_t activation;
    double rate;         /* of dropout, on activations or weights; the deviation of noise */
    double epsilon;      /* of normalisation */
    double momentum;     /* of running statistics: the weight of the new value */
    size_t first, count; /* columns of a slice */
    bp_window window;
    const bp_node *pool; /* of a convolution: the max pooling that its steps do too, or NULL */
    bool pooled;         /* of a max pooling: the layer before does it */
    bool trainable;

    /* Parameters: a kernel [in][out] and a bias [out], either of which may belong to another node. A
     * scale and a shift of normalisation are such a pair, with in 1. */
    size_t in, out;
    bool use_kernel, use_bias;
    size_t owner;    /* of the kernel, and of the bias unless tied; itself as a rule */
    bool tied;       /* uses the owner's kernel [out][in] transposed, with a bias of its own */
    size_t next_use; /* the next node with the same owner, or 0 */
    size_t param, bias_param; /* offsets in PARAM */
    size_t state, bias_state; /* offsets in each state slot: kernel in block order; bias */
    size_t buffer; /* offset of its running statistics [2][out] in BUFFERS: mean, variance */
    size_t n_buffers;
    double l1, l2, bias_l1, bias_l2, max_norm;
    double lr_scale; /* the learning rate's factor for the parameters that it owns */
    bool non_negative;
};

/* The shape of what its step writes. */
BP_INLINE bp_shape bp_node_gives(const bp_node *node)
{
    return node->pool ? node->pool->to : node->to;
}

enum { BP_NONE = -1 }; /* no buffer */
enum {
    BP_SKIP_ACTIVATION = 1, /* flag: the loss takes the pre-activation */
    BP_ADD = 2,             /* backward: out += dx */
    BP_PLAIN = 4,           /* the input is plain */
    BP_WAITS = 8,           /* its `ready` needs what a step before collected */
    BP_COLLECTS = 16        /* it is that step */
};

/* in, in2: matrices that forward reads, out: what it writes. backward reads dy in `in` and writes dx of
 * input `which` to `out` (BP_NONE: nobody wants it), and dz, the gradient at a pre-activation, to `dz`,
 * which may be `in`. */
struct bp_step {
    bp_rows_fn *run;
    bp_ready_fn *ready;
    const bp_node *node;
    const char *what;
    int in, in2, out, dz, kept, mask;
    size_t which;
    bp_shape shape; /* of what is moved, in the steps of move.c */
    bp_split split;
    unsigned flags;
};

/* Where a node's matrices are, as ids of buffers. */
typedef struct {
    int x[BP_MOST_INPUTS], y;
    int delta;   /* gradient at the pre-activation */
    int sums;    /* row s * needs.sums + i is statistic i of shard s */
    int partial; /* row s * (in + 1) + i is row i of shard s's gradient of the kernel; row in: bias */
    size_t own; /* offset in the thread's own memory, elements */
} bp_place;

/* What one thread's steps see. */
struct bp_pass {
    const bp_kernels *k, *k64;
    const bp_panels *m;  /* by buffer id */
    const bp_place *at;  /* by node index */
    const bp_weights *w; /* by node index: what products read */
    void *buffers;       /* BUFFERS */
    void *own;           /* of this thread, see needs.own */
    void *scratch; /* of this thread: BP_SCRATCH_ROWS rows of the widest layer, padded; or more */
    uint64_t seed, step; /* of the random numbers */
    size_t batch;        /* rows of the whole batch */
    bp_range panels;     /* of what a step writes */
    bool learns;         /* running statistics are updated with these rows or panels */
};
BP_INLINE size_t bp_pass_panels(const bp_pass *pass, size_t cols)
{
    return bp_min(pass->panels.last, bp_panel_count(pass->k, cols));
}
/* A matrix from the pass's first panel on, and how many of its columns stand in the pass's panels. */
BP_INLINE bp_panels bp_pass_matrix(const bp_pass *pass, int id)
{
    return (bp_panels){bp_panel(pass->k, pass->m[id], pass->panels.first, 0), pass->m[id].stride};
}
BP_INLINE size_t bp_pass_cols(const bp_pass *pass, size_t cols)
{
    const size_t nr = pass->k->nr;
    return bp_min(cols, bp_pass_panels(pass, cols) * nr) - pass->panels.first * nr;
}
enum { BP_SCRATCH_ROWS = 3 };

/* Output layers and losses. */
typedef struct {
    size_t loss; /* row of losses.inc */
    double parameter;
    const double *each; /* [outputs] in its place, or NULL */
    size_t activation;  /* applied to z for metrics on the output, or identity */
    bool labels;        /* integer class labels instead of target rows */
    bool want_correct, want_errors;
    double threshold;  /* of z, where accuracy is by threshold; see by_threshold */
    bool by_threshold; /* else the largest output is the class */
} bp_objective;

typedef struct {
    double loss, correct, squared, absolute; /* of one row, unweighted */
} bp_row_stats;

typedef struct {
    const int64_t *rows; /* [batch] row numbers in the data, or NULL: first + i */
    size_t first;
    bp_panels targets;
    const int64_t *labels; /* [data rows] */
    const double *weights; /* [data rows], or NULL */
    double weight_sum;     /* of the batch: what the loss divides by */
} bp_targets;

BP_INLINE size_t bp_target_row(const bp_targets *t, size_t i)
{
    return t->rows ? (size_t)t->rows[i] : t->first + i;
}

/* loss.c: rows row0 .. of z; dz may have data NULL. */
void bp_loss_rows(const bp_pass *pass, const bp_objective *objective, const bp_targets *targets,
                  bp_panels dz, bp_panels z, size_t cols, bp_row_stats *stats, size_t row0,
                  size_t rows);
/* total[cols] += weighted squared residuals of each output, over rows in order. */
void bp_loss_residuals(const bp_pass *pass, const bp_objective *objective,
                       const bp_targets *targets, bp_panels z, size_t cols, double *total,
                       size_t row0, size_t rows);

/* layernorm.c: what its kind and rmsnorm.c share. */
const char *bp_row_norm_shape(bp_node *node);
bp_needs bp_row_norm_needs(const bp_node *node);

/* move.c: steps that the planner adds, on matrices of step->shape. */
bp_rows_fn bp_move_spread; /* a plain input to panels */
bp_rows_fn bp_move_copy;
bp_rows_fn bp_move_add; /* out += in */

/* gradient.c: gradients of parameters, block by block. */
typedef struct {
    size_t node, panel; /* the owner; column panel of its kernel */
    size_t first, last; /* row blocks; none: the bias alone */
    bool bias;
} bp_item;

typedef enum {
    BP_GRADIENT_UPDATE, /* hot tile to the optimizer */
    BP_GRADIENT_STORE,  /* GRAD = gradient, penalty included */
    BP_GRADIENT_ADD,    /* GRAD continues its chain */
    BP_GRADIENT_SWEEP   /* optimizer reads GRAD */
} bp_gradient_mode;

typedef struct {
    bp_gradient_mode mode;
    bool penalises; /* the penalty's gradient is added: once in a step */
    double decay;   /* added to l2 of each kernel that multiplies */
    const bp_update *update;
    void *grad;          /* GRAD */
    void *state[2];      /* slots, or NULL */
    void *average;       /* of the weights, in the order of a slot, or NULL */
    double share;        /* of the new weights in it; 0: it stays */
    size_t batch;        /* rows */
    bool far;            /* weights and state come from beyond L2: they are asked for in time */
    bool shared;         /* other cores work on the same step */
    const bp_weights *w; /* by node index: the weights that are updated */
    const bp_node *nodes;
} bp_gradient;

BP_INLINE bool bp_masks_weights(const bp_node *node) /* DropConnect */
{
    return node->use_kernel && node->rate > 0;
}
void bp_gradient_item(const bp_pass *pass, const bp_item *item, const bp_item *next,
                      const bp_gradient *job);
/* DropConnect: the masked weights of one item, for this step. */
void bp_gradient_mask(const bp_pass *pass, const bp_node *node, const bp_item *item,
                      const bp_weights *from);

/* dense_plain.c: with PARAM and GRAD as they stand. */
bp_weights bp_dense_plain(const bp_kernels *k, const bp_node *node, const void *params, size_t l2);
/* Rows 0 .. rows at inference, activation included. scratch: one row of y, padded. */
void bp_dense_plain_rows(const bp_kernels *k, const bp_node *node, const bp_weights *w, bp_panels y,
                         bp_panels x, size_t rows, void *scratch);
/* The share of thread id of size in the whole gradient of a few rows. Not under a mask. */
void bp_dense_plain_gradient(const bp_pass *pass, const bp_node *node, const bp_weights *w,
                             void *grad, size_t batch, bool add, size_t size, size_t id);

#define BP_OP(name) extern const bp_op bp_op_##name;
#include "ops.inc"
#undef BP_OP

#endif

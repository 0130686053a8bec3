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

/* One step on rows row0 .. row0 + rows of the batch. */
typedef void bp_rows_fn(const bp_step *step, const bp_pass *pass, size_t row0, size_t rows);

typedef struct {
    bp_rows_fn *forward; /* training; NULL: no step (its work is done elsewhere) */
    bp_rows_fn *backward;
    bp_rows_fn *infer;   /* NULL: does nothing at inference */
    bool in_place_delta; /* the gradient of the input overwrites that of the output */
    bool keeps_input;    /* a matrix of `out` columns beside the output: the pre-activation */
    bool keeps_mask;     /* bytes in the shape of the output */
} bp_needs;

typedef struct {
    const char *name;
    bp_needs (*needs)(const bp_node *node);
} bp_op;

/* One layer with its sizes, as compiled. Everything is fixed before the first step. */
struct bp_node {
    const bp_op *op;
    size_t index;   /* among the layers; its random streams */
    size_t in, out; /* columns */
    size_t activation;
    bool use_bias, trainable;
    double rate; /* of dropout, on activations or weights */
    double l1, l2, bias_l1, bias_l2, max_norm;
    bool non_negative;
    size_t param; /* offset of the kernel [in][out] in PARAM; the bias [out] follows */
    size_t state; /* offset in each state slot: kernel in block order, then bias */
    int x, delta; /* buffers of a training plan: input, gradient at the pre-activation */
};

enum { BP_NONE = -1 };           /* no buffer */
enum { BP_SKIP_ACTIVATION = 1 }; /* flag: the loss takes the pre-activation */

struct bp_step {
    bp_rows_fn *run;
    const bp_node *node;
    const char *what;
    int in, out, kept, mask; /* buffer ids */
    unsigned flags;
};

/* What one thread's steps see. */
struct bp_pass {
    const bp_kernels *k;
    const bp_panels *m;  /* by buffer id */
    const bp_weights *w; /* by node index: what products read */
    void *scratch;       /* of this thread: BP_SCRATCH_ROWS rows of the widest layer, padded */
    uint64_t seed, step; /* of the random numbers */
};
enum { BP_SCRATCH_ROWS = 3 };

/* Output layers and losses. */
typedef struct {
    size_t loss; /* row of losses.inc */
    double parameter;
    size_t activation; /* applied to z for metrics on the output, or identity */
    bool labels;       /* integer class labels instead of target rows */
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

/* dense.c: weight gradients, block by block. */
typedef struct {
    size_t node, panel; /* column panel of the kernel */
    size_t first, last; /* row blocks */
} bp_item;

typedef enum {
    BP_GRADIENT_UPDATE, /* hot tile to the optimizer */
    BP_GRADIENT_STORE,  /* GRAD = gradient, penalty included */
    BP_GRADIENT_ADD,    /* GRAD continues its chain */
    BP_GRADIENT_SWEEP   /* optimizer reads GRAD */
} bp_gradient_mode;

typedef struct {
    bp_gradient_mode mode;
    const bp_update *update;
    void *grad;          /* GRAD */
    void *state[2];      /* slots, or NULL */
    size_t batch;        /* rows */
    bool far;            /* weights and state come from beyond L2: they are asked for in time */
    bool shared;         /* other cores work on the same step */
    const bp_weights *w; /* by node index: the weights that are updated */
} bp_gradient;

void bp_dense_gradient(const bp_pass *pass, const bp_node *node, const bp_item *item,
                       const bp_item *next, const bp_gradient *job);
/* DropConnect: the masked weights of one item, for this step. */
void bp_dense_mask(const bp_pass *pass, const bp_node *node, const bp_item *item,
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

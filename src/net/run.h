/* run.h - one training run: a plan bound to data, memory and threads.
 * SPDX-License-Identifier: BSD-3-Clause
 */
#ifndef BP_RUN_H
#define BP_RUN_H

#include "net.h"

/* What a step works on. Thread 0 prepares the next one while others still work on this one. */
typedef struct {
    size_t first, rows; /* of the epoch's order */
    uint64_t step;      /* for random numbers */
    bool learns;        /* its statistics count */
    bool starts, ends;  /* the first, the last of the batches whose gradients make one step */
    bp_targets targets;
    bp_update update;
    double average_share; /* of the step's weights in their average */
} bp_batch;

struct bpfast_run {
    bpfast_net *net;
    bpfast_config config;
    bp_objective objective;
    bool masks_weights, norm_clips;
    bool far;           /* what a step updates does not fit into L2 */
    size_t cached_rows; /* as many rows of images as leave their matrices in L2; 0: vectors */
    size_t threads;     /* the most; the tuner has those of the steps */
    bp_tuner tuner;
    bp_plan plan;
    const bp_plan *infer; /* of validation, on the run's packed weights */
    void *memory;         /* everything below */
    bp_panels *m;         /* matrices by buffer id */
    bp_weights *w, *read; /* the weights; what products read (masked where DropConnect) */
    bp_weights *plain;    /* what those of single batches read: row-major where not masked */
    char *scratch;
    size_t scratch_size; /* bytes for one thread */
    char *own;           /* what `ready` leaves for the steps of a thread */
    size_t own_size;
    bp_claim *claims;    /* one a thread */
    bp_row_stats *stats; /* [batch] */
    double *residuals;   /* [outputs] */
    double *shards;      /* squares of GRAD */
    int64_t *order;      /* [rows] of this epoch, or NULL */
    bp_inference validation;
    double *validation_residuals; /* [outputs] */

    /* an epoch under way */
    const double *rates;
    size_t n_rates, batches; /* batches: steps */
    bpfast_cursor cursor;
    size_t part;       /* batches of the step under way that are done */
    double weight_sum; /* of all its rows */
    bool packed;
    void *before; /* like PARAM: where the epoch's last step leaves the weights it met, or NULL */
    bool watches, watched; /* the step under way does so; the epoch's last step did */

    /* a chunk under way: written by thread 0 between barriers, or atomically */
    bp_batch batch[2]; /* of even and odd steps of the chunk */
    size_t steps_left;
    double deadline;
    bool stop;
    bpfast_status status;
    bpfast_fault fault;
    _Atomic(size_t) bad_row; /* SIZE_MAX: none */
};

/* Rows of a whole step: of `accumulate` batches. */
BP_INLINE size_t bp_run_step_rows(const bpfast_run *run)
{
    return run->config.batch_size * run->config.accumulate;
}

/* Every member of the team calls these. */
void bp_step_gradients(bpfast_run *run, const bp_batch *batch, const bp_pass *pass, bp_team *team,
                       size_t id, bp_gradient_mode mode);
bp_pass bp_run_pass(const bpfast_run *run, const bp_batch *batch, size_t id);

void bp_run_mask(bpfast_run *run, const bp_pass *pass, bp_team *team, size_t id);
void bp_run_pack(bpfast_run *run);
bp_gradient bp_run_gradient(const bpfast_run *run, const bp_batch *batch, bp_gradient_mode mode,
                            const bp_update *update);
double bp_run_gradient_norm(bpfast_run *run, bp_team *team, size_t id);

/* ---- segments.c ---- */
void bp_run_segments(bpfast_run *run, const bp_batch *batch, const bp_pass *pass, bp_team *team,
                     size_t id);
void bp_run_gather(bpfast_run *run, const bp_batch *batch, size_t row0, size_t rows);
void bp_run_steps(const bpfast_run *run, const bp_pass *pass, size_t first, size_t last,
                  size_t row0, size_t rows);
void bp_run_loss(bpfast_run *run, const bp_batch *batch, const bp_pass *pass, size_t row0,
                 size_t rows);
/* A pass over panels first .. last, then perhaps up to `soon`: threads share what `ready` leaves. */
bp_pass bp_run_panels_pass(const bpfast_run *run, const bp_batch *batch, const bp_pass *pass,
                           size_t first, size_t last, size_t soon);
void bp_run_step_of_panels(const bp_step *step, const bp_pass *pass);

/* Thread 0 calls these: scores of the batch that passed, and the next one or the stop. */
void bp_run_prepare(bpfast_run *run, bp_batch *batch);
void bp_run_add_scores(bpfast_run *run, const bp_batch *batch, const bp_pass *pass);
void bp_run_advance(bpfast_run *run, const bp_batch *done, bp_batch *next, bool learnt);

#endif

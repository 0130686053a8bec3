/* net.h - floor 4: the structures behind bpfast.h.
 * SPDX-License-Identifier: BSD-3-Clause
 */
#ifndef BP_NET_H
#define BP_NET_H

#include "bpfast.h"
#include "common.h"
#include "ops/op.h"

/* ---- status.c ---- */
BP_USE_RESULT bpfast_status bp_fail(bpfast_message *message, bpfast_status status,
                                    const char *format, ...) __attribute__((format(printf, 3, 4)));
#define BP_TRY(call)                              \
    do {                                          \
        const bpfast_status status_ = (call);     \
        if (status_ != BPFAST_OK) return status_; \
    } while (0)

/* ---- arena.c: the only place with malloc ---- */
typedef struct {
    size_t size;
    bool overflow;
} bp_layout;
/* Room for count elements, aligned; returns its offset. */
size_t bp_layout_add(bp_layout *layout, size_t count, size_t itemsize);
/* Zeroed, aligned; NULL without memory or after overflow. */
void *bp_arena_new(size_t size);
void bp_arena_free(void *arena);
bpfast_status bp_arena_try(void **out, const bp_layout *layout, const char *what,
                           bpfast_message *message);
/* An arena for one call, its contents undefined: the one in `spare` when that is there and large
 * enough. The call gives it back; the last one given back is kept. Any number of threads may do so. */
typedef _Atomic(void *) bp_spare;
bpfast_status bp_arena_borrow(bp_spare *spare, void **out, const bp_layout *layout,
                              const char *what, bpfast_message *message);
void bp_arena_return(bp_spare *spare, void *arena);

/* ---- tune.c: the number of threads, tried while a run trains ---- */
typedef enum { BP_TUNE_BEST, BP_TUNE_WARM, BP_TUNE_TRIAL } bp_tune_phase;
enum { BP_TRIAL_PARTS = 3, BP_MOST_TRIAL_PARTS = 12 };
typedef struct {
    size_t most, best, now; /* threads: allowed, fastest so far, of the steps under way */
    bp_tune_phase phase;
    double seconds, best_step;        /* of this phase; of one step with the best number */
    size_t steps;                     /* of this phase */
    double wait;                      /* seconds before the next trial, */
    size_t wait_steps;                /* and steps */
    double part[BP_MOST_TRIAL_PARTS]; /* of the trial: seconds a step, in ascending order */
    size_t parts;
    double quiet; /* seconds since a thread was last preempted, and their steps */
    size_t quiet_steps;
    double quiet_wait; /* 0, or so many before a trial lost to preemptions is repeated */
    bool crowded;      /* the trial, or its warming up, saw a preemption */
    bool down;         /* it tries fewer threads */
    bool cold;         /* nothing has run since the tuner or its run began */
} bp_tuner;
bp_tuner bp_tune_start(size_t most, size_t guess);
void bp_tune_resume(bp_tuner *t, double idle); /* a run goes on after so many seconds */
double bp_tune_seconds(const bp_tuner *t);     /* how long the steps may go on as they are */
/* Steps took so long; a thread of the process was preempted meanwhile, or not. A team smaller than
 * asked for, since others had the CPUs, tells nothing. */
void bp_tune_add(bp_tuner *t, size_t team, size_t steps, double seconds, bool preempted);

/* ---- the network ---- */
struct bpfast_net {
    const bp_kernels *k, *k64;
    bp_node *nodes;
    bp_shape input;
    size_t n_nodes, inputs, outputs; /* inputs, outputs: values of a row */
    size_t widest;                   /* columns of the widest matrix, inputs included */
    bool chain; /* layers one after the other on vectors, none shared: what prim/plain.c is for */
    size_t n_parameters, n_state, n_buffers;
    void *persist; /* PARAM | GRAD | BUFFERS */
    void *parameters, *gradients, *buffers;
    size_t l2; /* bytes of this machine's L2 */
    size_t k_block;
    bool standardizes;
    bool ties;             /* some layer uses another's kernel transposed */
    void *snapshot;        /* PARAM and BUFFERS when the last epoch began */
    struct bp_plan *infer; /* of inference, without and with the loss on the last pre-activation */
    bp_optimizer optimizer;
    double learning_rate;
    bool has_optimizer;
    void *state;            /* slots, one after the other, n_state elements each */
    void *average;          /* of the parameters, in the order of a slot; or NULL */
    double average_decay;   /* 0: steps leave it alone */
    uint64_t average_start; /* steps before its first */
    bp_spare *spare;        /* of inference, which may change nothing else here */
    bpfast_counters counters;
    bp_tuner tuner;  /* of the last run, for the next with the same batch */
    double tuned_at; /* when that stepped last */
    size_t tuned_batch;
};

BP_INLINE void *bp_state_slot(const bpfast_net *net, size_t slot)
{
    const bool has = net->state && slot < bp_rule_slots(net->optimizer.rule);
    return has ? bp_at(net->state, slot * net->n_state, net->k->size) : NULL;
}
/* Where the next step's batch number `part` draws its random numbers: steps are fewer than 2^32. */
BP_INLINE uint64_t bp_random_step(const bpfast_net *net, size_t part)
{
    return net->counters.step + ((uint64_t)part << 32);
}
/* What the next step counts for in the average; 0: nothing. */
BP_INLINE double bp_net_average_share(const bpfast_net *net)
{
    if (!net->average || net->average_decay == 0) return 0;
    return bp_average_share(net->average_decay, net->counters.step + 1 - net->average_start);
}
/* Mean and scale of the inputs, or NULL. */
BP_INLINE const void *bp_net_mean(const bpfast_net *net)
{
    return net->standardizes ? net->buffers : NULL;
}
BP_INLINE const void *bp_net_scale(const bpfast_net *net)
{
    return net->standardizes ? bp_cat(net->buffers, net->inputs, net->k->size) : NULL;
}

/* ---- weights.c ---- */
bool bp_owns_kernel(const bp_node *node); /* rather than another node that it shares it with */
bool bp_owns_bias(const bp_node *node);
bool bp_trains_kernel(const bpfast_net *net, const bp_node *node);
bool bp_trains_bias(const bpfast_net *net, const bp_node *node);
/* Where a node's weights stand among n_state elements; transposed: as many, or NULL. */
bp_weights bp_weights_at(const bpfast_net *net, const bp_node *node, void *panels,
                         void *transposed);
/* From and to an array like PARAM: those that a node owns, or all. Row-major ones are left alone. */
void bp_weights_read_one(const bpfast_net *net, const bp_node *node, const bp_weights *w,
                         const void *params);
void bp_weights_write_one(const bpfast_net *net, const bp_node *node, const bp_weights *w,
                          void *params);
void bp_weights_read(const bpfast_net *net, const bp_weights *w, const void *params);
void bp_weights_write(const bpfast_net *net, const bp_weights *w, void *params);

/* ---- spec.c ---- */
/* Checks layers and fills nodes, sizes and offsets. */
bpfast_status bp_spec_read(bpfast_net *net, const bpfast_layer *layers, size_t n_layers,
                           bpfast_message *message);
bpfast_status bp_objective_read(bp_objective *out, const bpfast_net *net,
                                const bpfast_objective *in, bpfast_message *message);
bp_shape bp_value_shape(const bpfast_net *net, size_t value);
double bp_node_flops(const bp_node *node);  /* of one row forward */
double bp_net_flops(const bpfast_net *net); /* of one row through a training step */

/* ---- plan.c ---- */
typedef struct {
    const char *name;
    size_t layer, rows, cols; /* rows: of the whole batch; a plain one's are the batch's */
    size_t itemsize;
    bool plain;
    size_t first, last; /* steps between which it holds something */
    size_t offset;      /* in the batch arena, bytes */
} bp_buffer;

/* Steps between two meetings of all threads, which split rows, or the panels of the matrices that these
 * steps write. */
typedef struct {
    size_t first, last;
    size_t panels; /* 0: rows */
} bp_segment;

typedef struct bp_plan {
    size_t batch;
    bp_buffer *buffers;
    size_t n_buffers;
    bp_step *steps; /* forward, then backward in running order */
    size_t n_forward, n_steps;
    bp_segment *segments;
    size_t n_segments, loss_segment;
    bool splits_columns;                            /* some segment does */
    bp_place *at;                                   /* by node */
    int input, output, delta, targets, input_delta; /* buffer ids */
    bp_item *items;
    size_t n_items;
    double *item_flops;  /* running totals, n_items + 1 */
    size_t unit;         /* rows are split at multiples of it */
    size_t row_bytes;    /* of a row's share of the buffers */
    size_t own, scratch; /* elements a thread */
    size_t bytes;        /* of the batch arena */
    void *memory;
} bp_plan;

typedef enum { BP_PLAN_TRAIN, BP_PLAN_TRAIN_INPUT, BP_PLAN_INFER } bp_plan_kind;
/* TRAIN_INPUT also carries the gradient to the network's input. `fused`: the loss takes the last
 * pre-activation. `threads`: the most that will run it. */
bpfast_status bp_plan_new(bp_plan *plan, const bpfast_net *net, size_t batch, size_t threads,
                          bp_plan_kind kind, bool fused, bpfast_message *message);
void bp_plan_free(bp_plan *plan);
void bp_plan_bind(const bp_plan *plan, const bp_kernels *k, void *arena, bp_panels *m);
/* First item of thread id of size, by flops. */
size_t bp_plan_share(const bp_plan *plan, size_t size, size_t id);
/* First row of part i of `parts` of a batch. */
size_t bp_plan_part(const bp_plan *plan, size_t rows, size_t parts, size_t i);
/* The `ready` of a segment's first step where rows are split; in the first segment also those that wait
 * for nobody. */
void bp_plan_ready(const bp_plan *plan, const bp_pass *pass, size_t segment);

/* ---- route.c: a plan's steps ---- */
/* Most buffers and steps that they can be. */
enum { BP_MOST_BUFFERS_A_NODE = 12, BP_MOST_STEPS_A_NODE = 12, BP_FIXED_BUFFERS = 6 };
/* Steps and buffers of a plan whose arrays have room, and room for work. */
typedef struct {
    bp_plan *plan;
    const bpfast_net *net;
    bool train, fused, to_input;
    int *value, *delta; /* buffers by value */
    bool *wanted;       /* by value: its gradient */
    size_t *holders;    /* by buffer: values whose gradient it is, and that wait for it */
    bool *kept;         /* by buffer: read after the backward steps */
    int spread;         /* the input as panels */
} bp_route;
void bp_route_forward(bp_route *route);
void bp_route_backward(bp_route *route);
int bp_route_buffer(bp_plan *plan, const char *name, size_t layer, size_t rows, size_t cols,
                    size_t itemsize);

/* ---- batch.c ---- */
void bp_gather(const bp_kernels *k, const bpfast_array *array, const int64_t *rows, size_t first,
               size_t count, bp_panels to, const void *mean, const void *scale);
/* Rows as panels, or as plain rows where the input has positions, starting at row `row0` of `to`. */
void bp_gather_inputs(const bpfast_net *net, const bpfast_array *x, const int64_t *rows,
                      size_t first, bp_panels to, size_t row0, size_t count);
bool bp_inputs_finite(const bpfast_net *net, bp_panels x, size_t row0, size_t rows);
bool bp_panels_finite(const bp_kernels *k, bp_panels m, size_t cols, size_t row0, size_t rows);
double bp_weight_sum(const bpfast_data *data, const int64_t *rows, size_t first, size_t count);
void bp_scores_add(bpfast_scores *scores, const bp_row_stats *stats, const bp_targets *targets,
                   size_t rows);

/* ---- look.c: what goes through the layers ---- */
typedef struct bp_look bp_look;
void bp_look_at(bp_look *look, const bp_plan *plan, const bp_pass *pass, const bp_step *step,
                size_t first, size_t rows); /* after the step on so many rows of the data */

/* ---- infer.c ---- */
typedef struct {
    const bpfast_net *net;
    const bp_plan *plan; /* one of net->infer: rows go through it in chunks of its batch */
    const bp_weights *w;
    const bpfast_array *x;
    size_t rows;
    void *out;               /* row-major, or NULL when scoring or looking */
    bp_look *look;           /* or NULL */
    size_t chunk;            /* rows at a time; 0: the plan's batch */
    const bpfast_data *data; /* when scoring */
    const bp_objective *objective;
    bp_row_stats *stats; /* [rows] */
    double *residuals;   /* [chunks][outputs], or NULL */
    char *arenas;        /* one a thread */
    size_t arena_size;
} bp_inference;
bpfast_status bp_infer_plans(bpfast_net *net, bpfast_message *message);
size_t bp_infer_arena_size(const bpfast_net *net, const bp_plan *plan);
/* Memory of one call, for so many threads: weights, a scratch arena for each, row numbers; to be given
 * back to net->spare. */
bpfast_status bp_infer_open(void **memory, bp_inference *job, size_t threads, bool residuals,
                            bpfast_message *message);
size_t bp_infer_threads(const bp_inference *job, size_t threads, bool exact);
bp_task_fn bp_infer_task; /* arg: bp_inference */
void bp_infer_totals(const bp_inference *job, bpfast_scores *scores, double *residuals);
/* Threads for `repeats` steps of `flops` each over `rows` that can be split. */
size_t bp_choose_threads(size_t most, bool exact, double flops, double repeats, size_t rows);
/* False when `repeats` such steps end before a sleeping thread would have woken up. */
bool bp_worth_waking(double flops, double repeats);

#endif

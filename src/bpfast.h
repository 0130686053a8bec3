/* bpfast.h - the public C interface: networks, training runs, inference.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * The only header that the binding reads. No call prints, exits or raises: fallible ones return a
 * status and fill a message that the caller owns. Sizes are elements unless bytes are named. Arrays
 * passed in are borrowed for as long as stated; objects are freed by their *_free.
 */
#ifndef BPFAST_H
#define BPFAST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
    BPFAST_OK,
    BPFAST_BAD_ARGUMENT, /* message says which */
    BPFAST_NO_MEMORY,    /* message says how many bytes */
    BPFAST_NOT_FINITE,   /* loss or weights; see bpfast_fault */
    BPFAST_BAD_INPUT     /* a NaN or infinity among inputs read on the way */
} bpfast_status;

typedef struct {
    char text[256];
} bpfast_message;

typedef struct bpfast_net bpfast_net;
typedef struct bpfast_run bpfast_run;

/* ---- tables: names by index, NULL past the end ---- */
const char *bpfast_activation_name(size_t index);
const char *bpfast_loss_name(size_t index);
const char *bpfast_optimizer_rule_name(size_t index);
const char *bpfast_source_name(size_t index); /* element types of arrays */
const char *bpfast_isa_name(size_t index);
bool bpfast_isa_supported(size_t index);
const char *bpfast_isa_default(void);

/* ---- threads ---- */
typedef struct {
    size_t threads;                                      /* the least of the others */
    size_t cpus;                                         /* the least but for openmp */
    size_t openmp, thread_limit, affinity, cores, quota; /* 0: unlimited or unknown */
    const char *reason, *cpus_reason;                    /* which one decided */
    bool has_openmp;
} bpfast_threads;
bpfast_threads bpfast_thread_limits(void); /* of the calling thread */
/* For tests: what files below the folder `root`, instead of the system's, say on the physical cores
 * of the first CPUs, and on the control group's quota in CPUs; 0: unknown, unlimited. */
size_t bpfast_cpu_cores(const char *root, size_t cpus);
size_t bpfast_cpu_quota(const char *root);

/* ---- data ---- */
typedef struct {
    const void *data;
    ptrdiff_t row_stride, col_stride; /* bytes; may be negative */
    size_t source;                    /* index of bpfast_source_name */
    size_t cols;
    /* NULL, or of compressed rows (CSR) where each begins in data, [rows + 1]: row i has the values
     * data[starts[i]] .. data[starts[i + 1] - 1], contiguous, in these columns, and zeros elsewhere. */
    const int64_t *starts;
    const void
        *columns; /* int32_t, or int64_t where wide; each at most once in a row, in any order */
    bool wide;
} bpfast_array;

typedef struct {
    size_t rows;
    bpfast_array x;
    bpfast_array y;        /* data NULL when labels are given */
    const int64_t *labels; /* [rows], or NULL */
    const double *weights; /* [rows], or NULL */
} bpfast_data;

/* Index of the first row of [rows] with an element that is not finite once rounded to itemsize
 * bytes, or rows. */
size_t bpfast_find_bad_row(const bpfast_array *x, size_t rows, size_t itemsize);
/* The first of [rows] compressed rows with a column that is not 0 .. cols - 1, or that it has twice; rows
 * if there is none. */
bpfast_status bpfast_find_bad_columns(const bpfast_array *x, size_t rows, size_t *bad,
                                      bpfast_message *message);
/* The first label that is not 0 .. classes - 1; rows if there is none. */
size_t bpfast_find_bad_label(const int64_t *labels, size_t rows, size_t classes);

/* ---- networks ---- */
/* Of one row: height * width positions of `channels` values, channels last. A plain vector has one
 * position, a sequence height 1. */
typedef struct {
    size_t height, width, channels;
} bpfast_shape;

enum { BPFAST_MOST_INPUTS = 2 };

/* Layers stand in an order in which each comes after its inputs. */
typedef struct {
    const char *kind; /* a row of ops.inc */
    /* Values: 0 is the network's input, i + 1 the output of layer i. */
    size_t inputs[BPFAST_MOST_INPUTS], n_inputs;
    size_t shares;          /* 0, or 1 + the earlier layer whose parameters it uses */
    bool tied;              /* its kernel is that layer's transposed, its bias its own */
    size_t units;           /* dense, conv: columns of the kernel */
    const char *activation; /* dense, conv, activation; NULL: identity */
    bool use_kernel, use_bias, trainable, non_negative;
    double rate;              /* dropout; of weights for dense; deviation of noise */
    double epsilon, momentum; /* normalisation */
    size_t first, count;      /* slice: columns first .. first + count */
    bpfast_shape shape;       /* reshape: of the output */
    /* Of conv and pool, each (along height, along width); outside: before, after. */
    size_t window[2], stride[2], dilation[2], outside_y[2], outside_x[2];
    size_t groups; /* conv: of channels; window, input channels / groups, units is the kernel */
    double l1, l2, bias_l1, bias_l2;
    double max_norm; /* 0: none */
    double lr_scale; /* the learning rate's factor for its parameters; 0 counts as 1 */
} bpfast_layer;

/* itemsize 4 or 8; isa NULL for the default. */
bpfast_status bpfast_net_new(bpfast_net **out, const bpfast_layer *layers, size_t n_layers,
                             bpfast_shape input, size_t itemsize, const char *isa, uint64_t seed,
                             bpfast_message *message);
void bpfast_net_free(bpfast_net *net);

typedef struct {
    void *parameters, *gradients, *buffers; /* contiguous; live as long as the net */
    size_t n_parameters, n_buffers;
    size_t inputs, outputs, itemsize, n_state; /* n_state: elements of one optimizer slot, packed */
    const char *isa;
} bpfast_net_info;
bpfast_net_info bpfast_net_describe(const bpfast_net *net);

typedef struct {
    size_t layer, offset, rows, cols; /* in parameters; bias: rows 1 */
    bool is_bias;
} bpfast_tensor;
bool bpfast_net_tensor(const bpfast_net *net, size_t index,
                       bpfast_tensor *out); /* false past the end */
typedef struct {
    size_t layer, offset, size; /* in buffers */
    size_t part;                /* standardize: mean, scale; batchnorm: running mean, variance */
} bpfast_buffer;
bool bpfast_net_buffer(const bpfast_net *net, size_t index,
                       bpfast_buffer *out); /* false past the end */

/* Whether a layer's parameters are trained; the gradients of one that is not are zero from here on.
 * Runs made before keep to what was set then. */
void bpfast_net_set_trainable(bpfast_net *net, size_t layer, bool trainable);
/* The learning rate's factor for a layer's parameters, > 0, from the next step on. */
void bpfast_net_set_lr_scale(bpfast_net *net, size_t layer, double scale);

/* Counters that make random numbers and bias corrections functions of the run's position. */
typedef struct {
    uint64_t seed, step, epoch;
} bpfast_counters;
bpfast_counters bpfast_net_counters(const bpfast_net *net);
void bpfast_net_set_counters(bpfast_net *net, bpfast_counters counters);

/* Mean and 1/std of the inputs for a first standardize layer, into the buffers. */
bpfast_status bpfast_net_standardize(bpfast_net *net, const bpfast_array *x, size_t rows,
                                     bpfast_message *message);

/* ---- optimizers ---- */
typedef struct {
    size_t rule; /* index of bpfast_optimizer_rule_name */
    double learning_rate;
    double momentum, beta_1, beta_2, epsilon, weight_decay, rho;
    double eta_minus, eta_plus, step_min, step_max;
    bool bias_correction;
    double clip_norm, clip_value; /* 0: off */
} bpfast_optimizer;

/* Keeps the state when the rule's slots stay, unless `anew`, else starts with a new one. */
bpfast_status bpfast_net_set_optimizer(bpfast_net *net, const bpfast_optimizer *optimizer,
                                       bool anew, bpfast_message *message);
void bpfast_net_reset_optimizer(bpfast_net *net);
size_t bpfast_optimizer_slots(size_t rule);
const char *bpfast_optimizer_slot_names(size_t rule); /* comma-separated */
/* One slot as an array shaped like the parameters, to or from; false when there is none. */
bool bpfast_net_read_state(const bpfast_net *net, size_t slot, void *out);
bool bpfast_net_write_state(bpfast_net *net, size_t slot, const void *values);

/* ---- an average of the parameters ---- */
/* From now on each step moves it: after the nth it is the mean of w_1 .. w_n, where w_i counts decay^(n - i)
 * times. `start`: steps counted before the first. Its memory is taken once and begins with the
 * parameters as they are; decay 0: steps leave it alone. */
bpfast_status bpfast_net_set_average(bpfast_net *net, double decay, uint64_t start,
                                     bpfast_message *message);
void bpfast_net_drop_average(bpfast_net *net);
/* As an array shaped like the parameters, from and to (out NULL: nowhere); false when there is none. */
bool bpfast_net_read_average(const bpfast_net *net, void *out);
bool bpfast_net_write_average(bpfast_net *net, const void *values);

/* ---- training runs ---- */
typedef struct {
    const char *loss;                 /* NULL: no loss (low-level calls with own gradients) */
    double parameter;                 /* delta, tau or label smoothing */
    const double *each;               /* [outputs] one for each output instead, or NULL; borrowed */
    bool labels;                      /* targets are class labels */
    bool accuracy, errors, residuals; /* metrics wanted: accuracy; mse and mae; r2 */
} bpfast_objective;

typedef struct {
    bpfast_data train, validation; /* borrowed while the run lives; rows 0: none */
    bpfast_objective objective;
    size_t batch_size;
    size_t accumulate;  /* a step's gradient is that of so many batches together; 0: one */
    size_t threads;     /* most threads */
    bool exact_threads; /* use just that many: for tests of oversubscription */
    bool shuffle;
    bool sweep;         /* gradients go through GRAD even where they could be fused */
    bool ignore_faults; /* go on with NaN and infinities */
    bool check_inputs;  /* look for NaN and infinities while gathering */
    double
        decay; /* sum of all kernels' squares times decay / 2, over the weight of a step's rows, is
                     part of the loss but not of bpfast_penalty: scikit-learn's alpha */
    double planned_epochs; /* how much work is coming: threads are woken only for enough of it */
} bpfast_config;

bpfast_status bpfast_run_new(bpfast_run **out, bpfast_net *net, const bpfast_config *config,
                             bpfast_message *message);
void bpfast_run_free(bpfast_run *run);
size_t bpfast_run_threads(const bpfast_run *run);

/* Bytes that a run over this batch size needs beside the data; false on overflow. */
bool bpfast_net_memory(const bpfast_net *net, size_t batch_size, size_t rows, size_t slots,
                       size_t *persist, size_t *state, size_t *work);

typedef struct {
    double loss_sum, weight_sum; /* sums over rows: loss is their quotient */
    double correct, squared, absolute;
} bpfast_scores;

/* Where an epoch stands: enough to continue it elsewhere with the same bits. */
typedef struct {
    size_t batch;            /* steps done: of `accumulate` batches each */
    bpfast_scores scores;    /* so far */
    const double *residuals; /* so far, [outputs], or NULL: zero; read when the epoch begins */
} bpfast_cursor;

/* Packs weights, draws the order. rates: one learning rate, or one for each step of the epoch;
 * borrowed until the epoch ends. cursor: where to start. */
void bpfast_run_begin_epoch(bpfast_run *run, const double *rates, size_t n_rates,
                            const bpfast_cursor *cursor);
/* Up to max_steps steps, stopping soon after `seconds`. *finished: the epoch has no more batches. */
bpfast_status bpfast_run_steps(bpfast_run *run, size_t max_steps, double seconds, bool *finished);
/* Lets the last step of the present epoch, or of the next to begin, copy the parameters that it meets to
 * `before` (like PARAM; borrowed until then) and leave its gradient, penalty included, in GRAD; all bits
 * stay the same. */
void bpfast_run_watch(bpfast_run *run, void *before);
bool bpfast_run_watched(const bpfast_run *run); /* whether the epoch's last step did so */
/* Makes parameters current again (also in mid-epoch); does nothing where they are. */
void bpfast_run_unpack(bpfast_run *run);
bpfast_cursor bpfast_run_cursor(const bpfast_run *run);
/* Penalty of the regularizers, scores of the validation data, and whether all weights are finite. */
bpfast_status bpfast_run_end_epoch(bpfast_run *run, double *penalty, bpfast_scores *validation);
/* Sums of squared residuals per output [outputs], so far in the epoch, and of the validation data. */
const double *bpfast_run_residuals(const bpfast_run *run, bool validation);
/* Parameters as they were when the last epoch began. */
void bpfast_run_restore(bpfast_run *run);

typedef struct {
    size_t layer, batch, row;
} bpfast_fault;
bpfast_fault bpfast_run_fault(const bpfast_run *run); /* after NOT_FINITE or BAD_INPUT */

/* ---- one batch at a time: runs made with train.rows 0; rows <= batch_size ---- */
/* In training mode; out [rows][outputs] row-major. part: which of the batches of one step, for its
 * random masks. */
void bpfast_run_forward(bpfast_run *run, const bpfast_array *x, size_t rows, size_t part,
                        void *out);
/* Gradients of the last forward's rows; dx [rows][inputs] row-major, or NULL. */
void bpfast_run_backward(bpfast_run *run, const bpfast_array *dy, bool accumulate, void *dx);
/* Forward, loss and backward at once; *loss is the data term, *penalty beside it. */
bpfast_status bpfast_run_loss(bpfast_run *run, const bpfast_data *batch, double *loss,
                              double *penalty);
/* One step of the net's optimizer from its gradients. */
void bpfast_run_apply(bpfast_run *run, double rate);

/* ---- inference: any number of threads may call these at once ---- */
bpfast_status bpfast_predict(const bpfast_net *net, const bpfast_array *x, size_t rows, void *out,
                             size_t threads, bool exact_threads, bpfast_message *message);
/* residuals [outputs] or NULL. */
bpfast_status bpfast_evaluate(const bpfast_net *net, const bpfast_data *data,
                              const bpfast_objective *objective, size_t threads,
                              bpfast_scores *scores, double *residuals, bpfast_message *message);
double bpfast_penalty(const bpfast_net *net);
/* One loss over plain rows: *value is the mean; gradient [rows][cols] or NULL. itemsize 4 or 8. */
bpfast_status bpfast_loss_value(const bpfast_data *data, const bpfast_array *output,
                                const bpfast_objective *objective, size_t itemsize, double *value,
                                void *gradient, bpfast_message *message);

/* An activation on [rows][cols] row-major in place; softmax by rows. False when it is unknown. */
bool bpfast_activate(const char *activation, void *values, size_t rows, size_t cols,
                     size_t itemsize);

/* ---- what weights and outputs look like; all in double ---- */
typedef struct {
    const void *x, *before; /* in: [n], n > 0; before [n] or NULL */
    size_t n;
    /* counts [bins] of x within edges [bins + 1], evenly from min to max, half a unit to both sides where
     * these are equal; the last bin is closed. Where x is not finite edges are NaN and counts 0. */
    int64_t *counts;
    double *edges;
    double mean, std, norm, min, max; /* std: population; norm: root of the sum of squares */
    double change;                    /* norm of x - before; 0 without */
} bpfast_part;
void bpfast_summarize(bpfast_part *parts, size_t n_parts, size_t itemsize, size_t bins,
                      size_t threads, bool exact_threads);

typedef struct {
    size_t layer;          /* in */
    double low, high;      /* in: outputs <= low and >= high are counted; NaN: none */
    size_t units, outputs; /* columns, values in all; 0 for a layer without a step at inference */
    double mean, std;      /* of all values; population */
    size_t silent;         /* units without a positive value */
    size_t lows, highs;
} bpfast_outputs;
/* Fills `layers` from the outputs of these rows at inference. A convolution that also does the max
 * pooling behind it shows what that gives. */
bpfast_status bpfast_look(const bpfast_net *net, const bpfast_array *x, size_t rows, size_t threads,
                          bool exact_threads, bpfast_outputs *layers, size_t n_layers,
                          bpfast_message *message);

/* ---- where the time of a training step goes ---- */
typedef struct {
    const char *what; /* mask, gather, forward, loss, backward, gradient, norm, update, prepare,
                       * wait; NULL where this run has no such piece */
    size_t layer;     /* the number of layers for what belongs to none */
    double flops;     /* of its matrix product, all threads together; 0 without */
    double elements;  /* that its activation, derivative or update works on; 0 without */
    const char *activation; /* of forward and backward, where it costs a pass; else NULL */
} bpfast_piece;
/* Pieces in the order of a step. A "gradient" is stored, norm and "update" follow; an "update" with
 * flops is fused with its gradient. */
size_t bpfast_run_piece_count(const bpfast_run *run);
bpfast_piece bpfast_run_piece(const bpfast_run *run, size_t index);
/* As bpfast_run_steps without a deadline, with seconds[step][thread][piece] added up: zero before,
 * room for max_steps and for bpfast_run_threads. *team: threads that there were. */
bpfast_status bpfast_run_profile(bpfast_run *run, size_t max_steps, double *seconds, size_t *team);

typedef enum {
    BPFAST_KERNEL_PRODUCT,    /* forward and backward; per floating-point operation */
    BPFAST_KERNEL_GRADIENT,   /* of weights; per floating-point operation */
    BPFAST_KERNEL_ACTIVATION, /* of a dense layer; per element */
    BPFAST_KERNEL_DERIVATIVE, /* likewise */
    BPFAST_KERNEL_UPDATE      /* the optimizer's rule; per element */
} bpfast_kernel;
/* Seconds of one kernel on operands in L1, on the calling thread; takes about a millisecond. */
bpfast_status bpfast_net_kernel_seconds(const bpfast_net *net, bpfast_kernel kernel, size_t layer,
                                        double *seconds, bpfast_message *message);

/* ---- plan, as text ---- */
/* One line on step `index` of the plan for this batch size; empty past the end. */
bpfast_status bpfast_net_plan_line(const bpfast_net *net, size_t batch_size, size_t index,
                                   char *text, size_t size, bpfast_message *message);

/* ---- for tests ---- */
/* Makes the nth allocation of the calling thread from now on fail, once; 0: none. Returns how many
 * were left until the one that an earlier call had chosen; 0 when that has failed. */
size_t bpfast_fail_allocation(size_t nth);

/* ---- random numbers and functions ---- */
double bpfast_cos(double x); /* our own, for schedules: the same bits on every machine */
void bpfast_permutation(int64_t *out, size_t n, uint64_t seed, uint32_t stream, uint64_t step);
/* kind: 0 uniform from a to b; 1 normal with mean a and deviation b. */
void bpfast_fill_random(void *out, size_t n, size_t itemsize, int kind, double a, double b,
                        uint64_t seed, uint32_t stream);
/* Random rotation, row-major [rows][cols]; false without memory. */
bool bpfast_fill_orthogonal(void *out, size_t rows, size_t cols, size_t itemsize, double gain,
                            uint64_t seed, uint32_t stream);

#endif

/* prim.h - floor 2: threads, blocking, packing, and sweeps over whole arrays.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Built on the kernel table alone. Nothing here allocates; callers bring the memory.
 */
#ifndef BP_PRIM_H
#define BP_PRIM_H

#include <stdatomic.h>

#include "common.h"
#include "kernels/kernels.h"

/* ---- matrices in panels (kernels.h draws them) ---- */

typedef struct {
    void *data;
    size_t stride; /* elements from one panel to the next */
} bp_panels;

size_t bp_panel_count(const bp_kernels *k, size_t cols);
size_t bp_panel_stride(const bp_kernels *k, size_t rows); /* elements, padded against aliasing */
/* Element (row, first column of `panel`). */
BP_INLINE void *bp_panel(const bp_kernels *k, bp_panels m, size_t panel, size_t row)
{
    return bp_at(m.data, panel * m.stride + row * k->nr, k->size);
}
/* Valid columns of a panel. */
BP_INLINE size_t bp_panel_width(const bp_kernels *k, size_t cols, size_t panel)
{
    return bp_min(k->nr, cols - panel * k->nr);
}

/* ---- gemm.c: weights as panels of W and of its transpose ---- */

/* W is cut into NR x NR blocks. Block (i, j) holds rows i*NR.. and columns j*NR.. and is contiguous
 * in both orders: w[j][i] as it is, wt[i][j] transposed. Rows and columns past the end are zero. */
typedef struct {
    size_t in, out;
    void *w;        /* [out/NR][in padded][NR] */
    void *wt;       /* [in/NR][out padded][NR]; NULL when no gradient flows to the input */
    void *bias;     /* [out padded]; NULL without */
    size_t l2;      /* bytes of this machine's L2 */
    size_t k_block; /* rows of a panel of W that a product takes at once */
    bool far;       /* panels come from beyond it: they do not fit, or another core wrote them */
    /* Row-major [in][out] and [out], which products then read instead of the panels; or NULL. */
    const void *plain, *plain_bias;
} bp_weights;

size_t bp_k_block(void);  /* for this machine */
size_t bp_l2_bytes(void); /* of one core, at most 2 MB; 512 KB where the system does not say */

size_t bp_weights_size(const bp_kernels *k, size_t in, size_t out); /* elements of w; of wt */
size_t bp_block_rows(const bp_kernels *k, const bp_weights *w,
                     size_t i); /* valid rows of block i */
void *bp_block(const bp_kernels *k, const bp_weights *w, size_t i, size_t j);
void *bp_block_of_transpose(const bp_kernels *k, const bp_weights *w, size_t i,
                            size_t j); /* NULL without */
void bp_block_transposed(const bp_kernels *k, const bp_weights *w, size_t i, size_t j);
void bp_kernel_pack(const bp_kernels *k, const bp_weights *w, const void *kernel);
void bp_kernel_unpack(const bp_kernels *k, const bp_weights *w, void *kernel);
/* Panels first .. last of columns, or as many as there are; up to `soon` are those that come next. */
typedef struct {
    size_t first, last, soon;
} bp_range;
#define BP_ALL_PANELS {0, SIZE_MAX, SIZE_MAX}

/* Rows row0 .. row0 + rows of some panels: y = x W + b; or dx = dy W^T, whose chains go on from dx where
 * `add`. Row-major weights give all panels. */
void bp_gemm_forward(const bp_kernels *k, bp_panels y, bp_panels x, const bp_weights *w,
                     size_t row0, size_t rows, bp_range panels, bool relu);
void bp_gemm_backward(const bp_kernels *k, bp_panels dx, bp_panels dy, const bp_weights *w,
                      size_t row0, size_t rows, bp_range panels, bool add);

/* ---- plain.c: the same with row-major weights; bp_gemm_forward and bp_gemm_backward call it ---- */

void bp_plain_forward(const bp_kernels *k, bp_panels y, bp_panels x, const bp_weights *w,
                      size_t row0, size_t rows, bool relu);
void bp_plain_backward(const bp_kernels *k, bp_panels dx, bp_panels dy, const bp_weights *w,
                       size_t row0, size_t rows);
/* g[in][out] = x^T dz of a batch, or more of its chains; panels first .. last of x. */
void bp_plain_gradient(const bp_kernels *k, void *g, bp_panels x, bp_panels dz, size_t batch,
                       size_t in, size_t out, bool add, size_t first, size_t last);
bool bp_plain_gradient_pays(size_t batch); /* few rows */

/* ---- elementwise.c: maps over row ranges of panels ---- */

void bp_activate(const bp_kernels *k, size_t activation, bp_panels y, bp_panels z, size_t cols,
                 size_t row0, size_t rows, void *scratch);
void bp_derive(const bp_kernels *k, size_t activation, bp_panels dz, bp_panels dy, bp_panels saved,
               size_t cols, size_t row0, size_t rows, void *scratch);
/* One row as a contiguous array: in place when it fits one panel, else copied to scratch[cols]. */
const void *bp_row_read(const bp_kernels *k, bp_panels m, size_t cols, size_t row, void *scratch);
void *bp_row_open(const bp_kernels *k, bp_panels m, size_t cols, size_t row, void *scratch);
void bp_row_close(const bp_kernels *k, bp_panels m, size_t cols, size_t row, const void *scratch);

/* Columns y_col .. y_col + n of one row, or of rows row0 .., from columns x_col .. of another matrix. */
void bp_copy_row(const bp_kernels *k, bp_panels y, size_t y_row, size_t y_col, bp_panels x,
                 size_t x_row, size_t x_col, size_t n);
void bp_copy_columns(const bp_kernels *k, bp_panels y, size_t y_col, bp_panels x, size_t x_col,
                     size_t cols, size_t row0, size_t rows);

/* ---- reduce.c: sums over long arrays in fixed shards ---- */

enum { BP_SHARD = 8192 }; /* elements: one double each */
size_t bp_shard_count(size_t n);
void bp_shard_squares(const bp_kernels *k, double *shards, const void *x, size_t n, size_t first,
                      size_t last);
double bp_shard_total(const double *shards, size_t n);
typedef double bp_sum_fn(const void *x, size_t n);
double bp_sum_sharded(const bp_kernels *k, bp_sum_fn *sum, const void *x, size_t n);

/* ---- summary.c: what an array looks like, in double ---- */

typedef struct {
    size_t n;
    double mean, m2; /* m2: sum of squared deviations from the mean; NaN where x is not finite */
    double min, max;
} bp_moments;
/* k64: the table of doubles. */
bp_moments bp_moments_of(const bp_kernels *k, const bp_kernels *k64, const void *x, size_t n);
double bp_squared_distance(const bp_kernels *k, const bp_kernels *k64, const void *x, const void *y,
                           size_t n);
/* counts[b] of x[n] in edges[b] <= x < edges[b + 1], evenly spaced; the last bin takes its upper edge
 * too. Every x lies within the edges. */
void bp_histogram(const bp_kernels *k, int64_t *counts, const double *edges, size_t bins,
                  const void *x, size_t n);

/* ---- optim.c ---- */

typedef struct {
    size_t rule; /* row of optimizers.inc */
    double momentum, beta_1, beta_2, epsilon, weight_decay, rho;
    double eta_minus, eta_plus, step_min, step_max;
    bool bias_correction;
    double clip_norm, clip_value; /* 0: off */
} bp_optimizer;

/* One step's update of a run of parameters; what is zero or one is skipped. */
typedef struct {
    bp_optim_fn *rule;
    bp_optim_args args;
    double rate, weight_decay, share; /* args has rate / share and 1 - rate weight_decay */
    double gradient_scale;            /* of the global-norm clip */
    double clip_value;
} bp_update;

double bp_optimizer_slot_start(const bp_optimizer *o, size_t slot, double rate); /* initial state */
/* step counts from 1 */
bp_update bp_update_prepare(const bp_kernels *k, const bp_optimizer *o, double rate, uint64_t step);
/* The same with the learning rate times `scale`, as if it had been prepared with that. */
bp_update bp_update_scaled(const bp_update *update, double scale);
/* The share of the newest of n values in their mean, where each counts decay times as much as the next. */
double bp_average_share(double decay, uint64_t n);
double bp_clip_factor(double norm, double limit);
void bp_update_run(const bp_kernels *k, const bp_update *u, void *w, void *g, void *s0, void *s1,
                   size_t rows, size_t cols, size_t ld); /* g is changed where it is clipped */

/* ---- rng.c ---- */

/* Streams: what is drawn. A layer's own streams add its index. */
enum {
    BP_STREAM_SHUFFLE = 1,
    BP_STREAM_USER = 2,
    BP_STREAM_INIT = 0x10000,
    BP_STREAM_DROPOUT = 0x20000,
    BP_STREAM_WEIGHT_DROPOUT = 0x30000,
    BP_STREAM_NOISE = 0x40000
};
void bp_permutation(int64_t *out, size_t n, uint64_t seed, uint32_t stream, uint64_t step);
void bp_fill_random(const bp_kernels *k, const bp_kernels *k64, void *out, size_t n, bool normal,
                    double a, double b, uint64_t seed, uint32_t stream);
void bp_orthogonal(double *a, size_t rows, size_t cols, double gain); /* in place, rows >= cols */

/* ---- barrier.c ---- */

typedef struct bp_cpus_taken bp_cpus_taken; /* cpus.h */
typedef struct {
    _Alignas(BP_ALIGN) _Atomic uint32_t arrived;
    _Alignas(BP_ALIGN) _Atomic uint32_t generation;
    _Atomic uint32_t sleepers;
    _Atomic size_t size; /* threads that there are, which may be fewer than asked for */
    bp_cpus_taken *cpus; /* where they are; NULL of a caller alone */
} bp_team;
BP_INLINE size_t bp_team_size(const bp_team *team)
{
    return atomic_load_explicit(&team->size, memory_order_relaxed);
}
void bp_team_wait(bp_team *team, size_t id); /* until all of them called it */
double bp_seconds(void);                     /* monotonic */
long bp_preemptions(void); /* how often threads of this process had to leave a CPU to others */

/* ---- threads.c ---- */

typedef void bp_task_fn(void *arg, bp_team *team, size_t id);
/* Runs the task on up to `wanted` threads and returns on how many: fewer where CPUs, the process's
 * other teams, the runtime or the system leave no room. The task must go by bp_team_size. `exact`: as
 * many as wanted, whatever the CPUs are. */
size_t bp_team_run(size_t wanted, bool exact, bp_task_fn *task, void *arg);
double bp_team_idle_seconds(void); /* since the calling thread's last team of several ended */

typedef struct {
    size_t threads;                                      /* the least of the others */
    size_t cpus;                                         /* the least but for openmp */
    size_t openmp, thread_limit, affinity, cores, quota; /* 0: unlimited or unknown */
    const char *reason, *cpus_reason;                    /* which one decided */
    bool has_openmp;
} bp_thread_limits;
bp_thread_limits bp_threads_limits(void);                           /* of the calling thread */
size_t bp_threads_for(size_t available, double flops, size_t rows); /* by work */
/* For tests: what the files below `root` say on cores of the first CPUs, and on the quota. */
size_t bp_threads_cores(const char *root, size_t cpus);
size_t bp_threads_quota(const char *root);

/* ---- claims.c ---- */

/* The parts of a phase that are one thread's own, and how many of them are taken. */
typedef struct {
    _Alignas(BP_ALIGN) _Atomic(uint64_t) at;
} bp_claim;
/* A thread's place in a phase: its own parts first, then what others have not begun. */
typedef struct {
    bp_claim *claims; /* one a thread */
    size_t size, id, of;
    size_t next, last; /* of a thread alone, which needs no atomics */
} bp_claimer;
/* Own parts [first, last). A barrier must have passed since the last use of the claims. */
bp_claimer bp_claim_open(bp_claim *claims, size_t size, size_t id, size_t first, size_t last);
bool bp_claim_next(bp_claimer *c, size_t *part);

/* Item range of one of `size` threads. */
BP_INLINE size_t bp_share(size_t items, size_t size, size_t id) { return items * id / size; }

#endif

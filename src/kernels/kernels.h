/* kernels.h - the table of innermost loops: one instance per ISA row and dtype.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Kernels allocate nothing, know no threads, raise nothing, and never touch memory outside the
 * shapes stated here. `void *` points to elements of `size` bytes (float or double). Pointers may be
 * unaligned; outputs alias inputs only where "in place" is said. Any n >= 0 is valid.
 *
 * A matrix of `cols` columns is kept as panels of NR columns:
 *
 *      panel 0              panel 1                    element (row, col) stands at
 *      row 0: NR elements   row 0: NR elements           data[(col / NR) * stride
 *      row 1: NR elements   row 1: NR elements                + row * NR + col % NR]
 *      ...                  ...
 *
 * Lanes of the last panel past `cols` are padding: finite, and never part of a sum over k.
 */
#ifndef BP_KERNELS_H
#define BP_KERNELS_H

#include "common.h"

enum {
#define BP_ACTIVATION(name, saved) BP_ACT_##name,
#include "activations.inc"
#undef BP_ACTIVATION
    BP_N_ACTIVATIONS
};
enum {
#define BP_OPTIMIZER(name, slots, slot_names) BP_OPT_##name,
#include "optimizers.inc"
#undef BP_OPTIMIZER
    BP_N_OPTIMIZERS
};
enum {
#define BP_LOSS(name, fused, labels) BP_LOSS_##name,
#include "losses.inc"
#undef BP_LOSS
    BP_N_LOSSES
};
enum {
#define BP_SOURCE(name, ctype, mid, value) BP_SOURCE_##name,
#include "sources.inc"
#undef BP_SOURCE
    BP_N_SOURCES
};

/* Where a chain of fused multiply-adds starts. */
typedef enum { BP_FROM_ZERO, BP_FROM_BIAS, BP_FROM_C } bp_start;
/* Memory that is touched after a product, and so may come to the caches while that runs. */
typedef struct {
    const void *at;
    size_t bytes;
    bool write;
} bp_ahead;

enum { BP_MOST_NR = 32 }; /* the widest panel of any row of the table */

/* Convolutions: consecutive elements that a window sees, counted from the first that it sees. */
typedef struct {
    size_t at, depth;
} bp_run;
/* Elements from one row of a tile to the next; and from one vector of a row of c to the next, VL but
 * where they stand in different lines of an image. */
typedef struct {
    size_t a_step, c_step, c_across;
} bp_steps;
/* Positions in order: samples of `lines` of `places`, and elements between them. */
typedef struct {
    size_t samples, lines, places;
    size_t a_sample, a_line, a_step;
} bp_walk;

/* An image of height x width positions, and the windows that slide over it. `top` lines and `left`
 * positions outside come before the first. */
typedef struct {
    size_t height, width, out_height, out_width;
    size_t window_y, window_x, stride_y, stride_x, top, left;
} bp_pool;
enum { BP_POOL_NONE = 255 }; /* in place of a position in a window: none of them */

/* Positions of one line of windows, each with its columns that are not zero. */
typedef struct {
    uint32_t *counts;  /* [places + 1]; the last is of those that are nowhere */
    uint32_t *columns; /* [places + 1][room], ascending */
    void *values;      /* alike */
    size_t room;
} bp_sparse;

/* Scalars of one optimizer step, ready to use (prim/optim.c fills them in double). */
typedef struct {
    double rate;       /* learning rate, bias correction of the first moment included */
    double correction; /* 1/sqrt(1 - beta_2^t), or 1 */
    double beta_1;     /* momentum; beta_1; rho */
    double beta_2;
    double epsilon;
    double decay; /* decoupled weight decay as a factor: 1 - rate * weight_decay */
    double eta_minus, eta_plus, step_min, step_max;
} bp_optim_args;

/* m rows of a loss: their targets are either rows too, or class labels. */
typedef struct {
    const void *targets;  /* [m][n], or NULL */
    const size_t *labels; /* [m], used when targets is NULL */
    const double *scales; /* [m] the gradients' factors: weight of the row over the batch's sum */
    double parameter;     /* delta, tau, or label smoothing */
    const double *each;   /* [n] the parameter of each output instead, or NULL */
    size_t ld;            /* elements from row to row; with m > 1 all ld >= n of them are memory */
} bp_loss_args;

/* Normalisation of rows of n columns: y = (x - mean) / sqrt(mean of (x - mean)^2 + epsilon) gamma + beta. */
typedef struct {
    const void *gamma;   /* NR of each panel, gamma_stride apart; NULL: 1 */
    size_t gamma_stride; /* elements */
    const void *beta;    /* [n], padded to whole panels; NULL: 0 */
    size_t n;
    double epsilon;
    bool centred; /* else 0 stands for the mean */
} bp_row_norm;
typedef struct {
    size_t dx, partial, dy, x; /* elements from panel to panel */
} bp_row_strides;

/* Sixteen random words per call of four counters; see rng.tmpl.h. */
typedef struct {
    uint64_t seed;
    uint32_t stream; /* what is drawn */
    uint64_t step;   /* when it is drawn */
} bp_rng_key;

typedef struct {
    const char *data;     /* element (0, 0) */
    ptrdiff_t row_stride; /* bytes */
    ptrdiff_t col_stride; /* bytes */
    const int64_t *rows;  /* [m] indices of rows, or NULL for first, first + 1, ... */
    size_t first;
    const void *mean;  /* [n] subtracted, or NULL */
    const void *scale; /* [n] multiplied afterwards */
    /* Of compressed rows, else NULL: row r has elements starts[r] .. starts[r + 1] - 1 of data. */
    const int64_t *starts;
    const void *columns; /* of each element: int32_t, or int64_t where wide */
    bool wide;
} bp_gather_args;

typedef void bp_map_fn(void *y, const void *x, size_t n); /* in place allowed */
typedef void bp_grad_fn(void *dz, const void *dy, const void *saved, size_t n); /* dz may be dy */
/* m rows of n, ld elements apart */
typedef void bp_optim_fn(void *w, const void *g, void *s0, void *s1, const bp_optim_args *args,
                         size_t m, size_t n, size_t ld);
/* dz may be NULL; with m > 1 its lanes past n are written too. */
typedef void bp_loss_fn(double *losses, void *dz, const void *z, const bp_loss_args *args, size_t m,
                        size_t n);
typedef void bp_gather_fn(void *dst, const bp_gather_args *src, size_t m, size_t n, size_t stride);

typedef struct bp_kernels {
    const char *isa;
    size_t size;       /* bytes of an element */
    size_t vl, nr, mr; /* lanes of a vector; columns of a panel; rows of a tile */
    size_t few;        /* rows of gemm_few that read the matrix once */

    /* c[m][NR] = start + sum over p < k of a(i, p) * b[p][NR], p ascending, one chain an element.
     * a: panels of a matrix at its first row, a_stride between panels. n: columns wanted of NR.
     * relu: applied to the finished sum. ahead: a list of what is touched next, which ends with
     * one of no bytes, or NULL. */
    void (*gemm_rows)(void *c, const void *a, const void *b, const void *bias, size_t m, size_t k,
                      size_t n, size_t a_stride, bp_start start, bool relu, const bp_ahead *ahead);
    /* c[rows][NR] = start + sum over p < m of a[p][NR](i) * b[p][NR], p ascending. ahead: as
     * above. */
    void (*gemm_block)(void *c, const void *a, const void *b, size_t m, size_t rows, size_t n,
                       bp_start start, const bp_ahead *ahead);
    /* The same chains with row-major matrices, for few rows. y = bias[n] (or zero) + x w[k][n], where
     * y and x are panels of m rows; `few` rows read w once. Lanes past n of y's last vector change. */
    void (*gemm_few)(void *y, const void *x, const void *w, const void *bias, size_t m, size_t k,
                     size_t n, size_t y_stride, size_t x_stride);
    /* g[rows][n] = start + sum over p < m of x[p][NR](i) * dz(p, n), rows <= NR; start is not
     * BP_FROM_BIAS. dz: panels, `stride` apart. */
    void (*gemm_outer)(void *g, const void *x, const void *dz, size_t m, size_t rows, size_t n,
                       size_t stride, bp_start start);

    void (*pack)(void *dst, const void *src, size_t rows, size_t cols, size_t lds, size_t stride);
    void (*unpack)(void *dst, const void *src, size_t rows, size_t cols, size_t ldd, size_t stride);
    /* dst[c][r] = src[r][c] of [NR][NR], at least where r < rows and c < cols. */
    void (*transpose_block)(void *dst, const void *src, size_t rows, size_t cols);
    /* A panel of the transpose of a row-major matrix: dst[cols][NR] from src[rows][cols], rows <= NR.
     * Lanes past rows of the last vector become zero; vectors past that stay. */
    void (*transpose)(void *dst, const void *src, size_t rows, size_t cols, size_t lds);

    /* Convolutions, see conv.tmpl.h. c(i)[n] = start + sum over the runs and p < depth, in order, of
     * a[i * a_step + at + p] * b[row][NR], where b's rows are those of all runs, one after another. */
    void (*conv_rows)(void *c, const void *a, const void *b, const void *bias, const bp_run *runs,
                      size_t n_runs, const bp_steps *steps, size_t m, size_t n, bp_start start,
                      bool relu);
    /* c[rows][NR] = start + sum over the walk's positions of a[position + i] * b[row][NR], where each
     * position has the next row of b; start is not BP_FROM_BIAS. */
    void (*conv_block)(void *c, const void *a, const void *b, const bp_walk *walk, size_t rows,
                       size_t n, bp_start start);
    /* The same channel by channel: a run is NR lanes at its place, depth 1; b has a row for each. */
    void (*depth_rows)(void *c, const void *a, const void *b, const void *bias, const bp_run *runs,
                       size_t n_runs, const bp_steps *steps, size_t m, size_t n, bp_start start,
                       bool relu);
    /* c[n_runs][NR] = start + sum over the walk's positions of a[position + at][NR] * b[row][NR] */
    void (*depth_block)(void *c, const void *a, const void *b, const bp_run *runs, size_t n_runs,
                        const bp_walk *walk, size_t n, bp_start start);
    /* dst[lines * places][NR]: the runs' elements at each position of one sample. Reads and writes up
     * to VL - 1 elements past each run, so past the last row too. */
    void (*pack_runs)(void *dst, const void *src, const bp_run *runs, size_t n_runs,
                      const bp_walk *walk);
    /* Columns first, first + step, ... of panels to columns 0 .. n of others; and back. Lanes past n of
     * take's last vector become zero. */
    void (*take_columns)(void *dst, const void *src, size_t rows, size_t first, size_t step,
                         size_t n, size_t dst_stride, size_t src_stride);
    void (*put_columns)(void *dst, const void *src, size_t rows, size_t first, size_t step,
                        size_t n, size_t dst_stride, size_t src_stride);
    void (*clear_rows)(void *x, size_t m, size_t n); /* vectors of [m][NR] that hold n columns */
    void (*relu_grad_rows)(void *dz, const void *dy, const void *y, size_t m, size_t n); /* alike */

    /* Pooling, one panel of one image. A gradient is zero where no window sees, or `add`ed. The largest:
     * the first of equals, found again by comparison; NaN stays, and has no gradient. */
    void (*max_pool)(void *y, const void *x, const bp_pool *pool, size_t n);
    void (*max_pool_grad)(void *dx, const void *dy, const void *y, const void *x,
                          const bp_pool *pool, size_t n, bool add);
    /* Of windows that do not overlap, at most 255 positions: from[position][NR] says which of its
     * window, counted along its lines, or BP_POOL_NONE where y is NaN. */
    void (*max_pool_at)(void *y, uint8_t *from, const void *x, const bp_pool *pool, size_t n);
    void (*max_pool_take)(void *y, const uint8_t *from, const void *x, const bp_pool *pool,
                          size_t n); /* those of x; the first for none */
    /* The window_y lines of dx that a line of windows sees; dy and from: of that line. */
    void (*max_pool_spread)(void *dx, const void *dy, const uint8_t *from, const bp_pool *pool,
                            size_t line, size_t n);
    /* The same lines as a list, columns first .. first + n of them after those before. */
    void (*list_entries)(const bp_sparse *list, const void *dy, const uint8_t *from,
                         const bp_pool *pool, size_t line, size_t first, size_t n);
    /* n vectors at c + p * step + at[i], += sum of value * w[column][n * VL] over the entries of place
     * `place` + p, in order. */
    void (*sparse_rows)(void *c, const void *w, const bp_sparse *list, size_t place, size_t places,
                        const size_t *at, size_t n, size_t step);
    /* g[column][n * VL] += value * the vectors at x + p * step + at[i], p ascending. */
    void (*sparse_block)(void *g, const void *x, const bp_sparse *list, size_t place, size_t places,
                         const size_t *at, size_t n, size_t step);
    void (*mean_pool)(void *y, const void *x, const bp_pool *pool, size_t n);
    void (*mean_pool_grad)(void *dx, const void *dy, const bp_pool *pool, size_t n, bool add);

    bp_map_fn *act[BP_N_ACTIVATIONS];
    bp_grad_fn *grad[BP_N_ACTIVATIONS];
    void (*softmax)(void *y, const void *x, size_t n);                       /* one row, in place */
    void (*softmax_grad)(void *dx, const void *dy, const void *y, size_t n); /* dx may be dy */

    bp_optim_fn *optim[BP_N_OPTIMIZERS];
    void (*add_penalty)(void *g, const void *w, double l1, double l2, size_t n);
    void (*clip)(void *g, double limit, size_t n);
    void (*scale)(void *x, double factor, size_t n);
    void (*scale_columns)(void *a, const void *factors, size_t m, size_t n); /* a[m][n] row-major */
    void (*add)(void *y, const void *x, size_t n);                           /* y += x */
    void (*sum_of)(void *y, const void *a, const void *b, size_t n);         /* y = a + b */
    void (*average)(void *y, const void *x, double share, size_t n);   /* y += share (x - y) */
    void (*distance)(void *y, const void *a, const void *b, size_t n); /* y = |a - b| */
    /* dx = dy sign(x - other); 0 where they are equal */
    void (*distance_grad)(void *dx, const void *dy, const void *x, const void *other, size_t n);
    void (*non_negative)(void *w, size_t n);
    void (*fill)(void *x, double value, size_t n);
    void (*convert)(void *x, const double *values, size_t n); /* doubles, rounded */
    void (*widen)(double *values, const void *x, size_t n);

    bp_loss_fn *loss[BP_N_LOSSES];
    size_t (*argmax)(const void *x, size_t n); /* the first of equals; NaN counts as largest */
    size_t (*matches)(const void *y, const void *t, double threshold,
                      size_t n); /* y > threshold as t > 1/2 */
    void (*add_residuals)(double *total, const void *y, const void *t, double weight, size_t n);
    void (*row_errors)(const void *y, const void *t, size_t n, double *squared, double *absolute);

    /* Fixed shape: 16 virtual lanes, element i in lane i % 16, lanes folded by halves. */
    double (*sum)(const void *x, size_t n);
    double (*sum_squares)(const void *x, size_t n);
    double (*sum_abs)(const void *x, size_t n);
    double (*deviations)(const void *x, double mean, size_t n); /* sum of (x - mean)^2, likewise */
    bool (*all_finite)(const void *x, size_t n);
    void (*extremes)(const void *x, size_t n, double *low, double *high); /* finite x; n > 0 */
    /* bin = (x - low) scale in double, rounded down, at most bins - 1, for x >= low; whether any is within
     * `margin` of an edge between two bins. */
    bool (*find_bins)(int32_t *bin, const void *x, double low, double scale, double margin,
                      size_t bins, size_t n);
    void (*col_sums)(void *out, const void *a, size_t m);    /* out[NR] of a[m][NR] */
    void (*col_squares)(void *out, const void *a, size_t m); /* out[NR] += squares */
    void (*col_limit)(void *a, const void *squares, double limit,
                      size_t m); /* max-norm of a[m][NR] */

    /* Of columns a[m][NR], whose rows are shards of `shard` rows, the last maybe fewer; m, shard > 0. */
    /* stats[2s] = mean, stats[2s + 1] = sum of squared deviations from it, of shard s */
    void (*col_stats)(void *stats, const void *x, size_t m, size_t shard);
    /* The same of all rows, [NR] each, from the shards'. */
    void (*merge_stats)(double *mean, double *m2, const void *stats, size_t m, size_t shard);
    /* sums[2s] = factor * sum of dy (x - mean), sums[2s + 1] = sum of dy; mean, factor: [NR] */
    void (*col_slopes)(void *sums, const void *dy, const void *x, const void *mean,
                       const void *factor, size_t m, size_t shard);
    /* out[n] = sums of a[m][n] in order of rows; n a multiple of NR */
    void (*add_rows)(double *out, const void *a, size_t m, size_t n);
    /* y = (x - center) scale + shift of [m][NR]; in place. [NR]: center, shift are 0 where NULL */
    void (*norm_columns)(void *y, const void *x, const void *center, const void *scale,
                         const void *shift, size_t m);
    /* dx = scale (dy - level - (x - center) slope); dx may be dy */
    void (*norm_columns_back)(void *dx, const void *dy, const void *x, const void *center,
                              const void *slope, const void *level, const void *scale, size_t m);
    /* m rows across panels; y may be x. */
    void (*norm_rows)(void *y, const void *x, size_t y_stride, size_t x_stride,
                      const bp_row_norm *args, size_t m);
    /* Its gradients: dx, which may be dy or NULL; and rows 0 and 1 of `partial`, or NULL: of gamma and
     * beta, summed over these rows. m > 0. */
    void (*norm_rows_back)(void *dx, void *partial, const void *dy, const void *x,
                           const bp_row_strides *strides, const bp_row_norm *args, size_t m);

    /* mask[m][NR] = 1 where kept. Element (row, col) uses word col % 4 of counter (col / 4, row). */
    void (*mask_rows)(uint8_t *mask, const bp_rng_key *key, size_t row, size_t col, size_t m,
                      double rate);
    void (*mask_apply)(void *y, const void *x, const uint8_t *mask, double scale,
                       size_t n); /* in place */
    /* y = x + deviation * normal of [m][NR], in place allowed. (row, col) draws from word pair
     * col % 4 / 2 of the same counter; an even column the cosine's, an odd one the sine's. */
    void (*noise_rows)(void *y, const void *x, const bp_rng_key *key, size_t row, size_t col,
                       size_t m, double deviation);

    bp_gather_fn *gather[BP_N_SOURCES];
    /* Drawn in double: float32 rows hold NULL. */
    void (*uniform)(double *out, const bp_rng_key *key, size_t first, size_t n); /* in (0, 1) */
    void (*normal)(double *out, const bp_rng_key *key, size_t first, size_t n);  /* first even */
    double (*cosine)(double x);
} bp_kernels;

/* dispatch.c */
size_t bp_isa_count(void); /* rows compiled in */
const char *bp_isa_name(size_t index);
bool bp_isa_supported(size_t index); /* by this CPU */
size_t bp_isa_default(void);         /* the best row that may be chosen by itself */
const bp_kernels *bp_kernels_get(size_t index, size_t size); /* size 4 or 8 */

/* tables.c: what the .inc tables say; names are NULL past the end */
const char *bp_activation_name(size_t index);
bool bp_activation_keeps_input(size_t index); /* the derivative is a function of z, not y */
const char *bp_loss_name(size_t index);
size_t bp_loss_fused_activation(size_t index); /* the output activation it stands for */
bool bp_loss_takes_labels(size_t index);
const char *bp_rule_name(size_t index);
size_t bp_rule_slots(size_t index);
const char *bp_rule_slot_names(size_t index); /* comma-separated */
const char *bp_source_name(size_t index);
size_t bp_find_name(const char *(*names)(size_t), const char *name); /* count when unknown */

/* fpmode.c: floating-point mode of the calling thread */
typedef struct {
    uint64_t saved;
} bp_fpmode;
bp_fpmode bp_fpmode_enter(void); /* flush denormals; default rounding, no traps */
void bp_fpmode_leave(bp_fpmode mode);

/* cpu.c */
unsigned bp_cpu_bits(void);
bool bp_cpu_reads_l2_fast(void); /* 64 bytes a cycle, and not less for reading it again */
enum { BP_CPU_FMA = 1, BP_CPU_AVX2 = 2 | BP_CPU_FMA, BP_CPU_AVX512 = 4 | BP_CPU_AVX2 };

#endif

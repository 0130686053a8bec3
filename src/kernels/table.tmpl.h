/* table.tmpl.h - all kernels of one ISA row and dtype, and the table that names them.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Parameters: BP_ISA (row name), BP_F64 (0 or 1), and a simd_<isa>.h included before.
 */
#if !defined(BP_ISA) || !defined(BP_F64) || !defined(BP_VL)
#error "table.tmpl.h needs BP_ISA, BP_F64 and a simd header"
#endif

#include <string.h>

#include "kernels.h"
#include "vmath.h"

/* Panel width in vectors and tile height in rows: as many accumulators as registers allow, beside
 * one vector of b for each column vector and one broadcast of a. */
#if BP_VL == 1
enum { BP_NV = 4, BP_MR = 2 }; /* small and odd on purpose: the reference has another tile shape */
#elif defined(__AVX512F__)
enum { BP_NV = 2, BP_MR = 12 }; /* 24 accumulators of 32 registers */
#elif defined(__aarch64__)
enum { BP_NV = 2, BP_MR = 8 }; /* 16 of 32 */
#else
enum { BP_NV = 2, BP_MR = 6 }; /* 12 of 16 */
#endif
enum { BP_NR = BP_NV * BP_VL };
_Static_assert((int)BP_NR <= (int)BP_MOST_NR, "enlarge BP_MOST_NR");

#include "gemm.tmpl.h"
#include "few.tmpl.h"
#include "reduce.tmpl.h"
#include "activations.tmpl.h"
#include "conv.tmpl.h"
#include "pool.tmpl.h"
#include "sparse.tmpl.h"
#include "loss.tmpl.h"
#include "norm.tmpl.h"
#include "rownorm.tmpl.h"
#include "optim.tmpl.h"
#include "rng.tmpl.h"
#include "gather.tmpl.h"

#define BP_TABLE_(isa, bits) bp_kernels_##isa##_##bits
#define BP_TABLE(isa, bits) BP_TABLE_(isa, bits)
#define BP_STR_(x) #x
#define BP_STR(x) BP_STR_(x)
#if BP_F64
#define BP_BITS f64
#else
#define BP_BITS f32
#endif

extern const bp_kernels BP_TABLE(BP_ISA, BP_BITS);
const bp_kernels BP_TABLE(BP_ISA, BP_BITS) = {
    .isa = BP_STR(BP_ISA),
    .size = sizeof(real),
    .vl = BP_VL,
    .nr = BP_NR,
    .mr = BP_MR,
    .few = BP_FEW_ROWS,
    .gemm_rows = gemm_rows,
    .gemm_block = gemm_block,
    .gemm_few = gemm_few,
    .gemm_outer = gemm_outer,
    .pack = pack,
    .unpack = unpack,
    .transpose_block = transpose_block,
    .transpose = transpose,
    .conv_rows = conv_rows,
    .conv_block = conv_block,
    .depth_rows = depth_rows,
    .depth_block = depth_block,
    .pack_runs = pack_runs,
    .take_columns = take_columns,
    .put_columns = put_columns,
    .clear_rows = clear_rows,
    .relu_grad_rows = relu_grad_rows,
    .max_pool = max_pool,
    .max_pool_grad = max_pool_grad,
    .max_pool_at = max_pool_at,
    .max_pool_take = max_pool_take,
    .max_pool_spread = max_pool_spread,
    .list_entries = list_entries,
    .sparse_rows = sparse_rows,
    .sparse_block = sparse_block,
    .mean_pool = mean_pool,
    .mean_pool_grad = mean_pool_grad,
#define BP_ACTIVATION(name, saved) \
    .act[BP_ACT_##name] = act_##name, .grad[BP_ACT_##name] = grad_##name,
#include "activations.inc"
#undef BP_ACTIVATION
    .softmax = softmax,
    .softmax_grad = softmax_grad,
#define BP_OPTIMIZER(name, slots, slot_names) .optim[BP_OPT_##name] = opt_##name,
#include "optimizers.inc"
#undef BP_OPTIMIZER
    .add_penalty = add_penalty,
    .clip = clip,
    .scale = scale,
    .scale_columns = scale_columns,
    .add = add,
    .sum_of = sum_of,
    .average = average,
    .distance = distance,
    .distance_grad = distance_grad,
    .non_negative = non_negative,
    .fill = fill,
    .convert = convert,
    .widen = widen,
#define BP_LOSS(name, fused, labels) .loss[BP_LOSS_##name] = loss_##name,
#include "losses.inc"
#undef BP_LOSS
    .argmax = argmax,
    .matches = matches,
    .add_residuals = add_residuals,
    .row_errors = row_errors,
    .sum = sum,
    .sum_squares = sum_squares,
    .sum_abs = sum_abs,
    .deviations = deviations,
    .all_finite = all_finite,
    .extremes = extremes,
    .find_bins = find_bins,
    .col_sums = col_sums,
    .col_squares = col_squares,
    .col_limit = col_limit,
    .col_stats = col_stats,
    .merge_stats = merge_stats,
    .col_slopes = col_slopes,
    .add_rows = add_rows,
    .norm_columns = norm_columns,
    .norm_columns_back = norm_columns_back,
    .norm_rows = norm_rows,
    .norm_rows_back = norm_rows_back,
    .mask_rows = mask_rows,
    .mask_apply = mask_apply,
    .noise_rows = noise_rows,
#define BP_SOURCE(name, ctype, mid, value) .gather[BP_SOURCE_##name] = gather_##name,
#include "sources.inc"
#undef BP_SOURCE
#if BP_F64
    .uniform = uniform,
    .normal = normal,
    .cosine = cosine,
#endif
};

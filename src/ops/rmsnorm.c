/* rmsnorm.c - RMSNorm: layernorm.c without a mean (Zhang & Sennrich 2019).
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "op.h"

const bp_op bp_op_rmsnorm = {"rmsnorm", bp_row_norm_shape, bp_row_norm_needs};

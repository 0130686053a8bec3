/* digest.h - results of kernels, in an order that no row of the ISA table can change.
 * SPDX-License-Identifier: BSD-3-Clause
 */
#ifndef DIGEST_H
#define DIGEST_H

#include "kernels.h"

/* Starts the results of one kernel, and its random data from a seed of its own. */
void digest_begin(const char *dtype, const char *kernel, const char *variant);
/* The next result: NaN is one value, whatever its sign and payload; -0 and +0 are two. */
void digest(double result);
void digest_end(void);

/* The digests of one dtype, and the results at which architectures differ. */
void digest_kernels_f32(const bp_kernels *k), digest_kernels_f64(const bp_kernels *k);
void digest_norm_f32(const bp_kernels *k), digest_norm_f64(const bp_kernels *k);
void print_exceptions_f32(const bp_kernels *k), print_exceptions_f64(const bp_kernels *k);

#endif

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

/* The digests, each in a file of its own that is compiled for both dtypes. */
#define DIGESTS(X) X(kernels) X(conv) X(norm)
#define DECLARE(name) \
    void digest_##name##_f32(const bp_kernels *k), digest_##name##_f64(const bp_kernels *k);
DIGESTS(DECLARE)
#undef DECLARE
/* The results at which architectures differ. */
void print_exceptions_f32(const bp_kernels *k), print_exceptions_f64(const bp_kernels *k);

#endif

/* digest_real.h - sizes and results of the digests of one dtype, for the digest_<group>.c files.
 * SPDX-License-Identifier: BSD-3-Clause
 */
#ifndef DIGEST_REAL_H
#define DIGEST_REAL_H

#include "check_real.h"
#include "digest.h"

#if CHECK_F64
#define DTYPE "float64"
#else
#define DTYPE "float32"
#endif

enum { MOST = 80, MOST_NR = 64, PANELS = (MOST + MOST_NR) * (MOST + MOST_NR), FEW = 9, WIDE = 64 };

static const size_t sizes[] = {0, 1, 2, 3, 5, 8, 15, 16, 17, 31, 33, 64, 79};
enum { N_SIZES = sizeof sizes / sizeof sizes[0] };

MAYBE_UNUSED void results(const real *x, size_t n)
{
    for (size_t i = 0; i < n; ++i) digest((double)seen(x[i]));
}

#define FOR_KINDS(what) for (kind what = RANDOM; what < N_KINDS; ++what)
#define FOR_SIZES(n) for (size_t n, at_ = 0; at_ < N_SIZES && (n = sizes[at_], true); ++at_)
#define NAMED(kernel, variant) \
    for (bool on_ = (digest_begin(DTYPE, kernel, variant), true); on_; on_ = (digest_end(), false))

#endif

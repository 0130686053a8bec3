/* common.h - what every floor may include: attributes, small arithmetic, status helpers.
 * SPDX-License-Identifier: BSD-3-Clause
 */
#ifndef BP_COMMON_H
#define BP_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BP_ALIGN 64 /* bytes: one cache line, and the widest vector */
#define BP_INLINE static inline __attribute__((always_inline, unused))
#define BP_USE_RESULT __attribute__((warn_unused_result))

BP_INLINE size_t bp_min(size_t a, size_t b) { return a < b ? a : b; }
BP_INLINE size_t bp_max(size_t a, size_t b) { return a > b ? a : b; }
BP_INLINE size_t bp_ceil_div(size_t a, size_t b) { return (a + b - 1) / b; }
BP_INLINE size_t bp_round_up(size_t a, size_t b) { return bp_ceil_div(a, b) * b; }

/* p + index elements of `size` bytes: floors above the kernels do not know the type. */
BP_INLINE void *bp_at(void *p, size_t index, size_t size) { return (char *)p + index * size; }
BP_INLINE const void *bp_cat(const void *p, size_t index, size_t size)
{
    return (const char *)p + index * size;
}

#endif

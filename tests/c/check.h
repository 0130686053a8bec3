/* check.h - what all kernel checks share: the subject, guarded memory, counts and reports.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * A room is memory between two pages that may not be touched. What is placed in it ends at the
 * second page, or `slack` bytes before it; the bytes around it hold a pattern:
 *
 *      | no access | ...  pattern | placed bytes | pattern (slack) | no access |
 *
 * So a read past the end faults, and a write before or past it faults or breaks the pattern.
 */
#ifndef CHECK_H
#define CHECK_H

#include "kernels.h"

typedef struct {
    const bp_kernels *k;   /* the row under test */
    const bp_kernels *ref; /* the row `reference`, or `reference_libm` on a CPU without FMA */
    bool fused;            /* its v_fma rounds once: its bits are those of ref */
    bool judged;           /* compared with formulas in long double: ref itself, and unfused rows */
} subject;

enum { ROOMS = 8, ROOM_BYTES = 1 << 20 };

void rooms_open(void);                                /* once, before anything else */
void *place(size_t room, size_t bytes, size_t slack); /* content undefined */
void rooms_intact(void);                              /* one check: the pattern around them all */

/* Says what runs now, for reports and for the handler of faults. */
#define BEGIN(...) begin(sizeof((size_t[]){__VA_ARGS__}) / sizeof(size_t), (size_t[]){__VA_ARGS__})
void subject_is(const char *row, const char *dtype, bool flushed);
void kernel_is(const char *name, const char *detail); /* detail: what the numbers of BEGIN mean */
void begin(size_t count, const size_t *numbers);

void passed(void);                                                          /* one check more */
void failed(const char *format, ...) __attribute__((format(printf, 1, 2))); /* also one more */
void verdict(bool ok, const char *what);
size_t checks_done(void);
size_t checks_failed(void);

void random_seed(uint64_t seed);
uint64_t random_bits(void);
double random_unit(void);   /* [0, 1) */
double random_normal(void); /* about normal: mean 0, variance 1, within 6 */

/* The checks, each in a file of its own that is compiled for both dtypes. */
#define PANEL_CHECKS(X) \
    X(gemm) X(conv) X(columns) X(pool) X(sparse) X(norm) X(rownorm) X(panels) X(gather)
#define CHECKS(X) PANEL_CHECKS(X) X(maps) X(update) X(loss) X(reduce) X(random)
#define DECLARE(name) \
    void check_##name##_f32(const subject *s), check_##name##_f64(const subject *s);
CHECKS(DECLARE)
#undef DECLARE

#endif

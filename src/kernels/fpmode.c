/* fpmode.c - the floating-point mode that our kernels run in, on each thread they run on.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Denormals, results and operands, are flushed to zero: small networks decay into them, and each costs
 * a hundred cycles. Rounding is to nearest and no exception traps, whatever the caller has set, so
 * that results are the same. The whole register is put back afterwards, the caller's sticky flags
 * included: ours leave no trace. (AArch64 keeps those in another register, which stays as it is.)
 */
#include "kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

/* MXCSR: FTZ 0x8000, DAZ 0x0040, all exceptions masked 0x1f80, round to nearest. */
enum { BP_MXCSR = 0x8000 | 0x0040 | 0x1f80 };

bp_fpmode bp_fpmode_enter(void)
{
    bp_fpmode mode = {_mm_getcsr()};
    _mm_setcsr(BP_MXCSR);
    return mode;
}

void bp_fpmode_leave(bp_fpmode mode) { _mm_setcsr((unsigned)mode.saved); }

#elif defined(__aarch64__)

bp_fpmode bp_fpmode_enter(void)
{
    bp_fpmode mode;
    const uint64_t flush = (uint64_t)1 << 24; /* FPCR.FZ; round to nearest, no traps */
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode.saved));
    __asm__ volatile("msr fpcr, %0" : : "r"(flush));
    return mode;
}

void bp_fpmode_leave(bp_fpmode mode) { __asm__ volatile("msr fpcr, %0" : : "r"(mode.saved)); }

#else

bp_fpmode bp_fpmode_enter(void)
{
    bp_fpmode mode = {0};
    return mode;
}
void bp_fpmode_leave(bp_fpmode mode) { (void)mode; }

#endif

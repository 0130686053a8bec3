/* cpu.c - what this CPU can run, and the floating-point mode our kernels run in.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Kernels flush denormals (results and operands) on each thread they run on: small networks decay
 * into denormals, which cost a hundred cycles each. The caller's mode is restored afterwards.
 */
#include "kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

unsigned bp_cpu_bits(void)
{
    unsigned bits = 0;
    __builtin_cpu_init();
    if (__builtin_cpu_supports("fma") && __builtin_cpu_supports("avx")) bits |= BP_CPU_FMA;
    if (bits && __builtin_cpu_supports("avx2")) bits |= BP_CPU_AVX2;
    if ((bits & 2) && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw"))
        bits |= BP_CPU_AVX512;
    return bits;
}

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

unsigned bp_cpu_bits(void) { return BP_CPU_FMA; }

bp_fpmode bp_fpmode_enter(void)
{
    bp_fpmode mode;
    const uint64_t flush = (uint64_t)1 << 24; /* FPCR.FZ */
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode.saved));
    __asm__ volatile("msr fpcr, %0" : : "r"(flush));
    return mode;
}

void bp_fpmode_leave(bp_fpmode mode) { __asm__ volatile("msr fpcr, %0" : : "r"(mode.saved)); }

#else

unsigned bp_cpu_bits(void) { return 0; }
bp_fpmode bp_fpmode_enter(void)
{
    bp_fpmode mode = {0};
    return mode;
}
void bp_fpmode_leave(bp_fpmode mode) { (void)mode; }

#endif

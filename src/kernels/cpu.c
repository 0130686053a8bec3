/* cpu.c - what this CPU can run.
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "kernels.h"

#if defined(__x86_64__)

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

#elif defined(__aarch64__)

unsigned bp_cpu_bits(void) { return BP_CPU_FMA; }

#else

unsigned bp_cpu_bits(void) { return 0; }

#endif

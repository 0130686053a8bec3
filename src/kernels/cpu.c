/* cpu.c - what this CPU can run.
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <string.h>

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

/* CPUID 0 tells the vendor, CPUID 1 the family: 4 bits, and 8 more to add where those are all set
 * (AMD64 Architecture Programmer's Manual, volume 3, appendix E.3). */
bool bp_cpu_reads_l2_fast(void)
{
    enum { ZEN_5 = 0x1A };
    unsigned a, vendor[3], b, c, d;
    if (!__get_cpuid(0, &a, &vendor[0], &vendor[2], &vendor[1])) return false;
    if (memcmp(vendor, "AuthenticAMD", sizeof vendor) != 0 || !__get_cpuid(1, &a, &b, &c, &d))
        return false;
    const unsigned base = a >> 8 & 0xF, family = base == 0xF ? base + (a >> 20 & 0xFF) : base;
    return family >= ZEN_5;
}

#elif defined(__aarch64__)

unsigned bp_cpu_bits(void) { return BP_CPU_FMA; }

#else

unsigned bp_cpu_bits(void) { return 0; }

#endif

#if !defined(__x86_64__)
bool bp_cpu_reads_l2_fast(void) { return false; }

#endif

/* ulp_check.c - the worst error of every function of vmath.h, against libm in wider precision.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Compile with one row of the ISA table and one format (no optimisation flag beyond the library's):
 *
 *   gcc -std=c11 -O3 -ffp-contract=off -fno-math-errno -fno-trapping-math -mavx2 -mfma \
 *       -DBP_F64=0 -DBP_ISA_HEADER='"simd_avx2.h"' -Isrc/kernels tools/ulp_check.c -o ulp_check -lm
 *
 *   ./ulp_check step [function] [--flush]
 *
 * float32: every step-th of the 2^32 inputs. float64: 2^32 / step inputs, of which half are spread
 * over the range where the function is not constant, half over all bit patterns. To both come the
 * special values. --flush sets flush-to-zero and denormals-are-zero first (x86 and aarch64).
 *
 * A line per function: the worst error in units of the last place of the exact result, where it
 * is, the number of wrong specials, and a checksum of all results, which must agree between the
 * rows that have a fused multiply-add. A denormal result may be 0, and a denormal argument count as
 * 0. sine and cosine are checked on |x| <= 256, and to be finite beyond.
 */
#include BP_ISA_HEADER
#include "vmath.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#if BP_F64
typedef long double wide;
typedef uint64_t bits;
#define WIDE(name) name##l
#define LEAST 0x1p-1022L
#define DIGITS 53
#define ALL_BITS 64
#else
typedef double wide;
typedef uint32_t bits;
#define WIDE(name) name
#define LEAST 0x1p-126
#define DIGITS 24
#define ALL_BITS 32
#endif

static wide sigmoid(wide x)
{
    return x < 0 ? WIDE(exp)(x) / (1 + WIDE(exp)(x)) : 1 / (1 + WIDE(exp)(-x));
}
static vec vm_sin(vec x)
{
    vec s, c;
    vm_sincos(x, &s, &c);
    return s;
}
static vec vm_cos(vec x)
{
    vec s, c;
    vm_sincos(x, &s, &c);
    return c;
}

enum { PLAIN = 0, ODD = 1, BOUNDED = 2, PERIODIC = 4, POLE = 8 };

/* name, reference, range worth dense points, traits: -0 is kept; |y| <= 1; checked on |x| <= 256
 * only; a denormal may give -inf */
#define FUNCTIONS(ROW)                                       \
    ROW(exp, WIDE(exp), -750, 750, PLAIN)                    \
    ROW(log, WIDE(log), 0.25, 4, POLE)                       \
    ROW(expm1, WIDE(expm1), -45, 45, ODD)                    \
    ROW(log1p, WIDE(log1p), -0.999, 3, ODD)                  \
    ROW(tanh, WIDE(tanh), -20, 20, ODD | BOUNDED)            \
    ROW(sigmoid, sigmoid, -750, 45, BOUNDED)                 \
    ROW(erf, WIDE(erf), -6.5, 6.5, ODD | BOUNDED)            \
    ROW(erfc, WIDE(erfc), -6.5, 27, PLAIN)                   \
    ROW(sin, WIDE(sin), -256, 256, ODD | BOUNDED | PERIODIC) \
    ROW(cos, WIDE(cos), -256, 256, BOUNDED | PERIODIC)

typedef struct {
    double worst;
    real at;
    unsigned long long wrong, checksum;
} tally;

static bits to_bits(real a)
{
    bits b;
    memcpy(&b, &a, sizeof b);
    return b;
}
static real from_bits(bits b)
{
    real a;
    memcpy(&a, &b, sizeof a);
    return a;
}

static unsigned long long mix(unsigned long long x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
    return x ^ (x >> 31);
}

/* units of the last place of `size` in one; libm's frexp and ldexp would take most of the time */
static wide ulps_in_one(wide size)
{
#if BP_F64
    int exponent;
    (void)frexpl(size, &exponent);
    return ldexpl(1, DIGITS - exponent);
#else
    uint64_t b;
    memcpy(&b, &size, sizeof b);
    b = ((uint64_t)(2 * 1023 + DIGITS - 1) - (b >> 52)) << 52; /* 2^(DIGITS - 1 - exponent) */
    memcpy(&size, &b, sizeof b);
    return size;
#endif
}

/* |got - exact| in ulps (inf if `got` is); < 0 means that a special result is wrong */
static double error_in_ulps(real got, wide exact)
{
    static const wide past_largest = BP_F64 ? 0x1.fffffffffffff8p+1023L : 0x1.ffffffp+127L;
    if (exact != exact) return got != got ? 0 : -1;
    if (got != got) return -1;
    const wide size = WIDE(fabs)(exact), inf = (wide)INFINITY;
    if (size < LEAST) return WIDE(fabs)((wide)got) <= LEAST && (exact != 0 || got == 0) ? 0 : -1;
    if (size >= past_largest) return (wide)got == (exact > 0 ? inf : -inf) ? 0 : -1;
    return (double)(WIDE(fabs)((wide)got - exact) * ulps_in_one(size));
}

static inline double error_at(real x, real y, wide exact, int traits)
{
    const bits magnitude = to_bits(x) & ~((bits)1 << (ALL_BITS - 1));
    const bool denormal = magnitude != 0 && magnitude < (bits)1 << (DIGITS - 1);
    if ((traits & ODD) && magnitude == 0) return to_bits(y) == to_bits(x) ? 0 : -1;
    if ((traits & BOUNDED) && (y > 1 || y < -1)) return -1;
    if ((traits & POLE) && denormal && y == (real)-INFINITY) return 0;
    if ((traits & PERIODIC) && !(WIDE(fabs)((wide)x) <= 256))
        return (y - y == 0) == (x - x == 0) ? 0 : -1; /* finite for finite, NaN for the rest */
    if (denormal && WIDE(fabs)((wide)y) <= LEAST) return 0; /* the argument counted as 0 */
    return error_in_ulps(y, exact);
}

static inline void judge(tally *t, const char *name, real x, real y, wide exact, int traits)
{
    const double e = error_at(x, y, exact, traits);
    t->checksum +=
        mix((unsigned long long)to_bits(x) * 0x9e3779b97f4a7c15ULL + (y != y ? 1 : to_bits(y)));
    if (e < 0) {
        if (t->wrong++ == 0) printf("  wrong: %s(%a) = %a\n", name, (double)x, (double)y);
    } else if (e > t->worst) {
        t->worst = e;
        t->at = x;
    }
}

#define CHECK(name, reference, low, high, traits)                       \
    static void add_##name(tally *t, const real x[BP_VL])               \
    {                                                                   \
        real y[BP_VL];                                                  \
        v_store(y, vm_##name(v_load(x)));                               \
        for (int i = 0; i < BP_VL; ++i)                                 \
            judge(t, #name, x[i], y[i], reference((wide)x[i]), traits); \
    }
FUNCTIONS(CHECK)

/* the i-th input */
static real input(uint64_t i, double low, double high)
{
#if BP_F64
    if (i & 1) return from_bits(mix(i));
    return low + (high - low) * ((double)(mix(i) >> 11) * 0x1p-53);
#else
    (void)low;
    (void)high;
    return from_bits((bits)i);
#endif
}

static void flush_denormals(void)
{
#if defined(__x86_64__)
    _mm_setcsr(_mm_getcsr() | 0x8040);
#elif defined(__aarch64__)
    uint64_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    __asm__ volatile("msr fpcr, %0" : : "r"(mode | (1u << 24)));
#endif
}

int main(int argc, char **argv)
{
    const uint64_t step = argc > 1 ? strtoull(argv[1], NULL, 10) : 1009;
    const char *only = argc > 2 && argv[2][0] != '-' ? argv[2] : NULL;
    if (strcmp(argv[argc - 1], "--flush") == 0) flush_denormals();
    static const double special[] = {0.0,     -0.0,     1.0,       -1.0,      INFINITY, -INFINITY,
                                     NAN,     0x1p-126, -0x1p-126, 0x1p-1022, 0x1p-55,  -0x1p-55,
                                     0x1p-26, -0x1p-26, 1e30,      -1e30,     1e300,    -1e300,
                                     88.0,    -88.0,    709.0};
#define RUN(name, reference, low, high, traits)                                                  \
    if (!only || strcmp(only, #name) == 0) {                                                     \
        tally t = {0};                                                                           \
        real x[BP_VL];                                                                           \
        for (size_t i = 0; i < sizeof special / sizeof *special; ++i) {                          \
            for (int k = 0; k < BP_VL; ++k) x[k] = (real)special[i];                             \
            add_##name(&t, x);                                                                   \
        }                                                                                        \
        t.checksum = 0;                                                                          \
        const uint64_t count = (0x100000000ULL / step) & ~(uint64_t)15;                          \
        for (uint64_t i = 0; i < count; i += BP_VL) {                                            \
            for (uint64_t k = 0; k < BP_VL; ++k)                                                 \
                x[k] = input(BP_F64 ? i + k : (i + k) * step, low, high);                        \
            add_##name(&t, x);                                                                   \
        }                                                                                        \
        printf("%-8s %7.3f ulp at %-14.8g (%a)  wrong %llu  checksum %016llx\n", #name, t.worst, \
               (double)t.at, (double)t.at, t.wrong, t.checksum);                                 \
        fflush(stdout);                                                                          \
    }
    FUNCTIONS(RUN)
    return 0;
}

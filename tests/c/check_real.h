/* check_real.h - data and comparisons of one dtype, for the check_<group>.c files.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Each of those is compiled twice, with CHECK_F64 0 and 1. They are compiled without FMA
 * instructions and with -ffp-contract=off, so that a * b + c rounds twice here.
 */
#ifndef CHECK_REAL_H
#define CHECK_REAL_H

#include "check.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#ifndef CHECK_F64
#error "define CHECK_F64 to 0 or 1"
#endif

#if CHECK_F64
typedef double real;
#define NAME(name) name##_f64
#define FMA fma
#define SQRT sqrt
#define EPS DBL_EPSILON
#define REAL_MAX DBL_MAX
#define REAL_MIN DBL_MIN
#else
typedef float real;
#define NAME(name) name##_f32
#define FMA fmaf
#define SQRT sqrtf
#define EPS ((double)FLT_EPSILON)
#define REAL_MAX FLT_MAX
#define REAL_MIN FLT_MIN
#endif
typedef long double wide; /* formulas are judged in it */

#define MAYBE_UNUSED static inline __attribute__((unused))

enum { LONGEST = 100, LANES = 16 };

/* n from 0 past two vectors of every row and past two rounds of 16 lanes, and some longer ones. */
static const size_t lengths[] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13,
                                 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27,
                                 28, 29, 30, 31, 32, 33, 34, 35, 47, 48, 49, 64, 65, LONGEST};
enum { N_LENGTHS = sizeof lengths / sizeof lengths[0] };

/* A layout of one call: 0 ends at the guard page, 1 one element before it (so misaligned when 0 is
 * not); 2 and 3 the same, in place. */
enum { LAYOUTS = 4, OUT_OF_PLACE = 2 };
#define SLACK(layout) ((layout) % 2 * sizeof(real))
#define IN_PLACE(layout) ((layout) >= OUT_OF_PLACE)

/* ---- data ---- */

typedef enum { RANDOM, INTEGERS, SPECIAL, ZEROS, N_KINDS } kind;

MAYBE_UNUSED real special_value(size_t i)
{
    static const real table[] = {0,
                                 (real)-0.0,
                                 (real)INFINITY,
                                 (real)-INFINITY,
                                 (real)NAN,
                                 REAL_MAX,
                                 -REAL_MAX,
                                 REAL_MIN,
                                 -REAL_MIN,
                                 REAL_MIN / 4,
                                 -REAL_MIN / 4,
                                 1,
                                 -1,
                                 (real)0.5,
                                 (real)-0.5,
                                 3,
                                 -3,
                                 (real)EPS,
                                 (real)-EPS,
                                 (real)1e-20,
                                 (real)-1e-20,
                                 (real)1e19,
                                 (real)-1e19,
                                 20,
                                 -20,
                                 40,
                                 -40,
                                 88,
                                 -88,
                                 (real)103.9,
                                 (real)-103.9,
                                 709,
                                 -709,
                                 (real)745.5,
                                 (real)-745.5,
                                 1000,
                                 -1000,
                                 (real)1e30,
                                 (real)-1e30,
                                 (real)1.5};
    return table[i % (sizeof table / sizeof table[0])];
}

MAYBE_UNUSED void fill(real *x, size_t n, kind what)
{
    const size_t start = (size_t)random_bits() % 1000;
    for (size_t i = 0; i < n; ++i) {
        const uint64_t pick = random_bits() % 64;
        x[i] = what == INTEGERS               ? (real)((int)(pick % 17) - 8)
               : what == ZEROS                ? (pick % 4 == 0   ? (real)0
                                                 : pick % 4 == 1 ? (real)-0.0
                                                 : pick % 4 == 2 ? (real)1
                                                                 : (real)-1)
               : what == SPECIAL && pick < 40 ? special_value(start + i)
                                              : (real)(random_normal() * (pick % 8 == 0 ? 30 : 2));
    }
}

/* Finite and of ordinary size, with zeros among them. */
MAYBE_UNUSED void fill_tame(real *x, size_t n, double low, double high)
{
    for (size_t i = 0; i < n; ++i)
        x[i] = random_bits() % 16 == 0 && low <= 0 ? (real)0
                                                   : (real)(low + (high - low) * random_unit());
}

/* What gaps between panels and between rows hold, and keep. */
static const real GAP = -77;

MAYBE_UNUSED void set_all(real *x, size_t n, real value)
{
    for (size_t i = 0; i < n; ++i) x[i] = value;
}

/* Bytes of an element of an input array. */
MAYBE_UNUSED size_t item_size(size_t source)
{
    const char *name = bp_source_name(source);
    return strstr(name, "64") ? 8 : strstr(name, "32") ? 4 : strstr(name, "16") ? 2 : 1;
}

MAYBE_UNUSED real *reals(size_t room, size_t n, size_t slack)
{
    return place(room, n * sizeof(real), slack);
}

MAYBE_UNUSED real *reals_copy(size_t room, const real *from, size_t n, size_t slack)
{
    return memcpy(reals(room, n, slack), from, n * sizeof(real));
}

/* ---- comparisons ---- */

/* Bits are compared as integers: a flushing mode would call denormals equal to zero. */
MAYBE_UNUSED bool same_bits(real a, real b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (a != a && b != b);
}

/* What arithmetic makes of x: 0 of a denormal in a flushing mode. */
MAYBE_UNUSED real seen(real x)
{
    volatile real one = 1;
    return x * one;
}

MAYBE_UNUSED void same(const char *what, const real *got, const real *want, size_t n)
{
    for (size_t i = 0; i < n; ++i) {
        if (!same_bits(got[i], want[i])) {
            failed("%s[%zu]: %a, not %a", what, i, (double)got[i], (double)want[i]);
            return;
        }
    }
    passed();
}

/* NaN as NaN, infinity as itself or a value that rounds to it, else within `tolerance`. */
MAYBE_UNUSED bool near_to(real got, wide want, wide tolerance)
{
    if (got != got || want != want) return got != got && want != want;
    if ((wide)got == want) return true;
    if (fabsl(want) > REAL_MAX || fabsl((wide)got) > REAL_MAX)
        return (got > 0) == (want > 0) && fabsl((wide)got) >= REAL_MAX * 0.9999L &&
               fabsl(want) >= REAL_MAX * 0.9999L;
    return fabsl((wide)got - want) <= tolerance + 2 * (wide)REAL_MIN;
}

MAYBE_UNUSED void near_all(const char *what, const real *got, const wide *want,
                           const wide *tolerance, size_t n)
{
    for (size_t i = 0; i < n; ++i) {
        if (!near_to(got[i], want[i], tolerance[i])) {
            failed("%s[%zu]: %.9Lg, not %.9Lg +- %.2Lg", what, i, (wide)got[i], want[i],
                   tolerance[i]);
            return;
        }
    }
    passed();
}

/* The same, for kernels that select: whether a flushing mode reaches what is merely selected is the
 * instruction's choice (MAXPS flushes, a compare and a blend do not). */
MAYBE_UNUSED void same_seen(const char *what, const real *got, const real *want, size_t n)
{
    real a[LONGEST], b[LONGEST];
    for (size_t i = 0; i < n; ++i) a[i] = seen(got[i]);
    for (size_t i = 0; i < n; ++i) b[i] = seen(want[i]);
    same(what, a, b, n);
}

/* One link of a chain, as the row rounds it. */
MAYBE_UNUSED real link(const subject *s, real a, real b, real c)
{
    if (s->fused) return FMA(a, b, c);
    const real product = a * b;
    return product + c;
}

/* c - a b, as the row rounds it */
MAYBE_UNUSED real link_minus(const subject *s, real a, real b, real c)
{
    if (s->fused) return FMA(-a, b, c);
    const real product = a * b;
    return c - product;
}

/* The fixed shape of sums: lanes folded by halves. */
MAYBE_UNUSED real fold_lanes(const real lanes[LANES])
{
    real lane[LANES];
    memcpy(lane, lanes, sizeof lane);
    for (size_t half = LANES / 2; half > 0; half /= 2)
        for (size_t l = 0; l < half; ++l) lane[l] = lane[l] + lane[l + half];
    return lane[0];
}

#endif

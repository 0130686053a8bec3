/* ulp_check.c - the worst error of every function of vmath.h, in units of the last place.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * tools/ulp_check.py compiles it for one row of the ISA table and one dtype, and calls
 *
 *      ulp_check STEP [FUNCTION]       float32: every STEP-th of all 2^32 inputs, on all threads
 *      ulp_check FUNCTION TRIPLES      float64: a file of inputs, each with its exact result as a sum
 *                                      of two doubles, high and low
 *
 * Functions run as in the library, flushing denormals; they are judged in the default mode. The exact
 * results of float32 inputs are glibc's functions in double, whose error of a few units there is 2^-27
 * of one here; its vector library computes them where it exists (x86-64), and each new worst error is
 * measured again with the functions in long double.
 *
 * A line per function: worst error in units of the last place of the exact result, the input that
 * has it, the number of wrong special results, a checksum of all results (equal for equal bits,
 * whatever the row, number of threads or vectors), and the number of inputs. A denormal result may be
 * 0, and a denormal argument count as 0. sine and cosine are judged on |x| <= 256, and have to be
 * finite beyond.
 */
#include <stdbool.h>
#include <stdint.h>

/* Before math.h: the compiler may then call libmvec, four doubles at a time. */
#if defined(__x86_64__) && defined(__GLIBC__) && !BP_F64
#define VECTOR(name) double name(double) __attribute__((simd("notinbranch")));
VECTOR(exp)
VECTOR(log)
VECTOR(expm1)
VECTOR(log1p)
VECTOR(tanh) VECTOR(erf) VECTOR(erfc) VECTOR(sin) VECTOR(cos)
#endif

#include BP_ISA_HEADER
#include "kernels.h"
#include "vmath.h"

#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if BP_F64
    typedef uint64_t bits;
enum { DIGITS = DBL_MANT_DIG };
#define LEAST 0x1p-1022L
#define PAST_LARGEST 0x1.fffffffffffff8p+1023L
#else
typedef uint32_t bits;
enum { DIGITS = FLT_MANT_DIG };
#define LEAST 0x1p-126L
#define PAST_LARGEST 0x1.ffffffp+127L
#endif
typedef long double wide;

enum { BLOCK = 4096, PERIODS = 256 };

typedef enum {
    PLAIN = 0,
    ODD = 1,      /* -0 is kept */
    BOUNDED = 2,  /* |y| <= 1 */
    PERIODIC = 4, /* judged on |x| <= PERIODS alone */
    POLE = 8      /* a denormal argument may give -inf */
} traits;

typedef struct {
    double worst;
    real at;
    unsigned long long wrong, checksum, inputs;
} tally;

typedef void map_fn(real *y, const real *x, size_t n); /* n a multiple of BP_VL */
/* exact enough for float32; x is taken as the end of the range where it is outside */
typedef void doubles_fn(double *y, const real *x, size_t n, double low, double high);
typedef wide wide_fn(wide x);

/* ---- the functions ---- */

static inline vec vm_sin(vec x)
{
    vec s, c;
    vm_sincos(x, &s, &c);
    return s;
}
static inline vec vm_cos(vec x)
{
    vec s, c;
    vm_sincos(x, &s, &c);
    return c;
}
/* NaN stays; without branches, so that loops become vectors. */
static inline double between(double x, double low, double high)
{
    const double most = x > high ? high : x;
    return most < low ? low : most;
}
static inline double sigmoid(double x) { return 1 / (1 + exp(-x)); }
static wide sigmoidl(wide x) { return x < 0 ? expl(x) / (1 + expl(x)) : 1 / (1 + expl(-x)); }

/* name, traits, and the range beyond which a float32 result is that of the range's end */
#define FUNCTIONS(ROW)                                    \
    ROW(exp, PLAIN, -200, 200)                            \
    ROW(log, POLE, -1, HUGE_VAL)                          \
    ROW(expm1, ODD, -200, 200)                            \
    ROW(log1p, ODD, -2, HUGE_VAL)                         \
    ROW(tanh, ODD | BOUNDED, -40, 40)                     \
    ROW(sigmoid, BOUNDED, -200, 200)                      \
    ROW(erf, ODD | BOUNDED, -10, 10)                      \
    ROW(erfc, PLAIN, -10, 20)                             \
    ROW(sin, ODD | BOUNDED | PERIODIC, -PERIODS, PERIODS) \
    ROW(cos, BOUNDED | PERIODIC, -PERIODS, PERIODS)

/* Not inlined: through pointers, no operation can leave the mode that it belongs to, and the compiler
 * cannot know the range, whose end it would treat as a case of its own. */
#define MAPS(name, traits, first, last)                                                    \
    static __attribute__((noinline)) void map_##name(real *y, const real *x, size_t n)     \
    {                                                                                      \
        const bp_fpmode mode = bp_fpmode_enter();                                          \
        for (size_t i = 0; i < n; i += BP_VL) v_store(y + i, vm_##name(v_load(x + i)));    \
        bp_fpmode_leave(mode);                                                             \
    }                                                                                      \
    static __attribute__((noinline)) void exact_##name(double *y, const real *x, size_t n, \
                                                       double low, double high)            \
    {                                                                                      \
        for (size_t i = 0; i < n; ++i) y[i] = name(between((double)x[i], low, high));      \
    }
FUNCTIONS(MAPS)

static const struct {
    const char *name;
    map_fn *map;
    doubles_fn *exact;
    wide_fn *wide;
    traits traits;
    double low, high;
} functions[] = {
#define ENTRY(name, traits, low, high) \
    {#name, map_##name, exact_##name, name##l, traits, low, high},
    FUNCTIONS(ENTRY)};
enum { N_FUNCTIONS = sizeof functions / sizeof functions[0] };

/* ---- one result ---- */

static bits to_bits(real a)
{
    bits b;
    memcpy(&b, &a, sizeof b);
    return b;
}

/* |got - exact| in units of the last place of `exact`; < 0: a special result is wrong. */
static double error_of(real got, wide exact)
{
    int exponent;
    if (exact != exact) return got != got ? 0 : -1;
    if (got != got) return -1;
    const wide size = fabsl(exact);
    if (size < LEAST) return fabsl((wide)got) <= LEAST && (exact != 0 || got == 0) ? 0 : -1;
    if (size >= PAST_LARGEST) return (wide)got == copysignl(INFINITY, exact) ? 0 : -1;
    if (isinf(got)) return -1;
    (void)frexpl(size, &exponent);
    return (double)ldexpl(fabsl((wide)got - exact), DIGITS - exponent);
}

static double judge(real x, real y, wide exact, traits t)
{
    const bits magnitude = to_bits(x) & ~((bits)1 << (8 * sizeof(bits) - 1));
    const bool denormal = magnitude != 0 && magnitude < (bits)1 << (DIGITS - 1);
    if ((t & ODD) && magnitude == 0) return to_bits(y) == to_bits(x) ? 0 : -1;
    if ((t & BOUNDED) && (y > 1 || y < -1)) return -1;
    if ((t & POLE) && denormal && y == (real)-INFINITY) return 0;
    if ((t & PERIODIC) && !(fabsl((wide)x) <= PERIODS))
        return (y - y == 0) == (x - x == 0) ? 0 : -1;  /* finite for finite, NaN for the rest */
    if (denormal && fabsl((wide)y) <= LEAST) return 0; /* the argument counted as 0 */
    return error_of(y, exact);
}

static void add(tally *t, const char *name, real x, real y, double error)
{
    if (error < 0) {
        if (t->wrong++ == 0) fprintf(stderr, "wrong: %s(%a) = %a\n", name, (double)x, (double)y);
    } else if (error > t->worst) {
        t->worst = error;
        t->at = x;
    }
}

static void print(const char *name, const tally *t)
{
    printf("%s %.6f %a %llu %016llx %llu\n", name, t->worst, (double)t->at, t->wrong, t->checksum,
           t->inputs);
    fflush(stdout);
}

/* A sum over results that depends on which input has which; any order gives the same. */
static unsigned long long checksum(const real *x, const real *y, size_t n)
{
    unsigned long long total = 0;
    for (size_t i = 0; i < n; ++i) {
        const bits of_x = to_bits(x[i]), of_y = y[i] != y[i] ? 1 : to_bits(y[i]);
        const uint32_t odd = (uint32_t)(of_x ^ of_x >> (4 * sizeof(bits))) * 0x9E3779B1u | 1u;
        total += (unsigned long long)of_y * odd;
    }
    return total;
}

#if BP_F64

/* ---- float64: judged against given results ---- */

static int check_triples(size_t f, FILE *file)
{
    static double triples[BLOCK][3], x[BLOCK], y[BLOCK];
    tally t = {0};
    size_t n;
    while ((n = fread(triples, sizeof triples[0], BLOCK, file)) > 0) {
        for (size_t i = 0; i < BLOCK; ++i) x[i] = i < n ? triples[i][0] : 1;
        functions[f].map(y, x, BLOCK);
        for (size_t i = 0; i < n; ++i) {
            const wide exact = (wide)triples[i][1] + (wide)triples[i][2];
            add(&t, functions[f].name, x[i], y[i], judge(x[i], y[i], exact, functions[f].traits));
        }
        t.inputs += n;
        t.checksum += checksum(x, y, n);
    }
    print(functions[f].name, &t);
    return t.wrong != 0;
}

int main(int argc, char **argv)
{
    FILE *file = argc == 3 ? fopen(argv[2], "rb") : NULL;
    for (size_t f = 0; file && f < N_FUNCTIONS; ++f)
        if (strcmp(argv[1], functions[f].name) == 0) return check_triples(f, file);
    fprintf(stderr, "usage: ulp_check FUNCTION TRIPLES\n");
    return 2;
}

#else

/* ---- float32: a sweep over the bit patterns ---- */

static float from_bits(bits b)
{
    float a;
    memcpy(&a, &b, sizeof a);
    return a;
}

/* Vectors judge what is ordinary, and results that are certain: NaN, infinite, or below the least
 * normal number. Denormal arguments, zeros, and a new worst are judged one by one. */
static void judge_block(tally *t, size_t f, const float *x, const float *y, const double *exact)
{
    enum { TOP = 2 * (DBL_MAX_EXP - 1) + DIGITS - 1 };
    const traits traits = functions[f].traits;
    const float most = traits & BOUNDED ? 1 : INFINITY;
    const float x_most = traits & PERIODIC ? PERIODS : INFINITY;
    float error[BLOCK]; /* negative: to be judged by itself */
    float worst;
    int32_t largest = 0, all = 0;
    for (size_t i = 0; i < BLOCK; ++i) {
        const double size = fabs(exact[i]);
        const float limit = exact[i] > 0 ? INFINITY : -INFINITY, got = fabsf(y[i]);
        const int normal = fabsf(x[i]) >= FLT_MIN;
        const int tiny = (size < (double)LEAST) & (got <= FLT_MIN) & (exact[i] != 0);
        const int past = (size >= (double)PAST_LARGEST) & (y[i] == limit);
        const int none = (exact[i] != exact[i]) & (y[i] != y[i]);
        const int far = (fabsf(x[i]) > x_most) & ((y[i] - y[i] == 0) == (x[i] - x[i] == 0));
        const int number = (size >= (double)LEAST) & (size < (double)PAST_LARGEST) &
                           (got <= FLT_MAX) & (fabsf(x[i]) <= x_most);
        uint64_t b;
        double scale; /* 2^(DIGITS - 1 - exponent of the exact result) */
        memcpy(&b, &size, sizeof b);
        b = (TOP - (b >> 52)) << 52;
        memcpy(&scale, &b, sizeof scale);
        const float e = (float)(fabs((double)y[i] - exact[i]) * scale);
        const int in_bound = (got <= most) | none;
        const int certain = (normal & in_bound & (tiny | past | far)) | none;
        error[i] = normal & number & in_bound ? e : certain ? 0.0f : -1.0f;
    }
    for (size_t i = 0; i < BLOCK; ++i) { /* floats of one sign are in the order of their bits */
        int32_t b;
        memcpy(&b, &error[i], sizeof b);
        largest = b > largest ? b : largest;
        all |= b;
    }
    memcpy(&worst, &largest, sizeof worst);
    for (size_t i = 0; (worst > (float)t->worst || all < 0) && i < BLOCK; ++i) {
        if (error[i] >= 0 && error[i] <= (float)t->worst) continue;
        const wide want = error[i] < 0 ? (wide)exact[i] : functions[f].wide((wide)x[i]);
        add(t, functions[f].name, x[i], y[i], judge(x[i], y[i], want, traits));
    }
    t->inputs += BLOCK;
    t->checksum += checksum(x, y, BLOCK);
}

static void run_block(tally *t, size_t f, const float *x)
{
    float y[BLOCK];
    double exact[BLOCK];
    functions[f].map(y, x, BLOCK);
    functions[f].exact(exact, x, BLOCK, functions[f].low, functions[f].high);
    judge_block(t, f, x, y, exact);
}

static void merge(tally *total, const tally *part)
{
    total->wrong += part->wrong;
    total->checksum += part->checksum;
    total->inputs += part->inputs;
    /* the same input whatever the order of the threads */
    if (part->worst < total->worst) return;
    if (part->worst == total->worst && to_bits(part->at) >= to_bits(total->at)) return;
    total->worst = part->worst;
    total->at = part->at;
}

static bool sweep(size_t f, uint64_t step)
{
    static const float special[] = {
        0.0f,     -0.0f,    INFINITY,  -INFINITY, NAN,        1,  -1,  FLT_MAX, -FLT_MAX, FLT_MIN,
        -FLT_MIN, 0x1p-26f, -0x1p-26f, 0x1p-149f, -0x1p-149f, 88, -88, 256,     -256};
    enum { N_SPECIAL = sizeof special / sizeof special[0] };
    const uint64_t per_block = step * BLOCK, blocks = (UINT64_C(1) << 32) / per_block;
    tally total = {0};
#pragma omp parallel
    {
        tally part = {0};
#pragma omp for schedule(dynamic, 16)
        for (uint64_t b = 0; b < blocks; ++b) {
            float x[BLOCK];
            for (size_t i = 0; i < BLOCK; ++i) x[i] = from_bits((bits)(b * per_block + i * step));
            run_block(&part, f, x);
        }
#pragma omp critical
        merge(&total, &part);
    }
    if (step > 1) { /* else they were among all */
        float x[BLOCK];
        for (size_t i = 0; i < BLOCK; ++i) x[i] = special[i % N_SPECIAL];
        run_block(&total, f, x);
    }
    print(functions[f].name, &total);
    return total.wrong == 0;
}

int main(int argc, char **argv)
{
    const uint64_t step = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
    bool ok = true, found = false;
    if (step < 1 || step > 1 << 20) {
        fprintf(stderr, "usage: ulp_check STEP [FUNCTION], STEP from 1 to 2^20\n");
        return 2;
    }
    for (size_t f = 0; f < N_FUNCTIONS; ++f) {
        if (argc > 2 && strcmp(argv[2], functions[f].name) != 0) continue;
        found = true;
        ok &= sweep(f, step);
    }
    if (!found) fprintf(stderr, "ulp_check: no function %s\n", argv[2]);
    return !found ? 2 : !ok;
}
#endif

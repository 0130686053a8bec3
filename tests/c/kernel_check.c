/* kernel_check.c - checks every kernel of one row of the ISA table, in one dtype or both.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 *      kernel_check ROW [SEED [float32|float64]]
 *
 * Linked with src/kernels alone; tests/test_kernels.py builds and runs it. Each check_<group>.c holds
 * the checks of one group of kernels. A line per dtype tells the number of checks and the seed.
 * Exit code: 0 all passed, 1 some failed (the first are named), 2 a kernel faulted, 3 cannot run,
 * 77 this CPU does not support the row.
 */
#include "check.h"

#include <fenv.h>
#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PASSED, FAILED, FAULTED, CANNOT, UNSUPPORTED = 77 };

typedef void group_fn(const subject *s);

static const struct {
    const char *name;
    group_fn *f32, *f64;
} groups[] = {
#define GROUP(name) {#name, check_##name##_f32, check_##name##_f64},
    CHECKS(GROUP)
#undef GROUP
};

static const char *row_name(size_t index)
{
    return index < bp_isa_count() ? bp_isa_name(index) : NULL;
}

static size_t row_index(const char *name) { return bp_find_name(row_name, name); }

/* ---- what is not a kernel: the tables and the floating-point mode ---- */

static void check_names(const char *what, const char *(*names)(size_t), size_t count)
{
    kernel_is(what, "index");
    for (size_t i = 0; i < count; ++i) {
        BEGIN(i);
        verdict(names(i) && bp_find_name(names, names(i)) == i,
                "the name does not lead back to its row");
    }
    BEGIN(count);
    verdict(!names(count), "the name past the end is not NULL");
    verdict(bp_find_name(names, "no such name") == count, "an unknown name was found");
}

static void check_tables(void)
{
    const size_t best = bp_isa_default();
    check_names("activations", bp_activation_name, BP_N_ACTIVATIONS);
    check_names("losses", bp_loss_name, BP_N_LOSSES);
    check_names("optimizers", bp_rule_name, BP_N_OPTIMIZERS);
    check_names("sources", bp_source_name, BP_N_SOURCES);
    check_names("rows", row_name, bp_isa_count());
    kernel_is("rows", "default");
    BEGIN(best);
    verdict(best < bp_isa_count() && bp_isa_supported(best), "the default row is not supported");
    verdict(strncmp(bp_isa_name(best), "reference", 9) != 0 || bp_isa_count() == 1,
            "the reference row was chosen by itself");
}

/* Without this the compiler could compute in another mode than the one it reads. */
static double half_of(double x)
{
    volatile double operand = x;
    return operand * 0.5;
}

static double third_up(void)
{
    volatile double one = 1;
    return one / 3;
}

static void check_mode(void)
{
    const double nearest = third_up();
    kernel_is("bp_fpmode_enter, bp_fpmode_leave", "");
    begin(0, NULL);
    verdict(half_of(DBL_MIN) > 0, "denormals are flushed before anything ran");
    const bp_fpmode outer = bp_fpmode_enter();
#if defined(__x86_64__) || defined(__aarch64__)
    verdict(half_of(DBL_MIN) == 0, "denormal results are not flushed");
#endif
    const bp_fpmode inner = bp_fpmode_enter();
    bp_fpmode_leave(inner);
#if defined(__x86_64__) || defined(__aarch64__)
    verdict(half_of(DBL_MIN) == 0, "leaving the inner of two ended the outer");
#endif
    bp_fpmode_leave(outer);
    verdict(half_of(DBL_MIN) > 0, "denormals stay flushed");
#ifdef FE_UPWARD
    fesetround(FE_UPWARD);
    const double up = third_up();
    const bp_fpmode rounded = bp_fpmode_enter();
#if defined(__x86_64__) || defined(__aarch64__)
    verdict(third_up() == nearest && up > nearest, "kernels would not round to nearest");
#endif
    bp_fpmode_leave(rounded);
    verdict(third_up() == up && fegetround() == FE_UPWARD, "the caller's rounding is lost");
    fesetround(FE_TONEAREST);
#endif
    verdict(third_up() == nearest, "the mode of this program is lost");
}

/* ---- one row and dtype ---- */

/* Groups run as the library does, flushing denormals, and again keeping them: rows must agree in
 * either mode, where reference_libm may call a libm that computes in integers. */
static void run(size_t row, size_t size, uint64_t seed)
{
    const char *dtype = size == sizeof(float) ? "float32" : "float64";
    const size_t fma_row = row_index("reference"), libm_row = row_index("reference_libm");
    const bool has_fma = fma_row < bp_isa_count() && bp_isa_supported(fma_row);
    const bp_kernels *ref = bp_kernels_get(has_fma ? fma_row : libm_row, size);
    const subject s = {.k = bp_kernels_get(row, size),
                       .ref = ref,
                       .fused = strcmp(bp_isa_name(row), "sse2") != 0,
                       .judged = bp_kernels_get(row, size) == ref ||
                                 strcmp(bp_isa_name(row), "sse2") == 0};
    const size_t done = checks_done(), wrong = checks_failed();
    kernel_is("table", "size");
    subject_is(bp_isa_name(row), dtype, true);
    BEGIN(s.k->size);
    verdict(s.k->size == size && strcmp(s.k->isa, bp_isa_name(row)) == 0, "wrong entry");
    verdict(s.k->nr % s.k->vl == 0 && s.k->nr % 4 == 0, "NR holds no whole vectors or counters");
    for (int flush = 1; flush >= 0; --flush) {
        subject_is(bp_isa_name(row), dtype, flush);
        random_seed(seed);
        for (size_t g = 0; g < sizeof groups / sizeof groups[0]; ++g) {
            bp_fpmode mode = {0};
            if (flush) mode = bp_fpmode_enter();
            (size == sizeof(float) ? groups[g].f32 : groups[g].f64)(&s);
            if (flush) bp_fpmode_leave(mode);
        }
    }
    printf("%s %s: %zu checks, %zu failed, seed %llu\n", bp_isa_name(row), dtype,
           checks_done() - done, checks_failed() - wrong, (unsigned long long)seed);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    const uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
    const size_t row = argc > 1 ? row_index(argv[1]) : bp_isa_count();
    const char *only = argc > 3 ? argv[3] : "";
    if (row == bp_isa_count()) {
        fprintf(stderr, "usage: kernel_check ROW [SEED [float32|float64]]\nrows:");
        for (size_t i = 0; i < bp_isa_count(); ++i) fprintf(stderr, " %s", bp_isa_name(i));
        fprintf(stderr, "\n");
        return CANNOT;
    }
    if (!bp_isa_supported(row)) {
        printf("%s: not supported by this CPU\n", argv[1]);
        return UNSUPPORTED;
    }
    rooms_open();
    subject_is("every row", "both dtypes", true);
    check_tables();
    check_mode();
    if (strcmp(only, "float64") != 0) run(row, sizeof(float), seed);
    if (strcmp(only, "float32") != 0) run(row, sizeof(double), seed);
    return checks_failed() ? FAILED : PASSED;
}

/* kernel_digest.c - what every kernel of one row gives for the same inputs, as one hash each.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 *      kernel_digest ROW              a line per dtype and kernel: number of results, their hash
 *      kernel_digest ROW DTYPE NAME   the results of one of them, in hexadecimal
 *      kernel_digest ROW exceptions   the results at which architectures differ (digest_kernels.c)
 *
 * Rows, and programs built for different architectures, are compared by the lines. Kernels run as in
 * the library, flushing denormals.
 */
#include "digest.h"

#include "check.h"

#include <stdio.h>
#include <string.h>

enum { CANNOT = 3, UNSUPPORTED = 77 };

static struct {
    const char *dtype, *kernel, *variant;
    uint64_t hash;
    size_t count;
    bool printed; /* one by one */
} now;
static const char *only_dtype, *only_name;

void digest_begin(const char *dtype, const char *kernel, const char *variant)
{
    char name[64];
    snprintf(name, sizeof name, "%s%s", kernel, variant);
    now.dtype = dtype;
    now.kernel = kernel;
    now.variant = variant;
    now.hash = UINT64_C(0xCBF29CE484222325);
    now.count = 0;
    now.printed = only_name && strcmp(only_name, name) == 0 && strcmp(only_dtype, dtype) == 0;
    random_seed(0);
}

/* FNV-1a over whole words, mixed downwards too. */
void digest(double result)
{
    uint64_t bits;
    memcpy(&bits, &result, sizeof bits);
    if (result != result) bits = UINT64_C(0x7FF8000000000000);
    now.hash = (now.hash ^ bits) * UINT64_C(0x100000001B3);
    now.hash ^= now.hash >> 29;
    if (now.printed) printf("%zu %a\n", now.count, result);
    ++now.count;
}

void digest_end(void)
{
    if (!only_name)
        printf("%s %s%s %zu %016llx\n", now.dtype, now.kernel, now.variant, now.count,
               (unsigned long long)now.hash);
}

static size_t row_index(const char *name)
{
    size_t i = 0;
    while (i < bp_isa_count() && strcmp(bp_isa_name(i), name) != 0) ++i;
    return i;
}

int main(int argc, char **argv)
{
    const size_t row = argc > 1 ? row_index(argv[1]) : bp_isa_count();
    const bool exceptions = argc == 3 && strcmp(argv[2], "exceptions") == 0;
    if (row == bp_isa_count() || argc > 4 || (argc == 3 && !exceptions)) {
        fprintf(stderr, "usage: kernel_digest ROW [DTYPE NAME | exceptions]\n");
        return CANNOT;
    }
    if (!bp_isa_supported(row)) {
        printf("%s: not supported by this CPU\n", argv[1]);
        return UNSUPPORTED;
    }
    if (argc == 4) {
        only_dtype = argv[2];
        only_name = argv[3];
    }
    const bp_fpmode mode = bp_fpmode_enter();
    const bp_kernels *f32 = bp_kernels_get(row, sizeof(float));
    const bp_kernels *f64 = bp_kernels_get(row, sizeof(double));
    if (exceptions) {
        print_exceptions_f32(f32);
        print_exceptions_f64(f64);
    } else {
#define GROUP(name) digest_##name##_f32(f32), digest_##name##_f64(f64);
        DIGESTS(GROUP)
#undef GROUP
    }
    bp_fpmode_leave(mode);
    return 0;
}

/* dispatch.c - the ISA table: which rows were compiled, which this CPU runs, which is chosen.
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "kernels.h"

#define BP_ISA_ROW(name, can, should) \
    extern const bp_kernels bp_kernels_##name##_f32, bp_kernels_##name##_f64;
#include "isa.inc"
#undef BP_ISA_ROW

static const struct {
    const char *name;
    unsigned can;
    bool should;
    const bp_kernels *f32, *f64;
} rows[] = {
#define BP_ISA_ROW(name, can, should) \
    {#name, can, should, &bp_kernels_##name##_f32, &bp_kernels_##name##_f64},
#include "isa.inc"
#undef BP_ISA_ROW
};

size_t bp_isa_count(void) { return sizeof rows / sizeof rows[0]; }

const char *bp_isa_name(size_t index) { return rows[index].name; }

bool bp_isa_supported(size_t index) { return (rows[index].can & ~bp_cpu_bits()) == 0; }

size_t bp_isa_default(void)
{
    size_t i = 0;
    while (!(rows[i].should && bp_isa_supported(i))) ++i; /* the last "should" row needs no bits */
    return i;
}

const bp_kernels *bp_kernels_get(size_t index, size_t size)
{
    return size == sizeof(float) ? rows[index].f32 : rows[index].f64;
}

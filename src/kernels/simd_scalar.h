/* simd_scalar.h - the SIMD vocabulary with one lane: the reference row of the ISA table.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Every simd_<isa>.h defines exactly these names for `real` (float, or double when BP_F64 is 1).
 * Kernels are written in them alone, so a lane computes the same IEEE operations in every row.
 *
 *   BP_VL                      lanes of `real` in a vec
 *   vec, vmask, vint           reals; lane predicates; integers as wide as `real`
 *   v_set1 v_zero v_load v_store                  unaligned memory
 *   v_load_n v_store_n         first n < BP_VL lanes: never touch memory past them; the rest read 0
 *   v_store_bytes v_load_bytes as BP_VL bytes: whole numbers, 0 to 255
 *   v_add v_sub v_mul v_div v_sqrt                IEEE, round to nearest
 *   v_fma(a,b,c) = a*b+c       v_fnma(a,b,c) = c-a*b, each rounded once
 *   v_min(a,b) = a<b ? a : b   v_max(a,b) = a>b ? a : b     (a NaN on either side gives b)
 *   v_abs v_neg v_copysign(magnitude, sign)       bit operations, NaN kept
 *   v_lt v_le v_eq v_isnan     ordered comparisons (false on NaN), and the test for NaN
 *   v_select(mask, a, b) = mask ? a : b           m_and m_or m_not m_any
 *   v_bits v_from_bits         reinterpret         vi_set1 vi_add vi_sub vi_and vi_or vi_xor
 *   vi_shl(a, n) vi_shr(a, n)  logical shifts by a constant
 *   vwide                      BP_VW unsigned 64-bit lanes, whose low halves are random words
 *   vw_set1 vw_load vw_store vw_xor               vw_high(a) = a >> 32
 *   vw_mul(a, b)               product of the low halves
 *   v_transpose(dst, ldd, src, lds)               BP_VL x BP_VL block, row strides in elements
 */
#ifndef BP_SIMD_H
#define BP_SIMD_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifndef BP_F64
#error "define BP_F64 to 0 or 1"
#endif

#define BP_VL 1
#if BP_F64
typedef double real;
typedef int64_t vint;
typedef uint64_t bp_ubits;
#define BP_S(name) name
#else
typedef float real;
typedef int32_t vint;
typedef uint32_t bp_ubits;
#define BP_S(name) name##f
#endif
typedef real vec;
typedef bool vmask;

static inline vec v_set1(real a) { return a; }
static inline vec v_zero(void) { return (real)0; }
static inline vec v_load(const real *p) { return *p; }
static inline void v_store(real *p, vec a) { *p = a; }
static inline vec v_load_n(const real *p, size_t n) { return n ? *p : (real)0; }
static inline void v_store_n(real *p, vec a, size_t n)
{
    if (n) *p = a;
}

static inline void v_store_bytes(uint8_t *p, vec a) { *p = (uint8_t)a; }
static inline vec v_load_bytes(const uint8_t *p) { return (vec)*p; }

static inline vec v_add(vec a, vec b) { return a + b; }
static inline vec v_sub(vec a, vec b) { return a - b; }
static inline vec v_mul(vec a, vec b) { return a * b; }
static inline vec v_div(vec a, vec b) { return a / b; }
static inline vec v_sqrt(vec a) { return BP_S(sqrt)(a); }
static inline vec v_fma(vec a, vec b, vec c) { return BP_S(fma)(a, b, c); }
static inline vec v_fnma(vec a, vec b, vec c) { return BP_S(fma)(-a, b, c); }
static inline vec v_min(vec a, vec b) { return a < b ? a : b; }
static inline vec v_max(vec a, vec b) { return a > b ? a : b; }
static inline vec v_abs(vec a) { return BP_S(fabs)(a); }
static inline vec v_neg(vec a) { return -a; }
static inline vec v_copysign(vec magnitude, vec sign) { return BP_S(copysign)(magnitude, sign); }

static inline vmask v_lt(vec a, vec b) { return a < b; }
static inline vmask v_le(vec a, vec b) { return a <= b; }
static inline vmask v_eq(vec a, vec b) { return a == b; }
static inline vmask v_isnan(vec a) { return a != a; }
static inline vec v_select(vmask m, vec a, vec b) { return m ? a : b; }
static inline vmask m_and(vmask a, vmask b) { return a && b; }
static inline vmask m_or(vmask a, vmask b) { return a || b; }
static inline vmask m_not(vmask a) { return !a; }
static inline bool m_any(vmask a) { return a; }

static inline vint v_bits(vec a)
{
    vint r;
    memcpy(&r, &a, sizeof r);
    return r;
}
static inline vec v_from_bits(vint a)
{
    vec r;
    memcpy(&r, &a, sizeof r);
    return r;
}
static inline vint vi_set1(vint a) { return a; }
static inline vint vi_add(vint a, vint b) { return (vint)((bp_ubits)a + (bp_ubits)b); }
static inline vint vi_sub(vint a, vint b) { return (vint)((bp_ubits)a - (bp_ubits)b); }
static inline vint vi_and(vint a, vint b) { return a & b; }
static inline vint vi_or(vint a, vint b) { return a | b; }
static inline vint vi_xor(vint a, vint b) { return a ^ b; }
static inline vint vi_shl(vint a, int n) { return (vint)((bp_ubits)a << n); }
static inline vint vi_shr(vint a, int n) { return (vint)((bp_ubits)a >> n); }

#define BP_VW 1
typedef uint64_t vwide;
static inline vwide vw_set1(uint64_t a) { return a; }
static inline vwide vw_load(const uint64_t *p) { return *p; }
static inline void vw_store(uint64_t *p, vwide a) { *p = a; }
static inline vwide vw_xor(vwide a, vwide b) { return a ^ b; }
static inline vwide vw_high(vwide a) { return a >> 32; }
static inline vwide vw_mul(vwide a, vwide b) { return (uint64_t)(uint32_t)a * (uint32_t)b; }

static inline void v_transpose(real *dst, size_t ldd, const real *src, size_t lds)
{
    (void)ldd;
    (void)lds;
    *dst = *src;
}
#undef BP_S
#endif

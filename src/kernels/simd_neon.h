/* simd_neon.h - the SIMD vocabulary on aarch64 Advanced SIMD: 4 floats or 2 doubles.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * The names and their meaning are those of simd_scalar.h. FMIN and FMAX have another NaN rule, so
 * v_min and v_max compare and select. Shifts are the compilers' vector operators: a constant count
 * becomes an immediate, which the intrinsics would demand of the caller.
 *
 * Source: Arm Neon Intrinsics Reference.
 */
#ifndef BP_SIMD_H
#define BP_SIMD_H

#include <arm_neon.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifndef BP_F64
#error "define BP_F64 to 0 or 1"
#endif

#if BP_F64
#define BP_VL 2
#define BP_F(name) name##_f64
#define BP_I(name) name##_s64
#define BP_U(name) name##_u64
#define BP_INT_OF_F vreinterpretq_s64_f64
#define BP_F_OF_INT vreinterpretq_f64_s64
#define BP_SIGN_BIT ((uint64_t)1 << 63)
typedef double real;
typedef int64_t bp_bits;
typedef float64x2_t vec;
typedef int64x2_t vint;
typedef uint64x2_t vmask; /* a lane is all ones or all zeros */
#else
#define BP_VL 4
#define BP_F(name) name##_f32
#define BP_I(name) name##_s32
#define BP_U(name) name##_u32
#define BP_INT_OF_F vreinterpretq_s32_f32
#define BP_F_OF_INT vreinterpretq_f32_s32
#define BP_SIGN_BIT ((uint32_t)1 << 31)
typedef float real;
typedef int32_t bp_bits;
typedef float32x4_t vec;
typedef int32x4_t vint;
typedef uint32x4_t vmask; /* a lane is all ones or all zeros */
#endif

static inline vec v_set1(real a) { return BP_F(vdupq_n)(a); }
static inline vec v_zero(void) { return BP_F(vdupq_n)((real)0); }
static inline vec v_load(const real *p) { return BP_F(vld1q)(p); }
static inline void v_store(real *p, vec a) { BP_F(vst1q)(p, a); }
static inline vec v_load_n(const real *p, size_t n)
{
    real buffer[BP_VL] = {0};
    memcpy(buffer, p, n * sizeof(real));
    return v_load(buffer);
}
static inline void v_store_n(real *p, vec a, size_t n)
{
    real buffer[BP_VL];
    v_store(buffer, a);
    memcpy(p, buffer, n * sizeof(real));
}

static inline vmask v_lt(vec a, vec b) { return BP_F(vcltq)(a, b); }
static inline vmask v_le(vec a, vec b) { return BP_F(vcleq)(a, b); }
static inline vmask v_eq(vec a, vec b) { return BP_F(vceqq)(a, b); }
static inline vec v_select(vmask m, vec a, vec b) { return BP_F(vbslq)(m, a, b); }
static inline vmask m_and(vmask a, vmask b) { return BP_U(vandq)(a, b); }
static inline vmask m_or(vmask a, vmask b) { return BP_U(vorrq)(a, b); }
static inline vmask m_not(vmask a) { return ~a; }
static inline bool m_any(vmask a) { return vmaxvq_u32((uint32x4_t)a) != 0; }
static inline vmask v_isnan(vec a) { return m_not(v_eq(a, a)); }

static inline void v_store_bytes(uint8_t *p, vec a)
{
    for (int l = 0; l < BP_VL; ++l) p[l] = (uint8_t)a[l];
}
static inline vec v_load_bytes(const uint8_t *p)
{
    vec a = v_zero();
    for (int l = 0; l < BP_VL; ++l) a[l] = (real)p[l];
    return a;
}

static inline vec v_add(vec a, vec b) { return BP_F(vaddq)(a, b); }
static inline vec v_sub(vec a, vec b) { return BP_F(vsubq)(a, b); }
static inline vec v_mul(vec a, vec b) { return BP_F(vmulq)(a, b); }
static inline vec v_div(vec a, vec b) { return BP_F(vdivq)(a, b); }
static inline vec v_sqrt(vec a) { return BP_F(vsqrtq)(a); }
static inline vec v_fma(vec a, vec b, vec c) { return BP_F(vfmaq)(c, a, b); }
static inline vec v_fnma(vec a, vec b, vec c) { return BP_F(vfmsq)(c, a, b); }
static inline vec v_min(vec a, vec b) { return v_select(v_lt(a, b), a, b); }
static inline vec v_max(vec a, vec b) { return v_select(v_lt(b, a), a, b); }
static inline vec v_abs(vec a) { return BP_F(vabsq)(a); }
static inline vec v_neg(vec a) { return BP_F(vnegq)(a); }
static inline vec v_copysign(vec magnitude, vec sign)
{
    return v_select(BP_U(vdupq_n)(BP_SIGN_BIT), sign, magnitude);
}

static inline vint v_bits(vec a) { return BP_INT_OF_F(a); }
static inline vec v_from_bits(vint a) { return BP_F_OF_INT(a); }
static inline vint vi_set1(bp_bits a) { return BP_I(vdupq_n)(a); }
static inline vint vi_add(vint a, vint b) { return BP_I(vaddq)(a, b); }
static inline vint vi_sub(vint a, vint b) { return BP_I(vsubq)(a, b); }
static inline vint vi_and(vint a, vint b) { return BP_I(vandq)(a, b); }
static inline vint vi_or(vint a, vint b) { return BP_I(vorrq)(a, b); }
static inline vint vi_xor(vint a, vint b) { return BP_I(veorq)(a, b); }
static inline vint vi_shl(vint a, int n) { return (vint)((vmask)a << n); }
static inline vint vi_shr(vint a, int n) { return (vint)((vmask)a >> n); }

#define BP_VW 2
typedef uint64x2_t vwide;
static inline vwide vw_set1(uint64_t a) { return vdupq_n_u64(a); }
static inline vwide vw_load(const uint64_t *p) { return vld1q_u64(p); }
static inline void vw_store(uint64_t *p, vwide a) { vst1q_u64(p, a); }
static inline vwide vw_xor(vwide a, vwide b) { return veorq_u64(a, b); }
static inline vwide vw_high(vwide a) { return vshrq_n_u64(a, 32); }
static inline vwide vw_mul(vwide a, vwide b) { return vmull_u32(vmovn_u64(a), vmovn_u64(b)); }

static inline void v_transpose(real *dst, size_t ldd, const real *src, size_t lds)
{
#if BP_F64
    const vec a = v_load(src), b = v_load(src + lds);
    v_store(dst, vtrn1q_f64(a, b));
    v_store(dst + ldd, vtrn2q_f64(a, b));
#else
    const vec a = v_load(src), b = v_load(src + lds);
    const vec c = v_load(src + 2 * lds), d = v_load(src + 3 * lds);
    const float64x2_t ab_even = vreinterpretq_f64_f32(vtrn1q_f32(a, b)); /* a0 b0 a2 b2 */
    const float64x2_t ab_odd = vreinterpretq_f64_f32(vtrn2q_f32(a, b));
    const float64x2_t cd_even = vreinterpretq_f64_f32(vtrn1q_f32(c, d));
    const float64x2_t cd_odd = vreinterpretq_f64_f32(vtrn2q_f32(c, d));
    v_store(dst, vreinterpretq_f32_f64(vtrn1q_f64(ab_even, cd_even))); /* a0 b0 c0 d0 */
    v_store(dst + ldd, vreinterpretq_f32_f64(vtrn1q_f64(ab_odd, cd_odd)));
    v_store(dst + 2 * ldd, vreinterpretq_f32_f64(vtrn2q_f64(ab_even, cd_even)));
    v_store(dst + 3 * ldd, vreinterpretq_f32_f64(vtrn2q_f64(ab_odd, cd_odd)));
#endif
}
#undef BP_F
#undef BP_I
#undef BP_U
#undef BP_INT_OF_F
#undef BP_F_OF_INT
#undef BP_SIGN_BIT
#endif

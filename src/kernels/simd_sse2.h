/* simd_sse2.h - the SIMD vocabulary on baseline x86-64: 4 floats or 2 doubles.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * The names and their meaning are those of simd_scalar.h. SSE2 alone: no blend, no round, and no
 * fused multiply-add, so v_fma rounds twice here and this row's bits differ from the others'.
 * MINPS and MAXPS are `a < b ? a : b` and `a > b ? a : b` by definition, NaN and zeros included.
 *
 * Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2.
 */
#ifndef BP_SIMD_H
#define BP_SIMD_H

#include <emmintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifndef BP_F64
#error "define BP_F64 to 0 or 1"
#endif

#if BP_F64
#define BP_VL 2
#define BP_PS(name) _mm_##name##_pd
#define BP_EPI(name) _mm_##name##_epi64
#define BP_TO_BITS _mm_castpd_si128
#define BP_FROM_BITS _mm_castsi128_pd
#define BP_SIGN (-0.0)
#define BP_ISET1 _mm_set1_epi64x
typedef double real;
typedef int64_t bp_bits;
typedef __m128d vec;
#else
#define BP_VL 4
#define BP_PS(name) _mm_##name##_ps
#define BP_EPI(name) _mm_##name##_epi32
#define BP_TO_BITS _mm_castps_si128
#define BP_FROM_BITS _mm_castsi128_ps
#define BP_SIGN (-0.0f)
#define BP_ISET1 _mm_set1_epi32
typedef float real;
typedef int32_t bp_bits;
typedef __m128 vec;
#endif
typedef vec vmask; /* a lane is all ones or all zeros */
typedef __m128i vint;

static inline vec v_set1(real a) { return BP_PS(set1)(a); }
static inline vec v_zero(void) { return BP_PS(setzero)(); }
static inline vec v_load(const real *p) { return BP_PS(loadu)(p); }
static inline void v_store(real *p, vec a) { BP_PS(storeu)(p, a); }
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

static inline void v_store_bytes(uint8_t *p, vec a)
{
#if BP_F64
    const __m128i words = _mm_cvttpd_epi32(a), halves = _mm_packs_epi32(words, words);
#else
    const __m128i words = _mm_cvttps_epi32(a), halves = _mm_packs_epi32(words, words);
#endif
    const int bytes = _mm_cvtsi128_si32(_mm_packus_epi16(halves, halves));
    memcpy(p, &bytes, BP_VL);
}
static inline vec v_load_bytes(const uint8_t *p)
{
    int bytes = 0;
    memcpy(&bytes, p, BP_VL);
    const __m128i zero = _mm_setzero_si128();
    const __m128i halves = _mm_unpacklo_epi8(_mm_cvtsi32_si128(bytes), zero);
    const __m128i words = _mm_unpacklo_epi16(halves, zero);
#if BP_F64
    return _mm_cvtepi32_pd(words);
#else
    return _mm_cvtepi32_ps(words);
#endif
}

static inline vec v_add(vec a, vec b) { return BP_PS(add)(a, b); }
static inline vec v_sub(vec a, vec b) { return BP_PS(sub)(a, b); }
static inline vec v_mul(vec a, vec b) { return BP_PS(mul)(a, b); }
static inline vec v_div(vec a, vec b) { return BP_PS(div)(a, b); }
static inline vec v_sqrt(vec a) { return BP_PS(sqrt)(a); }
static inline vec v_fma(vec a, vec b, vec c) { return v_add(v_mul(a, b), c); }
static inline vec v_fnma(vec a, vec b, vec c) { return v_sub(c, v_mul(a, b)); }
static inline vec v_min(vec a, vec b) { return BP_PS(min)(a, b); }
static inline vec v_max(vec a, vec b) { return BP_PS(max)(a, b); }
static inline vec v_abs(vec a) { return BP_PS(andnot)(v_set1(BP_SIGN), a); }
static inline vec v_neg(vec a) { return BP_PS(xor)(v_set1(BP_SIGN), a); }
static inline vec v_copysign(vec magnitude, vec sign)
{
    return BP_PS(or)(v_abs(magnitude), BP_PS (and)(v_set1(BP_SIGN), sign));
}

static inline vmask v_lt(vec a, vec b) { return BP_PS(cmplt)(a, b); }
static inline vmask v_le(vec a, vec b) { return BP_PS(cmple)(a, b); }
static inline vmask v_eq(vec a, vec b) { return BP_PS(cmpeq)(a, b); }
static inline vmask v_isnan(vec a) { return BP_PS(cmpunord)(a, a); }
static inline vec v_select(vmask m, vec a, vec b)
{
    return BP_PS(or)(BP_PS (and)(m, a), BP_PS(andnot)(m, b));
}
static inline vmask m_and(vmask a, vmask b) { return BP_PS (and)(a, b); }
static inline vmask m_or(vmask a, vmask b) { return BP_PS(or)(a, b); }
static inline vmask m_not(vmask a) { return BP_PS(xor)(a, BP_FROM_BITS(_mm_set1_epi32(-1))); }
static inline bool m_any(vmask a) { return BP_PS(movemask)(a) != 0; }

static inline vint v_bits(vec a) { return BP_TO_BITS(a); }
static inline vec v_from_bits(vint a) { return BP_FROM_BITS(a); }
static inline vint vi_set1(bp_bits a) { return BP_ISET1(a); }
static inline vint vi_add(vint a, vint b) { return BP_EPI(add)(a, b); }
static inline vint vi_sub(vint a, vint b) { return BP_EPI(sub)(a, b); }
static inline vint vi_and(vint a, vint b) { return _mm_and_si128(a, b); }
static inline vint vi_or(vint a, vint b) { return _mm_or_si128(a, b); }
static inline vint vi_xor(vint a, vint b) { return _mm_xor_si128(a, b); }
static inline vint vi_shl(vint a, int n) { return BP_EPI(slli)(a, n); }
static inline vint vi_shr(vint a, int n) { return BP_EPI(srli)(a, n); }

#define BP_VW 2
typedef __m128i vwide;
static inline vwide vw_set1(uint64_t a) { return _mm_set1_epi64x((int64_t)a); }
static inline vwide vw_load(const uint64_t *p) { return _mm_loadu_si128((const __m128i *)p); }
static inline void vw_store(uint64_t *p, vwide a) { _mm_storeu_si128((__m128i *)p, a); }
static inline vwide vw_xor(vwide a, vwide b) { return _mm_xor_si128(a, b); }
static inline vwide vw_high(vwide a) { return _mm_srli_epi64(a, 32); }
static inline vwide vw_mul(vwide a, vwide b) { return _mm_mul_epu32(a, b); }

static inline void v_transpose(real *dst, size_t ldd, const real *src, size_t lds)
{
#if BP_F64
    const vec a = v_load(src), b = v_load(src + lds);
    v_store(dst, _mm_unpacklo_pd(a, b));
    v_store(dst + ldd, _mm_unpackhi_pd(a, b));
#else
    const vec a = v_load(src), b = v_load(src + lds);
    const vec c = v_load(src + 2 * lds), d = v_load(src + 3 * lds);
    const vec ab_lo = _mm_unpacklo_ps(a, b), ab_hi = _mm_unpackhi_ps(a, b); /* a0 b0 a1 b1 */
    const vec cd_lo = _mm_unpacklo_ps(c, d), cd_hi = _mm_unpackhi_ps(c, d);
    v_store(dst, _mm_movelh_ps(ab_lo, cd_lo)); /* a0 b0 c0 d0 */
    v_store(dst + ldd, _mm_movehl_ps(cd_lo, ab_lo));
    v_store(dst + 2 * ldd, _mm_movelh_ps(ab_hi, cd_hi));
    v_store(dst + 3 * ldd, _mm_movehl_ps(cd_hi, ab_hi));
#endif
}
#undef BP_PS
#undef BP_EPI
#undef BP_TO_BITS
#undef BP_FROM_BITS
#undef BP_SIGN
#undef BP_ISET1
#endif

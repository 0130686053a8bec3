/* simd_avx512.h - the SIMD vocabulary on AVX-512 F, DQ, VL and BW: 16 floats or 8 doubles.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * The names and their meaning are those of simd_scalar.h. VMINPS and VMAXPS are `a < b ? a : b`
 * and `a > b ? a : b` by definition, NaN and zeros included. A masked load or store neither
 * touches nor faults on a lane whose mask bit is zero.
 *
 * Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2.
 */
#ifndef BP_SIMD_H
#define BP_SIMD_H

#include <immintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef BP_F64
#error "define BP_F64 to 0 or 1"
#endif

#if BP_F64
#define BP_VL 8
#define BP_PS(name) _mm512_##name##_pd
#define BP_MASK(name) _mm512_##name##_pd_mask
#define BP_EPI(name) _mm512_##name##_epi64
#define BP_TO_BITS _mm512_castpd_si512
#define BP_FROM_BITS _mm512_castsi512_pd
#define BP_SHUFFLE_BLOCKS _mm512_shuffle_f64x2
#define BP_SIGN (-0.0)
typedef double real;
typedef int64_t bp_bits;
typedef __m512d vec;
typedef __mmask8 vmask; /* one bit a lane */
#else
#define BP_VL 16
#define BP_PS(name) _mm512_##name##_ps
#define BP_MASK(name) _mm512_##name##_ps_mask
#define BP_EPI(name) _mm512_##name##_epi32
#define BP_TO_BITS _mm512_castps_si512
#define BP_FROM_BITS _mm512_castsi512_ps
#define BP_SHUFFLE_BLOCKS _mm512_shuffle_f32x4
#define BP_SIGN (-0.0f)
typedef float real;
typedef int32_t bp_bits;
typedef __m512 vec;
typedef __mmask16 vmask; /* one bit a lane */
#endif
typedef __m512i vint;

/* ones in the first n < BP_VL lanes */
static inline vmask bp_first_lanes(size_t n) { return (vmask)((1u << n) - 1u); }

static inline vec v_set1(real a) { return BP_PS(set1)(a); }
static inline vec v_zero(void) { return BP_PS(setzero)(); }
static inline vec v_load(const real *p) { return BP_PS(loadu)(p); }
static inline void v_store(real *p, vec a) { BP_PS(storeu)(p, a); }
static inline vec v_load_n(const real *p, size_t n)
{
    return BP_PS(maskz_loadu)(bp_first_lanes(n), p);
}
static inline void v_store_n(real *p, vec a, size_t n)
{
    BP_PS(mask_storeu)(p, bp_first_lanes(n), a);
}

static inline void v_store_bytes(uint8_t *p, vec a)
{
#if BP_F64
    _mm_storel_epi64((__m128i *)p, _mm256_cvtepi32_epi8(_mm512_cvttpd_epi32(a)));
#else
    _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8(_mm512_cvttps_epi32(a)));
#endif
}
static inline vec v_load_bytes(const uint8_t *p)
{
#if BP_F64
    return _mm512_cvtepi32_pd(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)));
#else
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p)));
#endif
}

static inline vec v_add(vec a, vec b) { return BP_PS(add)(a, b); }
static inline vec v_sub(vec a, vec b) { return BP_PS(sub)(a, b); }
static inline vec v_mul(vec a, vec b) { return BP_PS(mul)(a, b); }
static inline vec v_div(vec a, vec b) { return BP_PS(div)(a, b); }
static inline vec v_sqrt(vec a) { return BP_PS(sqrt)(a); }
static inline vec v_fma(vec a, vec b, vec c) { return BP_PS(fmadd)(a, b, c); }
static inline vec v_fnma(vec a, vec b, vec c) { return BP_PS(fnmadd)(a, b, c); }
static inline vec v_min(vec a, vec b) { return BP_PS(min)(a, b); }
static inline vec v_max(vec a, vec b) { return BP_PS(max)(a, b); }
static inline vec v_abs(vec a) { return BP_PS(andnot)(v_set1(BP_SIGN), a); }
static inline vec v_neg(vec a) { return BP_PS(xor)(v_set1(BP_SIGN), a); }
static inline vec v_copysign(vec magnitude, vec sign)
{
    return BP_PS(or)(v_abs(magnitude), BP_PS (and)(v_set1(BP_SIGN), sign));
}

static inline vmask v_lt(vec a, vec b) { return BP_MASK(cmp)(a, b, _CMP_LT_OQ); }
static inline vmask v_le(vec a, vec b) { return BP_MASK(cmp)(a, b, _CMP_LE_OQ); }
static inline vmask v_eq(vec a, vec b) { return BP_MASK(cmp)(a, b, _CMP_EQ_OQ); }
static inline vmask v_isnan(vec a) { return BP_MASK(cmp)(a, a, _CMP_UNORD_Q); }
static inline vec v_select(vmask m, vec a, vec b) { return BP_PS(mask_blend)(m, b, a); }
static inline vmask m_and(vmask a, vmask b) { return (vmask)(a & b); }
static inline vmask m_or(vmask a, vmask b) { return (vmask)(a | b); }
static inline vmask m_not(vmask a) { return (vmask)~a; }
static inline bool m_any(vmask a) { return a != 0; }

static inline vint v_bits(vec a) { return BP_TO_BITS(a); }
static inline vec v_from_bits(vint a) { return BP_FROM_BITS(a); }
static inline vint vi_set1(bp_bits a) { return BP_EPI(set1)(a); }
static inline vint vi_add(vint a, vint b) { return BP_EPI(add)(a, b); }
static inline vint vi_sub(vint a, vint b) { return BP_EPI(sub)(a, b); }
static inline vint vi_and(vint a, vint b) { return _mm512_and_si512(a, b); }
static inline vint vi_or(vint a, vint b) { return _mm512_or_si512(a, b); }
static inline vint vi_xor(vint a, vint b) { return _mm512_xor_si512(a, b); }
static inline vint vi_shl(vint a, int n) { return BP_EPI(slli)(a, (unsigned)n); }
static inline vint vi_shr(vint a, int n) { return BP_EPI(srli)(a, (unsigned)n); }

#define BP_VW 8
typedef __m512i vwide;
static inline vwide vw_set1(uint64_t a) { return _mm512_set1_epi64((int64_t)a); }
static inline vwide vw_load(const uint64_t *p) { return _mm512_loadu_si512(p); }
static inline void vw_store(uint64_t *p, vwide a) { _mm512_storeu_si512(p, a); }
static inline vwide vw_xor(vwide a, vwide b) { return _mm512_xor_si512(a, b); }
static inline vwide vw_high(vwide a) { return _mm512_srli_epi64(a, 32); }
static inline vwide vw_mul(vwide a, vwide b) { return _mm512_mul_epu32(a, b); }

/* Unpacks transpose inside each 128-bit quarter (G reals); then, with x0 to x3 the results for the
 * four groups of G rows at one place in the quarter, their quarters are transposed as 4 x 4. */
static inline void v_transpose(real *dst, size_t ldd, const real *src, size_t lds)
{
    enum { G = BP_VL / 4 };
    vec t[BP_VL];
    for (size_t i = 0; i < BP_VL; i += G) {
        const real *s = src + i * lds;
#if BP_F64
        const vec a = v_load(s), b = v_load(s + lds);
        t[i] = _mm512_unpacklo_pd(a, b);
        t[i + 1] = _mm512_unpackhi_pd(a, b);
#else
        const vec a = v_load(s), b = v_load(s + lds);
        const vec c = v_load(s + 2 * lds), d = v_load(s + 3 * lds);
        const vec ab_lo = _mm512_unpacklo_ps(a, b), ab_hi = _mm512_unpackhi_ps(a, b);
        const vec cd_lo = _mm512_unpacklo_ps(c, d), cd_hi = _mm512_unpackhi_ps(c, d);
        t[i] = _mm512_shuffle_ps(ab_lo, cd_lo, _MM_SHUFFLE(1, 0, 1, 0));
        t[i + 1] = _mm512_shuffle_ps(ab_lo, cd_lo, _MM_SHUFFLE(3, 2, 3, 2));
        t[i + 2] = _mm512_shuffle_ps(ab_hi, cd_hi, _MM_SHUFFLE(1, 0, 1, 0));
        t[i + 3] = _mm512_shuffle_ps(ab_hi, cd_hi, _MM_SHUFFLE(3, 2, 3, 2));
#endif
    }
    for (size_t j = 0; j < G; ++j) {
        const vec x0 = t[j], x1 = t[j + G], x2 = t[j + 2 * G], x3 = t[j + 3 * G];
        const vec even01 = BP_SHUFFLE_BLOCKS(x0, x1, _MM_SHUFFLE(2, 0, 2, 0));
        const vec even23 = BP_SHUFFLE_BLOCKS(x2, x3, _MM_SHUFFLE(2, 0, 2, 0));
        const vec odd01 = BP_SHUFFLE_BLOCKS(x0, x1, _MM_SHUFFLE(3, 1, 3, 1));
        const vec odd23 = BP_SHUFFLE_BLOCKS(x2, x3, _MM_SHUFFLE(3, 1, 3, 1));
        real *d = dst + j * ldd;
        v_store(d, BP_SHUFFLE_BLOCKS(even01, even23, _MM_SHUFFLE(2, 0, 2, 0)));
        v_store(d + G * ldd, BP_SHUFFLE_BLOCKS(odd01, odd23, _MM_SHUFFLE(2, 0, 2, 0)));
        v_store(d + 2 * G * ldd, BP_SHUFFLE_BLOCKS(even01, even23, _MM_SHUFFLE(3, 1, 3, 1)));
        v_store(d + 3 * G * ldd, BP_SHUFFLE_BLOCKS(odd01, odd23, _MM_SHUFFLE(3, 1, 3, 1)));
    }
}
#undef BP_PS
#undef BP_MASK
#undef BP_EPI
#undef BP_TO_BITS
#undef BP_FROM_BITS
#undef BP_SHUFFLE_BLOCKS
#undef BP_SIGN
#endif

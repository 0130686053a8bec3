/* simd_avx2.h - the SIMD vocabulary on AVX2 with FMA: 8 floats or 4 doubles.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * The names and their meaning are those of simd_scalar.h. VMINPS and VMAXPS are `a < b ? a : b`
 * and `a > b ? a : b` by definition, NaN and zeros included. A masked load or store neither
 * touches nor faults on a lane whose mask is zero.
 *
 * Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2.
 */
#ifndef BP_SIMD_H
#define BP_SIMD_H

#include <immintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifndef BP_F64
#error "define BP_F64 to 0 or 1"
#endif

#if BP_F64
#define BP_VL 4
#define BP_PS(name) _mm256_##name##_pd
#define BP_EPI(name) _mm256_##name##_epi64
#define BP_TO_BITS _mm256_castpd_si256
#define BP_FROM_BITS _mm256_castsi256_pd
#define BP_SIGN (-0.0)
#define BP_ISET1 _mm256_set1_epi64x
typedef double real;
typedef int64_t bp_bits;
typedef __m256d vec;
#else
#define BP_VL 8
#define BP_PS(name) _mm256_##name##_ps
#define BP_EPI(name) _mm256_##name##_epi32
#define BP_TO_BITS _mm256_castps_si256
#define BP_FROM_BITS _mm256_castsi256_ps
#define BP_SIGN (-0.0f)
#define BP_ISET1 _mm256_set1_epi32
typedef float real;
typedef int32_t bp_bits;
typedef __m256 vec;
#endif
typedef vec vmask; /* a lane is all ones or all zeros */
typedef __m256i vint;

/* all ones in the first n lanes */
static inline vint bp_first_lanes(size_t n)
{
#if BP_F64
    const vint lane = _mm256_setr_epi64x(0, 1, 2, 3);
#else
    const vint lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
#endif
    return BP_EPI(cmpgt)(BP_ISET1((bp_bits)n), lane);
}

static inline vec v_set1(real a) { return BP_PS(set1)(a); }
static inline vec v_zero(void) { return BP_PS(setzero)(); }
static inline vec v_load(const real *p) { return BP_PS(loadu)(p); }
static inline void v_store(real *p, vec a) { BP_PS(storeu)(p, a); }
static inline vec v_load_n(const real *p, size_t n)
{
    return BP_PS(maskload)(p, bp_first_lanes(n));
}
static inline void v_store_n(real *p, vec a, size_t n)
{
    BP_PS(maskstore)(p, bp_first_lanes(n), a);
}

static inline void v_store_bytes(uint8_t *p, vec a)
{
#if BP_F64
    const __m128i words = _mm256_cvttpd_epi32(a), halves = _mm_packus_epi32(words, words);
    const int bytes = _mm_cvtsi128_si32(_mm_packus_epi16(halves, halves));
    memcpy(p, &bytes, BP_VL);
#else
    const __m256i words = _mm256_cvttps_epi32(a);
    const __m128i halves =
        _mm_packus_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storel_epi64((__m128i *)p, _mm_packus_epi16(halves, halves));
#endif
}
static inline vec v_load_bytes(const uint8_t *p)
{
#if BP_F64
    int bytes;
    memcpy(&bytes, p, BP_VL);
    return _mm256_cvtepi32_pd(_mm_cvtepu8_epi32(_mm_cvtsi32_si128(bytes)));
#else
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)));
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

static inline vmask v_lt(vec a, vec b) { return BP_PS(cmp)(a, b, _CMP_LT_OQ); }
static inline vmask v_le(vec a, vec b) { return BP_PS(cmp)(a, b, _CMP_LE_OQ); }
static inline vmask v_eq(vec a, vec b) { return BP_PS(cmp)(a, b, _CMP_EQ_OQ); }
static inline vmask v_isnan(vec a) { return BP_PS(cmp)(a, a, _CMP_UNORD_Q); }
static inline vec v_select(vmask m, vec a, vec b) { return BP_PS(blendv)(b, a, m); }
static inline vmask m_and(vmask a, vmask b) { return BP_PS (and)(a, b); }
static inline vmask m_or(vmask a, vmask b) { return BP_PS(or)(a, b); }
static inline vmask m_not(vmask a) { return BP_PS(xor)(a, BP_FROM_BITS(BP_ISET1(-1))); }
static inline bool m_any(vmask a) { return BP_PS(movemask)(a) != 0; }

static inline vint v_bits(vec a) { return BP_TO_BITS(a); }
static inline vec v_from_bits(vint a) { return BP_FROM_BITS(a); }
static inline vint vi_set1(bp_bits a) { return BP_ISET1(a); }
static inline vint vi_add(vint a, vint b) { return BP_EPI(add)(a, b); }
static inline vint vi_sub(vint a, vint b) { return BP_EPI(sub)(a, b); }
static inline vint vi_and(vint a, vint b) { return _mm256_and_si256(a, b); }
static inline vint vi_or(vint a, vint b) { return _mm256_or_si256(a, b); }
static inline vint vi_xor(vint a, vint b) { return _mm256_xor_si256(a, b); }
static inline vint vi_shl(vint a, int n) { return BP_EPI(slli)(a, n); }
static inline vint vi_shr(vint a, int n) { return BP_EPI(srli)(a, n); }

#define BP_VW 4
typedef __m256i vwide;
static inline vwide vw_set1(uint64_t a) { return _mm256_set1_epi64x((int64_t)a); }
static inline vwide vw_load(const uint64_t *p) { return _mm256_loadu_si256((const __m256i *)p); }
static inline void vw_store(uint64_t *p, vwide a) { _mm256_storeu_si256((__m256i *)p, a); }
static inline vwide vw_xor(vwide a, vwide b) { return _mm256_xor_si256(a, b); }
static inline vwide vw_high(vwide a) { return _mm256_srli_epi64(a, 32); }
static inline vwide vw_mul(vwide a, vwide b) { return _mm256_mul_epu32(a, b); }

/* Unpacks transpose inside each 128-bit half (G x G corner blocks, G reals a half); then halves of
 * rows i and i + G are brought together:
 *     | A B |      | A'B'|      | A'C'|
 *     | C D |  ->  | C'D'|  ->  | B'D'|
 */
static inline void v_transpose(real *dst, size_t ldd, const real *src, size_t lds)
{
    enum { G = BP_VL / 2 };
    vec t[BP_VL];
    for (size_t i = 0; i < BP_VL; i += G) {
        const real *s = src + i * lds;
#if BP_F64
        const vec a = v_load(s), b = v_load(s + lds);
        t[i] = _mm256_unpacklo_pd(a, b);
        t[i + 1] = _mm256_unpackhi_pd(a, b);
#else
        const vec a = v_load(s), b = v_load(s + lds);
        const vec c = v_load(s + 2 * lds), d = v_load(s + 3 * lds);
        const vec ab_lo = _mm256_unpacklo_ps(a, b), ab_hi = _mm256_unpackhi_ps(a, b);
        const vec cd_lo = _mm256_unpacklo_ps(c, d), cd_hi = _mm256_unpackhi_ps(c, d);
        t[i] = _mm256_shuffle_ps(ab_lo, cd_lo, _MM_SHUFFLE(1, 0, 1, 0));
        t[i + 1] = _mm256_shuffle_ps(ab_lo, cd_lo, _MM_SHUFFLE(3, 2, 3, 2));
        t[i + 2] = _mm256_shuffle_ps(ab_hi, cd_hi, _MM_SHUFFLE(1, 0, 1, 0));
        t[i + 3] = _mm256_shuffle_ps(ab_hi, cd_hi, _MM_SHUFFLE(3, 2, 3, 2));
#endif
    }
    for (size_t j = 0; j < G; ++j) {
        v_store(dst + j * ldd, BP_PS(permute2f128)(t[j], t[j + G], 0x20));
        v_store(dst + (j + G) * ldd, BP_PS(permute2f128)(t[j], t[j + G], 0x31));
    }
}
#undef BP_PS
#undef BP_EPI
#undef BP_TO_BITS
#undef BP_FROM_BITS
#undef BP_SIGN
#undef BP_ISET1
#endif

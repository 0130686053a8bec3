/* vmath.h - exp, log, tanh, erf and their kin on a vec, without branches, tables or libm.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Written in the vocabulary of simd_scalar.h alone (include a simd_<isa>.h first), so that the bits
 * are the same in every row that has a fused multiply-add. Coefficients: vmath_f32.h, vmath_f64.h.
 *
 * Worst error in units of the last place, with a fused multiply-add (python tools/ulp_check.py;
 * float32: all 2^32 inputs, float64: 10^6 inputs a function):
 *
 *             exp   log   expm1  log1p  tanh  sigmoid  erf   erfc  sin, cos
 *   float32   1.49  1.47  1.70   1.90   2.54  2.56     1.84  3.44  2.48
 *   float64   1.49  0.81  1.80   1.03   2.48  2.42     2.46  2.85  1.46
 *
 * Without one (SSE2) they stay below 5, save that under flush-to-zero vm_erf gives x, not 1.128 x,
 * below 8 times the least normal number.
 *
 * NaN gives NaN, infinities the limit, zeros keep their sign where the function has one. Nothing
 * depends on denormals: a denormal result may be 0, a denormal argument of vm_log counts as 0.
 * vm_sincos holds for |x| <= 256; beyond, its results are finite but mean nothing.
 *
 * Adding the magic number 1.5 * 2^BP_MANTISSA to a small x rounds it to an integer n, and leaves n
 * in the low bits of the sum: the only way from real to integer here, and the reason that `t` below
 * is used both ways. From integer to real: or an n >= 0 into the bits of 2^BP_MANTISSA.
 *
 * Method: W. Cody and W. Waite, "Software Manual for the Elementary Functions", 1980 (reductions);
 * J.-M. Muller, "Elementary Functions". The polynomials are ours: tools/minimax.py.
 */
#ifndef BP_VMATH_H
#define BP_VMATH_H

#include <math.h>

/* BP_LN2_HI, BP_PI_2_HI and BP_PI_2_MID end in enough zero bits for products with n to be exact. */
#if BP_F64
#include "vmath_f64.h"
#else
#include "vmath_f32.h"
#endif

#define BP_MAGIC (BP_C(1.5) * BP_TWO_TO_MANTISSA)
#define BP_DEGREE(table) ((int)(sizeof(table) / sizeof((table)[0])) - 1)
#define BP_POLY(x, table) bp_poly(x, table, BP_DEGREE(table))

/* c[0] + c[1] x + .. + c[degree] x^degree by Horner's rule */
static inline vec bp_poly(vec x, const real *c, int degree)
{
    vec p = v_set1(c[degree]);
#pragma GCC unroll 32
    for (int k = degree - 1; k >= 0; --k) p = v_fma(p, x, v_set1(c[k]));
    return p;
}

/* ------------------------------------------------------------------ exponentials
 * x = n ln 2 + r, so e^x = 2^n e^r; n ln 2 is subtracted in two parts. 2^n is n + bias shifted into
 * the exponent field; the magic number carries the bias.
 *
 * n is rounded down, 0 <= r <= ln 2, where nothing cancels near 0: then e^r >= 1, every normal
 * result has a normal 2^n, and n = bias + 1 and n = -bias give 2^n = inf and 0, so that clamping x
 * to [BP_EXP_LOW, BP_EXP_HIGH] settles overflow and underflow. BP_ALMOST_HALF is the real before
 * 1/2: with it 0 is rounded to n = 0, not to the even neighbour.
 */
static inline vec bp_exp_clamp(vec x)
{
    return v_min(v_set1(BP_EXP_HIGH), v_max(v_set1(BP_EXP_LOW), x));
}

/* floor(x / ln 2) in the low bits of the result, plus the bias */
static inline vec bp_exp_floor(vec x)
{
    const vec y = v_fma(x, v_set1(BP_LOG2_E), v_set1(-BP_ALMOST_HALF));
    return v_add(y, v_set1(BP_MAGIC + BP_BIAS));
}
static inline vec bp_minus_n_ln2(vec x, vec n)
{
    return v_fnma(n, v_set1(BP_LN2_LO), v_fnma(n, v_set1(BP_LN2_HI), x));
}
static inline vec bp_two_to_n(vec t) { return v_from_bits(vi_shl(v_bits(t), BP_MANTISSA)); }

static inline vec vm_exp(vec x)
{
    x = bp_exp_clamp(x);
    const vec t = bp_exp_floor(x);
    const vec r = bp_minus_n_ln2(x, v_sub(t, v_set1(BP_MAGIC + BP_BIAS)));
    return v_mul(BP_POLY(r, vm_c_exp), bp_two_to_n(t));
}

/* 1 / (1 + e^-x) */
static inline vec vm_sigmoid(vec x)
{
    const vec y = bp_exp_clamp(v_neg(x));
    const vec t = bp_exp_floor(y);
    const vec r = bp_minus_n_ln2(y, v_sub(t, v_set1(BP_MAGIC + BP_BIAS)));
    const vec one = v_set1(1);
    return v_div(one, v_fma(BP_POLY(r, vm_c_exp), bp_two_to_n(t), one));
}

/* (e^x - 1) / 2 for BP_EXPM1_LOW <= x <= BP_EXP_HIGH: n to nearest, so that n = 0 around 0 and
 * 2^(n-1) (e^r - 1) + (2^(n-1) - 1/2) loses nothing; the half keeps 2^(n-1) finite at the top. */
static inline vec bp_half_expm1(vec x)
{
    const vec magic = v_set1(BP_MAGIC + (BP_BIAS - 1));
    const vec t = v_fma(x, v_set1(BP_LOG2_E), magic);
    const vec r = bp_minus_n_ln2(x, v_sub(t, magic));
    const vec q = v_fma(v_mul(r, r), BP_POLY(r, vm_c_expm1), r);
    const vec scale = bp_two_to_n(t);
    return v_fma(scale, q, v_sub(scale, v_set1(BP_C(0.5))));
}

/* x itself where |x| < BP_TINY (f(x) = x there to the last bit, and -0 stays), else y */
static inline vec bp_keep_tiny(vec x, vec y)
{
    return v_select(v_lt(v_abs(x), v_set1(BP_TINY)), x, y);
}

static inline vec vm_expm1(vec x)
{
    const vec y = v_min(v_set1(BP_EXP_HIGH), v_max(v_set1(BP_EXPM1_LOW), x));
    const vec half = bp_half_expm1(y);
    return bp_keep_tiny(x, v_add(half, half));
}

/* tanh |x| = h / (h + 1) with h = (e^(2|x|) - 1) / 2 = 2^n q + (2^n - 1) / 2, where
 * |x| = n (ln 2) / 2 + r and q = (e^(2r) - 1) / 2. An error of r, which grows with n, is forgiven:
 * d tanh x = (1 - tanh^2 x) dx. So ln 2 needs no second part. */
static inline vec vm_tanh(vec x)
{
    const vec magic = v_set1(BP_MAGIC + BP_BIAS), half = v_set1(BP_C(0.5));
    const vec y = v_min(v_set1(BP_TANH_HIGH), v_abs(x));
    const vec t = v_fma(y, v_set1(2 * BP_LOG2_E), magic);
    const vec r = v_fnma(v_sub(t, magic), v_set1(BP_LN2 / 2), y);
    const vec q = v_fma(v_mul(r, r), BP_POLY(r, vm_c_tanh), r);
    const vec scale = bp_two_to_n(t);
    const vec h = v_fma(scale, q, v_fma(scale, half, v_neg(half)));
    return v_copysign(v_div(h, v_add(h, v_set1(1))), x);
}

/* ------------------------------------------------------------------ logarithms
 * x = 2^n m with sqrt(1/2) <= m < sqrt(2) and log x = n ln 2 + log(1 + f), f = m - 1 (exact).
 * Adding bits(1) - bits(sqrt(1/2)) to the bits of x carries into the exponent exactly when its
 * significand is at least sqrt(2)'s: then the exponent field is n + bias, and the rest is
 * bits(m) - bits(sqrt(1/2)).
 */
static inline vint bp_log_split(vec x, vec *n, vec *f)
{
    const vint k = vi_add(v_bits(x), vi_set1(BP_ONE_BITS - BP_SQRT_HALF_BITS));
    const vint biased = vi_or(vi_shr(k, BP_MANTISSA), v_bits(v_set1(BP_TWO_TO_MANTISSA)));
    const vint rest = vi_and(k, vi_set1(BP_MANTISSA_MASK));
    *n = v_sub(v_from_bits(biased), v_set1(BP_TWO_TO_MANTISSA + BP_BIAS));
    *f = v_sub(v_from_bits(vi_add(rest, vi_set1(BP_SQRT_HALF_BITS))), v_set1(1));
    return k;
}

/* n ln 2 + log(1 + f). float32: log(1 + f) = f + f^2 P(f). float64: with s = f / (2 + f),
 * log(1 + f) = log((1 + s) / (1 - s)) = 2s + s R, R = s^2 P(s^2), and 2s = f - h + s h with
 * h = f^2 / 2 keeps the leading f exact. */
static inline vec bp_log_join(vec n, vec f)
{
#if BP_F64
    const vec s = v_div(f, v_add(f, v_set1(2)));
    const vec z = v_mul(s, s);
    const vec h = v_mul(v_mul(f, f), v_set1(0.5));
    const vec small = v_fnma(s, v_fma(z, BP_POLY(z, vm_c_log), h), h);
    const vec low = v_sub(f, v_fnma(n, v_set1(BP_LN2_LO), small));
#else
    const vec log_m = v_fma(v_mul(f, f), BP_POLY(f, vm_c_log), f);
    const vec low = v_fma(n, v_set1(BP_LN2_LO), log_m);
#endif
    return v_fma(n, v_set1(BP_LN2_HI), low);
}

static inline vec vm_log(vec x)
{
    const vec inf = v_set1((real)INFINITY), least = v_set1(BP_LEAST_NORMAL);
    vec n, f;
    (void)bp_log_split(x, &n, &f);
    const vec r = v_select(v_lt(x, inf), bp_log_join(n, f), x); /* inf and NaN stay */
    const vec pole = v_select(v_le(x, v_neg(least)), v_set1((real)NAN), v_neg(inf));
    return v_select(v_lt(x, least), pole, r);
}

/* u = 1 + x is rounded; the lost part c = x - (u - 1) goes into f as c / 2^n, taken as
 * (c/2) 2^(1-n) since 2^(1-n) is a number for every n. (At x >= 2^BP_MANTISSA c is inexact and of
 * no weight.) */
static inline vec vm_log1p(vec x)
{
    const vec inf = v_set1((real)INFINITY), one = v_set1(1);
    const vec u = v_add(one, x);
    const vec half_c = v_mul(v_sub(x, v_sub(u, one)), v_set1(BP_C(0.5)));
    vec n, f;
    const vint k = bp_log_split(u, &n, &f);
    const vint exponent = vi_and(k, vi_set1(BP_EXPONENT_MASK));
    const vec scale = v_from_bits(vi_sub(vi_set1(BP_EXPONENT_MASK), exponent));
    f = v_fma(half_c, scale, f);
    const vec r = v_select(v_lt(x, inf), bp_log_join(n, f), x);
    const vec pole = v_select(v_eq(x, v_neg(one)), v_neg(inf), v_set1((real)NAN));
    return bp_keep_tiny(x, v_select(v_le(x, v_neg(one)), pole, r));
}

/* ------------------------------------------------------------------ error functions
 * |x| < 1: erf x = x + x Q(x^2).
 * |x| >= 1: erf x = 1 - p^k, where p = erfc(|x|)^(1/k) is nearly straight (a Gaussian's k-th root
 * is one k times flatter), hence a short polynomial about the middle of the range; the k-fold
 * relative error of p^k is harmless below erfc(1) = 0.16. k is 4 for float32 and 8 for float64.
 */
static inline vec vm_erf(vec x)
{
    const vec t = v_min(v_set1(BP_ERF_HIGH), v_abs(x)), one = v_set1(1);
    const vec small = v_fma(t, BP_POLY(v_mul(t, t), vm_c_erf_small), t);
    vec p = BP_POLY(v_sub(t, v_set1(BP_ERF_MIDDLE)), vm_c_erf_tail);
    p = v_mul(p, p);
#if BP_F64
    p = v_mul(p, p);
#endif
    return v_copysign(v_select(v_lt(t, one), small, v_fnma(p, p, one)), x);
}

/* |x| < 1: 1 - x - x Q(x^2) as above.
 * x >= 1: erfc x = e^(-x^2) s P(s) with s = 1 / (x + 2): erfc(x) e^(x^2) falls like 1 / x. h, the
 * upper half of the bits of x, has an exact square, and x^2 = h^2 + (x - h)(x + h).
 * The computed s is (1 - miss) / (x + 2); s P(s) is about as s^1.5 here, so e^(1.5 miss) mends it.
 * x <= -1: 2 - erfc(-x). */
static inline vec vm_erfc(vec x)
{
    const vec t = v_min(v_set1(BP_ERFC_HIGH), v_abs(x)), one = v_set1(1), two = v_set1(2);
    const vec small = v_fnma(x, BP_POLY(v_mul(t, t), vm_c_erf_small), v_sub(one, x));

    const vec d = v_add(t, two), s = v_div(one, d);
    const vec miss = v_fnma(s, v_sub(t, v_sub(d, two)), v_fnma(s, d, one));
    const vec h = v_from_bits(vi_and(v_bits(t), vi_set1(BP_HALF_MASK)));
    const vec rounded = bp_exp_floor(v_neg(v_mul(t, t)));
    const vec n = v_sub(rounded, v_set1(BP_MAGIC + BP_BIAS));
    vec low = v_fma(n, v_set1(BP_LN2_LO), v_mul(v_sub(t, h), v_add(t, h)));
    low = v_fnma(miss, v_set1(BP_C(1.5)), low);
    const vec r = v_sub(v_fnma(n, v_set1(BP_LN2_HI), v_neg(v_mul(h, h))), low);
    const vec expm1_r = v_mul(r, bp_poly(r, vm_c_exp + 1, BP_DEGREE(vm_c_exp) - 1));
    const vec f = v_mul(s, BP_POLY(s, vm_c_erfcx));
    const vec tail = v_mul(v_fma(f, expm1_r, f), bp_two_to_n(rounded));
    const vec large = v_select(v_lt(x, v_zero()), v_sub(two, tail), tail);
    return v_select(v_lt(t, one), small, large);
}

/* ------------------------------------------------------------------ sine and cosine
 * x = n pi/2 + r, |r| <= pi/4; pi/2 is subtracted in three parts. sin r = r + r^3 S(r^2),
 * cos r = 1 - r^2/2 + r^4 C(r^2). n mod 4 (in the low bits of t) turns the pair: an odd n swaps,
 * bit 1 of n negates the sine, bit 1 of n + 1 the cosine. Far outside the range r is clamped, to
 * stay finite.
 */
static inline void vm_sincos(vec x, vec *sine, vec *cosine)
{
    const vec magic = v_set1(BP_MAGIC), one = v_set1(1);
    const vec t = v_fma(x, v_set1(BP_TWO_OVER_PI), magic);
    const vec n = v_sub(t, magic);
    vec r = v_fnma(n, v_set1(BP_PI_2_MID), v_fnma(n, v_set1(BP_PI_2_HI), x));
    r = v_fnma(n, v_set1(BP_PI_2_LO), r);
    r = v_min(one, v_max(v_neg(one), r));
    const vec z = v_mul(r, r);
    const vec sin_r = v_fma(v_mul(z, r), BP_POLY(z, vm_c_sin), r);
    const vec cos_r = v_fma(z, v_fma(z, BP_POLY(z, vm_c_cos), v_set1(BP_C(-0.5))), one);

    const vint turn = v_bits(t), bit0 = vi_set1(1), bit1 = vi_set1(2);
    const vint swap = vi_sub(vi_set1(0), vi_and(turn, bit0)); /* all ones where n is odd */
    const vint flip = vi_and(vi_xor(v_bits(sin_r), v_bits(cos_r)), swap);
    const vint sin_sign = vi_shl(vi_and(turn, bit1), BP_BIT1_TO_SIGN);
    const vint cos_sign = vi_shl(vi_and(vi_add(turn, bit0), bit1), BP_BIT1_TO_SIGN);
    *sine = bp_keep_tiny(x, v_from_bits(vi_xor(vi_xor(v_bits(sin_r), flip), sin_sign)));
    *cosine = v_from_bits(vi_xor(vi_xor(v_bits(cos_r), flip), cos_sign));
}

#undef BP_MAGIC
#undef BP_POLY
#undef BP_DEGREE
#endif

/* vmath_f32.h - constants and coefficients of vmath.h for float.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Coefficients from the lowest power up; each comment names what is approximated and the error of
 * the rounded table, found by `python tools/minimax.py f32`.
 */
#ifndef BP_VMATH_F32_H
#define BP_VMATH_F32_H

#define BP_C(x) x##f
#define BP_MANTISSA 23 /* bits of it */
#define BP_BIAS 127
#define BP_TWO_TO_MANTISSA 0x1p23f
#define BP_ALMOST_HALF 0x1.fffffep-2f
#define BP_LEAST_NORMAL 0x1p-126f
#define BP_TINY 0x1p-26f /* f(x) = x + O(x^2) rounds to x */
#define BP_ONE_BITS 0x3f800000
#define BP_SQRT_HALF_BITS 0x3f3504f3
#define BP_MANTISSA_MASK 0x007fffff
#define BP_EXPONENT_MASK 0x7f800000
#define BP_HALF_MASK (-0x1000) /* clears the low 12 bits */
#define BP_BIT1_TO_SIGN 30

#define BP_LOG2_E 0x1.715476p+0f
#define BP_LN2 0x1.62e43p-1f
#define BP_LN2_HI 0x1.62e4p-1f
#define BP_LN2_LO 0x1.7f7d1cp-20f
#define BP_TWO_OVER_PI 0x1.45f306p-1f
#define BP_PI_2_HI 0x1.922p+0f
#define BP_PI_2_MID (-0x1.2aeep-18f)
#define BP_PI_2_LO (-0x1.e973dcp-35f)

#define BP_EXP_LOW (-87.7f)   /* -127 ln 2 = -88.03 < it < -126 ln 2 = -87.34 */
#define BP_EXP_HIGH 89.0f     /* 128 ln 2 = 88.72 < it < 129 ln 2 = 89.42 */
#define BP_EXPM1_LOW (-18.0f) /* e^x < 2^-25 */
#define BP_TANH_HIGH 9.02f    /* 1 - tanh x < 2^-25 */
#define BP_ERF_HIGH 3.9375f   /* erfc x < 2^-25 */
#define BP_ERF_MIDDLE 2.46875f
#define BP_ERFC_HIGH 9.36f /* its square is between 126 ln 2 and 127 ln 2 */

/* e^r, 0 <= r <= ln 2, relative error 2^-28.8 */
static const real vm_c_exp[] = {
    0x1p+0f,        0x1.fffffap-1f, 0x1.0000bap-1f,  0x1.553884p-3f,
    0x1.5755d2p-5f, 0x1.fef9bcp-8f, 0x1.fe553ep-10f,
};

/* (e^r - 1 - r) / r^2, |r| <= ln 2 / 2; relative error of e^r - 1: 2^-25.4 */
static const real vm_c_expm1[] = {
    0x1.fffffep-2f, 0x1.5554b8p-3f, 0x1.5556acp-5f, 0x1.122b18p-7f, 0x1.6c049ap-10f,
};

/* (log(1 + f) - f) / f^2, sqrt(1/2) - 1 <= f <= sqrt(2) - 1; relative error of the log: 2^-23.8 */
static const real vm_c_log[] = {
    -0x1.fffffap-2f, 0x1.5556e6p-2f, -0x1.0004cp-2f, 0x1.98d3bap-3f,
    -0x1.535aecp-3f, 0x1.316cecp-3f, -0x1.257dcp-3f, 0x1.69134ep-4f,
};

/* (sin r - r) / r^3 in r^2, |r| <= pi/4; relative error of sin r: 2^-27.9 */
static const real vm_c_sin[] = {
    -0x1.555546p-3f,
    0x1.110778p-7f,
    -0x1.995408p-13f,
};

/* (cos r - 1 + r^2/2) / r^4 in r^2, |r| <= pi/4; relative error of cos r: 2^-33.0 */
static const real vm_c_cos[] = {
    0x1.55554ap-5f,
    -0x1.6c0c28p-10f,
    0x1.99e80cp-16f,
};

/* (e^(2r) - 1 - 2r) / (2 r^2), |r| <= ln 2 / 4; relative error of e^(2r) - 1: 2^-25.4 */
static const real vm_c_tanh[] = {
    0x1.fffffep-1f, 0x1.5554b8p-1f, 0x1.5556acp-2f, 0x1.122b18p-3f, 0x1.6c049ap-5f,
};

/* erf(x) / x - 1 in x^2, |x| <= 1; relative error of erf x: 2^-29.4 */
static const real vm_c_erf_small[] = {
    0x1.06eba8p-3f, -0x1.81273ep-2f,  0x1.ce2ce6p-4f,  -0x1.b7f71ap-6f,
    0x1.53f224p-8f, -0x1.a3515ep-11f, 0x1.4771fep-14f,
};

/* erfc(x)^(1/4) in x - BP_ERF_MIDDLE, 1 <= x <= BP_ERF_HIGH; absolute error of erfc x: 2^-24.6 */
static const real vm_c_erf_tail[] = {
    0x1.2f3ca2p-3f,  -0x1.914d68p-3f, 0x1.83fe94p-4f,  -0x1.79a442p-7f,
    -0x1.c40a5ep-8f, 0x1.7662c6p-9f,  0x1.005e86p-12f, -0x1.3ae572p-13f,
};

/* erfc(x) e^(x^2) / s in s = 1 / (x + 2), 1 <= x <= BP_ERFC_HIGH, relative error 2^-29.0 */
static const real vm_c_erfcx[] = {
    0x1.20da38p-1f, 0x1.2133e2p+0f,  0x1.f1c308p+0f, 0x1.9b287ep+1f,  -0x1.bb505p-2f,
    0x1.e9974ap+3f, -0x1.b3f54ep+5f, 0x1.e0851cp+5f, -0x1.5c9af6p+4f,
};

#endif

/* vmath_f64.h - constants and coefficients of vmath.h for double.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Coefficients from the lowest power up; each comment names what is approximated and the error of
 * the rounded table, found by `python tools/minimax.py f64`.
 */
#ifndef BP_VMATH_F64_H
#define BP_VMATH_F64_H

#define BP_C(x) x
#define BP_MANTISSA 52 /* bits of it */
#define BP_BIAS 1023
#define BP_TWO_TO_MANTISSA 0x1p52
#define BP_ALMOST_HALF 0x1.fffffffffffffp-2
#define BP_LEAST_NORMAL 0x1p-1022
#define BP_TINY 0x1p-55 /* f(x) = x + O(x^2) rounds to x */
#define BP_ONE_BITS 0x3ff0000000000000
#define BP_SQRT_HALF_BITS 0x3fe6a09e667f3bcd
#define BP_MANTISSA_MASK 0x000fffffffffffff
#define BP_EXPONENT_MASK 0x7ff0000000000000
#define BP_HALF_MASK (-0x8000000) /* clears the low 27 bits */
#define BP_BIT1_TO_SIGN 62

#define BP_LOG2_E 0x1.71547652b82fep+0
#define BP_LN2 0x1.62e42fefa39efp-1
#define BP_LN2_HI 0x1.62e42fefa38p-1
#define BP_LN2_LO 0x1.ef35793c7673p-45
#define BP_TWO_OVER_PI 0x1.45f306dc9c883p-1
#define BP_PI_2_HI 0x1.921fb54443p+0
#define BP_PI_2_MID (-0x1.73dcb3b39ap-43)
#define BP_PI_2_LO 0x1.45c06e0e68948p-86

#define BP_EXP_LOW (-708.75) /* -1023 ln 2 = -709.09 < it < -1022 ln 2 = -708.40 */
#define BP_EXP_HIGH 710.0    /* 1024 ln 2 = 709.78 < it < 1025 ln 2 = 710.48 */
#define BP_EXPM1_LOW (-38.0) /* e^x < 2^-54 */
#define BP_TANH_HIGH 19.1    /* 1 - tanh x < 2^-54 */
#define BP_ERF_HIGH 5.9375   /* erfc x < 2^-54 */
#define BP_ERF_MIDDLE 3.46875
#define BP_ERFC_HIGH 26.62 /* its square is between 1022 ln 2 and 1023 ln 2 */

/* e^r, 0 <= r <= ln 2, relative error 2^-57.7 */
static const real vm_c_exp[] = {
    0x1p+0,
    0x1.0000000000005p+0,
    0x1.ffffffffff98ep-2,
    0x1.555555556ccddp-3,
    0x1.5555554ffc167p-5,
    0x1.111111c654dd3p-7,
    0x1.6c16a34d95ca6p-10,
    0x1.a01d464e439ddp-13,
    0x1.9fdde6fe79111p-16,
    0x1.74b1aac46af24p-19,
    0x1.12a101fe44c8cp-22,
    0x1.3044f34d3ecddp-25,
};

/* (e^r - 1 - r) / r^2, |r| <= ln 2 / 2; relative error of e^r - 1: 2^-53.5 */
static const real vm_c_expm1[] = {
    0x1.0000000000005p-1,  0x1.5555555555559p-3,  0x1.55555555524c6p-5,  0x1.11111111159fap-7,
    0x1.6c16c17e18ebep-10, 0x1.a01a0165a0ec6p-13, 0x1.a019a946042d5p-16, 0x1.71deda9308393p-19,
    0x1.28a0c4c8297e1p-22, 0x1.adc957679c02bp-26,
};

/* (log((1 + s) / (1 - s)) - 2s) / s^3 in s^2, |s| <= 0.1716; relative error of the log: 2^-59.5 */
static const real vm_c_log[] = {
    0x1.5555555555592p-1, 0x1.999999997ff19p-2, 0x1.24924941e152bp-2, 0x1.c71c521455aafp-3,
    0x1.74663cec29212p-3, 0x1.39a1e8eda9955p-3, 0x1.2f03b8b3d518ap-3,
};

/* (sin r - r) / r^3 in r^2, |r| <= pi/4; relative error of sin r: 2^-57.9 */
static const real vm_c_sin[] = {
    -0x1.5555555555548p-3, 0x1.111111110f73p-7,    -0x1.a01a019be9218p-13,
    0x1.71de35552b7d5p-19, -0x1.ae5e4b8430b56p-26, 0x1.5d8b55bc71b8cp-33,
};

/* (cos r - 1 + r^2/2) / r^4 in r^2, |r| <= pi/4; relative error of cos r: 2^-63.9 */
static const real vm_c_cos[] = {
    0x1.555555555554bp-5,   -0x1.6c16c16c15015p-10, 0x1.a01a019c8f255p-16,
    -0x1.27e4f7f19157fp-22, 0x1.1ee9dbcf00cf4p-29,  -0x1.8fa6848364b7bp-37,
};

/* (e^(2r) - 1 - 2r) / (2 r^2), |r| <= ln 2 / 4; relative error of e^(2r) - 1: 2^-53.5 */
static const real vm_c_tanh[] = {
    0x1.0000000000005p+0,  0x1.5555555555559p-1,  0x1.55555555524c6p-2, 0x1.11111111159fap-3,
    0x1.6c16c17e18ebep-5,  0x1.a01a0165a0ec6p-7,  0x1.a019a946042d5p-9, 0x1.71deda9308393p-11,
    0x1.28a0c4c8297e1p-13, 0x1.adc957679c02bp-16,
};

/* erf(x) / x - 1 in x^2, |x| <= 1; relative error of erf x: 2^-56.0 */
static const real vm_c_erf_small[] = {
    0x1.06eba8214db68p-3,  -0x1.812746b0379b2p-2,  0x1.ce2f21a0408cp-4,   -0x1.b82ce311edb36p-6,
    0x1.565bccf7d6f2dp-8,  -0x1.c02db012e3d96p-11, 0x1.f9a2b72ce497ap-14, -0x1.f4ca1df666444p-17,
    0x1.b97e2e0e40164p-20, -0x1.5bfdf52d51158p-23, 0x1.d6e08e943f1c4p-27, -0x1.ab0c6bbfb2932p-31,
};

/* erfc(x)^(1/8) in x - BP_ERF_MIDDLE, 1 <= x <= BP_ERF_HIGH; absolute error of erfc x: 2^-57.5 */
static const real vm_c_erf_tail[] = {
    0x1.68fb8610576bdp-3,  -0x1.4524220a26f03p-3,  0x1.9b50d14e1df5ep-5,   -0x1.3bb6600ba93cap-9,
    -0x1.39583d068bdbap-9, 0x1.0b0a6e885f9fep-11,  0x1.cbeabe8e7bc4bp-16,  -0x1.6d515ca245a0cp-16,
    0x1.abdaac03e6fdp-20,  0x1.d03329f794714p-22,  -0x1.457651cd780c6p-24, -0x1.1c9ece16ab8a8p-28,
    0x1.ca21f58a9989ap-30, -0x1.71c455a4a5057p-35, 0x1.d2c27f9003288p-37,  0x1.00820fe24700fp-35,
    0x1.1d76d26dced4cp-37, 0x1.52f981ff8dbcap-40,  0x1.6de8834706efp-44,
};

/* erfc(x) e^(x^2) / s in s = 1 / (x + 2), 1 <= x <= BP_ERFC_HIGH, relative error 2^-56.9 */
static const real vm_c_erfcx[] = {
    0x1.20dd75043192cp-1,   0x1.20dd75012ad8ep+0,   0x1.f9838dd371b16p+0,   0x1.6914b5ad22862p+1,
    0x1.570b26c756a4bp+1,   -0x1.24679bdbd11f6p-2,  -0x1.cc5c0f736510dp+2,  -0x1.d9ad04498d76bp+3,
    0x1.7ed7aeb008322p+3,   -0x1.55d7b783907b9p+6,  0x1.24479eb3ae838p+10,  -0x1.97af7d056e3dap+12,
    0x1.da50ef1f09266p+14,  -0x1.be0310217d1e2p+16, 0x1.26ab14976e60fp+18,  -0x1.f4b15a746a5d3p+18,
    0x1.c98dd258bbd97p+18,  0x1.197d6d4973204p+11,  -0x1.03cd7b9a6b4e6p+19, 0x1.136d8d8c114a4p+19,
    -0x1.951086e96ac02p+17,
};

#endif

"""Constants of the elementary functions: a copy of tables in ``src/kernels``, kept by a test."""

from __future__ import annotations

#: By dtype: what vmath_f32.h and vmath_f64.h call BP_<name>. Literals have no suffix here.
NUMBERS = {
    "float32": {
        "MANTISSA": "23",
        "BIAS": "127",
        "TWO_TO_MANTISSA": "0x1p23",
        "ALMOST_HALF": "0x1.fffffep-2",
        "LEAST_NORMAL": "0x1p-126",
        "TINY": "0x1p-26",
        "ONE_BITS": "0x3f800000",
        "SQRT_HALF_BITS": "0x3f3504f3",
        "MANTISSA_MASK": "0x007fffff",
        "EXPONENT_MASK": "0x7f800000",
        "HALF_MASK": "0xfffff000",
        "LOG2_E": "0x1.715476p+0",
        "LN2": "0x1.62e43p-1",
        "LN2_HI": "0x1.62e4p-1",
        "LN2_LO": "0x1.7f7d1cp-20",
        "EXP_LOW": "-87.7",
        "EXP_HIGH": "89.0",
        "EXPM1_LOW": "-18.0",
        "TANH_HIGH": "9.02",
        "ERFC_HIGH": "9.36",
    },
    "float64": {
        "MANTISSA": "52",
        "BIAS": "1023",
        "TWO_TO_MANTISSA": "0x1p52",
        "ALMOST_HALF": "0x1.fffffffffffffp-2",
        "LEAST_NORMAL": "0x1p-1022",
        "TINY": "0x1p-55",
        "ONE_BITS": "0x3ff0000000000000",
        "SQRT_HALF_BITS": "0x3fe6a09e667f3bcd",
        "MANTISSA_MASK": "0x000fffffffffffff",
        "EXPONENT_MASK": "0x7ff0000000000000",
        "HALF_MASK": "0xfffffffff8000000",
        "LOG2_E": "0x1.71547652b82fep+0",
        "LN2": "0x1.62e42fefa39efp-1",
        "LN2_HI": "0x1.62e42fefa38p-1",
        "LN2_LO": "0x1.ef35793c7673p-45",
        "EXP_LOW": "-708.75",
        "EXP_HIGH": "710.0",
        "EXPM1_LOW": "-38.0",
        "TANH_HIGH": "19.1",
        "ERFC_HIGH": "26.62",
    },
}
#: By dtype: the coefficients that vmath_f32.h and vmath_f64.h call vm_c_<name>, lowest power first.
TERMS = {
    "float32": {
        "exp": "0x1p+0 0x1.fffffap-1 0x1.0000bap-1 0x1.553884p-3 0x1.5755d2p-5 0x1.fef9bcp-8 "
        "0x1.fe553ep-10",
        "expm1": "0x1.fffffep-2 0x1.5554b8p-3 0x1.5556acp-5 0x1.122b18p-7 0x1.6c049ap-10",
        "log": "-0x1.fffffap-2 0x1.5556e6p-2 -0x1.0004cp-2 0x1.98d3bap-3 -0x1.535aecp-3 "
        "0x1.316cecp-3 -0x1.257dcp-3 0x1.69134ep-4",
        "tanh": "0x1.fffffep-1 0x1.5554b8p-1 0x1.5556acp-2 0x1.122b18p-3 0x1.6c049ap-5",
        "erf_small": "0x1.06eba8p-3 -0x1.81273ep-2 0x1.ce2ce6p-4 -0x1.b7f71ap-6 0x1.53f224p-8 "
        "-0x1.a3515ep-11 0x1.4771fep-14",
        "erfcx": "0x1.20da38p-1 0x1.2133e2p+0 0x1.f1c308p+0 0x1.9b287ep+1 -0x1.bb505p-2 "
        "0x1.e9974ap+3 -0x1.b3f54ep+5 0x1.e0851cp+5 -0x1.5c9af6p+4",
    },
    "float64": {
        "exp": "0x1p+0 0x1.0000000000005p+0 0x1.ffffffffff98ep-2 0x1.555555556ccddp-3 "
        "0x1.5555554ffc167p-5 0x1.111111c654dd3p-7 0x1.6c16a34d95ca6p-10 0x1.a01d464e439ddp-13 "
        "0x1.9fdde6fe79111p-16 0x1.74b1aac46af24p-19 0x1.12a101fe44c8cp-22 0x1.3044f34d3ecddp-25",
        "expm1": "0x1.0000000000005p-1 0x1.5555555555559p-3 0x1.55555555524c6p-5 "
        "0x1.11111111159fap-7 0x1.6c16c17e18ebep-10 0x1.a01a0165a0ec6p-13 0x1.a019a946042d5p-16 "
        "0x1.71deda9308393p-19 0x1.28a0c4c8297e1p-22 0x1.adc957679c02bp-26",
        "log": "0x1.5555555555592p-1 0x1.999999997ff19p-2 0x1.24924941e152bp-2 "
        "0x1.c71c521455aafp-3 0x1.74663cec29212p-3 0x1.39a1e8eda9955p-3 0x1.2f03b8b3d518ap-3",
        "tanh": "0x1.0000000000005p+0 0x1.5555555555559p-1 0x1.55555555524c6p-2 "
        "0x1.11111111159fap-3 0x1.6c16c17e18ebep-5 0x1.a01a0165a0ec6p-7 0x1.a019a946042d5p-9 "
        "0x1.71deda9308393p-11 0x1.28a0c4c8297e1p-13 0x1.adc957679c02bp-16",
        "erf_small": "0x1.06eba8214db68p-3 -0x1.812746b0379b2p-2 0x1.ce2f21a0408cp-4 "
        "-0x1.b82ce311edb36p-6 0x1.565bccf7d6f2dp-8 -0x1.c02db012e3d96p-11 0x1.f9a2b72ce497ap-14 "
        "-0x1.f4ca1df666444p-17 0x1.b97e2e0e40164p-20 -0x1.5bfdf52d51158p-23 "
        "0x1.d6e08e943f1c4p-27 -0x1.ab0c6bbfb2932p-31",
        "erfcx": "0x1.20dd75043192cp-1 0x1.20dd75012ad8ep+0 0x1.f9838dd371b16p+0 "
        "0x1.6914b5ad22862p+1 0x1.570b26c756a4bp+1 -0x1.24679bdbd11f6p-2 -0x1.cc5c0f736510dp+2 "
        "-0x1.d9ad04498d76bp+3 0x1.7ed7aeb008322p+3 -0x1.55d7b783907b9p+6 0x1.24479eb3ae838p+10 "
        "-0x1.97af7d056e3dap+12 0x1.da50ef1f09266p+14 -0x1.be0310217d1e2p+16 "
        "0x1.26ab14976e60fp+18 -0x1.f4b15a746a5d3p+18 0x1.c98dd258bbd97p+18 0x1.197d6d4973204p+11 "
        "-0x1.03cd7b9a6b4e6p+19 0x1.136d8d8c114a4p+19 -0x1.951086e96ac02p+17",
    },
}

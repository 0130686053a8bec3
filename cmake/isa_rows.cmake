# The ISA rows of this machine's architecture: the same names as src/kernels/isa.inc, which
# tests/test_codebase.py compares.
#
# bp_isa_row(name header flags...)
#   name    kernels are bp_kernels_<name>_f32 and _f64
#   header  src/kernels/<header>, the SIMD vocabulary
#   flags   what the compiler may use in this row's two files, and nowhere else; -Os where the row is
#           there to be compared with, not to be fast
include(CheckCCompilerFlag)
include(CheckCSourceCompiles)

macro(bp_isa_row name header)
  list(APPEND BP_ISA_ROWS ${name})
  set(BP_ISA_SIMD_${name} ${header})
  set(BP_ISA_FLAGS_${name} ${ARGN})
  if(NOT "${ARGN}" STREQUAL "")
    string(REPLACE ";" " " bp_flags "${ARGN}")
    check_c_compiler_flag("${bp_flags}" BP_FLAGS_${name})
    if(NOT BP_FLAGS_${name})
      message(FATAL_ERROR "The C compiler does not know ${bp_flags}; bpfast needs a newer one.")
    endif()
  endif()
endmacro()

# Ask the compiler, not the host: they differ when cross-compiling.
check_c_source_compiles("
#ifndef __x86_64__
#error \"another machine\"
#endif
int main(void) { return 0; }" BP_X86_64)
check_c_source_compiles("
#ifndef __aarch64__
#error \"another machine\"
#endif
int main(void) { return 0; }" BP_AARCH64)

set(BP_ISA_ROWS)
if(BP_X86_64)
  bp_isa_row(avx512 simd_avx512.h -mavx512f -mavx512dq -mavx512vl -mavx512bw -mavx2 -mfma)
  bp_isa_row(avx2 simd_avx2.h -mavx2 -mfma)
  bp_isa_row(sse2 simd_sse2.h)
  bp_isa_row(reference simd_scalar.h -mfma -Os)
  bp_isa_row(reference_libm simd_scalar.h -Os)
elseif(BP_AARCH64)
  bp_isa_row(neon simd_neon.h)
  bp_isa_row(reference simd_scalar.h -Os)
else()
  bp_isa_row(reference_libm simd_scalar.h)
endif()

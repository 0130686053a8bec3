/* gather.tmpl.h - rows of any numeric array, by index, into panels: converted and standardised.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * gather_<source>(dst, src, m, n, stride): dst panels of an [m][n] matrix; row i is src row rows[i].
 * With mean and scale the element becomes (x - mean) * scale, rounded after each operation; sources
 * wider than float32 (sources.inc) are centred in double, so that 1.6e9 + small keeps its small part.
 * Padding lanes become zero. Of compressed rows all panels get what a zero becomes, then the elements
 * there are overwrite it. Parameters: the vocabulary's `real`.
 */
typedef struct {
    uint16_t bits;
} bp_half;

/* IEEE 754 binary16: exact in float. Subnormals are value * 2^-24. */
BP_INLINE float half_value(bp_half h)
{
    const uint32_t sign_bit = (uint32_t)(h.bits & 0x8000u) << 16;
    const uint32_t exponent = (h.bits >> 10) & 31u, fraction = h.bits & 1023u;
    uint32_t bits;
    float value;
    if (exponent == 0) {
        value = (float)fraction * 0x1p-24f;
        return sign_bit ? -value : value;
    }
    bits = sign_bit | (exponent == 31 ? 0x7f800000u : (exponent + 112u) << 23) | fraction << 13;
    memcpy(&value, &bits, sizeof value);
    return value;
}

#define plain(x) (x)

/* The next row stands anywhere in the data: its first lines are asked for while this one is read. */
enum { BP_AHEAD_BYTES = 4096, BP_LINE_BYTES = 64 };

BP_INLINE size_t row_number(const bp_gather_args *src, size_t i)
{
    return src->rows ? (size_t)src->rows[i] : src->first + i;
}

BP_INLINE const char *row_start(const bp_gather_args *src, size_t i)
{
    return src->data + (ptrdiff_t)row_number(src, i) * src->row_stride;
}

BP_INLINE void ask_for_row(const bp_gather_args *src, size_t i, size_t m, size_t bytes)
{
    if (!src->rows || i >= m) return;
    const char *row = row_start(src, i);
    for (size_t b = 0; b < bytes && b < BP_AHEAD_BYTES; b += BP_LINE_BYTES)
        __builtin_prefetch(row + b);
}

/* One contiguous row of reals, as it is. */
BP_INLINE void copy_panels(real *to, const real *from, size_t n, size_t stride)
{
    for (; n >= BP_NR; n -= BP_NR, from += BP_NR, to += stride)
        for (size_t v = 0; v < BP_NV; ++v) v_store(to + v * BP_VL, v_load(from + v * BP_VL));
    for (size_t v = 0; n > 0 && v < BP_NV; ++v) {
        const size_t done = bp_min(n, v * BP_VL), lanes = bp_min(n - done, BP_VL);
        const vec part = lanes == BP_VL ? v_load(from + done)
                         : lanes > 0    ? v_load_n(from + done, lanes)
                                        : v_zero();
        v_store(to + v * BP_VL, part);
    }
}

BP_INLINE size_t column_of(const bp_gather_args *src, int64_t i)
{
    return src->wide ? (size_t)((const int64_t *)src->columns)[i]
                     : (size_t)((const int32_t *)src->columns)[i];
}

/* run_<source>: `width` elements `step` bytes apart from `from` into one panel row. mid is the type
 * in which they are centred. Constant `width` and `step` let the compiler vectorise. */
#define BP_SOURCE(name, ctype, mid, value)                                                     \
    BP_INLINE void run_##name(real *to, const char *from, ptrdiff_t step, size_t width,        \
                              const real *mean, const real *factor)                            \
    {                                                                                          \
        for (size_t l = 0; l < width; ++l) {                                                   \
            ctype raw;                                                                         \
            memcpy(&raw, from + (ptrdiff_t)l * step, sizeof raw);                              \
            to[l] = mean ? (real)(((mid)value(raw) - (mid)mean[l]) * (mid)factor[l])           \
                         : (real)value(raw);                                                   \
        }                                                                                      \
    }                                                                                          \
    BP_INLINE void expand_##name(real *to, const bp_gather_args *src, size_t row, size_t n,    \
                                 size_t stride)                                                \
    {                                                                                          \
        const real *mean = src->mean, *factor = src->scale;                                    \
        const ctype zero = {0};                                                                \
        for (size_t j = 0; j < n; j += BP_NR) {                                                \
            const size_t width = bp_min(BP_NR, n - j);                                         \
            real *at = to + j / BP_NR * stride;                                                \
            if (mean) run_##name(at, (const char *)&zero, 0, width, mean + j, factor + j);     \
            for (size_t l = mean ? width : 0; l < BP_NR; ++l) at[l] = 0;                       \
        }                                                                                      \
        for (int64_t i = src->starts[row]; i < src->starts[row + 1]; ++i) {                    \
            const size_t c = column_of(src, i);                                                \
            run_##name(to + c / BP_NR * stride + c % BP_NR,                                    \
                       src->data + i * (ptrdiff_t)sizeof(ctype), 0, 1, mean ? mean + c : NULL, \
                       mean ? factor + c : NULL);                                              \
        }                                                                                      \
    }                                                                                          \
    static void gather_##name(void *dst_, const bp_gather_args *src, size_t m, size_t n,       \
                              size_t stride)                                                   \
    {                                                                                          \
        for (size_t i = 0; src->starts && i < m; ++i)                                          \
            expand_##name((real *)dst_ + i * BP_NR, src, row_number(src, i), n, stride);       \
        if (src->starts) return;                                                               \
        const bool dense = src->col_stride == (ptrdiff_t)sizeof(ctype);                        \
        const bool as_it_is = __builtin_types_compatible_p(ctype, real) && dense;              \
        for (size_t i = 0; i < m; ++i) {                                                       \
            const char *from = row_start(src, i);                                              \
            real *to = (real *)dst_ + i * BP_NR;                                               \
            if (dense) ask_for_row(src, i + 1, m, n * sizeof(ctype));                          \
            if (as_it_is && !src->mean) {                                                      \
                copy_panels(to, (const real *)(const void *)from, n, stride);                  \
                continue;                                                                      \
            }                                                                                  \
            for (size_t j = 0; j < n; j += BP_NR, to += stride) {                              \
                const size_t width = bp_min(BP_NR, n - j);                                     \
                const char *at = from + (ptrdiff_t)j * src->col_stride;                        \
                const real *mean = src->mean ? (const real *)src->mean + j : NULL;             \
                const real *factor = src->mean ? (const real *)src->scale + j : NULL;          \
                if (width == BP_NR && dense && !mean)                                          \
                    run_##name(to, at, sizeof(ctype), BP_NR, NULL, NULL);                      \
                else if (width == BP_NR && dense)                                              \
                    run_##name(to, at, sizeof(ctype), BP_NR, mean, factor);                    \
                else                                                                           \
                    run_##name(to, at, src->col_stride, width, mean, factor);                  \
                for (size_t l = width; l < BP_NR; ++l) to[l] = 0;                              \
            }                                                                                  \
        }                                                                                      \
    }
#include "sources.inc"
#undef BP_SOURCE
#undef plain

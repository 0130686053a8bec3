"""The functions of an exported C file, as one text for both dtypes.

They are the library's own (``src/kernels``), one element at a time: the same operations in the same
order, so that the bits are the same. In the texts ``P_`` stands for the file's prefix and ``PU_``
for that of its macros, ``REAL`` and ``BITS`` for the type and the unsigned integer of its size,
``R(x)`` for a literal, ``M(f)`` for a function of math.h, ``COUNT(a)`` for the length of an array,
and other capitals for what `NUMBERS` holds.
"""

from __future__ import annotations

#: Rounded once, by dtype.
FMA = {
    "float32": """\
/* a b + c, rounded once. PU_FMA says how:
 *   2  fmaf() of math.h: the default where the compiler may use the CPU's instruction
 *   1  in double, leaving an odd last bit where digits are lost (Boldo & Melquiond 2008): the same
 *      bits on every machine that has IEEE doubles; the default elsewhere
 *   0  rounded twice, for machines without either: faster there, other bits */
#ifndef PU_FMA
#if defined(FP_FAST_FMAF) || defined(__FMA__) || defined(__ARM_FEATURE_FMA)
#define PU_FMA 2
#else
#define PU_FMA 1
#endif
#endif
static inline float P_fma(float a, float b, float c)
{
#if PU_FMA == 2
    return fmaf(a, b, c);
#elif PU_FMA == 1
    union {
        double value;
        uint64_t word;
    } sum;
    const double product = (double)a * (double)b; /* exact */
    sum.value = product + (double)c;
    const double rest = sum.value - product; /* what the sum lost, exactly: Knuth's TwoSum */
    const double lost = (product - (sum.value - rest)) + ((double)c - rest);
    if ((lost > 0 || lost < 0) && !(sum.word & 1)) /* towards what was lost */
        sum.word += (lost > 0) == (sum.value > 0) ? UINT64_C(1) : ~UINT64_C(0);
    return (float)sum.value;
#else
    return a * b + c;
#endif
}
""",
    "float64": """\
/* a b + c, rounded once by fma() of math.h; with PU_FMA 0 rounded twice, for machines without the
 * instruction: faster there, other bits. */
#ifndef PU_FMA
#define PU_FMA 2
#endif
static inline double P_fma(double a, double b, double c)
{
#if PU_FMA
    return fma(a, b, c);
#else
    return a * b + c;
#endif
}
""",
}

#: n ln 2 + log(1 + f), by dtype; see vmath.h.
LOG_JOIN = {
    "float32": """\
static inline float P_log_join(float n, float f)
{
    const float low = P_fma(n, LN2_LO, P_fma(f * f, P_poly(f, P_c_log, COUNT(P_c_log)), f));
    return P_fma(n, LN2_HI, low);
}
""",
    "float64": """\
static inline double P_log_join(double n, double f)
{
    const double s = f / (f + 2), z = s * s, h = f * f * 0.5;
    const double small = P_fma(-s, P_fma(z, P_poly(z, P_c_log, COUNT(P_c_log)), h), h);
    return P_fma(n, LN2_HI, f - P_fma(-n, LN2_LO, small));
}
""",
}

ELEMENTARY = """\
/* Below the least normal number the library has zero. */
static inline REAL P_flush(REAL x) { return M(fabs)(x) < LEAST_NORMAL ? x * 0 : x; }
//
static inline BITS P_bits(REAL x)
{
    union {
        REAL value;
        BITS word;
    } u;
    u.value = x;
    return u.word;
}
//
static inline REAL P_from_bits(BITS x)
{
    union {
        BITS word;
        REAL value;
    } u;
    u.word = x;
    return u.value;
}
//
static inline REAL P_min(REAL a, REAL b) { return a < b ? a : b; } /* NaN: b */
//
static inline REAL P_max(REAL a, REAL b) { return a > b ? a : b; } /* NaN: b */
//
static inline REAL P_clamp(REAL x, REAL low, REAL high) { return P_max(low, P_min(high, x)); }
//
static inline REAL P_poly(REAL x, const REAL *c, size_t n)
{
    REAL p = c[n - 1];
    for (size_t k = n - 1; k > 0; --k) p = P_fma(p, x, c[k - 1]);
    return p;
}
//
/* 2^n of n + the exponent's bias, which stands in the low bits of t */
static inline REAL P_two_to(REAL t) { return P_from_bits(P_bits(t) << MANTISSA); }
//
static inline REAL P_exp_clamp(REAL x) { return P_min(EXP_HIGH, P_max(EXP_LOW, x)); }
//
/* floor(x / ln 2) + the exponent's bias in the low bits: the sum is too large for a fraction */
static inline REAL P_exp_floor(REAL x) { return P_fma(x, LOG2_E, -ALMOST_HALF) + MAGIC; }
//
static inline REAL P_minus_ln2(REAL x, REAL n)
{
    return P_fma(-n, LN2_LO, P_fma(-n, LN2_HI, x));
}
//
/* e^x = 2^n e^r, 0 <= r <= ln 2 */
static inline REAL P_exp(REAL x)
{
    const REAL y = P_exp_clamp(x), t = P_exp_floor(y), r = P_minus_ln2(y, t - MAGIC);
    return P_poly(r, P_c_exp, COUNT(P_c_exp)) * P_two_to(t);
}
//
static inline REAL P_sigmoid(REAL x)
{
    const REAL y = P_exp_clamp(-x), t = P_exp_floor(y), r = P_minus_ln2(y, t - MAGIC);
    return P_flush(1 / P_fma(P_poly(r, P_c_exp, COUNT(P_c_exp)), P_two_to(t), 1));
}
//
/* e^x - 1 = 2 (2^(n-1) (e^r - 1) + (2^(n-1) - 1/2)) */
static inline REAL P_expm1(REAL x)
{
    const REAL y = P_min(EXP_HIGH, P_max(EXPM1_LOW, x)), t = P_fma(y, LOG2_E, MAGIC_LESS);
    const REAL r = P_minus_ln2(y, t - MAGIC_LESS), scale = P_two_to(t);
    const REAL q = P_fma(r * r, P_poly(r, P_c_expm1, COUNT(P_c_expm1)), r);
    const REAL half = P_fma(scale, q, scale - R(0.5));
    return M(fabs)(x) < TINY ? x : half + half;
}
//
/* tanh |x| = h / (h + 1), h = (e^(2 |x|) - 1) / 2 */
static inline REAL P_tanh(REAL x)
{
    const REAL y = P_min(TANH_HIGH, M(fabs)(x)), t = P_fma(y, 2 * LOG2_E, MAGIC);
    const REAL r = P_fma(-(t - MAGIC), LN2 / 2, y), scale = P_two_to(t);
    const REAL q = P_fma(r * r, P_poly(r, P_c_tanh, COUNT(P_c_tanh)), r);
    const REAL h = P_fma(scale, q, P_fma(scale, R(0.5), -R(0.5)));
    return M(copysign)(h / (h + 1), x);
}
//
LOG_JOIN//
/* u = 1 + x = 2^n m, f = m - 1 with what u lost */
static inline REAL P_log1p(REAL x)
{
    const REAL u = 1 + x, half = (x - (u - 1)) * R(0.5);
    const BITS k = P_bits(u) + (ONE_BITS - SQRT_HALF_BITS);
    const BITS biased = (k >> MANTISSA) | P_bits(TWO_TO_MANTISSA);
    const REAL n = P_from_bits(biased) - (TWO_TO_MANTISSA + BIAS);
    const REAL m = P_from_bits((k & MANTISSA_MASK) + SQRT_HALF_BITS);
    const REAL f = P_fma(half, P_from_bits(EXPONENT_MASK - (k & EXPONENT_MASK)), m - 1);
    return x < TINY ? x : P_log_join(n, f); /* 0 <= x <= 1 here */
}
//
/* Q(x^2) near 0; beyond e^(-x^2) s P(s), s = 1 / (x + 2); see vmath.h of the library */
static inline REAL P_erfc(REAL x)
{
    const REAL t = P_min(ERFC_HIGH, M(fabs)(x));
    if (t < 1) return P_fma(-x, P_poly(t * t, P_c_erf_small, COUNT(P_c_erf_small)), 1 - x);
    const REAL d = t + 2, s = 1 / d, miss = P_fma(-s, t - (d - 2), P_fma(-s, d, 1));
    const REAL h = P_from_bits(P_bits(t) & HALF_MASK), rounded = P_exp_floor(-(t * t));
    const REAL n = rounded - MAGIC, low = P_fma(n, LN2_LO, (t - h) * (t + h));
    const REAL r = P_fma(-n, LN2_HI, -(h * h)) - P_fma(-miss, R(1.5), low);
    const REAL expm1_r = r * P_poly(r, P_c_exp + 1, COUNT(P_c_exp) - 1);
    const REAL f = s * P_poly(s, P_c_erfcx, COUNT(P_c_erfcx));
    const REAL tail = P_flush(P_fma(f, expm1_r, f) * P_two_to(rounded));
    return x < 0 ? 2 - tail : tail;
}
//
/* the sum of 16 interleaved parts, by halves */
static inline REAL P_fold(REAL *part)
{
    for (size_t half = 8; half > 0; half /= 2)
        for (size_t l = 0; l < half; ++l) part[l] += part[l + half];
    return part[0];
}
"""

#: What becomes of one element x, by activation; `gelu` and others need more than an expression.
ACTIVATIONS = {
    "relu": "P_max(0, x)",
    "leaky_relu": "x > 0 ? x : R(0.01) * x",
    "elu": "x > 0 ? x : P_expm1(x)",
    "selu": "x > 0 ? R(1.0507009873554805) * x : R(1.7580993408473766) * P_expm1(x)",
    "gelu": "x < -40 ? 0 : x * P_flush(R(0.5) * P_erfc(x * -R(0.70710678118654752440)))",
    "gelu_tanh": "x < -1000 ? 0 : x * P_gelu_gate(P_clamp(x, -1000, 1000))",
    "silu": "x < -1000 ? 0 : x * P_sigmoid(x)",
    "mish": "x < -1000 ? 0 : x * P_mish_gate(P_exp(P_clamp(x, -1000, 20)))",
    "softplus": "P_max(0, x) + P_log1p(P_exp(-M(fabs)(x)))",
    "softsign": "P_quotient(P_clamp(x, -R(1e30), R(1e30)))",
    "hard_sigmoid": "P_clamp(x + 3, 0, 6) / 6",
    "hard_swish": "x < -3 ? 0 : x * (P_clamp(x + 3, 0, 6) / 6)",
    "sigmoid": "P_sigmoid(x)",
    "tanh": "P_tanh(x)",
}

HELPERS = """\
static inline REAL P_gelu_gate(REAL x)
{
    return P_sigmoid(R(1.59576912160573071176) * x * P_fma(R(0.044715), x * x, 1));
}
//
static inline REAL P_mish_gate(REAL e)
{
    const REAL n = e * (e + 2);
    return n / (n + 2);
}
//
static inline REAL P_quotient(REAL x) { return x / (1 + M(fabs)(x)); }
"""

LAYERS = """\
/* y[n_out] = b + w x, w[n_out][n_in], b or NULL. Each output is one chain of sums; four go side by
 * side, so that none waits for its last term. */
static inline void P_dense(REAL *y, const REAL *x, const REAL *w, const REAL *b, size_t n_in,
    size_t n_out)
{
    const size_t whole = n_out / 4 * 4;
    for (size_t j = 0; j < whole; j += 4, w += 4 * n_in) {
        const REAL *w1 = w + n_in, *w2 = w1 + n_in, *w3 = w2 + n_in;
        REAL s0 = b ? b[j] : 0, s1 = b ? b[j + 1] : 0;
        REAL s2 = b ? b[j + 2] : 0, s3 = b ? b[j + 3] : 0;
        for (size_t i = 0; i < n_in; ++i) {
            s0 = P_fma(x[i], w[i], s0);
            s1 = P_fma(x[i], w1[i], s1);
            s2 = P_fma(x[i], w2[i], s2);
            s3 = P_fma(x[i], w3[i], s3);
        }
        y[j] = s0;
        y[j + 1] = s1;
        y[j + 2] = s2;
        y[j + 3] = s3;
    }
    for (size_t j = whole; j < n_out; ++j, w += n_in) {
        REAL sum = b ? b[j] : 0;
        for (size_t i = 0; i < n_in; ++i) sum = P_fma(x[i], w[i], sum);
        y[j] = sum;
    }
}
//
/* the same with w[n_in][n_out], another layer's matrix */
static inline void P_dense_tied(REAL *y, const REAL *x, const REAL *w, const REAL *b, size_t n_in,
    size_t n_out)
{
    for (size_t j = 0; j < n_out; ++j) {
        REAL sum = b ? b[j] : 0;
        for (size_t i = 0; i < n_in; ++i) sum = P_fma(x[i], w[i * n_out + j], sum);
        y[j] = sum;
    }
}
//
/* A window of high x wide positions, `gap` apart, over height x width positions */
typedef struct {
    size_t height, width, channels, out_height, out_width, out_channels;
    size_t high, wide, step_y, step_x, gap_y, gap_x, top, left, groups;
} P_window;
//
/* y[out_height][out_width][out_channels], w[out_channels][high][wide][channels / groups]. `patch`
 * takes what a window sees: zeros outside, where `line` or `place` wraps round to large numbers. */
static inline void P_conv(REAL *y, const REAL *x, const REAL *w, const REAL *b, const P_window *v,
    REAL *patch)
{
    const size_t depth = v->channels / v->groups, each = v->out_channels / v->groups;
    const size_t taps = v->high * v->wide * depth;
    for (size_t at = 0; at < v->out_height * v->out_width; ++at) {
        for (size_t g = 0; g < v->groups; ++g, y += each) {
            for (size_t p = 0; p < v->high * v->wide; ++p) {
                const size_t i = at / v->out_width, j = at % v->out_width;
                const size_t line = i * v->step_y + p / v->wide * v->gap_y - v->top;
                const size_t place = j * v->step_x + p % v->wide * v->gap_x - v->left;
                const size_t from = (line * v->width + place) * v->channels + g * depth;
                const int inside = line < v->height && place < v->width;
                for (size_t c = 0; c < depth; ++c) patch[p * depth + c] = inside ? x[from + c] : 0;
            }
            P_dense(y, patch, w + g * each * taps, b ? b + g * each : NULL, taps, each);
        }
    }
}
//
/* The largest, or the mean, of what each window sees inside the image. */
static inline void P_pool(REAL *y, const REAL *x, const P_window *v, int largest)
{
    for (size_t i = 0; i < v->out_height; ++i) {
        for (size_t j = 0; j < v->out_width; ++j) {
            const size_t y1 = i * v->step_y + v->high - v->top;
            const size_t x1 = j * v->step_x + v->wide - v->left;
            const size_t y0 = i * v->step_y > v->top ? i * v->step_y - v->top : 0;
            const size_t x0 = j * v->step_x > v->left ? j * v->step_x - v->left : 0;
            for (size_t c = 0; c < v->channels; ++c, ++y) {
                REAL best = x[(y0 * v->width + x0) * v->channels + c], sum = 0;
                size_t count = 0;
                for (size_t l = y0; l < y1 && l < v->height; ++l) {
                    for (size_t e = x0; e < x1 && e < v->width; ++e, ++count) {
                        const REAL value = x[(l * v->width + e) * v->channels + c];
                        best = value > best || value != value ? value : best;
                        sum += value;
                    }
                }
                *y = largest ? best : sum / (REAL)count;
            }
        }
    }
}
//
/* y = (x - mean) scale */
static inline void P_standardize(REAL *y, const REAL *x, const REAL *mean, const REAL *scale,
    size_t n)
{
    for (size_t i = 0; i < n; ++i) y[i] = (x[i] - mean[i]) * scale[i];
}
//
/* y = x scale + shift, by columns */
static inline void P_scale(REAL *y, const REAL *x, const REAL *scale, const REAL *shift,
    size_t rows, size_t n)
{
    for (size_t r = 0; r < rows; ++r, x += n, y += n)
        for (size_t i = 0; i < n; ++i) y[i] = P_fma(x[i], scale[i], shift[i]);
}
//
/* y = (x - mean) / s gamma + beta by rows, s^2 the mean square + epsilon; gamma, beta or NULL */
static inline void P_norm(REAL *y, const REAL *x, const REAL *gamma, const REAL *beta, size_t rows,
    size_t n, REAL epsilon, int centred)
{
    for (size_t r = 0; r < rows; ++r, x += n, y += n) {
        REAL part[16] = {0}, square[16] = {0};
        for (size_t i = 0; i < n && centred; ++i) part[i % 16] += x[i];
        const REAL mean = centred ? P_fold(part) / (REAL)n : 0;
        for (size_t i = 0; i < n; ++i) {
            const REAL d = x[i] - mean;
            square[i % 16] = P_fma(d, d, square[i % 16]);
        }
        const REAL factor = 1 / M(sqrt)(P_fold(square) / (REAL)n + epsilon);
        for (size_t i = 0; i < n; ++i)
            y[i] = P_fma((x[i] - mean) * factor, gamma ? gamma[i] : 1, beta ? beta[i] : 0);
    }
}
//
static inline void P_softmax(REAL *y, const REAL *x, size_t rows, size_t n)
{
    for (size_t r = 0; r < rows; ++r, x += n, y += n) {
        REAL part[16] = {0}, most = x[0];
        for (size_t i = 1; i < n; ++i) most = P_max(x[i], most);
        for (size_t i = 0; i < n; ++i) {
            y[i] = P_exp(x[i] - most);
            part[i % 16] += y[i];
        }
        const REAL total = P_fold(part);
        for (size_t i = 0; i < n; ++i) y[i] = P_flush(y[i] / total);
    }
}
//
static inline void P_add(REAL *y, const REAL *a, const REAL *b, size_t n)
{
    for (size_t i = 0; i < n; ++i) y[i] = a[i] + b[i];
}
//
static inline void P_distance(REAL *y, const REAL *a, const REAL *b, size_t n)
{
    for (size_t i = 0; i < n; ++i) y[i] = M(fabs)(a[i] - b[i]);
}
//
/* n columns of rows that are `to` and `from` values apart */
static inline void P_columns(REAL *y, size_t to, const REAL *x, size_t from, size_t n, size_t rows)
{
    for (size_t r = 0; r < rows; ++r, y += to, x += from)
        for (size_t i = 0; i < n; ++i) y[i] = x[i];
}
"""

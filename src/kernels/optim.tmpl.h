/* optim.tmpl.h - update rules on parameters, and what happens to gradients before them.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * opt_<name>(w, g, s0, s1, args, m, n, ld): one step of the rule on m rows of n, ld apart; s0 and s1
 * are its state slots (NULL where optimizers.inc says it has fewer). Scalars come ready from
 * prim/optim.c, computed in double from the step number alone. Parameters: the vocabulary.
 */

/* rule(w, g, &a, &b, k) returns the new w; a and b are the state. */
#define BP_RULE(name, slots)                                                                     \
    BP_INLINE void run_##name(real *w, const real *g, real *s0, real *s1, const rule_scalars *k, \
                              size_t n)                                                          \
    {                                                                                            \
        size_t i = 0;                                                                            \
        for (; i + BP_VL <= n; i += BP_VL) {                                                     \
            vec a = (slots) > 0 ? v_load(s0 + i) : v_zero();                                     \
            vec b = (slots) > 1 ? v_load(s1 + i) : v_zero();                                     \
            v_store(w + i, name##_rule(v_load(w + i), v_load(g + i), &a, &b, k));                \
            if ((slots) > 0) v_store(s0 + i, a);                                                 \
            if ((slots) > 1) v_store(s1 + i, b);                                                 \
        }                                                                                        \
        if (i == n) return;                                                                      \
        vec a = (slots) > 0 ? v_load_n(s0 + i, n - i) : v_zero();                                \
        vec b = (slots) > 1 ? v_load_n(s1 + i, n - i) : v_zero();                                \
        const vec next = name##_rule(v_load_n(w + i, n - i), v_load_n(g + i, n - i), &a, &b, k); \
        v_store_n(w + i, next, n - i);                                                           \
        if ((slots) > 0) v_store_n(s0 + i, a, n - i);                                            \
        if ((slots) > 1) v_store_n(s1 + i, b, n - i);                                            \
    }                                                                                            \
    static void opt_##name(void *w_, const void *g_, void *s0_, void *s1_,                       \
                           const bp_optim_args *args, size_t m, size_t n, size_t ld)             \
    {                                                                                            \
        real *w = w_, *s0 = s0_, *s1 = s1_;                                                      \
        const real *g = g_;                                                                      \
        const rule_scalars k = rule_load(args);                                                  \
        if (n == ld) {                                                                           \
            run_##name(w, g, s0, s1, &k, m * n);                                                 \
            return;                                                                              \
        }                                                                                        \
        for (; m > 0; --m) {                                                                     \
            run_##name(w, g, s0, s1, &k, n);                                                     \
            w += ld;                                                                             \
            g += ld;                                                                             \
            if ((slots) > 0) s0 += ld;                                                           \
            if ((slots) > 1) s1 += ld;                                                           \
        }                                                                                        \
    }

typedef struct {
    vec rate, correction, beta_1, rest_1, beta_2, rest_2, epsilon, decay;
    vec eta_minus, eta_plus, step_min, step_max;
} rule_scalars;

BP_INLINE rule_scalars rule_load(const bp_optim_args *a)
{
    return (rule_scalars){
        .rate = c_(a->rate),
        .correction = c_(a->correction),
        .beta_1 = c_(a->beta_1),
        .rest_1 = c_(1.0 - a->beta_1),
        .beta_2 = c_(a->beta_2),
        .rest_2 = c_(1.0 - a->beta_2),
        .epsilon = c_(a->epsilon),
        .decay = c_(a->decay),
        .eta_minus = c_(a->eta_minus),
        .eta_plus = c_(a->eta_plus),
        .step_min = c_(a->step_min),
        .step_max = c_(a->step_max),
    };
}

/* 1/d for d >= 0, within 1 ulp; d above 2^125 (an overflowed moment) counts as 2^125, and 0 gives a
 * large finite number. The bits of d taken from a constant are a guess within 5.05% (the exponent
 * changes sign, and the fraction is a line); each r + r (1 - d r) squares its error: 2.6e-3, 6.5e-6,
 * 4.2e-11, 1.8e-21 (Newton). The root before it keeps the divider busy; these run beside it: a step
 * of Adam on AVX-512 takes half the time that it takes with a division. */
#if BP_F64
enum { BP_NEWTON_STEPS = 4 };
#define BP_RECIPROCAL_GUESS INT64_C(0x7FDE623822FC16E6)
#define BP_RECIPROCAL_MOST 0x1p1021
#else
enum { BP_NEWTON_STEPS = 3 };
#define BP_RECIPROCAL_GUESS INT32_C(0x7EF127EA)
#define BP_RECIPROCAL_MOST 0x1p125
#endif

BP_INLINE vec reciprocal(vec d)
{
    d = v_min(c_(BP_RECIPROCAL_MOST), d); /* NaN stays NaN */
    vec r = v_from_bits(vi_sub(vi_set1(BP_RECIPROCAL_GUESS), v_bits(d)));
    for (int i = 0; i < BP_NEWTON_STEPS; ++i) r = v_fma(r, v_fnma(d, r, c_(1)), r);
    return r;
}

BP_INLINE vec sgd_rule(vec w, vec g, vec *a, vec *b, const rule_scalars *k)
{
    (void)a;
    (void)b;
    return v_fnma(k->rate, g, w);
}
BP_RULE(sgd, 0)

/* v = mu v + lr g; w -= v */
BP_INLINE vec momentum_rule(vec w, vec g, vec *v, vec *b, const rule_scalars *k)
{
    (void)b;
    *v = v_fma(k->beta_1, *v, v_mul(k->rate, g));
    return v_sub(w, *v);
}
BP_RULE(momentum, 1)

/* The same v; w -= mu v + lr g (Sutskever et al. 2013, in the variables of the look-ahead point). */
BP_INLINE vec nesterov_rule(vec w, vec g, vec *v, vec *b, const rule_scalars *k)
{
    const vec pull = v_mul(k->rate, g);
    (void)b;
    *v = v_fma(k->beta_1, *v, pull);
    return v_sub(w, v_fma(k->beta_1, *v, pull));
}
BP_RULE(nesterov, 1)

/* Kingma & Ba 2014, Algorithm 1; decay is AdamW's factor (Loshchilov & Hutter 2019), else 1. */
BP_INLINE vec adam_rule(vec w, vec g, vec *m, vec *v, const rule_scalars *k)
{
    *m = v_fma(k->beta_1, *m, v_mul(k->rest_1, g));
    *v = v_fma(k->beta_2, *v, v_mul(v_mul(k->rest_2, g), g));
    const vec root = v_fma(v_sqrt(*v), k->correction, k->epsilon);
    return v_fnma(v_mul(k->rate, *m), reciprocal(root), v_mul(w, k->decay));
}
BP_RULE(adam, 2)

BP_INLINE vec rmsprop_rule(vec w, vec g, vec *s, vec *b, const rule_scalars *k)
{
    (void)b;
    *s = v_fma(k->beta_1, *s, v_mul(v_mul(k->rest_1, g), g));
    return v_fnma(v_mul(k->rate, g), reciprocal(v_add(v_sqrt(*s), k->epsilon)), w);
}
BP_RULE(rmsprop, 1)

BP_INLINE vec adagrad_rule(vec w, vec g, vec *s, vec *b, const rule_scalars *k)
{
    (void)b;
    *s = v_fma(g, g, *s);
    return v_fnma(v_mul(k->rate, g), reciprocal(v_add(v_sqrt(*s), k->epsilon)), w);
}
BP_RULE(adagrad, 1)

/* Riedmiller & Braun 1993 in the form without backtracking (iRprop-, Igel & Huesken 2000), as in
 * PyTorch: a step of its own for each weight; after a change of sign the step shrinks and this
 * gradient is forgotten. The sign of the product is taken from signs: a product of
 * two small gradients would underflow to zero. */
BP_INLINE vec rprop_rule(vec w, vec g, vec *last, vec *step, const rule_scalars *k)
{
    const vec turn = v_mul(sign(g), sign(*last));
    const vec longer = v_min(v_mul(*step, k->eta_plus), k->step_max);
    const vec shorter = v_max(v_mul(*step, k->eta_minus), k->step_min);
    const vmask same = v_lt(v_zero(), turn), turned = v_lt(turn, v_zero());
    *step = v_select(same, longer, v_select(turned, shorter, *step));
    *last = v_select(turned, v_zero(), g);
    return v_fnma(sign(*last), *step, w);
}
BP_RULE(rprop, 2)

/* Chen et al. 2023: the sign of an interpolation, with decoupled decay. */
BP_INLINE vec lion_rule(vec w, vec g, vec *m, vec *b, const rule_scalars *k)
{
    const vec c = v_fma(k->beta_1, *m, v_mul(k->rest_1, g));
    (void)b;
    *m = v_fma(k->beta_2, *m, v_mul(k->rest_2, g));
    return v_fnma(k->rate, sign(c), v_mul(w, k->decay));
}
BP_RULE(lion, 1)
#undef BP_RULE
#undef BP_RECIPROCAL_GUESS
#undef BP_RECIPROCAL_MOST

/* The gradient of l1 |w| + l2/2 w^2; the slope of |w| at 0 is 0. */
static void add_penalty(void *g_, const void *w_, double l1, double l2, size_t n)
{
    real *g = g_;
    const real *w = w_;
    const vec k1 = c_(l1), k2 = c_(l2);
    for (size_t i = 0; i < n; i += BP_VL) {
        const vec wi = load_part(w + i, n - i);
        const vec sum_2 = v_fma(k2, wi, load_part(g + i, n - i));
        store_part(g + i, v_fma(k1, sign(wi), sum_2), n - i);
    }
}

static void clip(void *g_, double limit, size_t n)
{
    real *g = g_;
    for (size_t i = 0; i < n; i += BP_VL)
        store_part(g + i, clamp(load_part(g + i, n - i), -limit, limit), n - i);
}

static void scale(void *x_, double factor, size_t n)
{
    real *x = x_;
    const vec f = c_(factor);
    for (size_t i = 0; i < n; i += BP_VL)
        store_part(x + i, v_mul(load_part(x + i, n - i), f), n - i);
}

/* a[m][n] row-major, column j times factors[j] */
static void scale_columns(void *a_, const void *factors_, size_t m, size_t n)
{
    real *a = a_;
    const real *factors = factors_;
    for (size_t i = 0; i < m; ++i)
        for (size_t j = 0; j < n; ++j) a[i * n + j] *= factors[j];
}

static void add(void *y_, const void *x_, size_t n)
{
    real *y = y_;
    const real *x = x_;
    for (size_t i = 0; i < n; i += BP_VL)
        store_part(y + i, v_add(load_part(y + i, n - i), load_part(x + i, n - i)), n - i);
}

static void sum_of(void *y_, const void *a_, const void *b_, size_t n)
{
    real *y = y_;
    const real *a = a_, *b = b_;
    for (size_t i = 0; i < n; i += BP_VL)
        store_part(y + i, v_add(load_part(a + i, n - i), load_part(b + i, n - i)), n - i);
}

static void average(void *y_, const void *x_, double share, size_t n)
{
    real *y = y_;
    const real *x = x_;
    const vec s = c_(share);
    for (size_t i = 0; i < n; i += BP_VL) {
        const vec old = load_part(y + i, n - i);
        store_part(y + i, v_fma(s, v_sub(load_part(x + i, n - i), old), old), n - i);
    }
}

static void distance(void *y_, const void *a_, const void *b_, size_t n)
{
    real *y = y_;
    const real *a = a_, *b = b_;
    for (size_t i = 0; i < n; i += BP_VL)
        store_part(y + i, v_abs(v_sub(load_part(a + i, n - i), load_part(b + i, n - i))), n - i);
}

static void distance_grad(void *dx_, const void *dy_, const void *x_, const void *other_, size_t n)
{
    real *dx = dx_;
    const real *dy = dy_, *x = x_, *other = other_;
    for (size_t i = 0; i < n; i += BP_VL) {
        const vec g = load_part(dy + i, n - i);
        const vec a = load_part(x + i, n - i), b = load_part(other + i, n - i);
        const vec below = v_select(v_lt(a, b), v_sub(v_zero(), g), v_zero());
        store_part(dx + i, v_select(v_lt(b, a), g, below), n - i);
    }
}

static void non_negative(void *w_, size_t n)
{
    real *w = w_;
    for (size_t i = 0; i < n; i += BP_VL)
        store_part(w + i, v_max(v_zero(), load_part(w + i, n - i)), n - i);
}

static void fill(void *x_, double value, size_t n)
{
    real *x = x_;
    for (size_t i = 0; i < n; ++i) x[i] = (real)value;
}

static void convert(void *x_, const double *values, size_t n)
{
    real *x = x_;
    for (size_t i = 0; i < n; ++i) x[i] = (real)values[i];
}

static void widen(double *values, const void *x_, size_t n)
{
    const real *x = x_;
    for (size_t i = 0; i < n; ++i) values[i] = (double)x[i];
}

/* activations.tmpl.h - activations and their derivatives, elementwise, plus softmax by rows.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * For each row of activations.inc: act_<name>, y = f(z), and grad_<name>, dz = dy * f'(z), where the
 * derivative is written in what the table says is saved: the output y or the input z.
 * Every act_ function carries NaN through; grad_ functions need not, since the loss is NaN then. Parameters: the vocabulary and vmath.h.
 */

/* Calls expr(x) on n elements; the last, partial vector through partial loads and stores. */
#define BP_MAP(name, expr)                                                      \
    static void act_##name(void *y_, const void *x_, size_t n)                  \
    {                                                                           \
        real *y = y_;                                                           \
        const real *x = x_;                                                     \
        size_t i = 0;                                                           \
        for (; i + BP_VL <= n; i += BP_VL) v_store(y + i, expr(v_load(x + i))); \
        if (i < n) v_store_n(y + i, expr(v_load_n(x + i, n - i)), n - i);       \
    }

#define BP_GRAD(name, expr)                                                                      \
    static void grad_##name(void *dz_, const void *dy_, const void *saved_, size_t n)            \
    {                                                                                            \
        real *dz = dz_;                                                                          \
        const real *dy = dy_, *s = saved_;                                                       \
        size_t i = 0;                                                                            \
        for (; i + BP_VL <= n; i += BP_VL) v_store(dz + i, expr(v_load(dy + i), v_load(s + i))); \
        if (i < n)                                                                               \
            v_store_n(dz + i, expr(v_load_n(dy + i, n - i), v_load_n(s + i, n - i)), n - i);     \
    }

#define BP_BOTH(name)          \
    BP_MAP(name, name##_value) \
    BP_GRAD(name, name##_slope)

BP_INLINE vec c_(double value) { return v_set1((real)value); }
BP_INLINE vec positive(vec x, vec yes, vec no) { return v_select(v_lt(v_zero(), x), yes, no); }
/* x clamped to [low, high]; NaN stays NaN because it is the second operand of min and max. */
BP_INLINE vec clamp(vec x, double low, double high) { return v_max(c_(low), v_min(c_(high), x)); }

BP_INLINE vec identity_value(vec z) { return z; }
BP_INLINE vec identity_slope(vec dy, vec y)
{
    (void)y;
    return dy;
}
BP_BOTH(identity)

BP_INLINE vec sigmoid_value(vec z) { return vm_sigmoid(z); }
BP_INLINE vec sigmoid_slope(vec dy, vec y) { return v_mul(dy, v_mul(y, v_sub(c_(1), y))); }
BP_BOTH(sigmoid)

BP_INLINE vec tanh_value(vec z) { return vm_tanh(z); }
BP_INLINE vec tanh_slope(vec dy, vec y) { return v_mul(dy, v_fnma(y, y, c_(1))); }
BP_BOTH(tanh)

BP_INLINE vec relu_value(vec z) { return v_max(v_zero(), z); }
BP_INLINE vec relu_slope(vec dy, vec y) { return positive(y, dy, v_zero()); }
BP_BOTH(relu)

#define BP_LEAKY_SLOPE 0.01 /* Maas, Hannun & Ng 2013 */
BP_INLINE vec leaky_relu_value(vec z) { return positive(z, z, v_mul(c_(BP_LEAKY_SLOPE), z)); }
BP_INLINE vec leaky_relu_slope(vec dy, vec y)
{
    return positive(y, dy, v_mul(c_(BP_LEAKY_SLOPE), dy));
}
BP_BOTH(leaky_relu)

/* Clevert, Unterthiner & Hochreiter 2016, alpha 1: f' = f + 1 below zero. */
BP_INLINE vec elu_value(vec z) { return positive(z, z, vm_expm1(z)); }
BP_INLINE vec elu_slope(vec dy, vec y) { return positive(y, dy, v_fma(dy, y, dy)); }
BP_BOTH(elu)

/* Klambauer et al. 2017, equation 2, with the constants of its appendix. */
#define BP_SELU_SCALE 1.0507009873554804934193349852946
#define BP_SELU_ALPHA 1.6732632423543772848170429916717
BP_INLINE vec selu_value(vec z)
{
    return positive(z, v_mul(c_(BP_SELU_SCALE), z),
                    v_mul(c_(BP_SELU_SCALE * BP_SELU_ALPHA), vm_expm1(z)));
}
BP_INLINE vec selu_slope(vec dy, vec y)
{
    return v_mul(dy, positive(y, c_(BP_SELU_SCALE), v_add(y, c_(BP_SELU_SCALE * BP_SELU_ALPHA))));
}
BP_BOTH(selu)

/* Hendrycks & Gimpel 2016: z Phi(z), Phi(z) = erfc(-z / sqrt 2) / 2, which keeps the left tail. */
#define BP_SQRT_HALF 0.70710678118654752440
#define BP_INV_SQRT_2PI 0.39894228040143267794
BP_INLINE vec normal_cdf(vec z) { return v_mul(c_(0.5), vm_erfc(v_mul(z, c_(-BP_SQRT_HALF)))); }
BP_INLINE vec gelu_value(vec z)
{
    const vec y = v_mul(z, normal_cdf(z));
    return v_select(v_lt(z, c_(-40)), v_zero(), y); /* -inf times 0 */
}
BP_INLINE vec gelu_slope(vec dy, vec z)
{
    const vec limited = clamp(z, -40, 40); /* beyond, Phi is 0 or 1 and z phi(z) is 0 */
    const vec density =
        v_mul(c_(BP_INV_SQRT_2PI), vm_exp(v_mul(v_mul(limited, limited), c_(-0.5))));
    return v_mul(dy, v_fma(limited, density, normal_cdf(limited)));
}
BP_BOTH(gelu)

/* The same paper's tanh form: z sigmoid(2 u), u = sqrt(2/pi) (z + 0.044715 z^3). */
#define BP_GELU_A 1.59576912160573071176 /* 2 sqrt(2/pi) */
#define BP_GELU_B 0.044715
BP_INLINE vec gelu_gate(vec z, vec square)
{
    return vm_sigmoid(v_mul(v_mul(c_(BP_GELU_A), z), v_fma(c_(BP_GELU_B), square, c_(1))));
}
BP_INLINE vec gelu_tanh_value(vec z)
{
    const vec limited = clamp(z, -1000, 1000);
    const vec y = v_mul(z, gelu_gate(limited, v_mul(limited, limited)));
    return v_select(v_lt(z, c_(-1000)), v_zero(), y);
}
BP_INLINE vec gelu_tanh_slope(vec dy, vec z)
{
    const vec x = clamp(z, -1000, 1000), square = v_mul(x, x), gate = gelu_gate(x, square);
    const vec inner = v_mul(c_(BP_GELU_A), v_fma(c_(3 * BP_GELU_B), square, c_(1)));
    const vec bell = v_mul(gate, v_sub(c_(1), gate));
    return v_mul(dy, v_fma(v_mul(x, bell), inner, gate));
}
BP_BOTH(gelu_tanh)

/* Ramachandran, Zoph & Le 2017; Elfwing, Uchibe & Doya 2018. */
BP_INLINE vec silu_value(vec z)
{
    const vec y = v_mul(z, vm_sigmoid(z));
    return v_select(v_lt(z, c_(-1000)), v_zero(), y);
}
BP_INLINE vec silu_slope(vec dy, vec z)
{
    const vec x = clamp(z, -1000, 1000), s = vm_sigmoid(x);
    return v_mul(dy, v_mul(s, v_fma(x, v_sub(c_(1), s), c_(1))));
}
BP_BOTH(silu)

/* Misra 2020: z tanh(log(1 + e^z)). With n = e^z (e^z + 2): tanh(...) = n / (n + 2), and
 * 1 - tanh^2 = 4 (n + 1) / (n + 2)^2. Past z = 20 the gate is 1 to the last bit of either dtype. */
BP_INLINE vec mish_value(vec z)
{
    const vec e = vm_exp(clamp(z, -1000, 20)), n = v_mul(e, v_add(e, c_(2)));
    const vec y = v_mul(z, v_div(n, v_add(n, c_(2))));
    return v_select(v_lt(z, c_(-1000)), v_zero(), y);
}
BP_INLINE vec mish_slope(vec dy, vec z)
{
    const vec x = clamp(z, -1000, 20), e = vm_exp(x), n = v_mul(e, v_add(e, c_(2)));
    const vec inverse = v_div(c_(1), v_add(n, c_(2)));
    const vec rest = v_mul(v_mul(c_(4), v_add(n, c_(1))), v_mul(inverse, inverse));
    return v_mul(dy, v_fma(v_mul(x, rest), vm_sigmoid(x), v_mul(n, inverse)));
}
BP_BOTH(mish)

/* log(1 + e^z) = max(z, 0) + log1p(e^-|z|); its derivative is 1 - e^-y. */
BP_INLINE vec softplus_value(vec z)
{
    return v_add(v_max(v_zero(), z), vm_log1p(vm_exp(v_neg(v_abs(z)))));
}
BP_INLINE vec softplus_slope(vec dy, vec y) { return v_mul(dy, v_neg(vm_expm1(v_neg(y)))); }
BP_BOTH(softplus)

/* z / (1 + |z|); its derivative is (1 - |y|)^2. Infinity divides to NaN, so it is clamped. */
BP_INLINE vec softsign_value(vec z)
{
    const vec x = clamp(z, -1e30, 1e30);
    return v_div(x, v_add(c_(1), v_abs(x)));
}
BP_INLINE vec softsign_slope(vec dy, vec y)
{
    const vec rest = v_sub(c_(1), v_abs(y));
    return v_mul(dy, v_mul(rest, rest));
}
BP_BOTH(softsign)

/* relu6(z + 3) / 6, Howard et al. 2019; zero slope at and past both corners. */
BP_INLINE vec hard_gate(vec z) { return v_div(clamp(v_add(z, c_(3)), 0, 6), c_(6)); }
BP_INLINE vec hard_sigmoid_value(vec z) { return hard_gate(z); }
BP_INLINE vec hard_sigmoid_slope(vec dy, vec y)
{
    const vmask inside = m_and(v_lt(v_zero(), y), v_lt(y, c_(1)));
    return v_select(inside, v_div(dy, c_(6)), v_zero());
}
BP_BOTH(hard_sigmoid)

BP_INLINE vec hard_swish_value(vec z)
{
    return v_select(v_lt(z, c_(-3)), v_zero(), v_mul(z, hard_gate(z)));
}
BP_INLINE vec hard_swish_slope(vec dy, vec z)
{
    const vec inside = v_div(v_fma(c_(2), z, c_(3)), c_(6));
    const vec slope = v_select(v_lt(z, c_(-3)), v_zero(), v_select(v_lt(c_(3), z), c_(1), inside));
    return v_mul(dy, slope);
}
BP_BOTH(hard_swish)

/* Rows: e^(z - max) over its sum; NaN anywhere makes the row NaN through the sum. */
BP_INLINE vec row_max(const real *x, size_t n)
{
    real best = n ? x[0] : 0;
    size_t i = 0;
    if (n >= BP_VL) {
        vec most = v_load(x);
        real lane[BP_VL];
        for (i = BP_VL; i + BP_VL <= n; i += BP_VL) most = v_max(v_load(x + i), most);
        v_store(lane, most);
        best = lane[0];
        for (size_t l = 1; l < BP_VL; ++l) best = lane[l] > best ? lane[l] : best;
    }
    for (; i < n; ++i) best = x[i] > best ? x[i] : best;
    return v_set1(best);
}

static void softmax(void *y_, const void *x_, size_t n)
{
    real *y = y_;
    const real *x = x_;
    const vec most = row_max(x, n);
    size_t i = 0;
    for (; i + BP_VL <= n; i += BP_VL) v_store(y + i, vm_exp(v_sub(v_load(x + i), most)));
    if (i < n) v_store_n(y + i, vm_exp(v_sub(v_load_n(x + i, n - i), most)), n - i);
    const vec total = v_set1((real)sum(y, n));
    for (i = 0; i + BP_VL <= n; i += BP_VL) v_store(y + i, v_div(v_load(y + i), total));
    if (i < n) v_store_n(y + i, v_div(v_load_n(y + i, n - i), total), n - i);
}

/* dx = y (dy - sum(dy y)) */
static void softmax_grad(void *dx_, const void *dy_, const void *y_, size_t n)
{
    real *dx = dx_;
    const real *dy = dy_, *y = y_;
    vec acc[BP_LANE_VECS];
    for (size_t v = 0; v < BP_LANE_VECS; ++v) acc[v] = v_zero();
    for (size_t i = 0, v = 0; i < n; i += BP_VL, v = (v + 1) % BP_LANE_VECS)
        acc[v] = v_fma(load_part(dy + i, n - i), load_part(y + i, n - i), acc[v]);
    const vec inner = v_set1(fold(acc));
    size_t i = 0;
    for (; i + BP_VL <= n; i += BP_VL)
        v_store(dx + i, v_mul(v_load(y + i), v_sub(v_load(dy + i), inner)));
    if (i < n)
        v_store_n(dx + i, v_mul(v_load_n(y + i, n - i), v_sub(v_load_n(dy + i, n - i), inner)),
                  n - i);
}

/* Softmax is no map of single elements: its rows of the activation table do nothing here, and the
 * dense layer calls the row forms. */
static void act_softmax(void *y, const void *x, size_t n) { act_identity(y, x, n); }
static void grad_softmax(void *dz, const void *dy, const void *saved, size_t n)
{
    grad_identity(dz, dy, saved, n);
}
#undef BP_MAP
#undef BP_GRAD
#undef BP_BOTH

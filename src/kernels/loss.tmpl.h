/* loss.tmpl.h - one row of each loss: its value, and its gradient with respect to the output.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * loss_<name>(dz, z, args, n) returns the row's loss, unweighted, and writes dz = args->scale times
 * the gradient of that loss; dz may be NULL (evaluation). Sums have the fixed shape of reduce.tmpl.h.
 * Parameters: the vocabulary, vmath.h, reduce.tmpl.h.
 */

/* Lanes past `lanes` become zero. */
BP_INLINE vec keep_lanes(vec x, size_t lanes)
{
    real lane[BP_VL];
    if (lanes >= BP_VL) return x;
    v_store(lane, x);
    return v_load_n(lane, lanes);
}

BP_INLINE void store_part(real *p, vec x, size_t n)
{
    if (n >= BP_VL)
        v_store(p, x);
    else
        v_store_n(p, x, n);
}

/* Elementwise losses: terms(z, t, parameter, &value, &slope) for each vector of the row.
 * average: 1 when the loss is the mean over outputs, 0 when it is their sum. */
#define BP_ROW_LOSS(name, average)                                                              \
    static double loss_##name(void *dz_, const void *z_, const bp_loss_args *args, size_t n)    \
    {                                                                                           \
        real *dz = dz_;                                                                         \
        const real *zs = z_, *ts = args->target;                                                \
        const vec parameter = v_set1((real)args->parameter);                                    \
        const double share = (average) ? 1.0 / (double)n : 1.0;                                 \
        const vec factor = v_set1((real)(args->scale * share));                                 \
        vec acc[BP_LANE_VECS];                                                                  \
        for (size_t v = 0; v < BP_LANE_VECS; ++v) acc[v] = v_zero();                            \
        for (size_t i = 0, v = 0; i < n; i += BP_VL, v = (v + 1) % BP_LANE_VECS) {              \
            vec value, slope;                                                                   \
            name##_terms(load_part(zs + i, n - i), load_part(ts + i, n - i), parameter, &value, \
                         &slope);                                                               \
            acc[v] = v_add(acc[v], keep_lanes(value, n - i));                                   \
            if (dz) store_part(dz + i, v_mul(slope, factor), n - i);                            \
        }                                                                                       \
        return (double)fold(acc) * share;                                                       \
    }

BP_INLINE void half_squared_error_terms(vec z, vec t, vec unused, vec *value, vec *slope)
{
    (void)unused;
    *slope = v_sub(z, t);
    *value = v_mul(v_mul(c_(0.5), *slope), *slope);
}
BP_ROW_LOSS(half_squared_error, 0)

BP_INLINE void mse_terms(vec z, vec t, vec unused, vec *value, vec *slope)
{
    const vec d = v_sub(z, t);
    (void)unused;
    *slope = v_mul(c_(2), d);
    *value = v_mul(d, d);
}
BP_ROW_LOSS(mse, 1)

/* +1, -1, or the value itself when it is zero or NaN. */
BP_INLINE vec sign(vec x)
{
    const vec unit = v_copysign(c_(1), x);
    return v_select(v_lt(v_zero(), v_abs(x)), unit, x);
}

BP_INLINE void mae_terms(vec z, vec t, vec unused, vec *value, vec *slope)
{
    const vec d = v_sub(z, t);
    (void)unused;
    *slope = sign(d);
    *value = v_abs(d);
}
BP_ROW_LOSS(mae, 1)

/* Huber 1964: d^2 / 2 within delta, delta (|d| - delta / 2) beyond. */
BP_INLINE void huber_terms(vec z, vec t, vec delta, vec *value, vec *slope)
{
    const vec d = v_sub(z, t), size = v_abs(d);
    const vmask outside = v_lt(delta, size);
    const vec line = v_mul(delta, v_fnma(c_(0.5), delta, size));
    *slope = v_select(outside, v_copysign(delta, d), d);
    *value = v_select(outside, line, v_mul(v_mul(c_(0.5), d), d));
}
BP_ROW_LOSS(huber, 1)

/* Koenker & Bassett 1978: with r = t - z, tau r above and (tau - 1) r below. */
BP_INLINE void quantile_terms(vec z, vec t, vec tau, vec *value, vec *slope)
{
    const vec r = v_sub(t, z), below = v_sub(tau, c_(1));
    const vec side = v_select(v_lt(r, v_zero()), below, tau);
    *value = v_mul(side, r);
    *slope = v_select(v_eq(r, v_zero()), v_zero(), v_neg(side));
    *slope = v_select(v_isnan(r), r, *slope);
}
BP_ROW_LOSS(quantile, 1)

/* On the logit z: max(z, 0) - z t + log(1 + e^-|z|); smoothing moves t towards 1/2. */
BP_INLINE void binary_cross_entropy_terms(vec z, vec t, vec smoothing, vec *value, vec *slope)
{
    const vec target = v_fma(smoothing, v_sub(c_(0.5), t), t);
    const vec tail = vm_log1p(vm_exp(v_neg(v_abs(z))));
    *value = v_add(v_fnma(z, target, v_max(v_zero(), z)), tail);
    *slope = v_sub(vm_sigmoid(z), target);
}
BP_ROW_LOSS(binary_cross_entropy, 1)

/* On the logarithm z of the rate: e^z - t z. */
BP_INLINE void poisson_terms(vec z, vec t, vec unused, vec *value, vec *slope)
{
    const vec rate = vm_exp(z);
    (void)unused;
    *value = v_fnma(t, z, rate);
    *slope = v_sub(rate, t);
}
BP_ROW_LOSS(poisson, 1)
#undef BP_ROW_LOSS

/* The target of column i .. i + BP_VL: (1 - smoothing) t + smoothing / n. */
BP_INLINE vec soft_target(const real *t, size_t i, size_t n, size_t label, vec keep, vec floor_)
{
    if (t) return v_fma(keep, load_part(t + i, n - i), floor_);
    real lane[BP_VL];
    for (size_t l = 0; l < BP_VL; ++l) lane[l] = i + l == label ? (real)1 : (real)0;
    return v_fma(keep, v_load(lane), floor_);
}

/* On logits: -sum t log softmax(z) = sum t (log(sum e^s) - s), s = z - max z; gradient
 * softmax(z) sum t - t. */
static double loss_cross_entropy(void *dz_, const void *z_, const bp_loss_args *args, size_t n)
{
    real *dz = dz_;
    const real *z = z_, *t = args->target;
    const vec most = row_max(z, n);
    const vec keep = c_(1.0 - args->parameter), floor_ = c_(args->parameter / (double)n);
    vec total[BP_LANE_VECS], mass[BP_LANE_VECS], inner[BP_LANE_VECS];
    real lane[BP_VL];
    for (size_t v = 0; v < BP_LANE_VECS; ++v) total[v] = mass[v] = inner[v] = v_zero();
    for (size_t i = 0, v = 0; i < n; i += BP_VL, v = (v + 1) % BP_LANE_VECS) {
        const vec s = v_sub(load_part(z + i, n - i), most), e = vm_exp(s);
        const vec target = soft_target(t, i, n, args->label, keep, floor_);
        total[v] = v_add(total[v], keep_lanes(e, n - i));
        mass[v] = v_add(mass[v], keep_lanes(target, n - i));
        inner[v] = v_add(inner[v], keep_lanes(v_mul(target, s), n - i));
        if (dz) store_part(dz + i, e, n - i);
    }
    const real sum_e = fold(total), sum_t = fold(mass), sum_ts = fold(inner);
    v_store(lane, vm_log(v_set1(sum_e)));
    if (dz) {
        const vec share = v_div(v_set1(sum_t), v_set1(sum_e)), factor = c_(args->scale);
        for (size_t i = 0; i < n; i += BP_VL) {
            const vec target = soft_target(t, i, n, args->label, keep, floor_);
            const vec d = v_sub(v_mul(load_part(dz + i, n - i), share), target);
            store_part(dz + i, v_mul(d, factor), n - i);
        }
    }
    return (double)sum_t * (double)lane[0] - (double)sum_ts;
}

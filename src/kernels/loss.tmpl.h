/* loss.tmpl.h - rows of each loss: their values, and gradients with respect to the output.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * loss_<name>(losses, dz, z, args, m, n): losses[i] is row i's loss, unweighted, and dz its gradient
 * times args->scales[i]; dz may be NULL (evaluation). Sums have the fixed shape of reduce.tmpl.h.
 *
 * A row of few outputs fills no vector and waits for each of its sums, so BP_VL such rows go
 * together: a vector holds one output of all of them, and the sixteen virtual lanes of a sum are
 * sixteen vectors. Every element sees the same operations in the same order as in a row by itself.
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

/* ---- rows of few outputs, transposed ---- */

#if BP_VL > 1
enum { BP_FEW = (int)BP_NR < (int)BP_LANES ? (int)BP_NR : (int)BP_LANES };
#else
enum { BP_FEW = 0 }; /* one lane: a row by itself is as good, and the reference stays plain */
#endif

/* column[j] = element j of BP_VL rows. Reads whole vectors of each row. */
BP_INLINE void columns_load(vec *column, const real *rows, size_t ld, size_t n)
{
    _Alignas(64) real block[BP_VL * BP_VL];
    for (size_t j = 0; j < n; j += BP_VL) {
        v_transpose(block, BP_VL, rows + j, ld);
        for (size_t l = 0; l < BP_VL && j + l < n; ++l) column[j + l] = v_load(block + l * BP_VL);
    }
}

/* The reverse; lanes past n become zero. */
BP_INLINE void columns_store(real *rows, const vec *column, size_t ld, size_t n)
{
    _Alignas(64) real block[BP_VL * BP_VL];
    for (size_t j = 0; j < n; j += BP_VL) {
        for (size_t l = 0; l < BP_VL; ++l)
            v_store(block + l * BP_VL, j + l < n ? column[j + l] : v_zero());
        v_transpose(rows + j, ld, block, BP_VL);
    }
}

/* The sum over n columns as `fold` has it: lanes without a column hold +0. */
BP_INLINE vec columns_fold(const vec *column, size_t n)
{
    vec lane[BP_LANES];
    for (size_t l = 0; l < BP_LANES; ++l) lane[l] = l < n ? v_add(v_zero(), column[l]) : v_zero();
    for (size_t half = BP_LANES / 2; half > 0; half /= 2)
        for (size_t l = 0; l < half; ++l) lane[l] = v_add(lane[l], lane[l + half]);
    return lane[0];
}

/* scales[i] * share of BP_VL rows. */
BP_INLINE vec row_factors(const double *scales, double share)
{
    real lane[BP_VL];
    for (size_t l = 0; l < BP_VL; ++l) lane[l] = (real)(scales[l] * share);
    return v_load(lane);
}

BP_INLINE const real *row_of(const void *rows, size_t i, size_t ld)
{
    return rows ? (const real *)rows + i * ld : NULL;
}

/* Calls few_<name> on groups of BP_VL rows where rows are short, and row_<name> on the others. */
#define BP_LOSS_ROWS(name)                                                                     \
    static void loss_##name(double *losses, void *dz, const void *z, const bp_loss_args *args, \
                            size_t m, size_t n)                                                \
    {                                                                                          \
        size_t i = 0;                                                                          \
        for (; n > 0 && n <= BP_FEW && i + BP_VL <= m; i += BP_VL)                             \
            few_##name(losses + i, (real *)row_of(dz, i, args->ld), row_of(z, i, args->ld),    \
                       row_of(args->targets, i, args->ld), args, i, n);                        \
        for (; i < m; ++i)                                                                     \
            losses[i] = row_##name((real *)row_of(dz, i, args->ld), row_of(z, i, args->ld),    \
                                   row_of(args->targets, i, args->ld), args, i, n);            \
    }

/* ---- elementwise losses ---- */

/* The loss's parameter for outputs i .. i + n. */
BP_INLINE vec parameter_at(const bp_loss_args *args, size_t i, size_t n)
{
    real lane[BP_VL];
    if (!args->each) return v_set1((real)args->parameter);
    for (size_t l = 0; l < BP_VL; ++l) lane[l] = l < n ? (real)args->each[i + l] : (real)0;
    return v_load(lane);
}

/* terms(z, t, parameter, &value, &slope) for a vector of elements.
 * average: 1 when the loss is the mean over outputs, 0 when it is their sum. */
#define BP_ELEMENT_LOSS(name, average)                                                            \
    BP_INLINE double row_##name(real *dz, const real *z, const real *t, const bp_loss_args *args, \
                                size_t row, size_t n)                                             \
    {                                                                                             \
        const double share = (average) ? 1.0 / (double)n : 1.0;                                   \
        const vec factor = v_set1((real)(args->scales[row] * share));                             \
        vec acc[BP_LANE_VECS];                                                                    \
        for (size_t v = 0; v < BP_LANE_VECS; ++v) acc[v] = v_zero();                              \
        for (size_t i = 0, v = 0; i < n; i += BP_VL, v = (v + 1) % BP_LANE_VECS) {                \
            vec value, slope;                                                                     \
            name##_terms(load_part(z + i, n - i), load_part(t + i, n - i),                        \
                         parameter_at(args, i, n - i), &value, &slope);                           \
            acc[v] = v_add(acc[v], keep_lanes(value, n - i));                                     \
            if (dz) store_part(dz + i, v_mul(slope, factor), n - i);                              \
        }                                                                                         \
        return (double)fold(acc) * share;                                                         \
    }                                                                                             \
    BP_INLINE void few_##name(double *losses, real *dz, const real *z, const real *t,             \
                              const bp_loss_args *args, size_t row, size_t n)                     \
    {                                                                                             \
        const double share = (average) ? 1.0 / (double)n : 1.0;                                   \
        const vec factor = row_factors(args->scales + row, share);                                \
        vec value[BP_LANES], slope[BP_LANES];                                                     \
        real lane[BP_VL];                                                                         \
        columns_load(slope, z, args->ld, n);                                                      \
        columns_load(value, t, args->ld, n);                                                      \
        for (size_t j = 0; j < n; ++j) {                                                          \
            const vec parameter = v_set1((real)(args->each ? args->each[j] : args->parameter));   \
            name##_terms(slope[j], value[j], parameter, &value[j], &slope[j]);                    \
            slope[j] = v_mul(slope[j], factor);                                                   \
        }                                                                                         \
        if (dz) columns_store(dz, slope, args->ld, n);                                            \
        v_store(lane, columns_fold(value, n));                                                    \
        for (size_t l = 0; l < BP_VL; ++l) losses[l] = (double)lane[l] * share;                   \
    }                                                                                             \
    BP_LOSS_ROWS(name)

BP_INLINE void half_squared_error_terms(vec z, vec t, vec unused, vec *value, vec *slope)
{
    (void)unused;
    *slope = v_sub(z, t);
    *value = v_mul(v_mul(c_(0.5), *slope), *slope);
}
BP_ELEMENT_LOSS(half_squared_error, 0)

BP_INLINE void mse_terms(vec z, vec t, vec unused, vec *value, vec *slope)
{
    const vec d = v_sub(z, t);
    (void)unused;
    *slope = v_mul(c_(2), d);
    *value = v_mul(d, d);
}
BP_ELEMENT_LOSS(mse, 1)

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
BP_ELEMENT_LOSS(mae, 1)

/* Huber 1964: d^2 / 2 within delta, delta (|d| - delta / 2) beyond. */
BP_INLINE void huber_terms(vec z, vec t, vec delta, vec *value, vec *slope)
{
    const vec d = v_sub(z, t), size = v_abs(d);
    const vmask outside = v_lt(delta, size);
    const vec line = v_mul(delta, v_fnma(c_(0.5), delta, size));
    *slope = v_select(outside, v_copysign(delta, d), d);
    *value = v_select(outside, line, v_mul(v_mul(c_(0.5), d), d));
}
BP_ELEMENT_LOSS(huber, 1)

/* Koenker & Bassett 1978: with r = t - z, tau r above and (tau - 1) r below. */
BP_INLINE void quantile_terms(vec z, vec t, vec tau, vec *value, vec *slope)
{
    const vec r = v_sub(t, z), below = v_sub(tau, c_(1));
    const vec side = v_select(v_lt(r, v_zero()), below, tau);
    *value = v_mul(side, r);
    *slope = v_select(v_eq(r, v_zero()), v_zero(), v_neg(side));
    *slope = v_select(v_isnan(r), r, *slope);
}
BP_ELEMENT_LOSS(quantile, 1)

/* On the logit z: max(z, 0) - z t + log(1 + e^-|z|); smoothing moves t towards 1/2. */
BP_INLINE void binary_cross_entropy_terms(vec z, vec t, vec smoothing, vec *value, vec *slope)
{
    const vec target = v_fma(smoothing, v_sub(c_(0.5), t), t);
    const vec size = v_abs(z), tail = vm_log1p(vm_exp(v_neg(size)));
    const vec sure = v_select(v_lt(v_zero(), z), c_(1), v_zero()); /* of an infinite z */
    const vec limit = v_select(v_eq(target, sure), v_zero(), size);
    vec line = v_fnma(z, target, v_max(v_zero(), z));
    line = v_select(v_eq(size, c_((double)INFINITY)), limit, line);
    *value = v_add(line, tail);
    *slope = v_sub(vm_sigmoid(z), target);
}
BP_ELEMENT_LOSS(binary_cross_entropy, 1)

/* On the logarithm z of the rate: e^z - t z. */
BP_INLINE void poisson_terms(vec z, vec t, vec unused, vec *value, vec *slope)
{
    const vec rate = vm_exp(z);
    (void)unused;
    *value = v_select(v_eq(t, v_zero()), rate, v_fnma(t, z, rate)); /* z may be -inf */
    *slope = v_sub(rate, t);
}
BP_ELEMENT_LOSS(poisson, 1)
#undef BP_ELEMENT_LOSS

/* ---- cross-entropy ---- */

/* The targets of columns i .. i + BP_VL: (1 - smoothing) t + smoothing / n. */
BP_INLINE vec soft_target(const real *t, size_t i, size_t n, size_t label, vec keep, vec floor_)
{
    if (t) return v_fma(keep, load_part(t + i, n - i), floor_);
    real lane[BP_VL];
    for (size_t l = 0; l < BP_VL; ++l) lane[l] = i + l == label ? (real)1 : (real)0;
    return v_fma(keep, v_load(lane), floor_);
}

/* t s, and 0 where the target is 0: a class that a logit of -inf rules out costs nothing. */
BP_INLINE vec share_of(vec t, vec s) { return v_select(v_eq(t, v_zero()), v_zero(), v_mul(t, s)); }

/* On logits: -sum t log softmax(z) = sum t (log(sum e^s) - s), s = z - max z; gradient
 * softmax(z) sum t - t. */
BP_INLINE double row_cross_entropy(real *dz, const real *z, const real *t, const bp_loss_args *args,
                                   size_t row, size_t n)
{
    const vec most = row_max(z, n);
    const vec keep = c_(1.0 - args->parameter), floor_ = c_(args->parameter / (double)n);
    const size_t label = t ? 0 : args->labels[row];
    vec total[BP_LANE_VECS], mass[BP_LANE_VECS], inner[BP_LANE_VECS];
    real lane[BP_VL];
    for (size_t v = 0; v < BP_LANE_VECS; ++v) total[v] = mass[v] = inner[v] = v_zero();
    for (size_t i = 0, v = 0; i < n; i += BP_VL, v = (v + 1) % BP_LANE_VECS) {
        const vec s = v_sub(load_part(z + i, n - i), most), e = vm_exp(s);
        const vec target = soft_target(t, i, n, label, keep, floor_);
        total[v] = v_add(total[v], keep_lanes(e, n - i));
        mass[v] = v_add(mass[v], keep_lanes(target, n - i));
        inner[v] = v_add(inner[v], keep_lanes(share_of(target, s), n - i));
        if (dz) store_part(dz + i, e, n - i);
    }
    const real sum_e = fold(total), sum_t = fold(mass), sum_ts = fold(inner);
    v_store(lane, vm_log(v_set1(sum_e)));
    if (dz) {
        const vec share = v_div(v_set1(sum_t), v_set1(sum_e)), factor = c_(args->scales[row]);
        for (size_t i = 0; i < n; i += BP_VL) {
            const vec target = soft_target(t, i, n, label, keep, floor_);
            const vec d = v_sub(v_mul(load_part(dz + i, n - i), share), target);
            store_part(dz + i, v_mul(d, factor), n - i);
        }
    }
    return (double)sum_t * (double)lane[0] - (double)sum_ts;
}

BP_INLINE void few_targets(vec *t, const real *rows, const bp_loss_args *args, size_t row, size_t n)
{
    real label[BP_VL];
    if (rows) {
        columns_load(t, rows, args->ld, n);
        return;
    }
    for (size_t l = 0; l < BP_VL; ++l) label[l] = (real)args->labels[row + l];
    for (size_t j = 0; j < n; ++j)
        t[j] = v_select(v_eq(v_load(label), v_set1((real)j)), c_(1), v_zero());
}

BP_INLINE void few_cross_entropy(double *losses, real *dz, const real *z, const real *rows,
                                 const bp_loss_args *args, size_t row, size_t n)
{
    const vec keep = c_(1.0 - args->parameter), floor_ = c_(args->parameter / (double)n);
    const vec factor = row_factors(args->scales + row, 1.0);
    vec s[BP_LANES], e[BP_LANES], t[BP_LANES];
    real log_e[BP_VL], sum_t[BP_VL], sum_ts[BP_VL];
    columns_load(s, z, args->ld, n);
    few_targets(t, rows, args, row, n);
    vec most = s[0];
    for (size_t j = 1; j < n; ++j) most = v_max(s[j], most);
    for (size_t j = 0; j < n; ++j) {
        s[j] = v_sub(s[j], most);
        e[j] = vm_exp(s[j]);
        t[j] = v_fma(keep, t[j], floor_);
        s[j] = share_of(t[j], s[j]);
    }
    const vec total = columns_fold(e, n), mass = columns_fold(t, n);
    v_store(log_e, vm_log(total));
    v_store(sum_t, mass);
    v_store(sum_ts, columns_fold(s, n));
    for (size_t l = 0; l < BP_VL; ++l)
        losses[l] = (double)sum_t[l] * (double)log_e[l] - (double)sum_ts[l];
    if (!dz) return;
    const vec share = v_div(mass, total);
    for (size_t j = 0; j < n; ++j) e[j] = v_mul(v_sub(v_mul(e[j], share), t[j]), factor);
    columns_store(dz, e, args->ld, n);
}
BP_LOSS_ROWS(cross_entropy)
#undef BP_LOSS_ROWS

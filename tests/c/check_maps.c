/* check_maps.c - activations, their derivatives, softmax and its derivative.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Rows with FMA: the bits of the reference row, on every kind of input. The reference row and rows
 * without FMA: formulas in long double, within
 *
 *      8 eps |f(x)| + |f(x (1 + d)) - f(x)| + |f(x (1 - d)) - f(x)| + 2 least |x|,   d = 4 eps,
 *
 * that is: 4 ulp of the functions of vmath.h twice; a few roundings of the argument, which the tails
 * of gelu and its kin magnify; and a gate below the least normal number that became 0 before it was
 * multiplied by x. Slopes are sums whose terms cancel, and have some eps more.
 */
#include "check_real.h"

enum { Y_ROOM, X_ROOM, SAVED_ROOM };

#define SQRT_HALF 0.707106781186547524400844362104849039L
#define INV_SQRT_2PI 0.398942280401432677939946059934381868L
#define GELU_A 1.59576912160573071175978423973752747L /* 2 sqrt(2 / pi) */
#define GELU_B 0.044715L
#define SELU_SCALE 1.0507009873554804934193349852946L
#define SELU_ALPHA 1.6732632423543772848170429916717L

/* ---- formulas ---- */

static wide logistic(wide x) { return 1 / (1 + expl(-x)); }
static wide bounded(wide x, wide limit) { return x > limit ? limit : x < -limit ? -limit : x; }
static wide hard(wide z) { return z < -3 ? 0 : z > 3 ? 1 : (z + 3) / 6; }

/* z times a gate that vanishes faster than z grows */
static wide gated(wide z, wide gate) { return z == -INFINITY ? 0 : z * gate; }

static wide value_of(size_t activation, wide z)
{
    switch (activation) {
    case BP_ACT_identity:
    case BP_ACT_softmax: /* by rows elsewhere */
        return z;
    case BP_ACT_sigmoid:
        return logistic(z);
    case BP_ACT_tanh:
        return tanhl(z);
    case BP_ACT_relu:
        return z < 0 ? 0 : z;
    case BP_ACT_leaky_relu:
        return z < 0 ? 0.01L * z : z;
    case BP_ACT_elu:
        return z < 0 ? expm1l(z) : z;
    case BP_ACT_selu:
        return SELU_SCALE * (z < 0 ? SELU_ALPHA * expm1l(z) : z);
    case BP_ACT_gelu:
        return gated(z, erfcl(-z * SQRT_HALF) / 2);
    case BP_ACT_gelu_tanh:
        return gated(z, logistic(GELU_A * z * (1 + GELU_B * z * z)));
    case BP_ACT_silu:
        return gated(z, logistic(z));
    case BP_ACT_mish:
        return gated(z, tanhl(log1pl(expl(z))));
    case BP_ACT_softplus:
        return (z < 0 ? 0 : z) + log1pl(expl(-fabsl(z)));
    case BP_ACT_softsign:
        return isinf(z) ? copysignl(1, z) : z / (1 + fabsl(z));
    case BP_ACT_hard_sigmoid:
        return z != z ? z : hard(z);
    case BP_ACT_hard_swish:
        return z != z ? z : gated(z, hard(z));
    }
    failed("activation %zu has no reference", activation);
    return 0;
}

/* saved is y or z, as activations.inc says. */
static wide slope_of(size_t activation, wide saved)
{
    const wide y = saved, z = bounded(saved, 2000);
    switch (activation) {
    case BP_ACT_identity:
    case BP_ACT_softmax:
        return 1;
    case BP_ACT_sigmoid:
        return y * (1 - y);
    case BP_ACT_tanh:
        return 1 - y * y;
    case BP_ACT_relu:
        return y > 0 ? 1 : 0;
    case BP_ACT_leaky_relu:
        return y > 0 ? 1 : 0.01L;
    case BP_ACT_elu:
        return y > 0 ? 1 : y + 1;
    case BP_ACT_selu:
        return y > 0 ? SELU_SCALE : y + SELU_SCALE * SELU_ALPHA;
    case BP_ACT_gelu:
        return erfcl(-z * SQRT_HALF) / 2 + z * INV_SQRT_2PI * expl(-z * z / 2);
    case BP_ACT_gelu_tanh: {
        const wide u = GELU_A * z * (1 + GELU_B * z * z), inner = GELU_A * (1 + 3 * GELU_B * z * z);
        return logistic(u) + z * logistic(u) * logistic(-u) * inner;
    }
    case BP_ACT_silu:
        return logistic(z) + z * logistic(z) * logistic(-z);
    case BP_ACT_mish: {
        const wide t = tanhl(log1pl(expl(z)));
        return t + z * (1 - t) * (1 + t) * logistic(z);
    }
    case BP_ACT_softplus:
        return -expm1l(-y);
    case BP_ACT_softsign:
        return (1 - fabsl(y)) * (1 - fabsl(y));
    case BP_ACT_hard_sigmoid:
        return y > 0 && y < 1 ? 1 / 6.0L : 0;
    case BP_ACT_hard_swish:
        return z < -3 ? 0 : z > 3 ? 1 : (2 * z + 3) / 6;
    }
    failed("activation %zu has no reference", activation);
    return 0;
}

typedef wide formula(size_t activation, wide x);

static wide tolerance_of(formula *f, size_t activation, wide x)
{
    const wide d = 4 * EPS, exact = f(activation, x);
    const wide up = fabsl(f(activation, x * (1 + d)) - exact);
    const wide down = fabsl(f(activation, x * (1 - d)) - exact);
    const wide total =
        8 * EPS * fabsl(exact) + 2 * (wide)REAL_MIN * fminl(fabsl(x), 1000) + up + down;
    return isfinite(total) ? total : 0;
}

/* 1 - gate loses an eps, which silu multiplies by x < 37, and gelu_tanh by 1.6 x (1 + 0.134 x^2) < 80
 * (where the gate is not yet 1). */
static wide cancelled(size_t activation) { return activation == BP_ACT_gelu_tanh ? 256 : 64; }

/* ---- elementwise ---- */

static void act_case(const subject *s, size_t activation, size_t n, int layout)
{
    real want[LONGEST], copy[LONGEST];
    wide exact[LONGEST], tolerance[LONGEST];
    real *x = reals(X_ROOM, n, SLACK(layout));
    real *y = IN_PLACE(layout) ? x : reals(Y_ROOM, n, SLACK(layout));
    BEGIN(activation, n, (size_t)layout);
    fill(x, n, SPECIAL);
    memcpy(copy, x, n * sizeof(real));
    s->ref->act[activation](want, copy, n);
    s->k->act[activation](y, x, n);
    if (s->fused) same_seen("y", y, want, n);
    for (size_t i = 0; s->judged && i < n; ++i) {
        const wide z = seen(copy[i]);
        exact[i] = value_of(activation, z);
        tolerance[i] = tolerance_of(value_of, activation, z);
    }
    if (s->judged) near_all("y", y, exact, tolerance, n);
    rooms_intact();
}

static void grad_case(const subject *s, size_t activation, size_t n, int layout, bool tame)
{
    real want[LONGEST], copy[LONGEST];
    wide exact[LONGEST], tolerance[LONGEST];
    real *dy = reals(X_ROOM, n, SLACK(layout)), *saved = reals(SAVED_ROOM, n, SLACK(layout));
    real *dz = IN_PLACE(layout) ? dy : reals(Y_ROOM, n, SLACK(layout));
    BEGIN(activation, n, (size_t)layout, tame);
    fill(saved, n, SPECIAL);
    if (tame) {
        fill_tame(dy, n, -2, 2);
        if (!bp_activation_keeps_input(activation)) s->ref->act[activation](saved, saved, n);
    } else {
        fill(dy, n, SPECIAL);
    }
    memcpy(copy, dy, n * sizeof(real));
    s->ref->grad[activation](want, copy, saved, n);
    s->k->grad[activation](dz, dy, saved, n);
    if (s->fused) same("dz", dz, want, n);
    for (size_t i = 0; s->judged && tame && i < n; ++i) {
        const wide from = seen(saved[i]), size = fabsl((wide)copy[i]);
        exact[i] = copy[i] * slope_of(activation, from);
        tolerance[i] = size * tolerance_of(slope_of, activation, from);
        tolerance[i] += cancelled(activation) * EPS * size;
    }
    if (s->judged && tame) near_all("dz", dz, exact, tolerance, n);
    rooms_intact();
}

/* ---- softmax ---- */

static void softmax_case(const subject *s, size_t n, int layout, kind what)
{
    real want[LONGEST], copy[LONGEST];
    wide exact[LONGEST], tolerance[LONGEST], most = -INFINITY, total = 0;
    real *x = reals(X_ROOM, n, SLACK(layout));
    real *y = IN_PLACE(layout) ? x : reals(Y_ROOM, n, SLACK(layout));
    BEGIN(n, (size_t)layout, what);
    fill(x, n, what);
    memcpy(copy, x, n * sizeof(real));
    s->ref->softmax(want, copy, n);
    s->k->softmax(y, x, n);
    if (s->fused) same("y", y, want, n);
    for (size_t i = 0; i < n; ++i) most = copy[i] > most ? copy[i] : most;
    for (size_t i = 0; i < n; ++i) total += expl(copy[i] - most);
    for (size_t i = 0; s->judged && i < n; ++i) {
        exact[i] = expl(copy[i] - most) / total;
        tolerance[i] = EPS * (16 + (wide)n + fabsl(copy[i] - most)) * exact[i];
    }
    if (s->judged) near_all("y", y, exact, tolerance, n);
    rooms_intact();
}

/* dx = y (dy - sum dy y), the sum in 16 lanes: exact for every row. */
static void softmax_grad_case(const subject *s, size_t n, int layout, kind what)
{
    real want[LONGEST], lanes[LANES] = {0};
    real *dy = reals(X_ROOM, n, SLACK(layout)), *y = reals(SAVED_ROOM, n, SLACK(layout));
    real *dx = IN_PLACE(layout) ? dy : reals(Y_ROOM, n, SLACK(layout));
    BEGIN(n, (size_t)layout, what);
    fill(dy, n, what);
    fill(y, n, what);
    for (size_t i = 0; i < n; ++i) lanes[i % LANES] = link(s, dy[i], y[i], lanes[i % LANES]);
    const real inner = fold_lanes(lanes);
    for (size_t i = 0; i < n; ++i) {
        const real rest = dy[i] - inner;
        want[i] = y[i] * rest;
    }
    s->k->softmax_grad(dx, dy, y, n);
    same("dx", dx, want, n);
    rooms_intact();
}

void NAME(check_maps)(const subject *s)
{
    for (size_t a = 0; a < BP_N_ACTIVATIONS; ++a) {
        for (size_t i = 0; i < N_LENGTHS; ++i) {
            for (int layout = 0; layout < LAYOUTS; ++layout) {
                kernel_is("act", "activation n layout");
                act_case(s, a, lengths[i], layout);
                kernel_is("grad", "activation n layout tame");
                grad_case(s, a, lengths[i], layout, true);
                grad_case(s, a, lengths[i], layout, false);
            }
        }
    }
    for (size_t i = 0; i < N_LENGTHS; ++i) {
        for (int layout = 0; layout < LAYOUTS; ++layout) {
            for (kind what = RANDOM; what < N_KINDS; ++what) {
                kernel_is("softmax", "n layout data");
                softmax_case(s, lengths[i], layout, what);
                kernel_is("softmax_grad", "n layout data");
                softmax_grad_case(s, lengths[i], layout, what);
            }
        }
    }
}

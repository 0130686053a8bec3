/* check_update.c - optimizer rules, and the small maps on parameters and gradients.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Rules: the bits of the reference row where FMA is; formulas in long double for the reference row
 * and rows without, within 16 eps of the largest term: a dozen roundings. The other maps have one or
 * two operations and are exact everywhere.
 */
#include "check_real.h"

enum { W_ROOM, G_ROOM, S0_ROOM, S1_ROOM };

static const bp_optim_args args = {.rate = 0.0123,
                                   .correction = 3.17,
                                   .beta_1 = 0.9,
                                   .beta_2 = 0.999,
                                   .epsilon = 1e-8,
                                   .decay = 0.9993,
                                   .eta_minus = 0.5,
                                   .eta_plus = 1.2,
                                   .step_min = 1e-3,
                                   .step_max = 0.5};

static wide sign_of(wide x) { return x > 0 ? 1 : x < 0 ? -1 : x; }

/* One parameter: w and the state a, b become their next values; the result is the largest term. */
static wide rule_of(size_t rule, wide *w, wide g, wide *a, wide *b)
{
    const wide rate = (real)args.rate, beta_1 = (real)args.beta_1, beta_2 = (real)args.beta_2;
    const wide rest_1 = (real)(1 - args.beta_1), rest_2 = (real)(1 - args.beta_2);
    const wide epsilon = (real)args.epsilon, decay = (real)args.decay;
    const wide before = *w, a0 = *a, b0 = *b;
    switch (rule) {
    case BP_OPT_sgd:
        *w -= rate * g;
        break;
    case BP_OPT_momentum:
        *a = beta_1 * *a + rate * g;
        *w -= *a;
        break;
    case BP_OPT_nesterov:
        *a = beta_1 * *a + rate * g;
        *w -= beta_1 * *a + rate * g;
        break;
    case BP_OPT_adam:
        *a = beta_1 * *a + rest_1 * g;
        *b = beta_2 * *b + rest_2 * g * g;
        *w = *w * decay - rate * *a / (sqrtl(*b) * (real)args.correction + epsilon);
        break;
    case BP_OPT_rmsprop:
        *a = beta_1 * *a + rest_1 * g * g;
        *w -= rate * g / (sqrtl(*a) + epsilon);
        break;
    case BP_OPT_adagrad:
        *a += g * g;
        *w -= rate * g / (sqrtl(*a) + epsilon);
        break;
    case BP_OPT_rprop: {
        const wide turn = sign_of(g) * sign_of(*a), low = (real)args.step_min,
                   high = (real)args.step_max;
        if (turn > 0) *b = fminl(*b * (real)args.eta_plus, high);
        if (turn < 0) *b = fmaxl(*b * (real)args.eta_minus, low);
        *a = turn < 0 ? 0 : g;
        *w -= sign_of(*a) * *b;
        break;
    }
    case BP_OPT_lion: {
        const wide c = beta_1 * *a + rest_1 * g;
        *a = beta_2 * *a + rest_2 * g;
        *w = *w * decay - rate * sign_of(c);
        break;
    }
    default:
        failed("rule %zu has no reference", rule);
    }
    return fabsl(before) + fabsl(before - *w) + fabsl(a0) + fabsl(b0) + fabsl(g) + g * g;
}

static void rule_case(const subject *s, size_t rule, size_t n, size_t slack, bool tame)
{
    real want[3][LONGEST], g_copy[LONGEST];
    wide exact[3][LONGEST], tolerance[LONGEST];
    const size_t slots = bp_rule_slots(rule);
    real *w = reals(W_ROOM, n, slack), *g = reals(G_ROOM, n, slack);
    real *state[2] = {reals(S0_ROOM, n, slack), reals(S1_ROOM, n, slack)};
    real *parts[3] = {w, state[0], state[1]};
    static const char *const names[] = {"w", "first slot", "second slot"};
    BEGIN(rule, n, slack, tame);
    if (tame) {
        const bool signed_first =
            slots == 2 || rule == BP_OPT_momentum || rule == BP_OPT_nesterov || rule == BP_OPT_lion;
        fill_tame(w, n, -2, 2);
        fill_tame(g, n, -2, 2);
        fill_tame(state[0], n, signed_first ? -1 : 0, 1);
        fill_tame(state[1], n, 0.002, 0.4);
    } else {
        for (size_t p = 0; p < 3; ++p) fill(parts[p], n, SPECIAL);
        fill(g, n, SPECIAL);
    }
    for (size_t p = 0; p < 3; ++p) memcpy(want[p], parts[p], n * sizeof(real));
    memcpy(g_copy, g, n * sizeof(real));
    for (size_t i = 0; i < n; ++i) {
        for (size_t p = 0; p < 3; ++p) exact[p][i] = parts[p][i];
        tolerance[i] = 16 * EPS * rule_of(rule, &exact[0][i], g[i], &exact[1][i], &exact[2][i]);
    }
    s->ref->optim[rule](want[0], g_copy, slots > 0 ? want[1] : NULL, slots > 1 ? want[2] : NULL,
                        &args, 1, n, n);
    s->k->optim[rule](w, g, slots > 0 ? state[0] : NULL, slots > 1 ? state[1] : NULL, &args, 1, n,
                      n);
    for (size_t p = 0; p <= slots; ++p) {
        if (s->fused) same(names[p], parts[p], want[p], n);
        if (s->judged && tame) near_all(names[p], parts[p], exact[p], tolerance, n);
    }
    same("g", g, g_copy, n);
    rooms_intact();
}

/* Rows that are ld apart have the bits of each row by itself, and what lies between keeps its own. */
static void rows_case(const subject *s, size_t rule, size_t m, size_t n, size_t ld)
{
    real want[4][LONGEST];
    const size_t slots = bp_rule_slots(rule);
    real *parts[4];
    for (size_t p = 0; p < 4; ++p) {
        parts[p] = reals(p, m * ld, 0);
        fill_tame(parts[p], m * ld, 0.1, 1);
        memcpy(want[p], parts[p], m * ld * sizeof(real));
    }
    BEGIN(rule, m, n, ld);
    for (size_t i = 0; i < m * ld; i += ld)
        s->k->optim[rule](want[W_ROOM] + i, want[G_ROOM] + i, slots > 0 ? want[S0_ROOM] + i : NULL,
                          slots > 1 ? want[S1_ROOM] + i : NULL, &args, 1, n, n);
    s->k->optim[rule](parts[W_ROOM], parts[G_ROOM], slots > 0 ? parts[S0_ROOM] : NULL,
                      slots > 1 ? parts[S1_ROOM] : NULL, &args, m, n, ld);
    for (size_t p = 0; p < 4; ++p) same("part", parts[p], want[p], m * ld);
    rooms_intact();
}

/* ---- maps of one or two operations ---- */

static void maps_case(const subject *s, size_t n, size_t slack)
{
    real before[LONGEST], want[LONGEST];
    real *x = reals(W_ROOM, n, slack), *other = reals(G_ROOM, n, slack);
    double *doubles = place(S0_ROOM, n * sizeof(double), 0);
    fill(before, n, SPECIAL);
    fill(other, n, SPECIAL);

    kernel_is("clip", "n slack");
    BEGIN(n, slack);
    memcpy(x, before, n * sizeof(real));
    for (size_t i = 0; i < n; ++i) {
        const real limit = (real)1.7;
        want[i] = before[i] > limit ? limit : before[i] < -limit ? -limit : before[i];
    }
    s->k->clip(x, 1.7, n);
    same_seen("x", x, want, n);

    kernel_is("scale", "n slack");
    BEGIN(n, slack);
    memcpy(x, before, n * sizeof(real));
    for (size_t i = 0; i < n; ++i) want[i] = before[i] * (real)0.3;
    s->k->scale(x, 0.3, n);
    same("x", x, want, n);

    kernel_is("add", "n slack");
    BEGIN(n, slack);
    memcpy(x, before, n * sizeof(real));
    for (size_t i = 0; i < n; ++i) want[i] = before[i] + other[i];
    s->k->add(x, other, n);
    same("x", x, want, n);

    kernel_is("sum_of", "n slack");
    BEGIN(n, slack);
    s->k->sum_of(x, before, other, n);
    same("x", x, want, n);

    kernel_is("distance", "n slack");
    BEGIN(n, slack);
    for (size_t i = 0; i < n; ++i) {
        const real d = before[i] - other[i];
        want[i] = (real)fabs((double)d);
    }
    s->k->distance(x, before, other, n);
    same_seen("x", x, want, n);

    kernel_is("distance_grad", "n slack");
    BEGIN(n, slack);
    for (size_t i = 0; i < n; ++i) {
        const real g = before[i];
        want[i] = g > other[i] ? g : g < other[i] ? 0 - g : 0;
    }
    s->k->distance_grad(x, before, before, other, n);
    same_seen("x", x, want, n);

    kernel_is("non_negative", "n slack");
    BEGIN(n, slack);
    memcpy(x, before, n * sizeof(real));
    for (size_t i = 0; i < n; ++i) want[i] = 0 > before[i] ? 0 : before[i]; /* NaN and -0 stay */
    s->k->non_negative(x, n);
    same_seen("x", x, want, n);

    kernel_is("add_penalty", "n slack");
    BEGIN(n, slack);
    memcpy(x, before, n * sizeof(real));
    for (size_t i = 0; i < n; ++i) {
        const real w = other[i], unit = w > 0 ? 1 : w < 0 ? -1 : w;
        want[i] = link(s, (real)0.01, unit, link(s, (real)0.2, w, before[i]));
    }
    s->k->add_penalty(x, other, 0.01, 0.2, n);
    same("g", x, want, n);

    kernel_is("average", "n slack");
    BEGIN(n, slack);
    memcpy(x, before, n * sizeof(real));
    for (size_t i = 0; i < n; ++i) want[i] = link(s, (real)0.3, other[i] - before[i], before[i]);
    s->k->average(x, other, 0.3, n);
    same("y", x, want, n);

    kernel_is("fill", "n slack");
    BEGIN(n, slack);
    for (size_t i = 0; i < n; ++i) want[i] = (real)0.1;
    s->k->fill(x, 0.1, n);
    same("x", x, want, n);

    kernel_is("convert", "n slack");
    BEGIN(n, slack);
    for (size_t i = 0; i < n; ++i)
        doubles[i] = i % 3 ? random_normal() : i % 2 ? 1e300 : (double)other[i];
    for (size_t i = 0; i < n; ++i) want[i] = (real)doubles[i];
    s->k->convert(x, doubles, n);
    same("x", x, want, n);
    rooms_intact();
}

static void columns_case(const subject *s, size_t m, size_t n)
{
    real *a = reals(W_ROOM, m * n, 0), *factors = reals(G_ROOM, n, 0);
    static real want[LONGEST * 8];
    BEGIN(m, n);
    fill(a, m * n, SPECIAL);
    fill(factors, n, SPECIAL);
    for (size_t e = 0; e < m * n; ++e) want[e] = a[e] * factors[e % n];
    s->k->scale_columns(a, factors, m, n);
    same("a", a, want, m * n);
    rooms_intact();
}

void NAME(check_update)(const subject *s)
{
    for (size_t i = 0; i < N_LENGTHS; ++i) {
        for (size_t slack = 0; slack <= sizeof(real); slack += sizeof(real)) {
            kernel_is("optim", "rule n slack tame");
            for (size_t rule = 0; rule < BP_N_OPTIMIZERS; ++rule) {
                rule_case(s, rule, lengths[i], slack, true);
                rule_case(s, rule, lengths[i], slack, false);
            }
            maps_case(s, lengths[i], slack);
        }
        kernel_is("optim of rows", "rule m n ld");
        for (size_t rule = 0; rule < BP_N_OPTIMIZERS; ++rule)
            for (size_t m = 0; lengths[i] <= 33 && m <= 3; ++m)
                rows_case(s, rule, m, lengths[i], 33);
        kernel_is("scale_columns", "m n");
        for (size_t m = 0; m < 8; ++m) columns_case(s, m, lengths[i]);
    }
}

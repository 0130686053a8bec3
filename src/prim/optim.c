/* optim.c - from an optimizer's values and the step number to one sweep over parameters.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Everything that depends on the step is a pure function of it, computed in double by our own code:
 * a running product would make a resumed run end with other bits.
 */
#include "prim.h"

#include <math.h>

double bp_optimizer_slot_start(const bp_optimizer *o, size_t slot, double rate)
{
    return o->rule == BP_OPT_rprop && slot == 1 ? rate : 0.0;
}

/* base^n by squaring: the same products for the same n on every machine. */
static double power(double base, uint64_t n)
{
    double result = 1.0;
    for (; n > 0; n >>= 1, base *= base)
        if (n & 1) result *= base;
    return result;
}

static void set_rate(bp_update *u, double rate)
{
    u->rate = rate;
    u->args.rate = rate / u->share;
    u->args.decay = 1.0 - rate * u->weight_decay;
}

bp_update bp_update_prepare(const bp_kernels *k, const bp_optimizer *o, double rate, uint64_t step)
{
    const bool corrected = o->rule == BP_OPT_adam && o->bias_correction;
    bp_update u = {.rule = k->optim[o->rule],
                   .weight_decay = o->weight_decay,
                   .share = corrected ? 1.0 - power(o->beta_1, step) : 1.0,
                   .gradient_scale = 1.0,
                   .clip_value = o->clip_value};
    u.args = (bp_optim_args){
        .correction = corrected ? 1.0 / sqrt(1.0 - power(o->beta_2, step)) : 1.0,
        .beta_1 = o->beta_1,
        .beta_2 = o->beta_2,
        .epsilon = o->epsilon,
        .eta_minus = o->eta_minus,
        .eta_plus = o->eta_plus,
        .step_min = o->step_min,
        .step_max = o->step_max,
    };
    set_rate(&u, rate);
    if (o->rule == BP_OPT_momentum || o->rule == BP_OPT_nesterov) u.args.beta_1 = o->momentum;
    if (o->rule == BP_OPT_rmsprop) u.args.beta_1 = o->rho;
    return u;
}

double bp_average_share(double decay, uint64_t n)
{
    return decay < 1 ? (1 - decay) / (1 - power(decay, n)) : 1 / (double)n;
}

bp_update bp_update_scaled(const bp_update *update, double scale)
{
    bp_update u = *update;
    set_rate(&u, update->rate * scale);
    return u;
}

double bp_clip_factor(double norm, double limit)
{
    return limit > 0 && norm > limit ? limit / norm : 1.0;
}

void bp_update_run(const bp_kernels *k, const bp_update *u, void *w, void *g, void *s0, void *s1,
                   size_t rows, size_t cols, size_t ld)
{
    if (u->gradient_scale < 1.0) k->scale(g, u->gradient_scale, rows * ld);
    if (u->clip_value > 0) k->clip(g, u->clip_value, rows * ld);
    u->rule(w, g, s0, s1, &u->args, rows, cols, ld);
}

/* check_random.c - masks and draws against a scalar Philox-4x32-10 written from the paper.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011; the known
 * answers are those of their library Random123 (kat_vectors).
 */
#include "check_real.h"

enum { MASK_ROOM, X_ROOM, Y_ROOM, DRAW_ROOM, STATISTICS = 40000 };

typedef struct {
    uint32_t word[4];
} words;

static words philox_by_paper(words counter, uint32_t k0, uint32_t k1)
{
    for (int round = 0; round < 10; ++round) {
        if (round) {
            k0 += 0x9E3779B9u; /* golden ratio */
            k1 += 0xBB67AE85u; /* sqrt(3) - 1 */
        }
        const uint64_t left = (uint64_t)0xD2511F53u * counter.word[0];
        const uint64_t right = (uint64_t)0xCD9E8D57u * counter.word[2];
        const words next = {{(uint32_t)(right >> 32) ^ counter.word[1] ^ k0, (uint32_t)right,
                             (uint32_t)(left >> 32) ^ counter.word[3] ^ k1, (uint32_t)left}};
        counter = next;
    }
    return counter;
}

/* The layout of rng.tmpl.h. */
static words block_at(const bp_rng_key *key, uint32_t low, uint32_t high)
{
    const uint64_t mixed = key->seed ^ ((key->step >> 32) * UINT64_C(0x9E3779B97F4A7C15));
    const words counter = {{low, high, (uint32_t)key->step, key->stream}};
    return philox_by_paper(counter, (uint32_t)mixed, (uint32_t)(mixed >> 32));
}

static const struct {
    words counter, answer;
    uint32_t key[2];
} known[] = {
    {{{0, 0, 0, 0}}, {{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}}, {0, 0}},
    {{{~0u, ~0u, ~0u, ~0u}}, {{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}}, {~0u, ~0u}},
    {{{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}},
     {{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
     {0xa4093822, 0x299f31d0}},
};

/* A word w is kept at rate w / 2^32 and dropped at (w + 1) / 2^32: so the kernel's words are read. */
static void known_answers(const subject *s)
{
    kernel_is("mask_rows", "known answer");
    for (size_t i = 0; i < sizeof known / sizeof known[0]; ++i) {
        const words w = philox_by_paper(known[i].counter, known[i].key[0], known[i].key[1]);
        const bp_rng_key key = {.seed = (uint64_t)known[i].key[1] << 32 | known[i].key[0],
                                .stream = known[i].counter.word[3],
                                .step = known[i].counter.word[2]};
        BEGIN(i);
        verdict(memcmp(&w, &known[i].answer, sizeof w) == 0,
                "the scalar Philox of this test is wrong");
        for (size_t lane = 0; lane < 4; ++lane) {
            uint8_t *mask = place(MASK_ROOM, s->k->nr, 0);
            const double rate = known[i].answer.word[lane] * 0x1p-32;
            const size_t row = known[i].counter.word[1], col = (size_t)known[i].counter.word[0] * 4;
            s->k->mask_rows(mask, &key, row, col, 1, rate);
            const bool kept = mask[lane] == 1;
            s->k->mask_rows(mask, &key, row, col, 1, rate + 0x1p-32);
            verdict(kept && mask[lane] == 0, "not the known word");
        }
    }
}

static bp_rng_key random_key(void)
{
    const bp_rng_key key = {random_bits(), (uint32_t)random_bits(),
                            random_bits() >> (random_bits() % 64)};
    return key;
}

static void mask_case(const subject *s, size_t m, double rate)
{
    const size_t nr = s->k->nr, row = (size_t)random_bits() % 1000, col = random_bits() % 9 * nr;
    const bp_rng_key key = random_key();
    uint8_t *mask = place(MASK_ROOM, m * nr, 0);
    bool ok = true;
    BEGIN(m, row, col, (size_t)(rate * 1000));
    s->k->mask_rows(mask, &key, row, col, m, rate);
    for (size_t e = 0; e < m * nr; ++e) {
        const size_t c = col + e % nr;
        const words w = block_at(&key, (uint32_t)(c / 4), (uint32_t)(row + e / nr));
        ok = ok && mask[e] == (w.word[c % 4] >= rate * 0x1p32);
    }
    verdict(ok, "not the mask of the scalar Philox");
    rooms_intact();
}

static void apply_case(const subject *s, size_t n, int layout)
{
    uint8_t *mask = place(MASK_ROOM, n, 0);
    real *x = reals(X_ROOM, n, SLACK(layout)), want[LONGEST];
    real *y = IN_PLACE(layout) ? x : reals(Y_ROOM, n, SLACK(layout));
    BEGIN(n, (size_t)layout);
    fill(x, n, SPECIAL);
    for (size_t i = 0; i < n; ++i) {
        mask[i] = (uint8_t)(random_bits() % 2);
        want[i] = mask[i] ? x[i] * (real)1.25 : 0; /* a dropped NaN is 0 */
    }
    s->k->mask_apply(y, x, mask, 1.25, n);
    same("y", y, want, n);
    rooms_intact();
}

/* Against Box & Muller in long double. The radius is at most 5.8, and the angle rounds to 2 pi EPS. */
static void noise_case(const subject *s, size_t m, int layout)
{
    const size_t nr = s->k->nr, n = m * nr, row = (size_t)random_bits() % 1000;
    const size_t col = random_bits() % 9 * nr;
    const bp_rng_key key = random_key();
    real *x = reals(X_ROOM, n, SLACK(layout));
    real *y = IN_PLACE(layout) ? x : reals(Y_ROOM, n, SLACK(layout));
    wide want[LONGEST * LONGEST], tolerance[LONGEST * LONGEST];
    BEGIN(m, row, col, (size_t)layout);
    fill_tame(x, n, -3, 3);
    for (size_t e = 0; e < n; ++e) {
        const size_t c = col + e % nr;
        const words w = block_at(&key, (uint32_t)(c / 4), (uint32_t)(row + e / nr));
        const uint32_t *pair = w.word + c % 4 / 2 * 2;
        const wide radius = sqrtl(-2 * logl(((pair[0] >> 8) + 1) * 0x1p-24L));
        const wide angle = 6.283185307179586476925286766559L * (pair[1] >> 8) * 0x1p-24L;
        want[e] = x[e] + (wide)(real)0.3 * radius * (c % 2 ? sinl(angle) : cosl(angle));
        tolerance[e] = 60 * (wide)EPS;
    }
    s->k->noise_rows(y, x, &key, row, col, m, 0.3);
    near_all("y", y, want, tolerance, n);
    rooms_intact();
}

/* ---- draws in double ---- */

static double uniform_at(const bp_rng_key *key, size_t index)
{
    const uint64_t counter = index / 2;
    const words w = block_at(key, (uint32_t)counter, (uint32_t)(counter >> 32));
    const size_t pair = index % 2 * 2;
    return ((double)(((uint64_t)w.word[pair] << 32 | w.word[pair + 1]) >> 12) + 0.5) * 0x1p-52;
}

static void uniform_case(const subject *s, size_t first, size_t n)
{
    const bp_rng_key key = random_key();
    double *out = place(DRAW_ROOM, n * sizeof(double), 0);
    bool ok = true;
    BEGIN(first, n);
    s->k->uniform(out, &key, first, n);
    for (size_t i = 0; i < n; ++i)
        ok = ok && out[i] == uniform_at(&key, first + i) && out[i] > 0 && out[i] < 1;
    verdict(ok, "not the draws of the scalar Philox");
    rooms_intact();
}

/* Against Box & Muller in long double; 2 pi u and the radius round: some 1e-15 of the radius. */
static void normal_case(const subject *s, size_t first, size_t n)
{
    const bp_rng_key key = random_key();
    double *out = place(DRAW_ROOM, n * sizeof(double), 0), want[LONGEST];
    bool ok = true;
    BEGIN(first, n);
    s->k->normal(out, &key, first, n);
    s->ref->normal(want, &key, first, n);
    for (size_t i = 0; i < n; ++i) {
        const size_t even = first + i - i % 2;
        const wide radius = sqrtl(-2 * logl((wide)uniform_at(&key, even)));
        const wide angle = 6.283185307179586476925286766559L * (wide)uniform_at(&key, even + 1);
        const wide exact = radius * (i % 2 ? sinl(angle) : cosl(angle));
        ok = ok && fabsl(out[i] - exact) <= 4e-15L * (1 + radius);
        ok = ok && (!s->fused || memcmp(&out[i], &want[i], sizeof(double)) == 0);
    }
    verdict(ok, "not Box and Muller's");
    rooms_intact();
}

/* Mean and variance within 5 standard errors, for a fixed key: no chance of failing another day. */
static void statistics(const subject *s)
{
    const bp_rng_key key = {.seed = 1, .stream = 2, .step = 3};
    double *out = place(DRAW_ROOM, STATISTICS * sizeof(double), 0), mean = 0, square = 0;
    const double n = STATISTICS;
    BEGIN(STATISTICS);
    s->k->normal(out, &key, 0, STATISTICS);
    for (size_t i = 0; i < STATISTICS; ++i) mean += out[i] / n;
    for (size_t i = 0; i < STATISTICS; ++i) square += (out[i] - mean) * (out[i] - mean) / n;
    verdict(fabs(mean) < 5 / sqrt(n), "the mean is not 0");
    verdict(fabs(square - 1) < 5 * sqrt(2 / n), "the variance is not 1");
}

static void check_draws(const subject *s)
{
    kernel_is("uniform", "first n");
    for (size_t first = 0; first < 36; ++first)
        for (size_t i = 0; i < N_LENGTHS; ++i) uniform_case(s, first, lengths[i]);
    for (size_t i = 0; i < N_LENGTHS; ++i) uniform_case(s, ((size_t)1 << 33) - 20, lengths[i]);
    kernel_is("normal", "first n");
    for (size_t first = 0; first < 36; first += 2)
        for (size_t i = 0; i < N_LENGTHS; ++i) normal_case(s, first, lengths[i]);
    statistics(s);
    kernel_is("cosine", "point");
    for (size_t i = 0; i <= 4000; ++i) {
        const double x = ((double)i - 2000) * 0.0123;
        BEGIN(i);
        verdict(fabsl(s->k->cosine(x) - cosl(x)) <= 4 * (wide)DBL_EPSILON, "not the cosine");
    }
}

void NAME(check_random)(const subject *s)
{
    const double rates[] = {0, 0.1, 0.5, 0.999, 1};
    known_answers(s);
    kernel_is("mask_rows", "m row col rate/1000");
    for (size_t m = 0; m < 40; ++m)
        for (size_t r = 0; r < sizeof rates / sizeof rates[0]; ++r) mask_case(s, m, rates[r]);
    kernel_is("mask_apply", "n layout");
    for (size_t i = 0; i < N_LENGTHS; ++i)
        for (int layout = 0; layout < LAYOUTS; ++layout) apply_case(s, lengths[i], layout);
    kernel_is("noise_rows", "m row col layout");
    for (size_t m = 0; m < 40; ++m)
        for (int layout = 0; layout < LAYOUTS; ++layout) noise_case(s, m, layout);
    if (CHECK_F64) {
        check_draws(s);
    } else {
        kernel_is("uniform, normal, cosine", "");
        verdict(!s->k->uniform && !s->k->normal && !s->k->cosine, "float32 rows hold NULL");
    }
}

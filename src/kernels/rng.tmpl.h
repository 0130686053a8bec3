/* rng.tmpl.h - counter-based random numbers: Philox-4x32-10 (Salmon et al. 2011).
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * A draw is a function of (seed, stream, step, index) alone. Key: the seed, with the high half of the
 * step mixed in. Counter: (index low, index high or row, step low, stream). Integers, so every ISA row gives the
 * same words; BP_PHILOX_WIDE counters are worked on at once.
 * Parameters: the vocabulary and vmath.h (for normal).
 */
enum { BP_PHILOX_WIDE = 16, BP_PHILOX_ROUNDS = 10 };

/* Words are the low halves: what stands above them is never read. */
typedef struct {
    uint64_t word[4][BP_PHILOX_WIDE];
} philox_block;

BP_INLINE uint32_t word_at(const philox_block *x, size_t w, size_t i)
{
    return (uint32_t)x->word[w][i];
}

BP_INLINE void philox(philox_block *x, const bp_rng_key *key)
{
    const uint64_t mixed = key->seed ^ ((key->step >> 32) * UINT64_C(0x9E3779B97F4A7C15));
    const vwide m0 = vw_set1(0xD2511F53u), m1 = vw_set1(0xCD9E8D57u);
    for (size_t i = 0; i < BP_PHILOX_WIDE; i += BP_VW) {
        vwide w0 = vw_load(x->word[0] + i), w1 = vw_load(x->word[1] + i);
        vwide w2 = vw_load(x->word[2] + i), w3 = vw_load(x->word[3] + i);
        uint32_t k0 = (uint32_t)mixed, k1 = (uint32_t)(mixed >> 32);
        _Pragma("GCC unroll 10") for (int round = 0; round < BP_PHILOX_ROUNDS; ++round)
        {
            const vwide p0 = vw_mul(w0, m0), p1 = vw_mul(w2, m1);
            w0 = vw_xor(vw_xor(vw_high(p1), w1), vw_set1(k0));
            w1 = p1;
            w2 = vw_xor(vw_xor(vw_high(p0), w3), vw_set1(k1));
            w3 = p0;
            k0 += 0x9E3779B9u;
            k1 += 0xBB67AE85u;
        }
        vw_store(x->word[0] + i, w0);
        vw_store(x->word[1] + i, w1);
        vw_store(x->word[2] + i, w2);
        vw_store(x->word[3] + i, w3);
    }
}

/* Words for elements of rows of a panel from (row, col) on, four columns a counter: (col / 4, row). */
BP_INLINE void philox_of_rows(philox_block *x, const bp_rng_key *key, size_t row, size_t col,
                              size_t first)
{
    const size_t counters = BP_NR / 4;
    for (size_t i = 0; i < BP_PHILOX_WIDE; ++i) {
        x->word[0][i] = (uint32_t)(col / 4 + (first + i) % counters);
        x->word[1][i] = (uint32_t)(row + (first + i) / counters);
        x->word[2][i] = (uint32_t)key->step;
        x->word[3][i] = key->stream;
    }
    philox(x, key);
}

static void mask_rows(uint8_t *mask, const bp_rng_key *key, size_t row, size_t col, size_t m,
                      double rate)
{
    const uint64_t drop_below = (uint64_t)(rate * 4294967296.0); /* of 2^32 equally likely words */
    const size_t total = m * (BP_NR / 4);
    for (size_t first = 0; first < total; first += BP_PHILOX_WIDE) {
        const size_t count = bp_min(BP_PHILOX_WIDE, total - first);
        philox_block x;
        philox_of_rows(&x, key, row, col, first);
        for (size_t i = 0; i < count; ++i)
            for (size_t w = 0; w < 4; ++w)
                mask[(first + i) * 4 + w] = word_at(&x, w, i) >= drop_below;
    }
}

/* Kept elements times factor, the others zero. */
static void mask_apply(void *y_, const void *x_, const uint8_t *mask, double factor, size_t n)
{
    real *y = y_;
    const real *x = x_, f = (real)factor;
    for (size_t i = 0; i < n; ++i) y[i] = mask[i] ? x[i] * f : (real)0;
}

/* Box & Muller 1958: r cos a, r sin a from two words each, of which 24 bits are used in both dtypes:
 * r^2 = -2 log((n + 1) / 2^24) <= 33.3, a = 2 pi n' / 2^24. The noise of the two differs by rounding. */
BP_INLINE void normal_block(real *out, const philox_block *x)
{
    enum { DROPPED_BITS = 8 };
    real radius[2][BP_PHILOX_WIDE], angle[2][BP_PHILOX_WIDE];
    for (size_t p = 0; p < 2; ++p) {
        for (size_t i = 0; i < BP_PHILOX_WIDE; ++i) {
            radius[p][i] = (real)((int32_t)(word_at(x, 2 * p, i) >> DROPPED_BITS) + 1);
            angle[p][i] = (real)(int32_t)(word_at(x, 2 * p + 1, i) >> DROPPED_BITS);
        }
        for (size_t i = 0; i < BP_PHILOX_WIDE; i += BP_VL) {
            const vec u = v_mul(v_load(radius[p] + i), v_set1((real)0x1p-24));
            const vec turn = v_set1((real)(6.283185307179586476925 * 0x1p-24));
            const vec r = v_sqrt(v_mul(v_set1(-2), vm_log(u)));
            vec s, c;
            vm_sincos(v_mul(v_load(angle[p] + i), turn), &s, &c);
            v_store(radius[p] + i, v_mul(r, c));
            v_store(angle[p] + i, v_mul(r, s));
        }
    }
    for (size_t i = 0; i < BP_PHILOX_WIDE; ++i) {
        for (size_t p = 0; p < 2; ++p) {
            out[4 * i + 2 * p] = radius[p][i];
            out[4 * i + 2 * p + 1] = angle[p][i];
        }
    }
}

static void noise_rows(void *y_, const void *x_, const bp_rng_key *key, size_t row, size_t col,
                       size_t m, double deviation)
{
    real *y = y_;
    const real *x = x_;
    const vec factor = v_set1((real)deviation);
    const size_t total = m * (BP_NR / 4);
    for (size_t first = 0; first < total; first += BP_PHILOX_WIDE) {
        const size_t n = 4 * bp_min(BP_PHILOX_WIDE, total - first); /* whole vectors: NR is */
        philox_block words;
        real draw[4 * BP_PHILOX_WIDE];
        philox_of_rows(&words, key, row, col, first);
        normal_block(draw, &words);
        for (size_t e = 0; e < n; e += BP_VL)
            v_store(y + 4 * first + e, v_fma(v_load(draw + e), factor, v_load(x + 4 * first + e)));
    }
}

#if BP_F64
/* Two doubles a counter, from its index first / 2, ...: the middle of one of 2^52 equal steps. */
static void uniform(double *out, const bp_rng_key *key, size_t first, size_t n)
{
    for (size_t done = 0; done < n;) {
        philox_block x;
        const size_t start = (first + done) / 2, skip = (first + done) % 2;
        for (size_t i = 0; i < BP_PHILOX_WIDE; ++i) {
            x.word[0][i] = (uint32_t)(start + i);
            x.word[1][i] = (uint32_t)((uint64_t)(start + i) >> 32);
            x.word[2][i] = (uint32_t)key->step;
            x.word[3][i] = key->stream;
        }
        philox(&x, key);
        for (size_t j = skip; j < 2 * (size_t)BP_PHILOX_WIDE && done < n; ++j, ++done) {
            const uint64_t bits =
                (uint64_t)word_at(&x, j % 2 * 2, j / 2) << 32 | word_at(&x, j % 2 * 2 + 1, j / 2);
            out[done] = ((double)(bits >> 12) + 0.5) * 0x1p-52;
        }
    }
}

/* Box & Muller 1958 on the pairs (2i, 2i + 1) of uniform: r cos a, r sin a. */
static void normal(double *out, const bp_rng_key *key, size_t first, size_t n)
{
    double u[2 * BP_PHILOX_WIDE], radius[BP_PHILOX_WIDE], angle[BP_PHILOX_WIDE];
    for (size_t done = 0; done < n; done += 2 * (size_t)BP_PHILOX_WIDE) {
        uniform(u, key, first + done, 2 * BP_PHILOX_WIDE);
        for (size_t i = 0; i < BP_PHILOX_WIDE; ++i) {
            radius[i] = u[2 * i];
            angle[i] = 6.283185307179586476925 * u[2 * i + 1];
        }
        for (size_t i = 0; i < BP_PHILOX_WIDE; i += BP_VL) {
            const vec r = v_sqrt(v_mul(v_set1(-2), vm_log(v_load(radius + i))));
            vec s, c;
            vm_sincos(v_load(angle + i), &s, &c);
            v_store(radius + i, v_mul(r, c));
            v_store(angle + i, v_mul(r, s));
        }
        for (size_t i = 0; i < bp_min(2 * (size_t)BP_PHILOX_WIDE, n - done); ++i)
            out[done + i] = i % 2 ? angle[i / 2] : radius[i / 2];
    }
}

static double cosine(double x)
{
    double lane[BP_VL];
    vec s, c;
    vm_sincos(v_set1(x), &s, &c);
    v_store(lane, c);
    return lane[0];
}
#endif

/* rng.c - permutations and initial weights from counter-based draws.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * All are functions of (seed, stream, step) alone; normal draws and rotations are done in double with
 * our own logarithm, sine and cosine, so the same seed gives the same weights on every machine.
 */
#include "prim.h"

#include <math.h>

enum { BP_DRAWS = 256 }; /* doubles drawn at a time, on the stack */

/* Fisher & Yates from the end; index = floor(u * (i + 1)). The bias of a 52-bit u over n rows is at
 * most n / 2^52. */
static void shuffle(const bp_kernels *k64, int64_t *out, size_t n, const bp_rng_key *key)
{
    double u[BP_DRAWS];
    for (size_t i = 0; i < n; ++i) out[i] = (int64_t)i;
    for (size_t done = 0; done + 1 < n; ++done) {
        if (done % BP_DRAWS == 0) k64->uniform(u, key, done, bp_min(BP_DRAWS, n - 1 - done));
        const size_t last = n - 1 - done, pick = (size_t)(u[done % BP_DRAWS] * (double)(last + 1));
        const int64_t held = out[last];
        out[last] = out[pick];
        out[pick] = held;
    }
}

void bp_permutation(int64_t *out, size_t n, uint64_t seed, uint32_t stream, uint64_t step)
{
    const bp_rng_key key = {.seed = seed, .stream = stream, .step = step};
    const bp_fpmode mode = bp_fpmode_enter();
    shuffle(bp_kernels_get(bp_isa_default(), sizeof(double)), out, n, &key);
    bp_fpmode_leave(mode);
}

/* normal: mean a, standard deviation b; otherwise uniform from a to b. */
void bp_fill_random(const bp_kernels *k, const bp_kernels *k64, void *out, size_t n, bool normal,
                    double a, double b, uint64_t seed, uint32_t stream)
{
    const bp_rng_key key = {.seed = seed, .stream = stream, .step = 0};
    double draw[BP_DRAWS];
    for (size_t first = 0; first < n; first += BP_DRAWS) {
        const size_t count = bp_min(BP_DRAWS, n - first);
        if (normal)
            k64->normal(draw, &key, first, count);
        else
            k64->uniform(draw, &key, first, count);
        for (size_t i = 0; i < count; ++i)
            draw[i] = normal ? a + b * draw[i] : a + (b - a) * draw[i];
        k->convert(bp_at(out, first, k->size), draw, count);
    }
}

static double column_dot(const double *a, size_t rows, size_t cols, size_t p, size_t q)
{
    double total = 0;
    for (size_t i = 0; i < rows; ++i) total += a[i * cols + p] * a[i * cols + q];
    return total;
}

/* Columns made orthonormal by Gram & Schmidt, twice ("twice is enough", Giraud et al. 2005), then
 * scaled: the rotation of Saxe, McClelland & Ganguli 2014. */
void bp_orthogonal(double *a, size_t rows, size_t cols, double gain)
{
    for (size_t q = 0; q < cols; ++q) {
        for (int pass = 0; pass < 2; ++pass) {
            for (size_t p = 0; p < q; ++p) {
                const double along = column_dot(a, rows, cols, p, q);
                for (size_t i = 0; i < rows; ++i) a[i * cols + q] -= along * a[i * cols + p];
            }
        }
        const double norm = sqrt(column_dot(a, rows, cols, q, q));
        for (size_t i = 0; i < rows; ++i) a[i * cols + q] /= norm;
    }
    for (size_t i = 0; i < rows * cols; ++i) a[i] *= gain;
}

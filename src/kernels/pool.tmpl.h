/* pool.tmpl.h - the largest or the mean of what windows see of a panel, one image at a time.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Channels are the lanes; vectors wholly past n columns are neither read nor written. Positions outside
 * the image do not exist: they are neither compared nor counted. An element of the gradient gets its
 * windows' shares in the order of their positions, added to zero or to what it holds.
 */

typedef struct {
    size_t y, x, high, wide; /* the part of a window inside the image */
} pool_part;

BP_INLINE pool_part pool_at(const bp_pool *p, size_t out_y, size_t out_x)
{
    const size_t y = out_y * p->stride_y, x = out_x * p->stride_x;
    const size_t y0 = y > p->top ? y - p->top : 0, x0 = x > p->left ? x - p->left : 0;
    return (pool_part){y0, x0, bp_min(y + p->window_y - p->top, p->height) - y0,
                       bp_min(x + p->window_x - p->left, p->width) - x0};
}

/* The first of equals; a NaN stays. */
BP_INLINE vec larger(vec best, vec x) { return v_select(v_isnan(x), x, v_max(x, best)); }

/* x: the first position inside; line: elements of a line of positions */
BP_INLINE void window_max(real *y, const real *x, size_t line, size_t high, size_t wide, size_t n)
{
    for (size_t j = 0; j < n; j += BP_VL) {
        vec best = v_load(x + j);
        for (size_t l = 0; l < high; ++l)
            for (size_t e = 0; e < wide; ++e)
                best = larger(best, v_load(x + l * line + e * BP_NR + j));
        v_store(y + j, best);
    }
}

/* The same, and which one of the window that is, counted along its lines; NaN is none. */
BP_INLINE void window_max_at(real *y, uint8_t *from, const real *x, size_t line, size_t high,
                             size_t wide, size_t window_x, size_t n)
{
    for (size_t j = 0; j < n; j += BP_VL) {
        vec best = v_load(x + j), place = v_zero();
        for (size_t l = 0; l < high; ++l) {
            for (size_t e = 0; e < wide; ++e) {
                const vec value = v_load(x + l * line + e * BP_NR + j);
                const vmask above = v_lt(best, value);
                best = larger(best, value);
                place = v_select(above, v_set1((real)(l * window_x + e)), place);
            }
        }
        v_store(y + j, best);
        v_store_bytes(from + j, v_select(v_isnan(best), v_set1(BP_POOL_NONE), place));
    }
}

/* Where the place is e, its share of dy; windows do not overlap. */
BP_INLINE void window_spread(real *dx, const real *dy, const uint8_t *from, size_t line,
                             size_t high, size_t wide, size_t window_x, size_t n)
{
    for (size_t j = 0; j < n; j += BP_VL) {
        const vec place = v_load_bytes(from + j), share = v_load(dy + j);
        for (size_t l = 0; l < high; ++l) {
            for (size_t e = 0; e < wide; ++e) {
                const vmask hit = v_eq(place, v_set1((real)(l * window_x + e)));
                v_store(dx + l * line + e * BP_NR + j, v_select(hit, share, v_zero()));
            }
        }
    }
}

/* alone: no other window reaches these positions, and what they hold does not count */
BP_INLINE void window_max_grad(real *dx, const real *dy, const real *y, const real *x, size_t line,
                               size_t high, size_t wide, size_t n, bool alone)
{
    for (size_t j = 0; j < n; j += BP_VL) {
        const vec best = v_load(y + j), share = v_load(dy + j);
        vmask open = v_eq(best, best);
        for (size_t l = 0; l < high; ++l) {
            for (size_t e = 0; e < wide; ++e) {
                const size_t at = l * line + e * BP_NR + j;
                const vmask hit = m_and(open, v_eq(v_load(x + at), best));
                const vec before = alone ? v_zero() : v_load(dx + at);
                v_store(dx + at, v_select(hit, v_add(before, share), before));
                open = m_and(open, m_not(hit));
            }
        }
    }
}

BP_INLINE void window_mean(real *y, const real *x, size_t line, size_t high, size_t wide, size_t n)
{
    const vec count = v_set1((real)(high * wide));
    for (size_t j = 0; j < n; j += BP_VL) {
        vec total = v_zero();
        for (size_t l = 0; l < high; ++l)
            for (size_t e = 0; e < wide; ++e)
                total = v_add(total, v_load(x + l * line + e * BP_NR + j));
        v_store(y + j, v_div(total, count));
    }
}

BP_INLINE void window_mean_grad(real *dx, const real *dy, size_t line, size_t high, size_t wide,
                                size_t n, bool alone)
{
    const vec count = v_set1((real)(high * wide));
    for (size_t j = 0; j < n; j += BP_VL) {
        const vec share = v_div(v_load(dy + j), count);
        for (size_t l = 0; l < high; ++l) {
            for (size_t e = 0; e < wide; ++e) {
                real *to = dx + l * line + e * BP_NR + j;
                v_store(to, v_add(alone ? v_zero() : v_load(to), share));
            }
        }
    }
}

/* Windows of 2 x 2 have loops of their own, which unroll. */
#define BP_BY_SIZE(call, high, wide)    \
    do {                                \
        if ((high) == 2 && (wide) == 2) \
            call(2, 2);                 \
        else                            \
            call((high), (wide));       \
    } while (false)

static void max_pool(void *y_, const void *x_, const bp_pool *p, size_t n)
{
    real *y = y_;
    const size_t line = p->width * BP_NR;
    for (size_t i = 0; i < p->out_height; ++i) {
        for (size_t e = 0; e < p->out_width; ++e, y += BP_NR) {
            const pool_part at = pool_at(p, i, e);
            const real *x = (const real *)x_ + at.y * line + at.x * BP_NR;
#define BP_CALL(high, wide) window_max(y, x, line, high, wide, n)
            BP_BY_SIZE(BP_CALL, at.high, at.wide);
#undef BP_CALL
        }
    }
}

static void max_pool_at(void *y_, uint8_t *from, const void *x_, const bp_pool *p, size_t n)
{
    real *y = y_;
    const size_t line = p->width * BP_NR;
    for (size_t i = 0; i < p->out_height; ++i) {
        for (size_t e = 0; e < p->out_width; ++e, y += BP_NR, from += BP_NR) {
            const pool_part at = pool_at(p, i, e);
            const real *x = (const real *)x_ + at.y * line + at.x * BP_NR;
            if (p->window_x == 2 && at.high == 2 && at.wide == 2)
                window_max_at(y, from, x, line, 2, 2, 2, n);
            else
                window_max_at(y, from, x, line, at.high, at.wide, p->window_x, n);
        }
    }
}

static void max_pool_take(void *y_, const uint8_t *from, const void *x_, const bp_pool *p, size_t n)
{
    real *y = y_;
    for (size_t i = 0; i < p->out_height; ++i) {
        for (size_t e = 0; e < p->out_width; ++e, y += BP_NR, from += BP_NR) {
            const pool_part at = pool_at(p, i, e);
            const real *x = (const real *)x_ + (at.y * p->width + at.x) * BP_NR;
            for (size_t o = 0; o < n; ++o) {
                const size_t place = from[o] == BP_POOL_NONE ? 0 : from[o];
                y[o] = x[(place / p->window_x * p->width + place % p->window_x) * BP_NR + o];
            }
        }
    }
}

static void max_pool_spread(void *dx_, const void *dy_, const uint8_t *from, const bp_pool *p,
                            size_t line, size_t n)
{
    const real *dy = dy_;
    const size_t step = p->width * BP_NR;
    clear_rows(dx_, p->window_y * p->width, n);
    for (size_t e = 0; e < p->out_width; ++e, dy += BP_NR, from += BP_NR) {
        const pool_part at = pool_at(p, line, e);
        real *dx = (real *)dx_ + at.x * BP_NR;
        if (p->window_x == 2 && at.high == 2 && at.wide == 2)
            window_spread(dx, dy, from, step, 2, 2, 2, n);
        else
            window_spread(dx, dy, from, step, at.high, at.wide, p->window_x, n);
    }
}

static void mean_pool(void *y_, const void *x_, const bp_pool *p, size_t n)
{
    real *y = y_;
    const size_t line = p->width * BP_NR;
    for (size_t i = 0; i < p->out_height; ++i) {
        for (size_t e = 0; e < p->out_width; ++e, y += BP_NR) {
            const pool_part at = pool_at(p, i, e);
            const real *x = (const real *)x_ + at.y * line + at.x * BP_NR;
#define BP_CALL(high, wide) window_mean(y, x, line, high, wide, n)
            BP_BY_SIZE(BP_CALL, at.high, at.wide);
#undef BP_CALL
        }
    }
}

/* Windows that do not overlap write their positions; those that no window sees become zero. */
BP_INLINE bool pool_alone(const bp_pool *p, bool add)
{
    return !add && p->stride_y >= p->window_y && p->stride_x >= p->window_x;
}

BP_INLINE void pool_clear(real *dx, const bp_pool *p, size_t n, bool alone, bool add)
{
    const bool all_seen = alone && p->top == 0 && p->left == 0 && p->stride_y == p->window_y &&
                          p->stride_x == p->window_x && p->height == p->out_height * p->stride_y &&
                          p->width == p->out_width * p->stride_x;
    if (!add && !all_seen) clear_rows(dx, p->height * p->width, n);
}

static void max_pool_grad(void *dx_, const void *dy_, const void *y_, const void *x_,
                          const bp_pool *p, size_t n, bool add)
{
    const real *dy = dy_, *y = y_;
    const size_t line = p->width * BP_NR;
    const bool alone = pool_alone(p, add);
    pool_clear(dx_, p, n, alone, add);
    for (size_t i = 0; i < p->out_height; ++i) {
        for (size_t e = 0; e < p->out_width; ++e, y += BP_NR, dy += BP_NR) {
            const pool_part at = pool_at(p, i, e);
            const size_t first = at.y * line + at.x * BP_NR;
            real *dx = (real *)dx_ + first;
            const real *x = (const real *)x_ + first;
#define BP_CALL(high, wide) window_max_grad(dx, dy, y, x, line, high, wide, n, true)
            if (alone) BP_BY_SIZE(BP_CALL, at.high, at.wide);
#undef BP_CALL
#define BP_CALL(high, wide) window_max_grad(dx, dy, y, x, line, high, wide, n, false)
            else
                BP_BY_SIZE(BP_CALL, at.high, at.wide);
#undef BP_CALL
        }
    }
}

static void mean_pool_grad(void *dx_, const void *dy_, const bp_pool *p, size_t n, bool add)
{
    const real *dy = dy_;
    const size_t line = p->width * BP_NR;
    const bool alone = pool_alone(p, add);
    pool_clear(dx_, p, n, alone, add);
    for (size_t i = 0; i < p->out_height; ++i) {
        for (size_t e = 0; e < p->out_width; ++e, dy += BP_NR) {
            const pool_part at = pool_at(p, i, e);
            real *dx = (real *)dx_ + at.y * line + at.x * BP_NR;
#define BP_CALL(high, wide) window_mean_grad(dx, dy, line, high, wide, n, alone)
            BP_BY_SIZE(BP_CALL, at.high, at.wide);
#undef BP_CALL
        }
    }
}
#undef BP_BY_SIZE
